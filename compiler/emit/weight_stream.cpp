#include "compiler/emit/weight_stream.h"

#include <algorithm>
#include <cstring>
#include <future>
#include <vector>

#include "compiler/emit/repack.h"
#include "compiler/gguf/quants.h"
#include "compiler/support/error.h"
#include "schema/panel_layout.h"

namespace jllm::emit {
namespace {

constexpr uint64_t kPieceBytes = 4u << 20;

// Hands pieces to the sink on a second thread, one behind the maker.
class Pipeline {
 public:
  using Sink = std::function<llvm::Error(llvm::ArrayRef<uint8_t>)>;
  explicit Pipeline(const Sink& sink) : sink_(sink) {}
  ~Pipeline() {
    if (pending_.valid()) llvm::consumeError(pending_.get());
  }

  uint64_t written() const { return written_; }

  llvm::Error push(std::vector<uint8_t> piece) {
    if (llvm::Error error = wait()) return error;
    written_ += piece.size();
    current_ = std::move(piece);
    pending_ = std::async(std::launch::async, [this] { return sink_(current_); });
    return llvm::Error::success();
  }
  llvm::Error pad_to(uint64_t offset) {
    if (offset == written_) return llvm::Error::success();
    return push(std::vector<uint8_t>(offset - written_, 0));  // less than one buffer alignment
  }
  llvm::Error wait() { return pending_.valid() ? pending_.get() : llvm::Error::success(); }

 private:
  const Sink& sink_;
  std::vector<uint8_t> current_;
  std::future<llvm::Error> pending_;
  uint64_t written_ = 0;
};

// The rows of one matrix of the tensor.
llvm::Error stream_rows(gguf::RowReader source, const ir::Tensor& tensor, bool is_host,
                        Pipeline& out) {
  const uint64_t rows = tensor.rows / tensor.experts;
  if (tensor.panels) {
    const uint64_t panel = panel_bytes(tensor.type, tensor.cols);
    const uint64_t rows_per_piece = std::max<uint64_t>(1, kPieceBytes / panel) * kPanelRows;
    for (uint64_t first = 0; first < rows; first += rows_per_piece) {
      const uint64_t n = std::min(rows_per_piece, rows - first);
      llvm::Expected<const uint8_t*> from = source.read(first, n);
      if (!from) return from.takeError();
      std::vector<uint8_t> piece(panel_count(n) * panel);
      repack_panels(tensor.type, *from, n, tensor.cols, piece.data());
      if (llvm::Error error = out.push(std::move(piece))) return error;
    }
    return llvm::Error::success();
  }
  const uint64_t row = memory::storage_bytes(tensor, is_host) / tensor.rows;
  const uint64_t rows_per_piece = std::max<uint64_t>(1, kPieceBytes / row);
  for (uint64_t first = 0; first < rows; first += rows_per_piece) {
    const uint64_t n = std::min(rows_per_piece, rows - first);
    llvm::Expected<const uint8_t*> from = source.read(first, n);
    if (!from) return from.takeError();
    std::vector<uint8_t> piece;
    if (is_host) {
      piece.assign(*from, *from + n * row);
    } else {
      piece.resize(n * row);
      repack_rows(tensor.type, *from, n, tensor.cols, piece.data());
    }
    if (llvm::Error error = out.push(std::move(piece))) return error;
  }
  return llvm::Error::success();
}

llvm::Error stream_matrix(const gguf::File& file, const ir::Tensor& tensor, bool is_host,
                          gguf::Edits* edits, Pipeline& out) {
  uint64_t offset = tensor.source_offset;
  for (uint64_t expert = 0; expert < tensor.experts; ++expert) {
    offset = tensor.source_offset + expert * tensor.source_step;
    gguf::RowReader source(file, *tensor.source, offset, tensor.cols, edits);
    if (llvm::Error error = stream_rows(std::move(source), tensor, is_host, out)) return error;
  }
  // Once the last of its parts has been read.
  if (offset + tensor.elements() / tensor.experts == tensor.source->elements()) {
    file.release(file.stored(*tensor.source));
  }
  return llvm::Error::success();
}

llvm::Error stream_constant(const gguf::File& file, const ir::Tensor& tensor, Pipeline& out) {
  std::vector<float> values = tensor.values;
  if (tensor.source != nullptr) {
    values.resize(tensor.elements());
    gguf::RowReader source(file, *tensor.source, tensor.source_offset, tensor.elements());
    llvm::Expected<const uint8_t*> from = source.read(0, 1);
    if (!from) return from.takeError();
    gguf::dequantise(tensor.source->type(), *from, values.data(), values.size());
  }
  std::vector<uint8_t> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return out.push(std::move(bytes));
}

}  // namespace

llvm::Error stream_weights(const gguf::File& file, const ir::Program& program,
                           const memory::Layout& layout, uint32_t arena, bool is_host,
                           gguf::Edits* edits,
                           const std::function<llvm::Error(llvm::ArrayRef<uint8_t>)>& sink) {
  // Tensors lie in id order within their arena (LayoutPlanner::place_linearly).
  Pipeline out(sink);
  for (ir::TensorId id = 0; id < layout.tensors.size(); ++id) {
    const std::optional<memory::Location>& location = layout.tensors[id];
    if (!location || location->arena != arena) continue;
    if (llvm::Error error = out.pad_to(location->offset)) return error;
    const ir::Tensor& tensor = program[id];
    llvm::Error error = tensor.kind == ir::TensorKind::kWeight
                            ? stream_matrix(file, tensor, is_host, edits, out)
                            : stream_constant(file, tensor, out);
    if (error) return error;
    if (out.written() != location->offset + location->size) {
      return fail(ExitCode::kFailed, "internal: {0} takes {1} bytes, planned {2}", tensor.name,
                  out.written() - location->offset, location->size);
    }
  }
  if (llvm::Error error = out.pad_to(layout.arenas[arena].size)) return error;
  return out.wait();
}

}  // namespace jllm::emit
