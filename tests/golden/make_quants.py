#!/usr/bin/env python3
"""Makes quants.h: for every supported weight type one row of random blocks, decoded by the `gguf`
Python package, which was written independently of jllm. Needs: pip install gguf numpy.

Usage: make_quants.py > quants.h
"""
import gguf
import numpy as np

TYPES = ["F16", "BF16", "Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q6_K", "Q1_0", "Q4_1", "Q5_1", "Q5_K",
         "Q2_K", "Q3_K", "IQ4_NL", "IQ4_XS", "MXFP4", "TQ1_0", "TQ2_0", "Q2_0"]
ELEMENTS = {"Q2_K": 512, "Q3_K": 512, "Q4_K": 512, "Q5_K": 512, "Q6_K": 512, "IQ4_XS": 512,
            "TQ1_0": 512, "TQ2_0": 512}  # 256 of the others
# Byte offsets of the fp16 fields of a block. Random bits there could be NaN or infinity.
HALF_FIELDS = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "Q1_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [], "TQ1_0": [52],
    "TQ2_0": [64], "Q2_0": [0],
}


def kind_of(name):
    return gguf.GGMLQuantizationType[name]


def random_blocks(rng, name):
    block, size = (64, 18) if name == "Q2_0" else gguf.GGML_QUANT_SIZES[kind_of(name)]
    count = ELEMENTS.get(name, 256) // block
    if name == "F16":
        # Every exponent but that of infinity and NaN, so subnormals are there too.
        bits = rng.integers(0, 0x7C00, count) | rng.integers(0, 2, count) << 15
        return bits.astype("<u2").view(np.uint8)
    if name == "BF16":
        bits = rng.integers(0, 0x7F80, count) | rng.integers(0, 2, count) << 15
        return bits.astype("<u2").view(np.uint8)
    data = rng.integers(0, 256, (count, size)).astype(np.uint8)
    for offset in HALF_FIELDS[name]:
        scale = (rng.standard_normal(count) * 10.0 ** rng.integers(-6, 2, count)).astype("<f2")
        data[:, offset : offset + 2] = scale.view(np.uint8).reshape(count, 2)
    return data.reshape(-1)


def decode(data, name):
    if name == "Q1_0":  # not in the package yet: an fp16 scale, then a bit per element for its sign
        blocks = data.reshape(-1, 18)
        scales = blocks[:, :2].copy().view("<f2").astype("<f4")
        bits = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little").astype("<f4")
        return (2 * bits - 1) * scales
    if name == "Q2_0":  # nor this: an fp16 scale, then pairs of bits, less 1
        blocks = data.reshape(-1, 18)
        scales = blocks[:, :2].copy().view("<f2").astype("<f4")
        pairs = blocks[:, 2:, None] >> np.array([0, 2, 4, 6], dtype=np.uint8) & 3
        return (pairs.reshape(-1, 64).astype("<f4") - 1) * scales
    return gguf.quants.dequantize(data, kind_of(name))


def print_array(kind, name, values):
    print(f"inline constexpr {kind} {name}[] = {{")
    for i in range(0, len(values), 10 if kind == "uint32_t" else 20):
        row = values[i : i + (10 if kind == "uint32_t" else 20)]
        print("    " + " ".join(f"{v:#x}," for v in row))
    print("};")


def main():
    rng = np.random.default_rng(20240131)
    print("// Random blocks of every weight type, and the bits of the fp32 values they decode to.")
    print(f"// Made by make_quants.py with gguf {version()}; do not edit.")
    print("// clang-format off")
    print("#pragma once\n\n#include <cstdint>\n\nnamespace jllm::golden {\n")
    for name in TYPES:
        data = random_blocks(rng, name)
        values = decode(data, name)
        label = name.replace("_", "")
        print_array("uint8_t", f"k{label}Blocks", data)
        print_array("uint32_t", f"k{label}Values", values.astype("<f4").reshape(-1).view("<u4"))
        print()
    print("}  // namespace jllm::golden")


def version():
    from importlib.metadata import version as installed

    return installed("gguf")


if __name__ == "__main__":
    main()
