#!/usr/bin/env bash
# Checks the CUDA backend against the host backend on a machine with a GPU, and times it: random-weight
# models of true shape are compiled for both, the same tokens are evaluated by both, and a table of
# agreement and speed is printed. Results land in OUT as JSON.
#
#   tools/gpu_check.sh [--bin build/bin] [--out build/gpu_check] [--tokens 200] [--kv f16] [MODEL:TYPE ...]
set -euo pipefail

bin=build/bin
out=build/gpu_check
tokens=200
kv=f16
models=()
while (($#)); do
  case $1 in
    --bin) bin=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --tokens) tokens=$2; shift 2 ;;
    --kv) kv=$2; shift 2 ;;
    -h | --help) sed -n '2,7p' "$0"; exit 0 ;;
    *) models+=("$1"); shift ;;
  esac
done
((${#models[@]})) || models=(tinyllama:f16 tinyllama:q4_k_m llama-3.2-1b:q4_k_m)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
arch=sm_$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
target=$arch
[[ $(nvidia-smi --query-gpu=name --format=csv,noheader | head -1) == "NVIDIA H200" ]] && target=h200

# Fixed pseudo-random token ids, so that runs can be compared.
awk -v n="$tokens" 'BEGIN { s = 1; for (i = 0; i < n; i++) { s = (s * 16807) % 2147483647; print s % 32000 } }' \
  > "$work/tokens"

field() { python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }

printf '%-24s %10s %10s %8s %10s %10s %9s %9s\n' model kl_mean kl_max top1 pre_kl_max pre_top1 tok/s GB/s
for entry in "${models[@]}"; do
  model=${entry%%:*}
  type=${entry##*:}
  name=$model.$type
  "$bin/jllmc" synth --like "$model" --type "$type" --seed 1 -o "$work/m.gguf"
  "$bin/jllmc" compile "$work/m.gguf" --target host --activations f32 --kv "$kv" --context 1024 -o "$work/host.jllm"
  "$bin/jllmc" compile "$work/m.gguf" --target "$target" --kv "$kv" --context 1024 -o "$work/gpu.jllm" \
    --report json > "$out/$name.compile.json"
  rm "$work/m.gguf"
  "$bin/jllm" eval "$work/host.jllm" --tokens "$work/tokens" --logits "$work/ref.f32" --json > "$out/$name.host.json"
  "$bin/jllm" eval "$work/gpu.jllm" --tokens "$work/tokens" --reference "$work/ref.f32" --json \
    > "$out/$name.decode.json"
  "$bin/jllm" eval "$work/gpu.jllm" --tokens "$work/tokens" --prefill $((tokens / 2)) \
    --reference "$work/ref.f32" --json > "$out/$name.prefill.json"
  "$bin/jllm" run "$work/gpu.jllm" -p "hello" -t 0 -n 256 --ignore-end --json > "$out/$name.run.json"
  printf '%-24s %10.3g %10.3g %8.4f %10.3g %10.4f %9.1f %9.1f\n' "$name" \
    "$(field "$out/$name.decode.json" kl_mean)" "$(field "$out/$name.decode.json" kl_max)" \
    "$(field "$out/$name.decode.json" top1_agreement)" "$(field "$out/$name.prefill.json" kl_max)" \
    "$(field "$out/$name.prefill.json" top1_agreement)" "$(field "$out/$name.run.json" decode_tok_s)" \
    "$(field "$out/$name.run.json" weight_gbps)"
  rm "$work"/*.jllm "$work/ref.f32"
done
