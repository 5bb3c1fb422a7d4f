// A model file as its users see it: the parts of a split file put together, and typed reads of the
// metadata.
#include "compiler/gguf/file.h"

#include <llvm/Support/FormatVariadic.h>
#include <llvm/Support/SHA256.h>

#include <algorithm>
#include <cassert>
#include <charconv>
#include <numeric>
#include <string_view>
#include <utility>

#include "compiler/gguf/cursor.h"
#include "compiler/gguf/part.h"
#include "compiler/support/error.h"
#include "schema/checked_math.h"

namespace jllm::gguf {
namespace {

// The two numbers of NAME-00001-of-00004.gguf; `count` is 0 for another form of name.
struct SplitName {
  std::string prefix;  // up to the dash before the first number
  uint32_t number = 0;
  uint32_t count = 0;

  std::string path(uint32_t part) const {
    return llvm::formatv("{0}-{1,0+5}-of-{2,0+5}.gguf", prefix, part, count).str();
  }
};

bool parse_digits(std::string_view text, uint32_t* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size();
}

SplitName parse_split_name(llvm::StringRef path) {
  constexpr std::string_view kForm = "-00001-of-00002.gguf";
  SplitName name;
  const std::string_view text(path.data(), path.size());
  if (text.size() <= kForm.size()) return name;
  const std::string_view tail = text.substr(text.size() - kForm.size());
  uint32_t count = 0;
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || tail.substr(15) != ".gguf" ||
      !parse_digits(tail.substr(1, 5), &name.number) || !parse_digits(tail.substr(10, 5), &count)) {
    return name;
  }
  name.prefix = std::string(text.substr(0, text.size() - kForm.size()));
  name.count = count;
  return name;
}

// An integer of any width; false when it is negative or no integer.
bool as_u64(ValueType type, const uint8_t* bytes, uint64_t* out) {
  int64_t value = 0;
  switch (type) {
    case ValueType::kU8:
      *out = load<uint8_t>(bytes);
      return true;
    case ValueType::kU16:
      *out = load<uint16_t>(bytes);
      return true;
    case ValueType::kU32:
      *out = load<uint32_t>(bytes);
      return true;
    case ValueType::kU64:
      *out = load<uint64_t>(bytes);
      return true;
    case ValueType::kI8:
      value = load<int8_t>(bytes);
      break;
    case ValueType::kI16:
      value = load<int16_t>(bytes);
      break;
    case ValueType::kI32:
      value = load<int32_t>(bytes);
      break;
    case ValueType::kI64:
      value = load<int64_t>(bytes);
      break;
    default:
      return false;
  }
  *out = static_cast<uint64_t>(value);
  return value >= 0;
}

bool as_f64(ValueType type, const uint8_t* bytes, double* out) {
  switch (type) {
    case ValueType::kF32:
      *out = load<float>(bytes);
      return true;
    case ValueType::kF64:
      *out = load<double>(bytes);
      return true;
    case ValueType::kU64:
      *out = static_cast<double>(load<uint64_t>(bytes));
      return true;
    case ValueType::kI8:
      *out = load<int8_t>(bytes);
      return true;
    case ValueType::kI16:
      *out = load<int16_t>(bytes);
      return true;
    case ValueType::kI32:
      *out = load<int32_t>(bytes);
      return true;
    case ValueType::kI64:
      *out = static_cast<double>(load<int64_t>(bytes));
      return true;
    default:
      break;
  }
  uint64_t value = 0;
  if (!as_u64(type, bytes, &value)) return false;
  *out = static_cast<double>(value);
  return true;
}

bool is_integer(ValueType type) {
  return type != ValueType::kF32 && type != ValueType::kF64 && type != ValueType::kString &&
         type != ValueType::kBool && type != ValueType::kArray;
}

std::string describe(const Value& value) {
  if (value.type != ValueType::kArray) return value_type_name(value.type);
  return std::string("array of ") + value_type_name(value.element_type);
}

}  // namespace

struct File::Impl {
  std::vector<std::shared_ptr<const Part>> parts;  // shared with what with_types() makes
  std::vector<TensorInfo> tensors;
  std::vector<TensorInfo> stored;        // before with_types(); empty: the same
  std::vector<uint32_t> tensor_by_name;  // indices into `tensors`, sorted by name

  const Part& first() const { return *parts.front(); }
  const uint8_t* bytes(const Value& value) const {
    return first().mapping.bytes().data() + value.offset;
  }

  void take(Part part);
  llvm::Error open_rest(llvm::StringRef path, const OpenOptions& options);
  llvm::Error index_tensors();

  template <typename... Args>
  llvm::Error invalid(const char* format, Args&&... args) const {
    return llvm::make_error<CompileError>(
        ExitCode::kInvalidFile,
        first().path + ": " + llvm::formatv(format, std::forward<Args>(args)...).str());
  }
  llvm::Error wrong_type(const Value& value, const char* expected) const {
    return invalid("key {0} has type {1} where {2} is expected; the file is damaged or unusual",
                   printable(value.key), describe(value), expected);
  }
  llvm::Expected<const Value*> require(llvm::StringRef key) const {
    if (const Value* value = first().find(key)) return value;
    return invalid("key {0} is missing; is the file a complete language model?", key);
  }
  llvm::Expected<const Value*> require_array(llvm::StringRef key, const char* expected) const {
    llvm::Expected<const Value*> value = require(key);
    if (value && (*value)->type != ValueType::kArray) return wrong_type(**value, expected);
    return value;
  }
};

// Opens the other parts of a split file. The metadata says whether there are any; the name says how
// they are called.
llvm::Error File::Impl::open_rest(llvm::StringRef path, const OpenOptions& options) {
  const auto number = [](const Part& part, llvm::StringRef key) {
    uint64_t out = 0;
    const Value* value = part.find(key);
    if (value != nullptr) as_u64(value->type, part.mapping.bytes().data() + value->offset, &out);
    return out;
  };
  const uint64_t count = number(first(), "split.count");
  if (count <= 1) return llvm::Error::success();
  const SplitName name = parse_split_name(path);
  const uint64_t own_number = number(first(), "split.no");
  if (name.count != count || name.number != own_number + 1) {
    return invalid(
        "is part {0} of {1} of a split model, so its name must end in -{0,0+5}-of-{1,0+5}.gguf; "
        "give the parts their original names",
        own_number + 1, count);
  }
  if (own_number != 0) {
    return invalid("is part {0} of {1} of a split model; open the first part, {2}", name.number,
                   count, name.path(1));
  }
  const uint64_t expected_tensors = number(first(), "split.tensors.count");
  for (uint32_t i = 1; i < count; ++i) {
    llvm::Expected<Part> part = read_part(name.path(i + 1), i, options);
    if (!part) return part.takeError();
    if (number(*part, "split.no") != i || number(*part, "split.count") != count) {
      return fail(ExitCode::kInvalidFile,
                  "{0}: does not say that it is part {1} of {2}; "
                  "fetch the parts again",
                  part->path, i + 1, count);
    }
    take(std::move(*part));
  }
  if (first().find("split.tensors.count") != nullptr && tensors.size() != expected_tensors) {
    return invalid("the {0} parts hold {1:N} tensors instead of {2:N}; fetch the parts again",
                   count, tensors.size(), expected_tensors);
  }
  return llvm::Error::success();
}

void File::Impl::take(Part part) {
  std::move(part.tensors.begin(), part.tensors.end(), std::back_inserter(tensors));
  part.tensors.clear();
  parts.push_back(std::make_shared<const Part>(std::move(part)));
}

llvm::Error File::Impl::index_tensors() {
  tensor_by_name.resize(tensors.size());
  std::iota(tensor_by_name.begin(), tensor_by_name.end(), 0);
  std::sort(tensor_by_name.begin(), tensor_by_name.end(),
            [&](uint32_t a, uint32_t b) { return tensors[a].name < tensors[b].name; });
  for (size_t i = 1; i < tensor_by_name.size(); ++i) {
    const std::string& name = tensors[tensor_by_name[i]].name;
    if (name == tensors[tensor_by_name[i - 1]].name) {
      return invalid("tensor {0} appears twice; the file is damaged", printable(name));
    }
  }
  return llvm::Error::success();
}

uint64_t TensorInfo::elements() const {
  uint64_t count = 1;
  for (uint64_t extent : shape) count *= extent;
  return count;
}

File::File(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
File::File(File&&) noexcept = default;
File& File::operator=(File&&) noexcept = default;
File::~File() = default;

llvm::Expected<File> File::open(llvm::StringRef path, const OpenOptions& options) {
  llvm::Expected<Part> part = read_part(path, 0, options);
  if (!part) return part.takeError();
  auto impl = std::make_unique<Impl>();
  impl->take(std::move(*part));
  if (llvm::Error error = impl->open_rest(path, options)) return error;
  if (llvm::Error error = impl->index_tensors()) return error;
  return File(std::move(impl));
}

File File::with_types(const std::function<WeightType(const TensorInfo&)>& type_of) const {
  auto impl = std::make_unique<Impl>(*impl_);
  if (impl->stored.empty()) impl->stored = impl->tensors;
  for (TensorInfo& tensor : impl->tensors) {
    const WeightType type = type_of(tensor);
    if (type == tensor.type()) continue;
    const BlockShape block = block_shape(type);
    assert(block.elements != 0 && tensor.shape[0] % block.elements == 0);
    tensor.type_id = static_cast<uint32_t>(type);
    tensor.byte_size = tensor.elements() / block.elements * block.bytes;
    tensor.offset = UINT64_MAX;  // in no file
  }
  return File(std::move(impl));
}

uint32_t File::version() const { return impl_->first().version; }
uint64_t File::alignment() const { return impl_->first().alignment; }
llvm::StringRef File::path() const { return impl_->first().path; }

uint64_t File::file_bytes() const {
  uint64_t total = 0;
  for (const auto& part : impl_->parts) total += part->mapping.bytes().size();
  return total;
}

std::vector<std::string> File::keys() const {
  std::vector<std::string> keys;
  for (const Value& value : impl_->first().values) keys.push_back(value.key.str());
  return keys;
}

bool File::has(llvm::StringRef key) const { return impl_->first().find(key) != nullptr; }

std::optional<ValueType> File::value_type(llvm::StringRef key) const {
  const Value* value = impl_->first().find(key);
  return value != nullptr ? std::optional(value->type) : std::nullopt;
}

std::optional<std::pair<ValueType, uint64_t>> File::array_shape(llvm::StringRef key) const {
  const Value* value = impl_->first().find(key);
  if (value == nullptr || value->type != ValueType::kArray) return std::nullopt;
  return std::pair(value->element_type, value->count);
}

llvm::Expected<uint64_t> File::get_u64(llvm::StringRef key) const {
  llvm::Expected<const Value*> value = impl_->require(key);
  if (!value) return value.takeError();
  uint64_t out = 0;
  if (!is_integer((*value)->type)) return impl_->wrong_type(**value, "an integer");
  if (!as_u64((*value)->type, impl_->bytes(**value), &out)) {
    return impl_->invalid("key {0} is {1}, but must not be negative", printable(key),
                          static_cast<int64_t>(out));
  }
  return out;
}

llvm::Expected<double> File::get_f64(llvm::StringRef key) const {
  llvm::Expected<const Value*> value = impl_->require(key);
  if (!value) return value.takeError();
  double out = 0;
  if (!as_f64((*value)->type, impl_->bytes(**value), &out)) {
    return impl_->wrong_type(**value, "a number");
  }
  return out;
}

llvm::Expected<bool> File::get_bool(llvm::StringRef key) const {
  llvm::Expected<const Value*> value = impl_->require(key);
  if (!value) return value.takeError();
  if ((*value)->type != ValueType::kBool) return impl_->wrong_type(**value, "a bool");
  return load<uint8_t>(impl_->bytes(**value)) != 0;
}

llvm::Expected<llvm::StringRef> File::get_string(llvm::StringRef key) const {
  llvm::Expected<const Value*> value = impl_->require(key);
  if (!value) return value.takeError();
  if ((*value)->type != ValueType::kString) return impl_->wrong_type(**value, "a string");
  Cursor cursor(impl_->first().mapping.bytes(), (*value)->offset);
  llvm::StringRef text;
  // Verified at open; it can only fail if the file was changed since.
  if (!cursor.read_string(&text)) return impl_->invalid("changed while it was being read");
  return text;
}

llvm::Expected<std::vector<uint64_t>> File::get_u64_array(llvm::StringRef key) const {
  constexpr const char* kExpected = "an array of integers";
  llvm::Expected<const Value*> found = impl_->require_array(key, kExpected);
  if (!found) return found.takeError();
  const Value& value = **found;
  // Per-layer flags are stored as bools by some writers and as integers by others.
  const bool flags = value.element_type == ValueType::kBool;
  if (!is_integer(value.element_type) && !flags) return impl_->wrong_type(value, kExpected);
  const ValueType type = flags ? ValueType::kU8 : value.element_type;
  std::vector<uint64_t> out(value.count);
  for (uint64_t i = 0; i < value.count; ++i) {
    if (!as_u64(type, impl_->bytes(value) + i * value_size(type), &out[i])) {
      return impl_->invalid("element {0} of key {1} is {2}, but must not be negative", i,
                            printable(key), static_cast<int64_t>(out[i]));
    }
  }
  return out;
}

llvm::Expected<std::vector<double>> File::get_f64_array(llvm::StringRef key) const {
  constexpr const char* kExpected = "an array of numbers";
  llvm::Expected<const Value*> found = impl_->require_array(key, kExpected);
  if (!found) return found.takeError();
  const Value& value = **found;
  std::vector<double> out(value.count);
  for (uint64_t i = 0; i < value.count; ++i) {
    const uint8_t* bytes = impl_->bytes(value) + i * value_size(value.element_type);
    if (!as_f64(value.element_type, bytes, &out[i])) return impl_->wrong_type(value, kExpected);
  }
  return out;
}

llvm::Expected<std::vector<llvm::StringRef>> File::get_string_array(llvm::StringRef key) const {
  constexpr const char* kExpected = "an array of strings";
  llvm::Expected<const Value*> found = impl_->require_array(key, kExpected);
  if (!found) return found.takeError();
  const Value& value = **found;
  if (value.element_type != ValueType::kString) return impl_->wrong_type(value, kExpected);
  Cursor cursor(impl_->first().mapping.bytes(), value.offset);
  std::vector<llvm::StringRef> out(value.count);
  for (llvm::StringRef& text : out) {
    if (!cursor.read_string(&text)) return impl_->invalid("changed while it was being read");
  }
  return out;
}

llvm::Expected<uint64_t> File::get_u64_or(llvm::StringRef key, uint64_t fallback) const {
  return has(key) ? get_u64(key) : fallback;
}

llvm::Expected<double> File::get_f64_or(llvm::StringRef key, double fallback) const {
  return has(key) ? get_f64(key) : fallback;
}

llvm::Expected<bool> File::get_bool_or(llvm::StringRef key, bool fallback) const {
  return has(key) ? get_bool(key) : fallback;
}

llvm::Expected<llvm::StringRef> File::get_string_or(llvm::StringRef key,
                                                    llvm::StringRef fallback) const {
  return has(key) ? get_string(key) : fallback;
}

llvm::ArrayRef<TensorInfo> File::tensors() const { return impl_->tensors; }

const TensorInfo* File::find_tensor(llvm::StringRef name) const {
  const std::vector<uint32_t>& order = impl_->tensor_by_name;
  const auto it = std::lower_bound(
      order.begin(), order.end(), name,
      [&](uint32_t index, llvm::StringRef n) { return impl_->tensors[index].name < n; });
  const bool found = it != order.end() && impl_->tensors[*it].name == name;
  return found ? &impl_->tensors[*it] : nullptr;
}

bool File::has_data(const TensorInfo& tensor) const {
  const uint64_t size = impl_->parts[tensor.part]->mapping.bytes().size();
  return range_inside(tensor.offset, tensor.byte_size, size);
}

const TensorInfo& File::stored(const TensorInfo& tensor) const {
  if (impl_->stored.empty()) return tensor;
  return impl_->stored[static_cast<size_t>(&tensor - impl_->tensors.data())];
}

llvm::ArrayRef<uint8_t> File::data(const TensorInfo& tensor) const {
  return impl_->parts[tensor.part]->mapping.bytes().slice(tensor.offset, tensor.byte_size);
}

void File::release(const TensorInfo& tensor) const {
  impl_->parts[tensor.part]->mapping.release(tensor.offset, tensor.byte_size);
}

std::array<uint8_t, 32> File::header_sha256() const {
  llvm::SHA256 hash;
  for (uint32_t part = 0; part < impl_->parts.size(); ++part) {
    const llvm::ArrayRef<uint8_t> bytes = impl_->parts[part]->mapping.bytes();
    uint64_t end = bytes.size();
    for (const TensorInfo& tensor : impl_->tensors) {
      if (tensor.part == part) end = std::min(end, stored(tensor).offset);
    }
    hash.update(bytes.take_front(end));
  }
  const auto result = hash.final();
  std::array<uint8_t, 32> digest;
  std::copy(result.begin(), result.end(), digest.begin());
  return digest;
}

}  // namespace jllm::gguf
