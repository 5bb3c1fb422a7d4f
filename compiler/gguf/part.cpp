// Parsing and verifying one GGUF file. Nothing in it is believed: counts are bounded by the bytes
// that are left, sizes are computed with overflow checks, and tensors must lie apart and inside.
#include "compiler/gguf/part.h"

#include <llvm/ADT/StringExtras.h>
#include <llvm/Support/FormatVariadic.h>
#include <llvm/Support/raw_ostream.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <string_view>
#include <utility>

#include "compiler/gguf/cursor.h"
#include "compiler/gguf/type_table.h"
#include "compiler/gguf/watch.h"
#include "compiler/support/error.h"
#include "schema/checked_math.h"

namespace jllm::gguf {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kMaxAlignment = 64 * 1024;
constexpr uint64_t kMaxEntries = uint64_t{1} << 20;     // metadata values, and tensors
constexpr uint64_t kMaxArrayCount = uint64_t{1} << 24;  // far above the largest vocabulary
constexpr uint64_t kMaxKeyBytes = 65535;                // limit of the format
constexpr uint64_t kMaxNameBytes = 127;                 // of a tensor; ggml itself stops at 63
constexpr uint64_t kMaxElements = uint64_t{1} << 62;
// Least bytes of an entry: key or name length, one byte of it, and the fixed fields.
constexpr uint64_t kMinValueBytes = 8 + 1 + 4 + 1;
constexpr uint64_t kMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;

class PartReader {
 public:
  PartReader(Part* part, uint32_t index, const OpenOptions& options)
      : part_(part), index_(index), options_(options), cursor_(part->mapping.bytes()) {}

  llvm::Error read() {
    if (llvm::Error error = read_header()) return error;
    for (uint64_t i = 0; i < value_count_; ++i) {
      if (llvm::Error error = read_value(i)) return error;
    }
    if (llvm::Error error = index_values()) return error;
    if (llvm::Error error = read_alignment()) return error;
    for (uint64_t i = 0; i < tensor_count_; ++i) {
      if (llvm::Error error = read_tensor(i)) return error;
    }
    return place_tensors();
  }

 private:
  template <typename... Args>
  llvm::Error invalid(const char* format, Args&&... args) const {
    return llvm::make_error<CompileError>(
        ExitCode::kInvalidFile,
        part_->path + ": " + llvm::formatv(format, std::forward<Args>(args)...).str());
  }
  llvm::Error ends_inside(const std::string& what) const {
    return invalid("the file ends inside {0}, at byte {1:N}; is the download complete?", what,
                   cursor_.position());
  }

  llvm::Error read_header();
  llvm::Error wrong_magic() const;
  llvm::Error check_version() const;
  llvm::Error check_count(const char* what, uint64_t count, uint64_t min_bytes) const;
  llvm::Error read_value(uint64_t number);
  llvm::Error read_array(Value* value);
  llvm::Error index_values();
  llvm::Error read_alignment();
  llvm::Error read_tensor(uint64_t number);
  llvm::Error measure(TensorInfo* tensor) const;
  llvm::Error place_tensors();

  Part* part_;
  uint32_t index_;
  OpenOptions options_;
  Cursor cursor_;
  uint64_t value_count_ = 0;
  uint64_t tensor_count_ = 0;
};

llvm::Error PartReader::wrong_magic() const {
  const llvm::ArrayRef<uint8_t> bytes = part_->mapping.bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto begins = [&](std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
  };
  if (begins("version https://git-lfs")) {
    return invalid("is a Git LFS pointer, not the model; fetch it with 'git lfs pull'");
  }
  if (begins("<!") || begins("<html") || begins("<?xml")) {
    return invalid("is a web page, not a model; download the file itself");
  }
  if (begins("tjgg") || begins("lmgg") || begins("fmgg") || begins("algg")) {
    return invalid("is in a format from before GGUF; convert the model again");
  }
  return invalid("is not a GGUF file: it starts with '{0}' instead of 'GGUF'",
                 printable({text.data(), std::min<size_t>(4, text.size())}));
}

llvm::Error PartReader::check_version() const {
  const uint32_t version = part_->version;
  if (version == 2 || version == 3) return llvm::Error::success();
  if (version == 1) {
    return invalid(
        "has GGUF version 1, which has not been written since 2023; jllm reads versions 2 and 3: "
        "convert the model again");
  }
  if (version != 0 && (version & 0xffff) == 0) {
    return invalid(
        "is a big-endian GGUF file; jllm reads little-endian files: convert it with "
        "gguf_convert_endian.py from the gguf Python package");
  }
  return invalid("has GGUF version {0}; jllm reads versions 2 and 3", version);
}

// Refuses a count that the rest of the file cannot hold, before anything is allocated for it.
llvm::Error PartReader::check_count(const char* what, uint64_t count, uint64_t min_bytes) const {
  if (count > cursor_.remaining() / min_bytes) {
    return invalid("claims {0:N} {1}, more than its {2:N} bytes can hold; the file is damaged",
                   count, what, part_->mapping.bytes().size());
  }
  if (count > kMaxEntries) {
    return invalid("claims {0:N} {1}; jllm reads at most {2:N}", count, what, kMaxEntries);
  }
  return llvm::Error::success();
}

llvm::Error PartReader::read_header() {
  uint32_t magic = 0;
  if (part_->mapping.bytes().empty()) return invalid("is empty; is the download complete?");
  if (!cursor_.read(&magic) || magic != kMagic) return wrong_magic();
  if (!cursor_.read(&part_->version)) return ends_inside("the header");
  if (llvm::Error error = check_version()) return error;
  if (!cursor_.read(&tensor_count_) || !cursor_.read(&value_count_)) {
    return ends_inside("the header");
  }
  if (llvm::Error error = check_count("metadata values", value_count_, kMinValueBytes)) {
    return error;
  }
  return check_count("tensors", tensor_count_, kMinTensorBytes);
}

llvm::Error PartReader::read_value(uint64_t number) {
  Value value{};
  if (!cursor_.read_string(&value.key)) {
    return ends_inside(llvm::formatv("the key of metadata value {0:N}", number).str());
  }
  if (value.key.empty()) return invalid("metadata value {0:N} has an empty key", number);
  if (value.key.size() > kMaxKeyBytes) {
    return invalid("the key of metadata value {0:N} has {1:N} bytes; the format allows {2:N}",
                   number, value.key.size(), kMaxKeyBytes);
  }
  const std::string what = "key " + printable(value.key);
  uint32_t type = 0;
  if (!cursor_.read(&type)) return ends_inside(what);
  if (type > static_cast<uint32_t>(ValueType::kF64)) {
    return invalid("{0} has the unknown value type {1}; the file is damaged or newer than jllm",
                   what, type);
  }
  value.type = static_cast<ValueType>(type);
  value.element_type = value.type;
  value.count = 1;
  value.offset = cursor_.position();
  if (value.type == ValueType::kArray) {
    if (llvm::Error error = read_array(&value)) return error;
  } else if (value.type == ValueType::kString) {
    llvm::StringRef text;
    if (!cursor_.read_string(&text)) return ends_inside(what);
  } else if (!cursor_.skip(value_size(value.type))) {
    return ends_inside(what);
  }
  if (value.type == ValueType::kBool && part_->mapping.bytes()[value.offset] > 1) {
    return invalid("{0} is a bool with the value {1}; the file is damaged", what,
                   unsigned{part_->mapping.bytes()[value.offset]});
  }
  part_->values.push_back(value);
  return llvm::Error::success();
}

llvm::Error PartReader::read_array(Value* value) {
  const std::string what = "key " + printable(value->key);
  uint32_t type = 0;
  if (!cursor_.read(&type) || !cursor_.read(&value->count)) return ends_inside(what);
  if (type > static_cast<uint32_t>(ValueType::kF64)) {
    return invalid(
        "{0} is an array of the unknown value type {1}; the file is damaged or newer than jllm",
        what, type);
  }
  value->element_type = static_cast<ValueType>(type);
  if (value->element_type == ValueType::kArray) {
    return invalid("{0} is an array of arrays, which GGUF readers do not take", what);
  }
  const bool strings = value->element_type == ValueType::kString;
  const uint64_t min_bytes = strings ? sizeof(uint64_t) : value_size(value->element_type);
  if (value->count > cursor_.remaining() / min_bytes) {
    return invalid(
        "{0} claims an array of {1:N} elements, but only {2:N} bytes are left; is the download "
        "complete?",
        what, value->count, cursor_.remaining());
  }
  if (value->count > kMaxArrayCount) {
    return invalid("{0} is an array of {1:N} elements; jllm reads at most {2:N}", what,
                   value->count, kMaxArrayCount);
  }
  value->offset = cursor_.position();
  if (!strings) {
    return cursor_.skip(value->count * min_bytes) ? llvm::Error::success() : ends_inside(what);
  }
  for (uint64_t i = 0; i < value->count; ++i) {
    llvm::StringRef text;
    if (!cursor_.read_string(&text)) {
      return ends_inside(llvm::formatv("element {0:N} of {1}", i, what).str());
    }
  }
  return llvm::Error::success();
}

// Sorting finds duplicates in n log n whatever the keys are; no choice of keys makes it slow.
llvm::Error PartReader::index_values() {
  const std::vector<Value>& values = part_->values;
  std::vector<uint32_t>& order = part_->value_by_key;
  order.resize(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return values[a].key < values[b].key; });
  for (size_t i = 1; i < order.size(); ++i) {
    if (values[order[i - 1]].key == values[order[i]].key) {
      return invalid("key {0} appears twice; the file is damaged", printable(values[order[i]].key));
    }
  }
  return llvm::Error::success();
}

llvm::Error PartReader::read_alignment() {
  const Value* value = part_->find("general.alignment");
  if (value == nullptr) return llvm::Error::success();
  if (value->type != ValueType::kU32) {
    return invalid("key general.alignment has type {0} instead of u32; the file is damaged",
                   value_type_name(value->type));
  }
  const auto alignment = load<uint32_t>(part_->mapping.bytes().data() + value->offset);
  if (!std::has_single_bit(alignment) || alignment > kMaxAlignment) {
    return invalid("key general.alignment is {0:N}; it must be a power of two up to {1:N}",
                   alignment, kMaxAlignment);
  }
  part_->alignment = alignment;
  return llvm::Error::success();
}

llvm::Error PartReader::read_tensor(uint64_t number) {
  llvm::StringRef name;
  if (!cursor_.read_string(&name)) {
    return ends_inside(llvm::formatv("the name of tensor {0:N}", number).str());
  }
  if (name.empty()) return invalid("tensor {0:N} has an empty name", number);
  if (name.size() > kMaxNameBytes) {
    return invalid("the name of tensor {0:N} has {1:N} bytes; jllm reads at most {2:N}", number,
                   name.size(), kMaxNameBytes);
  }
  const std::string what = "tensor " + printable(name);
  uint32_t dimensions = 0;
  if (!cursor_.read(&dimensions)) return ends_inside(what);
  if (dimensions < 1 || dimensions > 4) {
    return invalid("{0} has {1:N} dimensions; a tensor has 1 to 4", what, dimensions);
  }
  TensorInfo tensor;
  tensor.name = name.str();
  tensor.part = index_;
  uint64_t elements = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    uint64_t extent = 0;
    if (!cursor_.read(&extent)) return ends_inside(what);
    if (extent == 0) return invalid("{0} has an empty dimension {1}", what, i);
    if (!checked_mul(elements, extent, &elements) || elements > kMaxElements) {
      return invalid("{0} has more elements than 64 bits can address; the file is damaged", what);
    }
    tensor.shape.push_back(extent);
  }
  if (!cursor_.read(&tensor.type_id) || !cursor_.read(&tensor.offset)) return ends_inside(what);
  if (tensor.offset % part_->alignment != 0) {
    return invalid("{0} starts at offset {1:N}, which is not a multiple of the alignment {2}", what,
                   tensor.offset, part_->alignment);
  }
  if (llvm::Error error = measure(&tensor)) return error;
  part_->tensors.push_back(std::move(tensor));
  return llvm::Error::success();
}

// Computes byte_size. A type that jllm does not compute with may have any rows: whoever needs the
// tensor refuses it by name.
llvm::Error PartReader::measure(TensorInfo* tensor) const {
  const BlockShape shape = stored_block_shape(tensor->type_id);
  if (shape.elements == 0) return llvm::Error::success();
  const bool supported = block_shape(tensor->type()).elements != 0;
  if (tensor->shape[0] % shape.elements != 0) {
    if (!supported) return llvm::Error::success();
    return invalid(
        "tensor {0} has rows of {1:N} elements, which the blocks of {2} ({3}) do not divide",
        printable(tensor->name), tensor->shape[0], shape.elements, type_name(tensor->type_id));
  }
  if (!checked_mul(tensor->elements() / shape.elements, shape.bytes, &tensor->byte_size)) {
    return invalid("tensor {0} has more bytes than 64 bits can address; the file is damaged",
                   printable(tensor->name));
  }
  return llvm::Error::success();
}

// Of its data: Q2_0's id holds blocks of 128 weights in 34 bytes in a fork's files, not of 64
// in 18.
uint64_t least_bytes(const TensorInfo& tensor) {
  const bool may_be_forks = tensor.type() == WeightType::kQ2_0 && tensor.shape[0] % 128 == 0;
  return may_be_forks ? tensor.elements() / 128 * 34 : tensor.byte_size;
}

// Turns offsets in the data section into offsets in the file, and proves that tensors lie inside
// the file and apart from each other.
llvm::Error PartReader::place_tensors() {
  if (part_->tensors.empty()) return llvm::Error::success();
  const uint64_t file_size = part_->mapping.bytes().size();
  uint64_t data_start = 0;
  if (!checked_align_up(cursor_.position(), part_->alignment, &data_start)) {
    return invalid("the data section starts beyond 64 bits");
  }
  for (TensorInfo& tensor : part_->tensors) {
    uint64_t end = 0;
    // One byte at least, also for a type whose size is not known.
    const uint64_t least = std::max<uint64_t>(least_bytes(tensor), 1);
    if (!checked_add(data_start, tensor.offset, &tensor.offset) ||
        !checked_add(tensor.offset, least, &end)) {
      return invalid("tensor {0} ends beyond 64 bits; the file is damaged", printable(tensor.name));
    }
    if (end > file_size && !options_.header_only) {
      return invalid(
          "tensor {0} lies beyond the end of the file: needs {1:N} bytes more; is the download "
          "complete?",
          printable(tensor.name), end - file_size);
    }
  }
  std::vector<TensorInfo*> order;
  for (TensorInfo& tensor : part_->tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(),
                   [](const TensorInfo* a, const TensorInfo* b) { return a->offset < b->offset; });
  for (size_t i = 0; i < order.size(); ++i) {
    TensorInfo& tensor = *order[i];
    const bool is_last = i + 1 == order.size();
    const uint64_t end = is_last ? std::max(file_size, tensor.offset) : order[i + 1]->offset;
    tensor.room = end - tensor.offset;
    if (is_last && options_.header_only) break;
    const bool supported = block_shape(tensor.type()).elements != 0;
    if (tensor.room == 0 || (supported && least_bytes(tensor) > tensor.room)) {
      return invalid("tensors {0} and {1} overlap; the file is damaged", printable(tensor.name),
                     printable(order[i + 1]->name));
    }
    // A fork's layout under a known id: the neighbour bounds it, its own size is unknown.
    if (tensor.byte_size > tensor.room) tensor.byte_size = 0;
  }
  return llvm::Error::success();
}

}  // namespace

const Value* Part::find(llvm::StringRef key) const {
  const auto it =
      std::lower_bound(value_by_key.begin(), value_by_key.end(), key,
                       [&](uint32_t index, llvm::StringRef k) { return values[index].key < k; });
  return it != value_by_key.end() && values[*it].key == key ? &values[*it] : nullptr;
}

llvm::Expected<Part> read_part(llvm::StringRef path, uint32_t index, const OpenOptions& options) {
  llvm::Expected<Mapping> mapping = Mapping::open(path);
  if (!mapping) return mapping.takeError();
  Part part;
  part.path = path.str();
  part.mapping = std::move(*mapping);
  if (llvm::Error error = PartReader(&part, index, options).read()) {
    return changed_source_or(std::move(error));
  }
  return part;
}

uint64_t value_size(ValueType type) {
  switch (type) {
    case ValueType::kU8:
    case ValueType::kI8:
    case ValueType::kBool:
      return 1;
    case ValueType::kU16:
    case ValueType::kI16:
      return 2;
    case ValueType::kU32:
    case ValueType::kI32:
    case ValueType::kF32:
      return 4;
    case ValueType::kU64:
    case ValueType::kI64:
    case ValueType::kF64:
      return 8;
    case ValueType::kString:
    case ValueType::kArray:
      return 0;
  }
  return 0;
}

const char* value_type_name(ValueType type) {
  constexpr const char* kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                    "bool", "string", "array", "u64", "i64", "f64"};
  return kNames[static_cast<uint32_t>(type)];
}

std::string printable(llvm::StringRef text) {
  constexpr size_t kLongest = 128;
  std::string out;
  llvm::raw_string_ostream stream(out);
  llvm::printEscapedString(text.take_front(kLongest), stream);
  if (text.size() > kLongest) stream << "...";
  return stream.str();
}

}  // namespace jllm::gguf
