#include "tools/plan_file/replace_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "tools/plan_file/failure.h"

namespace jllm::tool {
namespace {

[[noreturn]] void fail(const std::string& path, const char* what) {
  const char* hint = errno == ENOSPC ? "; free some space and try again" : "";
  throw Failure(kFailed, path + ": cannot " + what + ": " + std::strerror(errno) + hint);
}

}  // namespace

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

void rename_and_sync(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) fail(to, "be replaced");
  sync_folder(to);
}

void sync_folder(const std::string& path) {
  if (!sync_names(parent_folder(path))) fail(path, "sync the folder of");
}

ReplaceFile::ReplaceFile(const std::string& path) : file_(path) { check(file_.create()); }

void ReplaceFile::check(FileFailure failure) const {
  if (failure != nullptr) fail(file_.path(), failure);
}

void ReplaceFile::write(uint64_t offset, const void* data, uint64_t size) {
  check(file_.write_at(offset, data, size));
}

void ReplaceFile::append(std::string_view text) {
  write(appended_, text.data(), text.size());
  appended_ += text.size();
}

void ReplaceFile::copy(PlanSource& source, uint64_t offset, uint64_t end) {
  std::vector<uint8_t> piece(1u << 20);
  for (uint64_t n = 0; offset < end; offset += n) {
    n = std::min<uint64_t>(piece.size(), end - offset);
    if (source.read(offset, n, piece.data()) != Error::kOk)
      throw Failure(kFailed, "what is to become " + file_.path() + " cannot be read");
    write(offset, piece.data(), n);
  }
}

void ReplaceFile::sync() { check(file_.sync()); }

void ReplaceFile::commit() {
  check(file_.commit());
  sync_folder(file_.path());
}

}  // namespace jllm::tool
