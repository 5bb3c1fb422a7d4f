// The KV caches of a program: which types they may have, and their tensors.
#include <algorithm>
#include <iterator>

#include "compiler/model/model.h"
#include "compiler/support/error.h"
#include "schema/kv_layout.h"

namespace jllm::model {
namespace {

// From the largest to the smallest.
constexpr WeightType kKvTypes[] = {WeightType::kF32, WeightType::kF16, WeightType::kQ8_0,
                                   WeightType::kQ4_0};

unsigned kv_id(WeightType type) { return static_cast<unsigned>(type); }

llvm::Error check_type(const HyperParameters& p, const char* which, WeightType type) {
  if (std::find(std::begin(kKvTypes), std::end(kKvTypes), type) == std::end(kKvTypes)) {
    return fail(ExitCode::kUnsupported, "{0} cache type {1} is not supported; supported: {2}",
                which, weight_type_name(type), kv_type_names());
  }
  if (kv_layout(kv_id(type), 1, p.head_dim).row != 0) return llvm::Error::success();
  return fail(ExitCode::kUnsupported,
              "{0}: a {1} cache in {2} needs a head dimension that is a multiple of {3}, and this "
              "model's is {4}; use f16 (--kv-{5} f16)",
              p.name, which, weight_type_name(type), kKvGroup, p.head_dim,
              llvm::StringRef(which).lower());
}

}  // namespace

std::string kv_type_names() {
  std::string names;
  for (const WeightType type : kKvTypes) {
    names += (names.empty() ? "" : ", ") + std::string(weight_type_name(type));
  }
  return names;
}

llvm::Expected<WeightType> parse_kv_type(llvm::StringRef name) {
  for (const WeightType type : kKvTypes) {
    if (name == weight_type_name(type)) return type;
  }
  return fail(ExitCode::kUnsupported, "KV cache type '{0}' is not supported; supported: {1}", name,
              kv_type_names());
}

llvm::Error check_kv_types(const HyperParameters& params, const ProgramOptions& options) {
  if (llvm::Error error = check_type(params, "K", options.kv_type_k)) return error;
  return check_type(params, "V", options.kv_type_v);
}

ir::TensorId add_kv_cache(const Model& model, const ProgramOptions& options, ir::Program& program,
                          uint32_t layer, bool key) {
  ir::Tensor tensor;
  tensor.name = "cache_" + std::string(key ? "k" : "v") + "." + std::to_string(layer);
  tensor.kind = ir::TensorKind::kKvCache;
  tensor.type = key ? options.kv_type_k : options.kv_type_v;
  tensor.rows = uint64_t{model.params.head_count_kv} * options.context;
  tensor.cols = model.params.head_dim;
  if (key && options.rotate_keys) {
    tensor.rotation = kv_rotation(kv_id(tensor.type), model.params.head_dim);
  }
  return program.add(std::move(tensor));
}

}  // namespace jllm::model
