#include "compiler/inspect/inspect.h"

#include <llvm/Support/FileSystem.h>
#include <llvm/Support/MemoryBuffer.h>

#include <cstring>
#include <vector>

#include "compiler/support/error.h"
#include "compiler/support/output_file.h"

namespace jllm::inspect {
namespace {

llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> read_slice(const std::string& path,
                                                               uint64_t size) {
  auto buffer = llvm::MemoryBuffer::getFileSlice(path, size, 0);
  if (!buffer) return fail(ExitCode::kFailed, "{0}: {1}", path, buffer.getError().message());
  return std::move(*buffer);
}

const uint8_t* bytes_of(const llvm::MemoryBuffer& buffer) {
  return reinterpret_cast<const uint8_t*>(buffer.getBufferStart());
}

llvm::Error inspect_gguf(const InspectOptions& options, llvm::raw_ostream& out) {
  if (options.map || options.verify || !options.svg_path.empty()) {
    return fail(ExitCode::kUsage, "--map, --svg and --verify are for plans; {0} is a GGUF",
                options.path);
  }
  llvm::Expected<gguf::File> file = gguf::File::open(options.path);
  if (!file) return file.takeError();
  options.json ? print_gguf_json(*file, out) : print_gguf_text(*file, out);
  return llvm::Error::success();
}

llvm::Error write_text(const std::string& path, const std::string& text) {
  llvm::Expected<OutputFile> file = OutputFile::create(path);
  if (!file) return file.takeError();
  if (llvm::Error error = file->write(text.data(), text.size())) return error;
  return file->commit();
}

llvm::Error inspect_plan(const InspectOptions& options, llvm::raw_ostream& out) {
  llvm::Expected<PlanFile> file = PlanFile::open(options.path);
  if (!file) return file.takeError();
  if (!options.svg_path.empty()) {
    if (llvm::Error error = write_text(options.svg_path, draw_plan(file->plan()))) return error;
  }
  if (options.verify) {
    if (llvm::Error error = verify_plan(*file)) return error;
    if (!options.json)
      out << "verified: no two live buffers overlap, every launch stays in live buffers, all "
             "hashes match\n";
  }
  if (options.json) {
    print_plan_json(*file, out);
  } else if (options.map) {
    print_map(file->plan(), out);
  } else if (!options.verify && options.svg_path.empty()) {
    print_plan_text(*file, out);
  }
  return llvm::Error::success();
}

}  // namespace

llvm::Expected<PlanFile> PlanFile::open(const std::string& path) {
  PlanFile file;
  file.path_ = path;
  uint64_t size = 0;
  if (const std::error_code code = llvm::sys::fs::file_size(path, size)) {
    return fail(ExitCode::kFailed, "{0}: {1}", path, code.message());
  }
  Message message;
  const auto invalid = [&] { return fail(ExitCode::kInvalidFile, "{0}: {1}", path, message.text); };
  llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> prefix =
      read_slice(path, std::min<uint64_t>(size, sizeof(PlanPrefix)));
  if (!prefix) return prefix.takeError();
  const Result<uint64_t> head =
      PlanView::head_size(bytes_of(**prefix), (*prefix)->getBufferSize(), size, &message);
  if (!head.ok()) return invalid();
  llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> tables = read_slice(path, head.value());
  if (!tables) return tables.takeError();
  file.head_ = std::move(*tables);
  const Result<PlanView> view =
      PlanView::open(bytes_of(*file.head_), file.head_->getBufferSize(), size, &message);
  if (!view.ok()) return invalid();
  file.view_ = view.value();
  return file;
}

llvm::Error inspect(const InspectOptions& options, llvm::raw_ostream& out) {
  uint64_t size = 0;
  if (const std::error_code code = llvm::sys::fs::file_size(options.path, size)) {
    return fail(ExitCode::kFailed, "{0}: {1}", options.path, code.message());
  }
  llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> start =
      read_slice(options.path, std::min<uint64_t>(size, 4));
  if (!start) return start.takeError();
  return (*start)->getBuffer() == "JLLM" ? inspect_plan(options, out) : inspect_gguf(options, out);
}

chat::Description chat_format(const PlanFile& file) {
  const fb::Segment* segment = file.view().find_segment(fb::SegmentKind::ChatFormat);
  if (segment == nullptr) return {"none", {}, {}};
  auto bytes = llvm::MemoryBuffer::getFileSlice(file.path(), segment->size(), segment->offset());
  if (!bytes) return {"unreadable: " + bytes.getError().message(), {}, {}};
  // FlatBuffers reads numbers where they stand, which takes alignment.
  std::vector<uint64_t> aligned((segment->size() + 7) / 8);
  std::memcpy(aligned.data(), (*bytes)->getBufferStart(), (*bytes)->getBufferSize());
  return chat::describe({reinterpret_cast<const uint8_t*>(aligned.data()), segment->size()});
}

}  // namespace jllm::inspect
