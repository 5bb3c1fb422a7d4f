#include "compiler/support/output_file.h"

#include <llvm/Support/Signals.h>

#include <cerrno>
#include <cstring>

#include "compiler/support/error.h"

namespace jllm {

llvm::Error OutputFile::check(FileFailure failure) const {
  if (failure == nullptr) return llvm::Error::success();
  const char* hint = errno == ENOSPC ? "; free some space and try again" : "";
  return fail(ExitCode::kFailed, "{0}: cannot {1}: {2}{3}", file_.path(), failure,
              std::strerror(errno), hint);
}

llvm::Expected<OutputFile> OutputFile::create(llvm::StringRef path) {
  OutputFile file(path);
  llvm::sys::RemoveFileOnSignal(file.file_.temporary());  // Ctrl-C leaves nothing behind
  if (llvm::Error error = file.check(file.file_.create())) return error;
  return file;
}

OutputFile::~OutputFile() {
  // Moved from: another has the name.
  if (!file_.temporary().empty()) llvm::sys::DontRemoveFileOnSignal(file_.temporary());
}

llvm::Error OutputFile::write_at(uint64_t offset, const void* data, uint64_t size) {
  return check(file_.write_at(offset, data, size));
}

llvm::Error OutputFile::write(const void* data, uint64_t size) {
  if (llvm::Error error = write_at(size_, data, size)) return error;
  size_ += size;
  return llvm::Error::success();
}

llvm::Error OutputFile::commit() { return commit_as(file_.path()); }

llvm::Error OutputFile::commit_as(llvm::StringRef path) {
  if (llvm::Error error = check(file_.commit_as(path.str()))) return error;
  sync_names(parent_folder(file_.path()));  // the file is there: what fails here takes nothing back
  return llvm::Error::success();
}

}  // namespace jllm
