#!/usr/bin/env python3
"""Writes the trained model as GGUF: once in F32, once in a Q4_K_M-like mix.

    python export.py --trained trained --out .

Needs numpy, safetensors and gguf. The mix is llama.cpp's Q4_K_M: token_embd, which is also the
output head here, in Q6_K; attn_v and ffn_down in Q6_K in some of the layers; the norms in F32; all
else in Q4_K. The quantisers are ours (quantize.py); gguf's own dequantiser checks what they wrote.
"""

import argparse
import json
import os

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from quantize import quantize_q4_k, quantize_q6_k
from safetensors.numpy import load_file

NAME = "tiny-workshop-5m"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def more_bits(layer: int, count: int) -> bool:
    """Q4_K_M's choice of layers in which attn_v and ffn_down get Q6_K."""
    return layer < count // 8 or layer >= 7 * count // 8 or (layer - count // 8) % 3 == 2


def tensor_type(name: str, block_count: int) -> Type:
    if name.endswith("_norm.weight"):
        return Type.F32
    if name == "token_embd.weight":
        return Type.Q6_K
    layer = int(name.split(".")[1])
    if ("attn_v" in name or "ffn_down" in name) and more_bits(layer, block_count):
        return Type.Q6_K
    return Type.Q4_K


def add_metadata(writer: gguf.GGUFWriter, config: dict, file_type: gguf.LlamaFileType) -> None:
    writer.add_name("Tiny Workshop 5M")
    writer.add_description("A toy: tells little stories about robots, sensors and workshops.")
    writer.add_license("Apache-2.0")
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["context_length"])
    writer.add_embedding_length(config["embedding_length"])
    writer.add_block_count(config["block_count"])
    writer.add_feed_forward_length(config["feed_forward_length"])
    writer.add_head_count(config["head_count"])
    writer.add_head_count_kv(config["head_count_kv"])
    writer.add_layer_norm_rms_eps(config["rms_epsilon"])
    writer.add_rope_dimension_count(config["embedding_length"] // config["head_count"])
    writer.add_rope_freq_base(config["rope_freq_base"])


def add_tokenizer(writer: gguf.GGUFWriter, path: str) -> None:
    with open(path, encoding="utf-8") as file:
        tokenizer = json.load(file)
    vocabulary = tokenizer["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.get)
    special = {entry["content"] for entry in tokenizer["added_tokens"]}
    types = [gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens]
    # Older versions of the tokenizers package write a merge as "a b", newer ones as ["a", "b"].
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(vocabulary["<|bos|>"])
    writer.add_eos_token_id(vocabulary["<|endoftext|>"])
    writer.add_eot_token_id(vocabulary["<|im_end|>"])
    writer.add_add_bos_token(True)
    writer.add_chat_template(CHAT_TEMPLATE)


def write(path: str, weights: dict, config: dict, tokenizer: str, quantised: bool) -> None:
    mix = gguf.LlamaFileType.MOSTLY_Q4_K_M if quantised else gguf.LlamaFileType.ALL_F32
    writer = gguf.GGUFWriter(path, "llama")
    add_metadata(writer, config, mix)
    add_tokenizer(writer, tokenizer)
    for name, weight in weights.items():
        kind = tensor_type(name, config["block_count"]) if quantised else Type.F32
        if kind == Type.F32:
            writer.add_tensor(name, weight)
            continue
        blocks = (quantize_q4_k if kind == Type.Q4_K else quantize_q6_k)(weight)
        error = gguf.dequantize(blocks, kind) - weight
        relative = np.sqrt((error**2).mean() / (weight**2).mean())
        print(f"{name:28} {kind.name}  relative error {relative:.4f}")
        assert relative < (0.1 if kind == Type.Q4_K else 0.03), "the quantiser is broken"
        writer.add_tensor(name, blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{path}: {os.path.getsize(path)} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trained", required=True, help="the output folder of train.py")
    parser.add_argument("--out", required=True, help="folder for the two GGUF files")
    args = parser.parse_args()

    with open(os.path.join(args.trained, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    tokenizer = os.path.join(args.trained, "tokenizer.json")
    stored = load_file(os.path.join(args.trained, "model.safetensors"))
    weights = {name: stored[name].astype(np.float32) for name in sorted(stored)}
    for suffix, quantised in (("f32", False), ("q4_k_m", True)):
        path = os.path.join(args.out, f"{NAME}.{suffix}.gguf")
        write(path, weights, config, tokenizer, quantised)


if __name__ == "__main__":
    main()
