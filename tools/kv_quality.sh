#!/usr/bin/env bash
# What each KV cache type costs in quality: KL divergence, top-1 agreement and perplexity of the model of
# this repository against an f32 cache, on the host, over unseen text of the kind that it was trained on.
#
#   tools/kv_quality.sh [--bin build/bin] [--texts 8] [--model MODEL.gguf]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bin=build/bin
texts=8
model=examples/models/tiny-workshop-5m.q4_k_m.gguf
while (($#)); do
  case $1 in
    --bin) bin=$2; shift 2 ;;
    --texts) texts=$2; shift 2 ;;
    --model) model=$2; shift 2 ;;
    *) sed -n '2,6p' "$0"; exit 2 ;;
  esac
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 examples/models/make_corpus.py --out "$work/corpus.jsonl" --documents 400 --seed 7 --processes 1
python3 - "$work" "$texts" <<'PY'
import json, sys
work, count = sys.argv[1], int(sys.argv[2])
documents = [d["text"] for d in map(json.loads, open(f"{work}/corpus.jsonl")) if "text" in d]
for i in range(count):  # enough of each for a whole context
    with open(f"{work}/text.{i}", "w") as out:
        out.write("\n\n".join(documents[i::count]))
PY

"$bin/jllmc" compile "$model" --activations f32 --kv f32 -o "$work/f32.jllm"
for ((i = 0; i < texts; i++)); do
  "$bin/jllm" eval "$work/f32.jllm" -f "$work/text.$i" -n 512 --logits "$work/ref.$i" --json > "$work/f32.$i.json"
done
printf '%-26s %10s %10s %10s %8s\n' cache kl_mean kl_max top1 ppl
for options in "--kv f32" "--kv f16" "--kv q8_0" "--kv-k q8_0 --kv-v q4_0" "--kv-k q4_0 --kv-v q8_0" "--kv q4_0" \
               "--kv-k q4_0 --kv-v f32" "--kv-k q4_0 --kv-v f32 --no-kv-rotation" "--kv-k f32 --kv-v q4_0"; do
  # shellcheck disable=SC2086
  "$bin/jllmc" compile "$model" --activations f32 $options -o "$work/plan.jllm"
  for ((i = 0; i < texts; i++)); do
    "$bin/jllm" eval "$work/plan.jllm" -f "$work/text.$i" -n 512 --reference "$work/ref.$i" --json > "$work/out.$i.json"
  done
  python3 - "$options" "$work"/out.*.json <<'PY'
import json, math, sys
runs = [json.load(open(path)) for path in sys.argv[2:]]
mean = lambda key: sum(run[key] for run in runs) / len(runs)
ppl = math.exp(sum(math.log(run["perplexity"]) for run in runs) / len(runs))
print(f"{sys.argv[1]:42} {mean('kl_mean'):10.3g} {max(r['kl_max'] for r in runs):10.3g} "
      f"{mean('top1_agreement'):10.4f} {ppl:8.4f}")
PY
done
