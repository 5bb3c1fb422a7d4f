#!/usr/bin/env bash
# Runs GPU code under compute-sanitizer: memcheck (bounds, leaks), racecheck (shared memory) and initcheck (reads of
# device memory that nothing has written). Models are one layer of true shape with random weights: a prompt, a few
# steps, drafts. A table of errors is printed, whole logs land in OUT; status 1 when anything was found or failed.
#
#   tools/gpu_sanitize.sh [--bin build/bin] [--tests build/tests] [--out build/gpu_sanitize] [--tool TOOL]... [--jobs 4]
#                         [--limit SECONDS] [MODEL:TYPE | TEST[=FILTER] ...]
#   e.g. tools/gpu_sanitize.sh llama-3.2-1b:q4_k_m stories_gpu_test 'kernel_gpu_test=Attention*'
# Without names: the models below. --limit ends a run that takes longer (racecheck slows a test down a hundredfold);
# the table then says so. Verify graphs multiply rows that carry no token, whatever those hold, and drop the results:
# initcheck on speculation_gpu_test reports such reads where parts of a layer are not fused.
set -euo pipefail

bin=build/bin
test_bin=build/tests
out=build/gpu_sanitize
jobs=4
limit=0
tools=()
items=()
while (($#)); do
  case $1 in
    --bin) bin=$2; shift 2 ;;
    --tests) test_bin=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --tool) tools+=("$2"); shift 2 ;;
    --jobs) jobs=$2; shift 2 ;;
    --limit) limit=$2; shift 2 ;;
    -h | --help) sed -n '2,13p' "$0"; exit 0 ;;
    -*) printf 'error: unknown option %s (--help shows all)\n' "$1" >&2; exit 2 ;;
    *) items+=("$1"); shift ;;
  esac
done
((${#tools[@]})) || tools=(memcheck racecheck initcheck)
((${#items[@]})) || items=(llama-3.2-1b:q4_k_m llama-3.2-1b:q4_0 qwen3-0.6b:q8_0 gemma-2-2b:q5_k_m
                           stablelm-2-1.6b:f16 lfm2-1.2b:q4_k_m olmoe-1b-7b:q4_k_m)
sanitizer=$(command -v compute-sanitizer || true)
: "${sanitizer:=/usr/local/cuda/bin/compute-sanitizer}"
if [ ! -x "$sanitizer" ]; then
  echo 'error: compute-sanitizer is not here: it comes with the CUDA toolkit; put it on PATH' >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
target=sm_$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)

# sanitize TOOL COMMAND...
sanitize() {
  local -a options=(--tool "$1" --error-exitcode 99 --print-limit 20)
  # The tests make calls that fail; what fails unasked ends a test.
  if [ "$1" = memcheck ]; then options+=(--leak-check full --report-api-errors no); fi
  shift
  timeout "$limit" "$sanitizer" "${options[@]}" "$@"
}

# run_item TOOL ITEM
run_item() {
  case $2 in
    *:*) sanitize "$1" "$bin/jllm" run "$work/${2/:/.}.jllm" -p 'one two three one two three one two' \
           -n 8 -t 0.7 --top-k 40 --seed 1 --ignore-end && echo '[  PASSED  ] 1 run' ;;
    *) sanitize "$1" "$test_bin/${2%%=*}" --gtest_brief=1 --gtest_filter="$(
         case $2 in *=*) printf '%s' "${2#*=}" ;; *) printf '*' ;; esac)" ;;
  esac
}

# One layer, of LFM2 three: the third is the first that attends.
make_plan() {
  local file=$work/${1/:/.} layers=1
  case $1 in lfm2*) layers=3 ;; esac
  "$bin/jllmc" synth --like "${1%%:*}" --type "${1##*:}" --layers "$layers" --seed 1 -o "$file.gguf" &&
    "$bin/jllmc" compile "$file.gguf" --target "$target" --context 256 --prefill-chunk 64 --speculate 3 \
      --selftest never -o "$file.jllm" &&
    rm "$file.gguf"
}

for item in "${items[@]}"; do
  case $item in *:*) ;; *) continue ;; esac
  log=$out/compile.${item/:/.}.log
  make_plan "$item" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
done

names=()
for item in "${items[@]}"; do
  for tool in "${tools[@]}"; do
    while (($(jobs -rp | wc -l) >= jobs)); do sleep 0.2; done
    name=$tool.$(tr -c 'a-zA-Z0-9_.\n' '-' <<<"$item")
    names+=("$name")
    (
      status=0
      run_item "$tool" "$item" >"$out/$name.log" 2>&1 || status=$?
      echo "$status" >"$out/$name.status"
    ) &
  done
done
wait

failed=0
printf '%-44s %8s %8s  %s\n' 'tool.item' status passed summary
for name in "${names[@]}"; do
  status=$(cat "$out/$name.status")
  summary=$(grep -oE '(ERROR|RACECHECK|LEAK) SUMMARY: .*' "$out/$name.log" | tail -n 1 || true)
  passed=$(grep -oE '^\[  PASSED  \] [0-9]+' "$out/$name.log" | grep -oE '[0-9]+$' || echo 0)
  if [ "$status" = 124 ]; then summary="ended after $limit s: $summary"; fi
  if [ "$status" != 0 ] || [ "$passed" = 0 ]; then failed=1; fi
  printf '%-44s %8s %8s  %s\n' "$name" "$status" "$passed" "${summary:-no summary: see $out/$name.log}"
done
exit "$failed"
