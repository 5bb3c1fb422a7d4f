#include "compiler/gguf/adapter.h"

#include <llvm/ADT/StringExtras.h>
#include <llvm/Support/SHA256.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "compiler/gguf/part.h"
#include "compiler/gguf/quants.h"
#include "compiler/gguf/type_table.h"
#include "compiler/support/error.h"

namespace jllm::gguf {
namespace {

// What is published has 4 to 512. More than the matrix has rows and columns is never low-rank.
constexpr uint64_t kMaxRank = 4096;
constexpr char kEmbedding[] = "token_embd.weight";

uint64_t extent(const TensorInfo& tensor, size_t dimension) {
  return dimension < tensor.shape.size() ? tensor.shape[dimension] : 1;
}

std::string shape_text(const TensorInfo& tensor) {
  return llvm::formatv("[{0}]", llvm::make_range(tensor.shape.begin(), tensor.shape.end())).str();
}

// Row `row` of a matrix of the tensor, as floats.
void read_row(const File& file, const TensorInfo& tensor, uint64_t row, float* out) {
  const uint64_t n = tensor.shape[0];
  const BlockShape block = block_shape(tensor.type());
  dequantise(tensor.type(), file.data(tensor).data() + row * (n / block.elements * block.bytes),
             out, n);
}

}  // namespace

llvm::Expected<AdapterRequest> parse_adapter(llvm::StringRef text) {
  AdapterRequest request;
  request.path = text.str();
  const auto [path, scale] = text.rsplit(':');
  double value = 0;
  if (!scale.empty() && !scale.getAsDouble(value)) {
    request.path = path.str();
    request.scale = value;
  }
  if (request.path.empty()) {
    return fail(ExitCode::kUsage, "--lora {0}: expected FILE.gguf or FILE.gguf:SCALE", text);
  }
  if (!std::isfinite(static_cast<float>(request.scale)) || request.scale == 0) {
    return fail(ExitCode::kUsage, "--lora {0}: expected a finite scale other than 0", text);
  }
  return request;
}

llvm::Expected<Adapter> Adapter::open(const AdapterRequest& request, const File& model) {
  llvm::Expected<File> file = File::open(request.path);
  if (!file) return file.takeError();
  Adapter adapter;
  adapter.file_ = std::make_unique<File>(std::move(*file));
  adapter.scale_ = request.scale;
  if (llvm::Error error = adapter.read_header(model)) return error;
  if (llvm::Error error = adapter.pair_up(model)) return error;
  if (llvm::Error error = adapter.read_values()) return error;
  return adapter;
}

std::string Adapter::scale_text() const {
  char digits[32];
  return {digits, std::to_chars(digits, digits + sizeof digits, scale_).ptr};
}

llvm::Error Adapter::read_header(const File& model) {
  llvm::Expected<llvm::StringRef> type = file_->get_string_or("general.type", "model");
  if (!type) return type.takeError();
  if (*type != "adapter") {
    return fail(ExitCode::kUsage,
                "--lora {0}: is no adapter, its general.type is {1}; take a file that llama.cpp's "
                "convert_lora_to_gguf.py has written",
                path(), printable(*type));
  }
  llvm::Expected<llvm::StringRef> kind = file_->get_string("adapter.type");
  if (!kind) return kind.takeError();
  if (*kind != "lora") {
    return fail(ExitCode::kUnsupported,
                "{0}: is an adapter of type {1}; jllm merges adapters of type lora", path(),
                printable(*kind));
  }
  if (file_->has("adapter.alora.invocation_tokens")) {
    return fail(ExitCode::kUnsupported,
                "{0}: is an activated LoRA, which changes the model only behind certain tokens; it "
                "cannot be merged into the weights",
                path());
  }
  llvm::Expected<llvm::StringRef> own = file_->get_string("general.architecture");
  if (!own) return own.takeError();
  llvm::Expected<llvm::StringRef> base = model.get_string("general.architecture");
  if (!base) return base.takeError();
  if (*own != *base) {
    return fail(ExitCode::kUsage,
                "{0}: is an adapter for the architecture {1}, but {2} has {3}; take the model that "
                "it was trained on",
                path(), printable(*own), model.path(), printable(*base));
  }
  llvm::Expected<double> alpha = file_->get_f64_or("adapter.lora.alpha", 0);
  if (!alpha) return alpha.takeError();
  if (!std::isfinite(*alpha)) {
    return fail(ExitCode::kInvalidFile, "{0}: adapter.lora.alpha is not finite", path());
  }
  alpha_ = *alpha;
  return llvm::Error::success();
}

llvm::Error Adapter::pair_up(const File& model) {
  for (const TensorInfo& tensor : file_->tensors()) {
    llvm::StringRef name = tensor.name;
    const bool is_a = name.consume_back(".lora_a");
    if (is_a || name.consume_back(".lora_b")) {
      Pair& pair = pairs_.try_emplace(name.str()).first->second;
      (is_a ? pair.right : pair.left) = &tensor;
    } else if (name.consume_back("_norm.weight")) {
      ++ignored_;
    } else {
      return fail(ExitCode::kInvalidFile,
                  "{0}: tensor {1} belongs to no pair: its name ends neither in .lora_a nor in "
                  ".lora_b",
                  path(), printable(tensor.name));
    }
  }
  if (pairs_.empty()) return fail(ExitCode::kInvalidFile, "{0}: has no LoRA tensors", path());
  for (auto& [name, pair] : pairs_) {
    if (pair.left == nullptr || pair.right == nullptr) {
      return fail(ExitCode::kInvalidFile, "{0}: {1} has {2} but no {3}; the adapter is incomplete",
                  path(), printable(name), pair.left == nullptr ? ".lora_a" : ".lora_b",
                  pair.left == nullptr ? ".lora_b" : ".lora_a");
    }
    if (llvm::Error error = check(name, model, &pair)) return error;
  }
  return llvm::Error::success();
}

llvm::Error Adapter::check(const std::string& name, const File& model, Pair* pair) const {
  const TensorInfo* base = model.find_tensor(name);
  if (base == nullptr) {
    const bool tied = name == "output.weight";
    return fail(ExitCode::kUsage, "{0}: changes {1}, which {2} does not have{3}", path(),
                printable(name), model.path(),
                tied ? ": its output matrix is the token embedding, and changing one would change "
                       "both"
                     : "; take the model that the adapter was trained on");
  }
  const bool embedding = name == kEmbedding;
  if (embedding && model.find_tensor("output.weight") == nullptr) {
    return fail(ExitCode::kUnsupported,
                "{0}: changes {1}, which is also the output matrix of {2}: merged, the adapter "
                "would change both; train it without the embedding",
                path(), kEmbedding, model.path());
  }
  // Of embeddings a row is looked up in A: both are stored the other way round.
  if (embedding) std::swap(pair->left, pair->right);
  pair->transposed = embedding;
  pair->rank = extent(*pair->left, 0);
  for (const TensorInfo* tensor : {pair->left, pair->right}) {
    if (block_shape(tensor->type()).elements == 0) {
      return fail(ExitCode::kUnsupported,
                  "{0}: tensor {1} has type {2}; jllm reads adapters in f32, "
                  "f16, bf16 or q8_0",
                  path(), tensor->name, type_name(tensor->type_id));
    }
  }
  const uint64_t rows = extent(*base, 1);
  if (pair->rank > kMaxRank || pair->rank > std::max(base->shape[0], rows)) {
    return fail(ExitCode::kInvalidFile, "{0}: {1} has rank {2}, for a matrix of shape {3}", path(),
                name, pair->rank, shape_text(*base));
  }
  const size_t right_rank = embedding ? 0 : 1, right_row = embedding ? 1 : 0;
  const bool fits = base->shape.size() > 1 && extent(*pair->left, 1) == rows &&
                    extent(*pair->right, right_row) == base->shape[0] &&
                    extent(*pair->right, right_rank) == pair->rank;
  const auto same_count = [&](const TensorInfo& tensor) {
    return extent(tensor, 2) == extent(*base, 2) && extent(tensor, 3) == extent(*base, 3);
  };
  if (!fits || !same_count(*pair->left) || !same_count(*pair->right) || extent(*base, 3) != 1) {
    return fail(ExitCode::kUsage,
                "{0}: the pair for {1} has shapes {2} and {3}, which do not make the model's {4}; "
                "take the model that the adapter was trained on",
                path(), name, shape_text(*pair->right), shape_text(*pair->left), shape_text(*base));
  }
  const double factor = alpha_ != 0 ? alpha_ / double(pair->rank) : 1;
  pair->scale = static_cast<float>(scale_ * factor);
  if (!std::isfinite(pair->scale)) {
    return fail(ExitCode::kInvalidFile, "{0}: {1} has the scale {2}, which is too large", path(),
                name, scale_ * factor);
  }
  return llvm::Error::success();
}

llvm::Error Adapter::read_values() {
  llvm::SHA256 hash;
  const auto header = file_->header_sha256();
  hash.update(llvm::ArrayRef<uint8_t>(header.data(), header.size()));
  for (const auto& [name, pair] : pairs_) {
    for (const TensorInfo* tensor : {pair.left, pair.right}) {
      std::vector<float> values(tensor->shape[0]);
      for (uint64_t row = 0; row < tensor->elements() / values.size(); ++row) {
        read_row(*file_, *tensor, row, values.data());
        if (std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }))
          continue;
        return fail(ExitCode::kInvalidFile,
                    "{0}: tensor {1} has a value that is not finite, in row {2}", path(),
                    tensor->name, row);
      }
      hash.update(file_->data(*tensor));
    }
  }
  const auto digest = hash.final();
  sha256_ = llvm::toHex(
      llvm::ArrayRef<uint8_t>(reinterpret_cast<const uint8_t*>(digest.data()), digest.size()),
      true);
  return llvm::Error::success();
}

AdapterRows::AdapterRows(const Adapter& adapter, const Adapter::Pair& pair, uint64_t row)
    : adapter_(adapter), pair_(pair), row_(row), right_(pair.rank * row) {}

void AdapterRows::select(uint64_t matrix) {
  if (matrix == matrix_) return;
  matrix_ = matrix;
  if (!pair_.transposed) {
    for (uint64_t k = 0; k < pair_.rank; ++k) {
      read_row(adapter_.file(), *pair_.right, matrix * pair_.rank + k, &right_[k * row_]);
    }
    return;
  }
  std::vector<float> column(pair_.rank);
  for (uint64_t i = 0; i < row_; ++i) {
    read_row(adapter_.file(), *pair_.right, matrix * row_ + i, column.data());
    for (uint64_t k = 0; k < pair_.rank; ++k) right_[k * row_ + i] = column[k];
  }
}

void AdapterRows::add(uint64_t row, float* change) const {
  const uint64_t rows = extent(*pair_.left, 1);
  std::vector<float> left(pair_.rank);
  read_row(adapter_.file(), *pair_.left, matrix_ * rows + row, left.data());
  std::vector<float> sum(row_);
  for (uint64_t k = 0; k < pair_.rank; ++k) {
    const float factor = left[k];
    const float* right = &right_[k * row_];
    for (uint64_t i = 0; i < row_; ++i) sum[i] += factor * right[i];
  }
  for (uint64_t i = 0; i < row_; ++i) change[i] += pair_.scale * sum[i];
}

}  // namespace jllm::gguf
