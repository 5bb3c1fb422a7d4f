#!/usr/bin/env bash
# Holds the host backend against llama.cpp's CPU backend on one file: a model of true shape with random weights.
# The two take turns, one test at a time, so that other load on the machine meets both; what is printed are the
# medians over all rounds and the median of the rounds' ratios, of tokens per second and of processor time per
# token. The latter hardly depends on other load, but with several threads it counts their waiting for one another:
# on a busy machine look at it with --threads 1. PYTHON needs llama-cpp-python.
#
#   tools/host_bench.sh --python PYTHON [--bin build/bin] [--like tinyllama] [--type q4_k_m] [--threads 2]
#                       [--rounds 5] [--gen 128] [--prompts 128,512] [--activations auto] [--model FILE.gguf]
# PYTHON may also come from JLLM_ORACLE_PYTHON, the folder for model and plan from JLLM_WORK (default /tmp).
set -euo pipefail

bin=build/bin like=tinyllama type=q4_k_m threads=2 rounds=5 gen=128 prompts=128,512 activations=auto model=
python=${JLLM_ORACLE_PYTHON:-}
while (($#)); do
  case $1 in
    --python) python=$2; shift 2 ;;
    --bin) bin=$2; shift 2 ;;
    --like) like=$2; shift 2 ;;
    --type) type=$2; shift 2 ;;
    --threads) threads=$2; shift 2 ;;
    --rounds) rounds=$2; shift 2 ;;
    --gen) gen=$2; shift 2 ;;
    --prompts) prompts=$2; shift 2 ;;
    --activations) activations=$2; shift 2 ;;
    --model) model=$2; shift 2 ;;
    -h | --help) sed -n '2,11p' "$0"; exit 0 ;;
    *) echo "host_bench.sh: unknown option $1; see --help" >&2; exit 2 ;;
  esac
done
[[ -n $python ]] || { echo 'host_bench.sh: say --python: an interpreter with llama-cpp-python' >&2; exit 2; }
"$python" -c 'import llama_cpp' || exit 1
work=$(mktemp -d -p "${JLLM_WORK:-/tmp}")
trap 'rm -rf "$work"' EXIT

if [[ -z $model ]]; then
  model=$work/m.gguf
  "$bin/jllmc" synth --like "$like" --type "$type" -o "$model"
fi
"$bin/jllmc" compile "$model" --target host --activations "$activations" --context 1024 -o "$work/m.jllm" \
  > /dev/null

cat > "$work/turns.py" <<'P'
import json, statistics, subprocess, sys, time
import llama_cpp as lib

bench, plan, model, threads, rounds, gen, prompts = sys.argv[1:]
threads, rounds, gen = int(threads), int(rounds), int(gen)
tests = [("prompt", int(p)) for p in prompts.split(",")] + [("generation", gen)]
llm = lib.Llama(model, n_ctx=1024, n_batch=512, n_ubatch=512, n_threads=threads, n_threads_batch=threads,
                verbose=False)
context, vocab = llm.ctx, llm.n_vocab()


def decode(tokens):
    array = (lib.llama_token * len(tokens))(*tokens)
    if lib.llama_decode(context, lib.llama_batch_get_one(array, len(tokens))) != 0:
        sys.exit("llama_decode failed")
    lib.llama_get_logits_ith(context, -1)


# Both: tokens per second, and milliseconds of processor time per token.
def peer(kind, count):
    lib.llama_memory_clear(lib.llama_get_memory(context), True)
    tokens = [(7919 * i + 1) % vocab for i in range(count)]
    start, busy = time.perf_counter(), time.process_time()
    for piece in [tokens] if kind == "prompt" else [[t] for t in tokens]:
        decode(piece)
    return count / (time.perf_counter() - start), (time.process_time() - busy) / count * 1e3


def own(kind, count):
    options = ["-p", str(count), "-n", "0"] if kind == "prompt" else ["-p", "0", "-n", str(count)]
    command = [bench, "bench", plan, "-r", "1", "--threads", str(threads), "--json", *options]
    test = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)[0]
    return test["median_ts"], test["host_us_per_token"] / 1e3


median = statistics.median
peer("prompt", 128)  # pages the file in
print(f"llama-cpp-python {lib.__version__}, {threads} threads, {rounds} rounds")
print(f"{'test':<16}{'tok/s':>8}{'llama.cpp':>11}{'ratio':>7}{'CPU ms':>9}{'llama.cpp':>11}{'ratio':>7}   rounds")
for kind, count in tests:
    pairs = [(own(kind, count), peer(kind, count)) for _ in range(rounds)]
    speeds = [a[0] / b[0] for a, b in pairs]
    loads = [b[1] / a[1] for a, b in pairs]
    a, b = ([median(column) for column in zip(*side)] for side in zip(*pairs))
    print(f"{kind + ' ' + str(count):<16}{a[0]:8.2f}{b[0]:11.2f}{median(speeds):7.2f}"
          f"{a[1]:9.2f}{b[1]:11.2f}{median(loads):7.2f}   "
          + " ".join(f"{s:.2f}/{l:.2f}" for s, l in zip(speeds, loads)), flush=True)
P
"$python" "$work/turns.py" "$bin/jllm" "$work/m.jllm" "$model" "$threads" "$rounds" "$gen" "$prompts"
