// GGUF weight rows into the row layout of CUDA plans (schema/row_layout.h): the same bits in
// another order, padded with zeros to the row stride.
#pragma once

#include <cstdint>

#include "schema/weight_type.h"

namespace jllm {

// Repacks `rows` consecutive rows of `k` weights (a multiple of the type's block) from GGUF blocks
// to out[rows * row_layout(type, k).stride]. The two must not overlap.
void repack_rows(WeightType type, const uint8_t* gguf_rows, uint64_t rows, uint64_t k,
                 uint8_t* out);

}  // namespace jllm
