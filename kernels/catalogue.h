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

// NAME=VALUE, as NVRTC takes a macro behind -D.
std::string define(std::string_view name, uint64_t value);

// Every kernel's name, sorted.
std::vector<std::string_view> kernel_names();

// The headers that kernels include: all of them go to NVRTC with every kernel.
const std::vector<Source>& all_headers();

// NVRTC options that the sources need, in order; the kernel's macros follow them.
const std::vector<std::string>& compile_options();

// Whether the kernel may start before its predecessor has ended (macro PROGRAMMATIC, sm_90 and
// later). Those for many tokens fill the device: what comes early crowds on the multiprocessors
// that are free first, which costs more than the start saves.
bool may_overlap(std::string_view kernel);

// Grid, block and dynamic shared memory of a launch. Kernels stride over their grid, so a grid is a
// recommendation: results do not depend on it, except where a dimension is said to be fixed.
struct LaunchShape {
  uint32_t grid_x = 1, grid_y = 1;
  uint32_t block = 1;         // threads, in x
  uint64_t shared_bytes = 0;  // above 48 KB the function needs its attribute raised
  uint32_t grid_z = 1;
};

// How qkv, matmul_add, gate_up and head read their vector (macro ACTIVATIONS): as f32, as int8 with
// a scale per 32, or as int8 with the rounding error in a second int8.
enum class Activations : uint32_t { kExact = 0, kInt8 = 1, kInt8Pair = 2 };

// Whether there are int8 products for this weight type; the others take kExact.
bool has_int8_products(unsigned type);

// Bytes of the vector as these kernels stage it, and as one kernel hands it to the next in the int8
// modes.
uint64_t image_bytes(Activations mode, uint64_t k);

// qkv, matmul_add, gate_up, head: gemv_shapes.h.

// Attention of `tokens` that follow each other, by one launch.
struct DecodeAttention {
  uint32_t heads = 1, kv_heads = 1, head_dim = 64;
  uint32_t tokens = 1;
  uint32_t splits = 1;  // of the cached positions

  uint64_t partial_bytes() const;  // f32 scratch
  uint64_t ticket_bytes() const;   // zero before the first launch
  LaunchShape shape() const;       // grid fixed
};
// With splits that fill the device, at most 32.
DecodeAttention decode_attention(uint32_t heads, uint32_t kv_heads, uint32_t head_dim,
                                 uint32_t sm_count, uint32_t tokens = 1);

// embed, rms_norm, layer_norm, halves: one block per row and group of `dim` elements, grid fixed.
LaunchShape row_shape(uint32_t rows, uint64_t dim, uint32_t groups = 1);

// add_bias, glu, unary, add (n = N), kv_append (n = kv_append_items()), rope (HEADS * HEAD_DIM / 2)
// and rope_append ((HEADS + 2 * KV_HEADS) * HEAD_DIM / 2): n work items per row. grid_y is fixed.
LaunchShape elementwise_shape(uint32_t rows, uint64_t n, uint32_t sm_count);

// Threads that kv_append has work for, per row: one per element, or a warp per head of a quantised
// cache.
uint64_t kv_append_items(uint32_t kv_type, uint32_t heads, uint32_t head_dim);

// short_conv: a thread per column and segment of kShortConvSegment rows; grid_y is fixed.
constexpr uint32_t kShortConvSegment = 16;
LaunchShape short_conv_shape(uint32_t rows, uint64_t n);

// matmul: any grid; rows and tokens of a tile (macro TILE) so that there is work for the device.
// The tensor-core product has gemm_shapes.h, attention attention_shapes.h.
uint32_t matmul_tile(uint32_t rows, uint64_t n, uint32_t sm_count);
LaunchShape matmul_shape(uint32_t rows, uint64_t n, uint32_t tile);

LaunchShape route_shape(uint32_t rows);  // a warp per token
LaunchShape expert_lists_shape();        // one block

LaunchShape finish_chunk_shape();  // one block
LaunchShape sample_shape();        // sample, accept: one block
LaunchShape draft_shape();         // one warp

}  // namespace jllm::kernels
