// How values enter a KV cache on the host; schema/kv_layout.h has the layout and the rounding
// rules.
#pragma once

#include <cstdint>

namespace jllm::host {

// Stores in[head_dim] as row `row` of a cache of `rows` rows of that type (kKv...); with `rotation`
// rotated by blocks of that many elements first.
void store_kv_row(unsigned type, void* cache, uint64_t rows, uint64_t row, const float* in,
                  uint64_t head_dim, uint64_t rotation);

// out[head_dim] = in[head_dim] rotated by blocks of `rotation` elements; out may be in.
void rotate_row(const float* in, float* out, uint64_t head_dim, uint64_t rotation);

}  // namespace jllm::host
