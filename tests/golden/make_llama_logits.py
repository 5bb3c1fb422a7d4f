#!/usr/bin/env python3
"""Writes the logits that llama.cpp computes for the models of tests/e2e/oracle.

usage: make_oracle_models FOLDER          (built with the tests)
       make_llama_logits.py FOLDER OUT    one JSON file per model; OUT: tests/golden/llama_logits

Needs the packages numpy and llama-cpp-python (0.3.x, CPU only). The logits of a few positions are
stored whole, as hexadecimal digits of little-endian f32: a normalised error needs all of them.
"""

import hashlib
import json
import pathlib
import sys

import llama_cpp
import numpy

VOCAB = 512
# 48 tokens in which no two neighbours are equal; any list would do. 137 and 512 have no common factor.
TOKENS = [(137 * i + 29) % VOCAB for i in range(48)]
POSITIONS = [0, 13, 47]
# How much of an adapter NAME.lora beside NAME.gguf is applied (kOracleScale in tests/e2e/arch).
LORA_SCALE = 0.75


def logits_of(path: pathlib.Path) -> numpy.ndarray:
    """f32 [len(TOKENS)][VOCAB]; the KV cache keeps full precision, as on jllm's host target."""
    adapter = path.with_suffix(".lora")
    model = llama_cpp.Llama(
        str(path), n_ctx=256, n_batch=64, n_threads=2, n_threads_batch=2, n_gpu_layers=0,
        logits_all=True, flash_attn=False, type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32, verbose=False,
        lora_path=str(adapter) if adapter.exists() else None, lora_scale=LORA_SCALE)
    if model.n_vocab() != VOCAB:
        raise SystemExit(f"{path}: {model.n_vocab()} tokens, expected {VOCAB}")
    model.eval(TOKENS)
    logits = numpy.array(model.scores[:len(TOKENS)], dtype="<f4")
    if not numpy.isfinite(logits).all():
        raise SystemExit(f"{path}: logits are not finite")
    return logits


def bytes_of(path: pathlib.Path) -> bytes:
    """The model, and its adapter where it has one."""
    adapter = path.with_suffix(".lora")
    return path.read_bytes() + (adapter.read_bytes() if adapter.exists() else b"")


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    out = pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.gguf")):
        logits = logits_of(path)
        golden = {
            "model_sha256": hashlib.sha256(bytes_of(path)).hexdigest(),
            "llama_cpp_python": llama_cpp.__version__,
            "tokens": TOKENS,
            "logits": [{"position": p, "f32": logits[p].tobytes().hex()}
                       for p in POSITIONS],
        }
        (out / f"{path.stem}.json").write_text(json.dumps(golden, indent=1) + "\n")
        print(f"{path.stem}: logits {logits.std():.3f} rms, greedy {logits[-1].argmax()}")


if __name__ == "__main__":
    main()
