// Reading GGUF files (versions 2 and 3, single or split), memory-mapped. The file is hostile input:
// every count, size and offset is checked before it is used, and every metadata read is typed.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "schema/weight_type.h"

namespace jllm::gguf {

enum class ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

// One tensor of the file. shape[0] is the contiguous dimension (row length, "ne[0]").
struct TensorInfo {
  std::string name;
  std::vector<uint64_t> shape;  // 1 to 4 dimensions, each >= 1
  uint32_t type_id = 0;         // as stored; may be a type that jllm does not support
  uint64_t byte_size = 0;       // 0 when the type has no known block shape, or a fork's
  uint64_t room = 0;            // bytes up to the next tensor or the end of the file
  uint32_t part = 0;            // index of the split file
  uint64_t offset = 0;          // from the start of that file

  WeightType type() const { return static_cast<WeightType>(type_id); }
  uint64_t elements() const;
};

struct OpenOptions {
  // Take a file that ends before its tensors do: the start of a download says what the model needs.
  bool header_only = false;
};

class File {
 public:
  // Opens and verifies `path`; for "NAME-00001-of-0000N.gguf" also the other parts. Errors have
  // exit code kInvalidFile (damaged, truncated, version 1, big-endian) or kFailed (cannot be read).
  static llvm::Expected<File> open(llvm::StringRef path, const OpenOptions& options = {});
  File(File&&) noexcept;
  File& operator=(File&&) noexcept;
  ~File();

  // The same model as another quantisation would have it: a new type has a known block shape that
  // divides the tensor's rows. What the file holds is found by way of stored().
  File with_types(const std::function<WeightType(const TensorInfo&)>& type_of) const;

  uint32_t version() const;
  uint64_t alignment() const;
  uint64_t file_bytes() const;  // all parts together
  llvm::StringRef path() const;
  // Over everything in front of the tensor data, all parts in order: names the model without
  // reading weights.
  std::array<uint8_t, 32> header_sha256() const;

  // --- metadata ---

  // Keys in file order.
  std::vector<std::string> keys() const;
  bool has(llvm::StringRef key) const;
  std::optional<ValueType> value_type(llvm::StringRef key) const;
  // Required values: an absent key or a value of the wrong type is an error that names the key.
  // get_u64 takes every non-negative integer type, get_f64 every number; arrays likewise.
  llvm::Expected<uint64_t> get_u64(llvm::StringRef key) const;
  llvm::Expected<double> get_f64(llvm::StringRef key) const;
  llvm::Expected<bool> get_bool(llvm::StringRef key) const;
  llvm::Expected<llvm::StringRef> get_string(llvm::StringRef key) const;
  llvm::Expected<std::vector<uint64_t>> get_u64_array(llvm::StringRef key) const;
  llvm::Expected<std::vector<double>> get_f64_array(llvm::StringRef key) const;
  llvm::Expected<std::vector<llvm::StringRef>> get_string_array(llvm::StringRef key) const;
  // Optional values: the default when the key is absent; still an error when the type is wrong.
  llvm::Expected<uint64_t> get_u64_or(llvm::StringRef key, uint64_t fallback) const;
  llvm::Expected<double> get_f64_or(llvm::StringRef key, double fallback) const;
  llvm::Expected<bool> get_bool_or(llvm::StringRef key, bool fallback) const;
  llvm::Expected<llvm::StringRef> get_string_or(llvm::StringRef key,
                                                llvm::StringRef fallback) const;
  // Element type and length of an array value, without reading it.
  std::optional<std::pair<ValueType, uint64_t>> array_shape(llvm::StringRef key) const;

  // --- tensors ---

  llvm::ArrayRef<TensorInfo> tensors() const;
  const TensorInfo* find_tensor(llvm::StringRef name) const;  // null when absent
  // False for what lies beyond the end of a file that was opened with header_only, and for what
  // with_types() has given another type.
  bool has_data(const TensorInfo& tensor) const;
  // One of this File's tensors as it stands in the file: with_types() may have given it another
  // type.
  const TensorInfo& stored(const TensorInfo& tensor) const;
  // The tensor's bytes in the mapping, which has_data() vouches for. Valid while the File lives.
  llvm::ArrayRef<uint8_t> data(const TensorInfo& tensor) const;
  // Tells the kernel that the tensor's pages are no longer needed, to keep resident memory small.
  void release(const TensorInfo& tensor) const;

 private:
  struct Impl;
  explicit File(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace jllm::gguf
