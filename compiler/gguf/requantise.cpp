#include "compiler/gguf/requantise.h"

#include <algorithm>
#include <future>
#include <string>
#include <thread>

#include "compiler/gguf/quants.h"
#include "compiler/support/error.h"

namespace jllm::gguf {
namespace {

bool is_matrix(const TensorInfo& tensor) {
  return tensor.shape.size() > 1 && llvm::StringRef(tensor.name).take_back(7) == ".weight";
}

bool holds_floats(const TensorInfo& tensor) {
  return tensor.type() == WeightType::kF32 || tensor.type() == WeightType::kF16 ||
         tensor.type() == WeightType::kBF16;
}

uint64_t bytes_of(WeightType type, uint64_t elements) {
  const BlockShape block = block_shape(type);
  return elements / block.elements * block.bytes;
}

std::string known_mixes() {
  std::string names;
  for (const TypeMix& mix : type_mixes())
    names += std::string(names.empty() ? "" : ", ") + mix.name;
  return names;
}

}  // namespace

File with_mix(const File& file, const TypeMix& mix, uint32_t block_count) {
  const MixedModel model = {block_count, file.find_tensor("output.weight") == nullptr};
  return file.with_types([&](const TensorInfo& tensor) {
    return is_matrix(tensor) ? mixed_type(mix, model, tensor.name, tensor.shape[0]) : tensor.type();
  });
}

llvm::Expected<File> requantised(const File& file, llvm::StringRef name) {
  const TypeMix* mix = find_type_mix(name);
  if (mix == nullptr) {
    return fail(ExitCode::kUsage, "--weights {0}: expected one of {1}", name, known_mixes());
  }
  llvm::Expected<llvm::StringRef> architecture = file.get_string("general.architecture");
  if (!architecture) return architecture.takeError();
  llvm::Expected<uint64_t> layers = file.get_u64((*architecture + ".block_count").str());
  if (!layers) return layers.takeError();
  const MixedModel model = {static_cast<uint32_t>(*layers),
                            file.find_tensor("output.weight") == nullptr};
  bool changes = false;
  File changed = file.with_types([&](const TensorInfo& tensor) {
    if (!is_matrix(tensor) || !holds_floats(tensor)) return tensor.type();
    const WeightType type = mixed_type(*mix, model, tensor.name, tensor.shape[0]);
    if (bytes_of(type, tensor.elements()) >= tensor.byte_size) return tensor.type();
    changes = true;
    return type;
  });
  if (!changes) {
    return fail(
        ExitCode::kUsage,
        "--weights {0}: {1} has no matrix of floats that would become smaller; take a file in "
        "F16, BF16 or F32, or leave the option out",
        name, file.path());
  }
  return changed;
}

RowReader::RowReader(const File& file, const TensorInfo& tensor, uint64_t offset, uint64_t row)
    : stored_type_(file.stored(tensor).type()),
      type_(tensor.type()),
      row_(row),
      stored_row_bytes_(bytes_of(stored_type_, row)),
      row_bytes_(bytes_of(type_, row)),
      stored_(file.data(file.stored(tensor)).data() + bytes_of(stored_type_, offset)) {}

const uint8_t* RowReader::read(uint64_t first, uint64_t rows) {
  if (stored_type_ == type_) return stored_row(first);
  converted_.resize(rows * row_bytes_);
  const auto convert = [&](uint64_t begin, uint64_t end) {
    std::vector<float> values(row_);
    for (uint64_t i = begin; i < end; ++i) {
      dequantise(stored_type_, stored_row(first + i), values.data(), row_);
      quantise(type_, values.data(), converted_.data() + i * row_bytes_, row_);
    }
  };
  const uint64_t shares = std::clamp<uint64_t>(std::thread::hardware_concurrency(), 1, rows);
  std::vector<std::future<void>> others;
  for (uint64_t s = 1; s < shares; ++s) {
    others.push_back(
        std::async(std::launch::async, convert, rows * s / shares, rows * (s + 1) / shares));
  }
  convert(0, rows / shares);
  for (std::future<void>& other : others) other.get();
  return converted_.data();
}

}  // namespace jllm::gguf
