// Finding a model's tensors by name, and checking that they are what the architecture says.
#include <llvm/ADT/STLExtras.h>
#include <llvm/Support/FormatVariadic.h>

#include "compiler/gguf/type_table.h"
#include "compiler/model/model.h"
#include "compiler/support/error.h"

namespace jllm::model {
namespace {

// Names of the types that have a block shape, smallest id first.
std::string supported_types() {
  std::string names;
  for (uint32_t id = 0; id < 64; ++id) {
    const auto type = static_cast<WeightType>(id);
    if (block_shape(type).elements == 0) continue;
    names += (names.empty() ? "" : ", ") + std::string(weight_type_name(type));
  }
  return names;
}

// What to do about a type without kernels: the smallest type of at least its size.
std::string advice_for(uint32_t type_id) {
  const BlockShape shape = gguf::stored_block_shape(type_id);
  const auto bits = [](const BlockShape& s) { return 8.0 * s.bytes / s.elements; };
  const char* best = nullptr;
  double least = 0;
  for (uint32_t id = 0; id < 64 && shape.elements > 1; ++id) {
    const auto type = static_cast<WeightType>(id);
    const BlockShape other = block_shape(type);
    if (other.elements <= 1 || bits(other) < bits(shape)) continue;
    if (best != nullptr && bits(other) >= least) continue;
    best = weight_type_name(type);
    least = bits(other);
  }
  if (best == nullptr) return "";
  return llvm::formatv(
      "; of these, {0} is nearest in size ({1:f2} bits a weight for {2:f2}): get the "
      "model quantised so",
      best, least, bits(shape));
}

// Says so where a type's id is taken as a fork of llama.cpp took it; such files tell it by the
// bytes from one tensor to the next.
std::string fork_of(const gguf::File& file, const gguf::TensorInfo& tensor) {
  constexpr uint32_t kNvfp4 = 40;
  const auto any = [&](const auto& shows) {
    return llvm::any_of(file.tensors(), [&](const gguf::TensorInfo& other) {
      const gguf::TensorInfo& stored = file.stored(other);
      return stored.type_id == tensor.type_id && shows(stored);
    });
  };
  if (tensor.type() == WeightType::kQ2_0 &&
      any([](const gguf::TensorInfo& t) { return t.byte_size == 0; })) {
    return "a fork's Q2_0 with blocks of 128 weights in 34 bytes, not llama.cpp's of 64 in 18: get "
           "the file of blocks of 64 (often called Q2_0_g64)";
  }
  if (tensor.type_id == kNvfp4 &&
      any([](const gguf::TensorInfo& t) { return t.room < t.elements() / 64 * 36; })) {
    return "a fork's 1-bit type under the id of NVFP4: get the model as Q1_0";
  }
  return "";
}

std::string part_name(const std::string& name, const TensorLoader::Rows& rows) {
  return name + "[" + std::to_string(rows.first) + ":" + std::to_string(rows.first + rows.count) +
         "]";
}

}  // namespace

void TensorLoader::refuse(llvm::Error error) {
  if (error_) {
    llvm::consumeError(std::move(error));
  } else {
    error_ = std::move(error);
  }
}

ir::TensorId TensorLoader::add(ir::Tensor tensor, const std::string& source,
                               const std::vector<uint64_t>& shape) {
  tensor.source = model_.file->find_tensor(source);
  const auto check = [&]() -> llvm::Error {
    if (tensor.source == nullptr) {
      return fail(ExitCode::kInvalidFile, "{0}: tensor {1} is missing", model_.file->path(),
                  source);
    }
    std::vector<uint64_t> found = tensor.source->shape;
    while (found.size() < shape.size()) found.push_back(1);
    if (found != shape) {
      return fail(ExitCode::kInvalidFile, "{0}: tensor {1} has shape [{2}], expected [{3}]",
                  model_.file->path(), source,
                  llvm::make_range(tensor.source->shape.begin(), tensor.source->shape.end()),
                  llvm::make_range(shape.begin(), shape.end()));
    }
    tensor.type = tensor.source->type();
    const std::string fork = fork_of(*model_.file, model_.file->stored(*tensor.source));
    if (!fork.empty()) {
      return fail(ExitCode::kUnsupported, "{0}: tensor {1} is stored as {2}", model_.file->path(),
                  source, fork);
    }
    const bool known = block_shape(tensor.type).elements != 0;
    const bool plain = known && block_shape(tensor.type).elements == 1;
    if (!known || (tensor.kind == ir::TensorKind::kConstant && !plain)) {
      return fail(ExitCode::kUnsupported,
                  "{0}: tensor {1} has type {2}, which is not supported; supported: {3}{4}",
                  model_.file->path(), source, gguf::type_name(tensor.source->type_id),
                  tensor.kind == ir::TensorKind::kConstant ? "f32, f16, bf16" : supported_types(),
                  known ? "" : advice_for(tensor.source->type_id));
    }
    return llvm::Error::success();
  };
  if (llvm::Error error = check()) refuse(std::move(error));
  if (tensor.kind == ir::TensorKind::kConstant) tensor.type = WeightType::kF32;
  return program_.add(std::move(tensor));
}

ir::TensorId TensorLoader::weight(const std::string& name, const Rows& rows, uint64_t cols) {
  ir::Tensor tensor;
  tensor.name = rows.count == rows.total ? name : part_name(name, rows);
  tensor.kind = ir::TensorKind::kWeight;
  tensor.rows = rows.count;
  tensor.cols = cols;
  tensor.source_offset = rows.first * cols;
  return add(std::move(tensor), name, {cols, rows.total});
}

ir::TensorId TensorLoader::experts(const std::string& name, uint64_t experts, const Rows& rows,
                                   uint64_t cols) {
  ir::Tensor tensor;
  tensor.name = rows.count == rows.total ? name : part_name(name, rows);
  tensor.kind = ir::TensorKind::kWeight;
  tensor.rows = experts * rows.count;
  tensor.cols = cols;
  tensor.experts = experts;
  tensor.source_offset = rows.first * cols;
  tensor.source_step = rows.total * cols;
  return add(std::move(tensor), name, {cols, rows.total, experts});
}

ir::TensorId TensorLoader::weight(const std::string& name, uint64_t rows, uint64_t cols) {
  return weight(name, Rows{0, rows, rows}, cols);
}

ir::TensorId TensorLoader::vector(const std::string& name, const Rows& elements) {
  ir::Tensor tensor;
  tensor.name = elements.count == elements.total ? name : part_name(name, elements);
  tensor.kind = ir::TensorKind::kConstant;
  tensor.rows = 1;
  tensor.cols = elements.count;
  tensor.source_offset = elements.first;
  return add(std::move(tensor), name, {elements.total, 1});
}

ir::TensorId TensorLoader::vector(const std::string& name, uint64_t n) {
  return vector(name, Rows{0, n, n});
}

ir::TensorId TensorLoader::table(const std::string& name, uint64_t rows, uint64_t cols) {
  ir::Tensor tensor;
  tensor.name = name;
  tensor.kind = ir::TensorKind::kConstant;
  tensor.rows = rows;
  tensor.cols = cols;
  return add(std::move(tensor), name, {cols, rows});
}

ir::TensorId TensorLoader::constant(const std::string& name, std::vector<float> values) {
  ir::Tensor tensor;
  tensor.name = name;
  tensor.kind = ir::TensorKind::kConstant;
  tensor.rows = 1;
  tensor.cols = values.size();
  tensor.values = std::move(values);
  return program_.add(std::move(tensor));
}

}  // namespace jllm::model
