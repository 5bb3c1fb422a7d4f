// What the compiler knows about the device kernels: their sources as text and how to launch them.
// kernels/device/README.md has the macros and arguments of each.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace jllm::kernels {

struct Source {
  std::string_view name;  // as written in #include: "kernels/device/qkv.cu"
  std::string_view text;
};

// The source of a kernel ("qkv" or "qkv.cu" for kernels/device/qkv.cu); null when there is none.
const Source* find_source(std::string_view kernel);

// Every kernel's name, sorted.
std::vector<std::string_view> kernel_names();

// The headers that kernels include: all of them go to NVRTC with every kernel.
const std::vector<Source>& all_headers();

// NVRTC options that the sources need, in order; the kernel's macros follow them.
const std::vector<std::string>& compile_options();

// Grid, block and dynamic shared memory of a launch. Kernels stride over their grid, so a grid is a
// recommendation: results do not depend on it, except where a dimension is said to be fixed.
struct LaunchShape {
  uint32_t grid_x = 1, grid_y = 1;
  uint32_t block = 1;         // threads, in x
  uint64_t shared_bytes = 0;  // above 48 KB the function needs its attribute raised
};

// qkv, matmul_add, gate_up, head: `rows` is N, for qkv (HEADS + 2 * KV_HEADS) * HEAD_DIM.
LaunchShape gemv_shape(uint64_t k, uint64_t rows, uint32_t sm_count);

// Splits that fill the device, at most 32, and what they need: partial (f32 scratch) and tickets.
uint32_t attention_decode_splits(uint32_t kv_heads, uint32_t sm_count);
uint64_t attention_decode_partial_bytes(uint32_t heads, uint32_t splits, uint32_t head_dim);
uint64_t attention_decode_ticket_bytes(uint32_t kv_heads);
LaunchShape attention_decode_shape(uint32_t kv_heads, uint32_t splits);  // grid fixed

// embed, rms_norm: one block per row, grid fixed.
LaunchShape row_shape(uint32_t rows, uint64_t dim);

// add_bias, glu, add (n = N), kv_append (n = HEADS * HEAD_DIM), rope (HEADS * HEAD_DIM / 2) and
// rope_append ((HEADS + 2 * KV_HEADS) * HEAD_DIM / 2): n work items per row. grid_y is fixed.
LaunchShape elementwise_shape(uint32_t rows, uint64_t n, uint32_t sm_count);

// matmul: the macro TILE (64 or 128: weight rows and tokens of a tile) that suits this many rows;
// large tiles convert each operand less often, but need enough of them to fill the device. 64 is
// the default.
uint32_t matmul_tile(uint32_t rows, uint64_t n, uint32_t sm_count);
LaunchShape matmul_shape(uint32_t rows, uint64_t n, uint32_t tile = 64);

LaunchShape attention_shape(uint32_t rows, uint32_t heads, uint32_t kv_heads,
                            uint32_t head_dim);  // grid fixed
LaunchShape finish_chunk_shape();                // one block
LaunchShape sample_shape();                      // one block

}  // namespace jllm::kernels
