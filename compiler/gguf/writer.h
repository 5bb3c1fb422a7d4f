// Writing GGUF version 3 files: tests and `jllmc synth` make their models with it.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "schema/weight_type.h"

namespace jllm::gguf {

// Collects metadata and tensor descriptions, then streams the file. Tensor bytes are produced on
// demand so that a file larger than memory can be written.
class Writer {
 public:
  // Called once per tensor, in order; must pass exactly the tensor's bytes to `sink` (in any number
  // of pieces).
  using Sink = std::function<llvm::Error(llvm::ArrayRef<uint8_t>)>;
  using Producer = std::function<llvm::Error(const Sink& sink)>;

  void set_u32(llvm::StringRef key, uint32_t value);
  void set_u64(llvm::StringRef key, uint64_t value);
  void set_f32(llvm::StringRef key, float value);
  void set_bool(llvm::StringRef key, bool value);
  void set_string(llvm::StringRef key, llvm::StringRef value);
  void set_string_array(llvm::StringRef key, llvm::ArrayRef<std::string> values);
  void set_f32_array(llvm::StringRef key, llvm::ArrayRef<float> values);
  void set_i32_array(llvm::StringRef key, llvm::ArrayRef<int32_t> values);

  // shape[0] is the contiguous dimension and must be a multiple of the type's block.
  void add_tensor(llvm::StringRef name, llvm::ArrayRef<uint64_t> shape, WeightType type,
                  Producer producer);
  void add_tensor(llvm::StringRef name, llvm::ArrayRef<uint64_t> shape, WeightType type,
                  std::vector<uint8_t> bytes);

  // Writes to a temporary file beside `path` and renames it, so that `path` is never half a file.
  llvm::Error write(llvm::StringRef path) const;
  // The same file up to where the tensors' bytes begin; no bytes are produced.
  llvm::Error write_header(llvm::StringRef path) const;

 private:
  struct Tensor {
    std::string name;
    std::vector<uint64_t> shape;
    WeightType type;
    Producer producer;
  };
  void begin_value(llvm::StringRef key, uint32_t value_type);
  // Everything in front of the tensors' bytes; adds each tensor's size to `sizes`. The other writes
  // it and the first `tensors` tensors.
  llvm::Error write(llvm::StringRef path, size_t tensors) const;
  llvm::Expected<std::string> head(llvm::StringRef path, std::vector<uint64_t>* sizes) const;

  std::string metadata_;  // encoded key/value pairs
  uint64_t value_count_ = 0;
  std::vector<Tensor> tensors_;
};

}  // namespace jllm::gguf
