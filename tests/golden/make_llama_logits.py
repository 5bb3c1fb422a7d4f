#!/usr/bin/env python3
"""Writes the logits that llama.cpp computes for the models of tests/e2e/oracle, or their embeddings: those of
the tokens up to each position, pooling type `last`, not scaled to a length.

usage: make_oracle_models FOLDER [embeddings]          (built with the tests)
       make_llama_logits.py FOLDER OUT [embeddings]    one JSON file per model; OUT: tests/golden/llama_logits,
                                                       or tests/golden/llama_embeddings

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


def embedding_of(path: pathlib.Path, tokens: list) -> numpy.ndarray:
    """f32 [the model's width]."""
    model = llama_cpp.Llama(
        str(path), n_ctx=256, n_batch=64, n_threads=2, n_threads_batch=2, n_gpu_layers=0, embedding=True,
        pooling_type=llama_cpp.LLAMA_POOLING_TYPE_LAST, flash_attn=False, type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32, verbose=False)
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, i, 1, 0
        batch.logits[i] = True
    if llama_cpp.llama_decode(model.ctx, batch) != 0:
        raise SystemExit(f"{path}: llama.cpp fails")
    values = llama_cpp.llama_get_embeddings_seq(model.ctx, 0)
    vector = numpy.array([values[i] for i in range(model.n_embd())], dtype="<f4")
    llama_cpp.llama_batch_free(batch)
    if not numpy.isfinite(vector).all():
        raise SystemExit(f"{path}: the embedding is not finite")
    return vector


def bytes_of(path: pathlib.Path) -> bytes:
    """The model, and its adapter where it has one."""
    adapter = path.with_suffix(".lora")
    return path.read_bytes() + (adapter.read_bytes() if adapter.exists() else b"")


def main() -> None:
    embeddings = sys.argv[3:] == ["embeddings"]
    if len(sys.argv) != 3 and not embeddings:
        raise SystemExit(__doc__)
    out = pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.gguf")):
        rows = {p: embedding_of(path, TOKENS[:p + 1]) for p in POSITIONS} if embeddings else logits_of(path)
        golden = {
            "model_sha256": hashlib.sha256(bytes_of(path)).hexdigest(),
            "llama_cpp_python": llama_cpp.__version__,
            "tokens": TOKENS,
            "embeddings" if embeddings else "logits": [{"position": p, "f32": rows[p].tobytes().hex()}
                                                       for p in POSITIONS],
        }
        (out / f"{path.stem}.json").write_text(json.dumps(golden, indent=1) + "\n")
        last = rows[POSITIONS[-1]]
        print(f"{path.stem}: {last.std():.3f} rms, the largest at {last.argmax()}")


if __name__ == "__main__":
    main()
