#!/usr/bin/env bash
# Checks and times decoding and prompts on a machine with a GPU, in one call and without building anything: the kernels'
# tests, agreement with the host backend in every activation mode, and tokens per second of random-weight
# models of true shape. With --mps 6 also the sm_87 code path (as PTX) on that share of the GPU's
# multiprocessors, in per cent. Prints tables; JSON lands in OUT.
#
#   tools/gpu_bench.sh [--bin build/bin] [--tests build/tests] [--out build/gpu_bench] [--target h200]
#                      [--mps PERCENT] [MODEL:TYPE ...]
set -euo pipefail

bin=build/bin tests=build/tests out=build/gpu_bench target=h200 mps=
models=()
while (($#)); do
  case $1 in
    --bin) bin=$2; shift 2 ;;
    --tests) tests=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --target) target=$2; shift 2 ;;
    --mps) mps=$2; shift 2 ;;
    -h | --help) sed -n '2,9p' "$0"; exit 0 ;;
    *) models+=("$1"); shift ;;
  esac
done
((${#models[@]})) || models=(llama-3.2-1b:q4_k_m llama-3.2-1b:q8_0 llama-3.2-1b:f16 llama-3.2-3b:q4_k_m
                             llama-3.1-8b:q4_k_m llama-3.1-8b:q4_0)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d -p "${JLLM_WORK:-/tmp}")
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

# Every kernel against the reference; shards, because most of the time goes into compiling.
kernel_tests() {
  local program=$tests/kernel_gpu_test shards pids=() i failed=0
  [[ -x $program ]] || { echo "kernel tests: $program is missing, left out"; return; }
  shards=$(nproc)
  for ((i = 0; i < shards; i++)); do
    GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$i "$program" --gtest_brief=1 > "$out/kernel_gpu_test.$i" 2>&1 &
    pids+=($!)
  done
  for i in "${pids[@]}"; do wait "$i" || failed=$((failed + 1)); done
  echo "kernel tests: $failed of $shards shards failed"
}

# The orin-nano-8gb target without its limits: only its code is wanted.
orin_target() {
  python3 - "$here/compiler/target/data/orin-nano-8gb.json" > "$work/orin.json" <<'P'
import json, sys
t = json.load(open(sys.argv[1]))
t["max_cuda_major"]["value"] = 99
for key in t:
    if key in ("ram_mib", "visible_mib", "headless_budget_mib"):
        t[key]["value"] = 130000
json.dump(t, sys.stdout)
P
}

agreement() {
  local model=$here/examples/models/tiny-workshop-5m.q4_k_m.gguf name=$1 mode
  [[ $name == tiny ]] || model=$work/m.gguf
  "$bin/jllmc" compile "$model" --target host --activations f32 --kv f16 --context 512 -o "$work/host.jllm"
  "$bin/jllm" eval "$work/host.jllm" --tokens "$work/tokens" --logits "$work/ref.f32" > /dev/null 2>&1
  for mode in f32 q8 q8r; do
    "$bin/jllmc" compile "$model" --target "$target" --activations "$mode" --context 512 -o "$work/g.jllm"
    printf '%-22s %-6s %s\n' "$name" "$mode" \
      "$("$bin/jllm" eval "$work/g.jllm" --tokens "$work/tokens" --reference "$work/ref.f32" 2> /dev/null | grep KL)"
  done
  "$bin/jllmc" compile "$model" --target "$work/orin.json" --emit-ptx --context 512 -o "$work/g.jllm"
  printf '%-22s %-6s %s\n' "$name" sm_87 \
    "$("$bin/jllm" eval "$work/g.jllm" --newer-device --tokens "$work/tokens" --reference "$work/ref.f32" 2> /dev/null |
      grep KL)"
}

# Columns of jllm bench's JSON: median tok/s and GB/s of each test.
row() {
  python3 - "$1" "$2" <<'P'
import json, sys
cells = ["%9.1f %8.0f" % (t["median_ts"], t["weight_gbps"]) for t in json.load(open(sys.argv[2]))]
print("%-36s %s" % (sys.argv[1], "  ".join(cells)))
P
}

bench() {  # label, plan, options of jllm bench
  local label=$1 plan=$2 file
  shift 2
  file=$out/$(tr ' /:' '___' <<< "$label").json
  "$bin/jllm" bench "$plan" "$@" --json > "$file"
  row "$label" "$file"
}

kernel_tests
orin_target
awk 'BEGIN { s = 7; for (i = 0; i < 100; i++) { s = (s * 16807) % 2147483647; print s % 2000 } }' > "$work/tokens"
agreement tiny
printf '%-36s %9s %8s  %9s %8s\n' 'tok/s and GB/s of weights' 'depth 0' '' 2048 ''
for entry in "${models[@]}"; do
  "$bin/jllmc" synth --like "${entry%%:*}" --type "${entry##*:}" --seed 1 -o "$work/m.gguf" 2> /dev/null
  [[ $entry == llama-3.2-1b:q4_k_m ]] && agreement "$entry"
  for mode in auto f32 q8; do
    [[ $mode == auto || $entry == *q4_k_m ]] || continue
    "$bin/jllmc" compile "$work/m.gguf" --target "$target" --activations "$mode" --context 4096 -o "$work/g.jllm"
    bench "$entry $mode" "$work/g.jllm" -p 0 -n 128 -d 0,2048
    [[ $mode != auto ]] || bench "$entry prompt of 512" "$work/g.jllm" -p 512 -n 0 -d 0,2048
  done
  if [[ -n $mps && $entry == *q4_k_m ]]; then
    "$bin/jllmc" compile "$work/m.gguf" --target "$work/orin.json" --emit-ptx --prefill-chunk 512 --context 4096 \
      -o "$work/g.jllm"
    nvidia-cuda-mps-control -d
    CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=$mps bench "$entry sm_87, $mps % of SMs" "$work/g.jllm" \
      --newer-device -p 0 -n 32 -r 3
    CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=$mps bench "$entry sm_87, $mps %, prompt of 512" "$work/g.jllm" \
      --newer-device -p 512 -n 0 -r 3
    echo quit | nvidia-cuda-mps-control
    sleep 1
  fi
done
