#include "compiler/gguf/importance.h"

#include <llvm/ADT/StringExtras.h>
#include <llvm/Support/SHA256.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "compiler/gguf/cursor.h"
#include "compiler/gguf/part.h"
#include "compiler/support/error.h"

namespace jllm::gguf {
namespace {

constexpr uint64_t kMinEntryBytes = 4 + 1 + 4 + 4 + 4;  // lengths, a letter and a value
constexpr uint64_t kMaxNameBytes = 127;                 // as of a GGUF's tensors
// The least importance of a column relative to the mean of its matrix.
constexpr float kLeast = 1e-3f;

float value_at(const uint8_t* values, uint64_t i) { return load<float>(values + 4 * i); }

}  // namespace

llvm::Expected<ImportanceMatrix> ImportanceMatrix::open(llvm::StringRef path, const File& model) {
  ImportanceMatrix matrix;
  matrix.path_ = path.str();
  llvm::Expected<Mapping> mapping = Mapping::open(path);
  if (!mapping) return mapping.takeError();
  const llvm::ArrayRef<uint8_t> bytes = mapping->bytes();
  llvm::SHA256 hash;
  hash.update(bytes);
  const auto digest = hash.final();
  matrix.sha256_ = llvm::toHex(
      llvm::ArrayRef<uint8_t>(reinterpret_cast<const uint8_t*>(digest.data()), digest.size()),
      true);
  if (bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0) {
    llvm::Expected<File> file = File::open(path);
    if (!file) return file.takeError();
    matrix.file_ = std::make_unique<File>(std::move(*file));
    if (llvm::Error error = matrix.read_gguf()) return error;
  } else {
    matrix.mapping_ = std::move(*mapping);
    if (llvm::Error error = matrix.read_binary(matrix.mapping_.bytes())) return error;
  }
  for (const auto& [name, entry] : matrix.entries_) {
    if (llvm::Error error = matrix.check(name, entry)) return error;
  }
  if (llvm::Error error = matrix.match(model)) return error;
  return matrix;
}

// A count of entries; for each the length of its name, the name, a number of calls, a number of
// values, the values. What follows (calls in all, the name of the text) says nothing new.
llvm::Error ImportanceMatrix::read_binary(llvm::ArrayRef<uint8_t> bytes) {
  Cursor cursor(bytes);
  const auto damaged = [&](const char* what) {
    return fail(ExitCode::kInvalidFile,
                "{0}: is no importance matrix: {1} at byte {2}; take a file that llama-imatrix has "
                "written",
                path_, what, cursor.position());
  };
  int32_t count = 0;
  if (!cursor.read(&count) || count <= 0 || uint64_t(count) > cursor.remaining() / kMinEntryBytes) {
    return damaged("the number of entries does not suit the size of the file,");
  }
  for (int32_t i = 0; i < count; ++i) {
    int32_t length = 0, calls = 0, values = 0;
    if (!cursor.read(&length) || length <= 0 || uint64_t(length) > kMaxNameBytes) {
      return damaged("an entry's name has no plausible length,");
    }
    const uint64_t start = cursor.position();
    if (!cursor.skip(uint64_t(length))) return damaged("the file ends inside a name");
    const std::string name(reinterpret_cast<const char*>(bytes.data()) + start, size_t(length));
    if (!cursor.read(&calls) || !cursor.read(&values) || values <= 0) {
      return damaged("an entry has no values,");
    }
    Entry entry;
    entry.sums = bytes.data() + cursor.position();
    entry.values = uint64_t(values);
    if (!cursor.skip(4 * entry.values)) return damaged("the file ends inside an entry's values");
    if (!entries_.try_emplace(name, entry).second) return damaged("a name appears twice");
  }
  return llvm::Error::success();
}

llvm::Error ImportanceMatrix::read_gguf() {
  llvm::Expected<llvm::StringRef> type = file_->get_string_or("general.type", "model");
  if (!type) return type.takeError();
  if (*type != "imatrix") {
    return fail(ExitCode::kUsage,
                "--imatrix {0}: is no importance matrix, its general.type is {1}; take a file that "
                "llama-imatrix has written",
                path_, printable(*type));
  }
  for (const TensorInfo& tensor : file_->tensors()) {
    llvm::StringRef name = tensor.name;
    const bool sums = name.consume_back(".in_sum2");
    if (!sums && !name.consume_back(".counts")) continue;  // newer files have more
    if (tensor.type_id != static_cast<uint32_t>(WeightType::kF32)) {
      return fail(ExitCode::kInvalidFile, "{0}: tensor {1} is not in f32", path_,
                  printable(tensor.name));
    }
    Entry& entry = entries_[name.str()];
    (sums ? entry.sums : entry.counts) = file_->data(tensor).data();
    (sums ? entry.values : entry.count_values) = tensor.elements();
  }
  for (const auto& [name, entry] : entries_) {
    if (entry.sums != nullptr && entry.counts != nullptr) continue;
    return fail(ExitCode::kInvalidFile, "{0}: {1} has {2} but no {3}; the file is incomplete",
                path_, printable(name), entry.sums != nullptr ? ".in_sum2" : ".counts",
                entry.sums != nullptr ? ".counts" : ".in_sum2");
  }
  return llvm::Error::success();
}

llvm::Error ImportanceMatrix::check(const std::string& name, const Entry& entry) const {
  const auto wrong = [](const uint8_t* values, uint64_t n) {
    for (uint64_t i = 0; i < n; ++i) {
      if (!(value_at(values, i) >= 0) || std::isinf(value_at(values, i))) return true;
    }
    return false;
  };
  if (!wrong(entry.sums, entry.values) && !wrong(entry.counts, entry.count_values)) {
    return llvm::Error::success();
  }
  return fail(ExitCode::kInvalidFile, "{0}: {1} has a value that is negative or not finite", path_,
              printable(name));
}

// Keeps what the model has.
llvm::Error ImportanceMatrix::match(const File& model) {
  for (auto it = entries_.begin(); it != entries_.end();) {
    const auto& [name, entry] = *it;
    const TensorInfo* tensor = model.find_tensor(name);
    if (tensor == nullptr) {
      strangers_.push_back(printable(name));
      it = entries_.erase(it);
      continue;
    }
    const uint64_t row = tensor->shape[0];
    const uint64_t matrices = tensor->shape.size() > 2 ? tensor->shape[2] : 1;
    const uint64_t counts = std::max<uint64_t>(entry.count_values, 1);
    const bool fits = entry.values == row || (entry.values % row == 0 &&  //
                                              entry.values / row == matrices);
    if (!fits || (counts != 1 && counts != entry.values / row)) {
      return fail(ExitCode::kUsage,
                  "{0}: has {1} values in {2} groups for {3}, where {4} has {5} matrices with {6} "
                  "columns; take the importance matrix of this model",
                  path_, entry.values, counts, name, model.path(), matrices, row);
    }
    it->second.row = row;
    ++it;
  }
  if (!entries_.empty()) return llvm::Error::success();
  return fail(ExitCode::kUsage,
              "{0}: names no matrix of {1}{2}; take the importance matrix of "
              "this model",
              path_, model.path(),
              strangers_.empty() ? std::string() : " (it has " + strangers_.front() + ")");
}

std::vector<float> ImportanceMatrix::columns(const std::string& tensor, uint64_t matrix) const {
  const Entry& entry = entries_.at(tensor);
  const uint64_t own = entry.values / entry.row > 1 ? matrix : 0;
  std::vector<float> result(entry.row, 1.0f);
  // Experts that no token has chosen.
  const uint64_t count = entry.count_values > 1 ? own : 0;
  if (entry.counts != nullptr && value_at(entry.counts, count) == 0) return result;
  double sum = 0;
  for (uint64_t i = 0; i < entry.row; ++i) sum += value_at(entry.sums, own * entry.row + i);
  if (sum == 0) return result;
  for (uint64_t i = 0; i < entry.row; ++i) {
    const double relative = value_at(entry.sums, own * entry.row + i) / sum * double(entry.row);
    result[i] = std::max(kLeast, static_cast<float>(relative));
  }
  return result;
}

}  // namespace jllm::gguf
