// Launch rules of the device kernels. Constants that repeat one of a source carry its name.
#include "kernels/catalogue.h"

#include <algorithm>

namespace jllm::kernels {

namespace detail {
extern const Source kSources[];  // generated, sorted by name
extern const unsigned kSourceCount;
}  // namespace detail

namespace {

constexpr std::string_view kFolder = "kernels/device/";
constexpr std::string_view kKernelSuffix = ".cu";

uint64_t divide_up(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

uint32_t clamp_grid(uint64_t blocks) {
  return static_cast<uint32_t>(std::clamp<uint64_t>(blocks, 1, 0x7fffffff));
}

bool is_kernel(std::string_view name) {
  return name.size() > kKernelSuffix.size() &&
         name.substr(name.size() - kKernelSuffix.size()) == kKernelSuffix;
}

// "kernels/device/qkv.cu" -> "qkv"
std::string_view kernel_name(std::string_view file) {
  return file.substr(kFolder.size(), file.size() - kFolder.size() - kKernelSuffix.size());
}

}  // namespace

const Source* find_source(std::string_view kernel) {
  if (is_kernel(kernel)) kernel.remove_suffix(kKernelSuffix.size());
  for (unsigned i = 0; i < detail::kSourceCount; ++i) {
    const Source& source = detail::kSources[i];
    if (is_kernel(source.name) && kernel_name(source.name) == kernel) return &source;
  }
  return nullptr;
}

std::vector<std::string_view> kernel_names() {
  std::vector<std::string_view> names;
  for (unsigned i = 0; i < detail::kSourceCount; ++i) {
    const std::string_view name = detail::kSources[i].name;
    if (is_kernel(name)) names.push_back(kernel_name(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

const std::vector<Source>& all_headers() {
  static const std::vector<Source> headers = [] {
    std::vector<Source> out;
    for (unsigned i = 0; i < detail::kSourceCount; ++i) {
      if (!is_kernel(detail::kSources[i].name)) out.push_back(detail::kSources[i]);
    }
    return out;
  }();
  return headers;
}

const std::vector<std::string>& compile_options() {
  static const std::vector<std::string> options = {"--std=c++17",
                                                   "--device-as-default-execution-space"};
  return options;
}

LaunchShape gemv_shape(uint64_t k, uint64_t rows, uint32_t sm_count) {
  constexpr uint64_t kRowsPerGroup = 2;    // kRows: rows that a warp takes at a time
  constexpr uint64_t kBlocksPerSm = 2;     // what the launch bounds are made for
  constexpr uint64_t kGroupsPerBlock = 4;  // fewer, and staging the vector would outweigh the rows
  constexpr uint64_t kPadded = 36;         // floats per sub-block of 32 in shared memory
  LaunchShape shape;
  const uint64_t groups = divide_up(rows, kRowsPerGroup);
  shape.grid_x = clamp_grid(std::min(kBlocksPerSm * sm_count, divide_up(groups, kGroupsPerBlock)));
  shape.block = 512;  // kGemvThreads
  shape.shared_bytes = divide_up(k, 32) * kPadded * sizeof(float);
  return shape;
}

uint32_t attention_decode_splits(uint32_t kv_heads, uint32_t sm_count) {
  return static_cast<uint32_t>(
      std::clamp<uint64_t>(divide_up(2 * uint64_t(sm_count), std::max(kv_heads, 1u)), 1, 32));
}

uint64_t attention_decode_partial_bytes(uint32_t heads, uint32_t splits, uint32_t head_dim) {
  return uint64_t(heads) * splits * (uint64_t(head_dim) + 2) * sizeof(float);
}

uint64_t attention_decode_ticket_bytes(uint32_t kv_heads) { return uint64_t(kv_heads) * 4; }

LaunchShape attention_decode_shape(uint32_t kv_heads, uint32_t splits) {
  LaunchShape shape;
  shape.grid_x = kv_heads;
  shape.grid_y = splits;
  shape.block = 256;
  return shape;
}

LaunchShape row_shape(uint32_t rows, uint64_t dim) {
  LaunchShape shape;
  shape.grid_x = std::max(rows, 1u);
  shape.block = dim <= 512 ? 128 : dim <= 2048 ? 256 : 512;
  return shape;
}

LaunchShape elementwise_shape(uint32_t rows, uint64_t n, uint32_t sm_count) {
  LaunchShape shape;
  shape.block = 256;
  shape.grid_y = std::max(rows, 1u);
  shape.grid_x = clamp_grid(std::min<uint64_t>(divide_up(n, shape.block), 8 * uint64_t(sm_count)));
  return shape;
}

uint32_t matmul_tile(uint32_t rows, uint64_t n, uint32_t sm_count) {
  const uint64_t large_tiles = divide_up(rows, 128) * divide_up(n, 128);
  return rows > 64 && large_tiles >= sm_count ? 128 : 64;
}

LaunchShape matmul_shape(uint32_t rows, uint64_t n, uint32_t tile) {
  LaunchShape shape;
  shape.block = 256;  // kGemmThreads
  shape.grid_x = clamp_grid(divide_up(n, tile));
  shape.grid_y = clamp_grid(divide_up(rows, tile));
  return shape;
}

LaunchShape attention_shape(uint32_t rows, uint32_t heads, uint32_t kv_heads, uint32_t head_dim) {
  constexpr uint64_t kVectors = 32, kTile = 32;
  LaunchShape shape;
  shape.block = 256;
  shape.grid_x = kv_heads;
  shape.grid_y = clamp_grid(divide_up(uint64_t(rows) * (heads / kv_heads), kVectors));
  shape.shared_bytes =
      ((kVectors + 2 * kTile) * (uint64_t(head_dim) + 4) + kVectors * kTile) * sizeof(float);
  return shape;
}

LaunchShape finish_chunk_shape() {
  LaunchShape shape;
  shape.block = 256;
  return shape;
}

LaunchShape sample_shape() {
  LaunchShape shape;
  shape.block = 1024;
  return shape;
}

}  // namespace jllm::kernels
