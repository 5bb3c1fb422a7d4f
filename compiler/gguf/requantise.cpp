#include "compiler/gguf/requantise.h"

#include <algorithm>
#include <cmath>
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

// Matrices of floats in the types of a mix, where that makes them smaller.
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

}  // namespace

File with_mix(const File& file, const TypeMix& mix, uint32_t block_count) {
  const MixedModel model = {block_count, file.find_tensor("output.weight") == nullptr};
  return file.with_types([&](const TensorInfo& tensor) {
    return is_matrix(tensor) ? mixed_type(mix, model, tensor.name, tensor.shape[0]) : tensor.type();
  });
}

llvm::Expected<File> open_weights(llvm::StringRef path, llvm::StringRef mix,
                                  const OpenOptions& options) {
  llvm::Expected<File> file = File::open(path, options);
  if (file && !mix.empty()) file = requantised(*file, mix);
  if (!file) return file.takeError();
  return file->with_types([](const TensorInfo& tensor) {
    return tensor.type() == WeightType::kTQ1_0 ? WeightType::kTQ2_0 : tensor.type();
  });
}

RowReader::RowReader(const File& file, const TensorInfo& tensor, uint64_t offset, uint64_t row,
                     Edits* edits)
    : tensor_(tensor),
      stored_type_(file.stored(tensor).type()),
      type_(tensor.type()),
      row_(row),
      stored_row_bytes_(bytes_of(stored_type_, row)),
      row_bytes_(bytes_of(type_, row)),
      stored_(file.data(file.stored(tensor)).data() + bytes_of(stored_type_, offset)),
      first_row_(offset / row),
      rows_in_matrix_(tensor.shape.size() > 1 ? tensor.shape[1] : 1) {
  if (edits == nullptr) return;
  for (const Adapter& adapter : edits->adapters) {
    const auto pair = adapter.pairs().find(tensor.name);
    if (pair != adapter.pairs().end()) added_.emplace_back(adapter, pair->second, row);
  }
  if (stored_type_ == type_ && added_.empty()) return;
  done_ = &edits->done[tensor.name];
  done_->from = stored_type_;
  done_->to = type_;
  done_->merged = !added_.empty();
  const bool known = edits->importance && edits->importance->has(tensor.name);
  if (!known || block_shape(type_).elements == 1) return;
  importance_ = &*edits->importance;
  done_->weighted = true;
}

void RowReader::select(uint64_t matrix) {
  if (matrix == matrix_) return;
  matrix_ = matrix;
  for (AdapterRows& added : added_) added.select(matrix);
  if (importance_ != nullptr) columns_ = importance_->columns(tensor_.name, matrix);
}

void RowReader::convert(uint64_t first, uint64_t rows, uint8_t* out, Sums* sums) const {
  const float* importance = columns_.empty() ? nullptr : columns_.data();
  std::vector<float> values(row_), change(added_.empty() ? 0 : row_), back(row_);
  for (uint64_t i = 0; i < rows; ++i) {
    dequantise(stored_type_, stored_row(first + i), values.data(), row_);
    if (!added_.empty()) {
      std::fill(change.begin(), change.end(), 0.0f);
      for (const AdapterRows& added : added_) {
        added.add((first_row_ + first + i) % rows_in_matrix_, change.data());
      }
      for (uint64_t j = 0; j < row_; ++j) {
        values[j] += change[j];
        sums[i].change += double(change[j]) * change[j];
      }
    }
    quantise(type_, values.data(), out + i * row_bytes_, row_, importance);
    dequantise(type_, out + i * row_bytes_, back.data(), row_);
    for (uint64_t j = 0; j < row_; ++j) {
      const double error = double(back[j]) - values[j];
      sums[i].energy += double(values[j]) * values[j];
      sums[i].error += error * error;
      if (importance == nullptr) continue;
      sums[i].weighted_energy += double(importance[j]) * values[j] * values[j];
      sums[i].weighted_error += importance[j] * error * error;
    }
  }
}

llvm::Expected<const uint8_t*> RowReader::read(uint64_t first, uint64_t rows) {
  if (stored_type_ == type_ && added_.empty()) return stored_row(first);
  converted_.resize(rows * row_bytes_);
  std::vector<Sums> sums(rows);
  for (uint64_t begin = 0; begin < rows;) {
    const uint64_t in_tensor = first_row_ + first + begin;
    const uint64_t n = std::min(rows - begin, rows_in_matrix_ - in_tensor % rows_in_matrix_);
    select(in_tensor / rows_in_matrix_);
    const auto share = [&](uint64_t from, uint64_t to) {
      convert(first + begin + from, to - from, &converted_[(begin + from) * row_bytes_],
              &sums[begin + from]);
    };
    const uint64_t shares = std::clamp<uint64_t>(std::thread::hardware_concurrency(), 1, n);
    std::vector<std::future<void>> others;
    for (uint64_t s = 1; s < shares; ++s) {
      others.push_back(std::async(std::launch::async, share, n * s / shares, n * (s + 1) / shares));
    }
    share(0, n / shares);
    for (std::future<void>& other : others) other.get();
    begin += n;
  }
  // In the order of the rows, so that the sums do not depend on the number of threads.
  for (uint64_t i = 0; i < rows; ++i) {
    if (!std::isfinite(sums[i].energy + sums[i].error)) {
      return fail(ExitCode::kInvalidFile,
                  "tensor {0}, row {1}: a value{2} is not finite, or more than {3} can hold",
                  tensor_.name, first_row_ + first + i,
                  added_.empty() ? "" : ", merged with the adapters,", weight_type_name(type_));
    }
    if (done_ == nullptr) continue;
    done_->elements += row_;
    done_->energy += sums[i].energy;
    done_->change += sums[i].change;
    done_->error += sums[i].error;
    done_->weighted_energy += sums[i].weighted_energy;
    done_->weighted_error += sums[i].weighted_error;
  }
  return converted_.data();
}

}  // namespace jllm::gguf
