// Encoding metadata as it is set, and streaming the file in one pass.
#include "compiler/gguf/writer.h"

#include <llvm/ADT/SmallString.h>
#include <llvm/Support/FileSystem.h>
#include <llvm/Support/raw_ostream.h>

#include <memory>
#include <utility>

#include "compiler/gguf/file.h"
#include "compiler/support/error.h"
#include "schema/checked_math.h"

namespace jllm::gguf {
namespace {

constexpr uint32_t kVersion = 3;
constexpr uint64_t kAlignment = 32;  // the format's default, so no key says it

template <typename T>
void append(std::string* out, T value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void append_string(std::string* out, llvm::StringRef text) {
  append(out, uint64_t{text.size()});
  out->append(text.data(), text.size());
}

void append_array_head(std::string* out, ValueType type, size_t count) {
  append(out, static_cast<uint32_t>(type));
  append(out, uint64_t{count});
}

llvm::Error io_error(llvm::StringRef path, const std::error_code& code) {
  return fail(ExitCode::kFailed, "{0}: cannot write: {1}", path, code.message());
}

}  // namespace

void Writer::begin_value(llvm::StringRef key, uint32_t value_type) {
  append_string(&metadata_, key);
  append(&metadata_, value_type);
  ++value_count_;
}

void Writer::set_u32(llvm::StringRef key, uint32_t value) {
  begin_value(key, static_cast<uint32_t>(ValueType::kU32));
  append(&metadata_, value);
}

void Writer::set_u64(llvm::StringRef key, uint64_t value) {
  begin_value(key, static_cast<uint32_t>(ValueType::kU64));
  append(&metadata_, value);
}

void Writer::set_f32(llvm::StringRef key, float value) {
  begin_value(key, static_cast<uint32_t>(ValueType::kF32));
  append(&metadata_, value);
}

void Writer::set_bool(llvm::StringRef key, bool value) {
  begin_value(key, static_cast<uint32_t>(ValueType::kBool));
  append(&metadata_, static_cast<uint8_t>(value ? 1 : 0));
}

void Writer::set_string(llvm::StringRef key, llvm::StringRef value) {
  begin_value(key, static_cast<uint32_t>(ValueType::kString));
  append_string(&metadata_, value);
}

void Writer::set_string_array(llvm::StringRef key, llvm::ArrayRef<std::string> values) {
  begin_value(key, static_cast<uint32_t>(ValueType::kArray));
  append_array_head(&metadata_, ValueType::kString, values.size());
  for (const std::string& value : values) append_string(&metadata_, value);
}

void Writer::set_f32_array(llvm::StringRef key, llvm::ArrayRef<float> values) {
  begin_value(key, static_cast<uint32_t>(ValueType::kArray));
  append_array_head(&metadata_, ValueType::kF32, values.size());
  for (float value : values) append(&metadata_, value);
}

void Writer::set_i32_array(llvm::StringRef key, llvm::ArrayRef<int32_t> values) {
  begin_value(key, static_cast<uint32_t>(ValueType::kArray));
  append_array_head(&metadata_, ValueType::kI32, values.size());
  for (int32_t value : values) append(&metadata_, value);
}

void Writer::add_tensor(llvm::StringRef name, llvm::ArrayRef<uint64_t> shape, WeightType type,
                        Producer producer) {
  tensors_.push_back({name.str(), shape.vec(), type, std::move(producer)});
}

void Writer::add_tensor(llvm::StringRef name, llvm::ArrayRef<uint64_t> shape, WeightType type,
                        std::vector<uint8_t> bytes) {
  // Shared, because a std::function is copied with what it holds.
  auto shared = std::make_shared<const std::vector<uint8_t>>(std::move(bytes));
  add_tensor(name, shape, type, [shared](const Sink& sink) { return sink(*shared); });
}

llvm::Expected<std::string> Writer::head(llvm::StringRef path, std::vector<uint64_t>* sizes) const {
  std::string head = "GGUF";
  append(&head, kVersion);
  append(&head, uint64_t{tensors_.size()});
  append(&head, value_count_);
  head += metadata_;
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    const BlockShape block = block_shape(tensor.type);
    uint64_t elements = 1;
    for (uint64_t extent : tensor.shape) elements *= extent;
    if (tensor.shape.empty() || block.elements == 0 || tensor.shape[0] % block.elements != 0) {
      return fail(ExitCode::kFailed, "{0}: tensor {1} has no rows of whole {2} blocks", path,
                  tensor.name, weight_type_name(tensor.type));
    }
    sizes->push_back(elements / block.elements * block.bytes);
    append_string(&head, tensor.name);
    append(&head, static_cast<uint32_t>(tensor.shape.size()));
    for (uint64_t extent : tensor.shape) append(&head, extent);
    append(&head, static_cast<uint32_t>(tensor.type));
    append(&head, offset);
    offset += align_up(sizes->back(), kAlignment);
  }
  head.resize(align_up(head.size(), kAlignment), '\0');
  return head;
}

llvm::Error Writer::write(llvm::StringRef path) const { return write(path, tensors_.size()); }

llvm::Error Writer::write_header(llvm::StringRef path) const { return write(path, 0); }

llvm::Error Writer::write(llvm::StringRef path, size_t tensors) const {
  std::vector<uint64_t> sizes;
  llvm::Expected<std::string> front = head(path, &sizes);
  if (!front) return front.takeError();
  llvm::Expected<llvm::sys::fs::TempFile> file =
      llvm::sys::fs::TempFile::create(path + ".tmp-%%%%%%%%");
  if (!file) return io_error(path, llvm::errorToErrorCode(file.takeError()));
  const auto write_all = [&]() -> llvm::Error {
    llvm::raw_fd_ostream out(file->FD, /*shouldClose=*/false);
    out << *front;
    for (size_t i = 0; i < tensors; ++i) {
      uint64_t written = 0;
      const Sink sink = [&](llvm::ArrayRef<uint8_t> bytes) -> llvm::Error {
        out.write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        written += bytes.size();
        // Stops early on a full disk; the error itself is reported below.
        return out.has_error() ? io_error(path, out.error()) : llvm::Error::success();
      };
      llvm::Error error = tensors_[i].producer(sink);
      if (!error && written != sizes[i]) {
        error = fail(ExitCode::kFailed, "{0}: tensor {1} gave {2} bytes instead of {3}", path,
                     tensors_[i].name, written, sizes[i]);
      }
      if (error) {
        // The stream aborts the program if it dies with an error that nobody cleared.
        out.flush();
        out.clear_error();
        return error;
      }
      out.write_zeros(static_cast<unsigned>(align_up(written, kAlignment) - written));
    }
    out.flush();
    if (!out.has_error()) return llvm::Error::success();
    const std::error_code code = out.error();
    out.clear_error();
    return io_error(path, code);
  };
  if (llvm::Error error = write_all()) {
    llvm::consumeError(file->discard());
    return error;
  }
  if (llvm::Error error = file->keep(path)) {
    return io_error(path, llvm::errorToErrorCode(std::move(error)));
  }
  return llvm::Error::success();
}

}  // namespace jllm::gguf
