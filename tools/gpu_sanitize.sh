#!/usr/bin/env bash
# Runs the GPU tests under compute-sanitizer: memcheck (bounds, leaks), racecheck (shared memory) and initcheck
# (reads of device memory that nothing has written). A table of errors is printed, whole logs land in OUT; status 1
# when anything was found or a test failed.
#
#   tools/gpu_sanitize.sh [--bin build/tests] [--out build/gpu_sanitize] [--tool TOOL]... [--jobs 4] [--limit SECONDS]
#                         [TEST[:FILTER] ...]            e.g. stories_gpu_test 'kernel_gpu_test:*Attention*'
# --limit ends a run that takes longer; the table then says so.
set -euo pipefail

bin=build/tests
out=build/gpu_sanitize
jobs=4
limit=0
tools=()
tests=()
while (($#)); do
  case $1 in
    --bin) bin=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --tool) tools+=("$2"); shift 2 ;;
    --jobs) jobs=$2; shift 2 ;;
    --limit) limit=$2; shift 2 ;;
    -h | --help) sed -n '2,9p' "$0"; exit 0 ;;
    -*) printf 'error: unknown option %s (--help shows all)\n' "$1" >&2; exit 2 ;;
    *) tests+=("$1"); shift ;;
  esac
done
((${#tools[@]})) || tools=(memcheck racecheck initcheck)
((${#tests[@]})) || tests=(stories_gpu_test arch_gpu_test cuda_executor_test recent_rows_gpu_test
                           speculation_gpu_test kernel_gpu_test)
sanitizer=$(command -v compute-sanitizer || true)
: "${sanitizer:=/usr/local/cuda/bin/compute-sanitizer}"
if [ ! -x "$sanitizer" ]; then
  echo 'error: compute-sanitizer is not here: it comes with the CUDA toolkit; put it on PATH' >&2
  exit 2
fi
mkdir -p "$out"

# sanitize TOOL TEST[:FILTER] LOG
sanitize() {
  local filter='*'
  case $2 in *:*) filter=${2#*:} ;; esac
  local -a options=(--tool "$1" --error-exitcode 99 --print-limit 20)
  # The tests make calls that fail; what fails unasked ends a test.
  if [ "$1" = memcheck ]; then options+=(--leak-check full --report-api-errors no); fi
  timeout "$limit" "$sanitizer" "${options[@]}" "$bin/${2%%:*}" --gtest_brief=1 --gtest_filter="$filter" >"$3" 2>&1
}

names=()
for tool in "${tools[@]}"; do
  for test in "${tests[@]}"; do
    while (($(jobs -rp | wc -l) >= jobs)); do sleep 0.2; done
    name=$tool.$(tr -c 'a-zA-Z0-9_\n' '-' <<<"$test")
    names+=("$name")
    (
      status=0
      sanitize "$tool" "$test" "$out/$name.log" || status=$?
      echo "$status" >"$out/$name.status"
    ) &
  done
done
wait

failed=0
printf '%-44s %8s %8s  %s\n' 'tool.test' status passed summary
for name in "${names[@]}"; do
  status=$(cat "$out/$name.status")
  summary=$(grep -oE '(ERROR|RACECHECK|LEAK) SUMMARY: .*' "$out/$name.log" | tail -n 1 || true)
  passed=$(grep -oE '^\[  PASSED  \] [0-9]+' "$out/$name.log" | grep -oE '[0-9]+$' || echo 0)
  if [ "$status" = 124 ]; then summary="ended after $limit s: $summary"; fi
  if [ "$status" != 0 ] || [ "$passed" = 0 ]; then failed=1; fi
  printf '%-44s %8s %8s  %s\n' "$name" "$status" "$passed" "${summary:-no summary: see $out/$name.log}"
done
exit "$failed"
