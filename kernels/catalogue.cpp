// Launch rules of the device kernels. Constants that repeat one of a source carry its name.
#include "kernels/catalogue.h"

#include <algorithm>

#include "schema/kv_layout.h"
#include "schema/row_layout.h"

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

// attention_decode: query rows of a block, and groups of them in all heads.
constexpr uint64_t kDecodeRows = 8;
uint64_t decode_queries(const DecodeAttention& d) {
  return uint64_t(d.heads / d.kv_heads) * d.tokens;
}
uint64_t decode_row_groups(const DecodeAttention& d) {
  return d.kv_heads * divide_up(decode_queries(d), kDecodeRows);
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

bool has_int8_products(unsigned type) {
  return type != kRowF32 && type != kRowF16 && type != kRowBF16 && type != kRowQ1_0;
}

uint64_t image_bytes(Activations mode, uint64_t k) {
  constexpr uint64_t kPadded = 36;  // floats per sub-block of 32
  const uint64_t blocks = divide_up(k, 32);
  if (mode == Activations::kExact) return blocks * kPadded * sizeof(float);
  const uint64_t plane = divide_up(16 * blocks, 128) * 128 + 64;  // kPlane
  const uint64_t planes = mode == Activations::kInt8Pair ? 4 : 2;
  return divide_up(planes * plane + 12 * blocks, 16) * 16;
}

DecodeAttention decode_attention(uint32_t heads, uint32_t kv_heads, uint32_t head_dim,
                                 uint32_t sm_count, uint32_t tokens) {
  DecodeAttention out;
  out.heads = heads;
  out.kv_heads = kv_heads;
  out.head_dim = head_dim;
  out.tokens = tokens;
  const uint64_t wanted = divide_up(2 * uint64_t(sm_count), std::max(kv_heads, 1u));
  out.splits = static_cast<uint32_t>(std::clamp<uint64_t>(wanted, 1, 32));
  return out;
}

uint64_t DecodeAttention::partial_bytes() const {
  const uint64_t rows = std::min(decode_queries(*this), kDecodeRows);
  return decode_row_groups(*this) * splits * rows * (uint64_t(head_dim) + 2) * sizeof(float);
}

uint64_t DecodeAttention::ticket_bytes() const {
  return decode_row_groups(*this) * sizeof(uint32_t);
}

LaunchShape DecodeAttention::shape() const {
  LaunchShape shape;
  shape.grid_x = clamp_grid(decode_row_groups(*this));
  shape.grid_y = splits;
  shape.block = head_dim <= 128 ? 256 : 128;  // kThreads
  return shape;
}

std::string define(std::string_view name, uint64_t value) {
  return std::string(name) + "=" + std::to_string(value);
}

bool may_overlap(std::string_view kernel) {
  for (const char* name :
       {"embed", "qkv", "attention_decode", "matmul_add", "gate_up", "head", "sample", "accept",
        "rms_norm", "short_conv", "route", "expert_matmul", "expert_sum"}) {
    if (kernel == name) return true;
  }
  return false;
}

LaunchShape row_shape(uint32_t rows, uint64_t dim, uint32_t groups) {
  LaunchShape shape;
  shape.grid_x = std::max(rows, 1u);
  shape.grid_y = groups;
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

uint64_t kv_append_items(uint32_t kv_type, uint32_t heads, uint32_t head_dim) {
  constexpr uint64_t kWarp = 32;
  return heads * (kv_is_quantised(kv_type) ? kWarp : uint64_t(head_dim));
}

LaunchShape short_conv_shape(uint32_t rows, uint64_t n) {
  LaunchShape shape;
  shape.block = 128;
  shape.grid_x = clamp_grid(divide_up(n, shape.block));
  shape.grid_y = clamp_grid(divide_up(rows, kShortConvSegment));
  return shape;
}

uint32_t matmul_tile(uint32_t rows, uint64_t n, uint32_t sm_count) {
  // The small tile reads shared memory twice per product: only where the large would leave most of
  // the device idle.
  const uint64_t blocks = divide_up(n, 64) * divide_up(rows, 64);
  return 4 * blocks < sm_count ? 16 : 64;
}

LaunchShape matmul_shape(uint32_t rows, uint64_t n, uint32_t tile) {
  LaunchShape shape;
  shape.block = 256;  // kFloatThreads
  shape.grid_x = clamp_grid(divide_up(n, tile));
  shape.grid_y = clamp_grid(divide_up(rows, tile));
  return shape;
}

LaunchShape route_shape(uint32_t rows) {
  LaunchShape shape;
  shape.grid_x = std::max(rows, 1u);
  shape.block = 32;
  return shape;
}

LaunchShape expert_lists_shape() {
  LaunchShape shape;
  shape.block = 1024;
  return shape;
}

LaunchShape finish_chunk_shape() {
  LaunchShape shape;
  shape.block = 256;
  return shape;
}

LaunchShape draft_shape() {
  LaunchShape shape;
  shape.block = 32;
  return shape;
}

LaunchShape sample_shape() {
  LaunchShape shape;
  shape.block = 1024;
  return shape;
}

}  // namespace jllm::kernels
