// GGUF weight rows into the layouts of plans, the same bits in another order: rows of planes for
// CUDA (schema/row_layout.h), panels for the host's integer products (schema/panel_layout.h).
#pragma once

#include <cstdint>

#include "schema/weight_type.h"

namespace jllm {

// Repacks `rows` consecutive rows of `k` weights (a multiple of the type's block) from GGUF blocks
// to out[rows * row_layout(type, k).stride], padded with zeros to the row stride. The two must not
// overlap.
void repack_rows(WeightType type, const uint8_t* gguf_rows, uint64_t rows, uint64_t k,
                 uint8_t* out);

// The same to out[panel_count(rows) * panel_bytes(type, k)], the last panel filled up with zeros.
void repack_panels(WeightType type, const uint8_t* gguf_rows, uint64_t rows, uint64_t k,
                   uint8_t* out);

}  // namespace jllm
