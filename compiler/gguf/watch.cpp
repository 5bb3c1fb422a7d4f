#include "compiler/gguf/watch.h"

#include <llvm/Support/Signals.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <mutex>

#include "compiler/support/error.h"

namespace jllm::gguf {

// One is used again when its file is closed, and none is ever freed: the handler goes over them all
// whatever other threads do.
struct Watched {
  std::atomic<uintptr_t> begin{0};  // 0: free
  std::atomic<uintptr_t> end{0};
  std::atomic<bool> was_cut{false};
  std::string path;
  int fd = -1;
  struct stat found = {};
  Watched* next = nullptr;
};

namespace {

std::atomic<Watched*> all_watched{nullptr};
std::mutex watch_mutex;  // of whatever the handler does not read
std::string first_cut;   // its message, once the file is closed
struct sigaction previous_action;
uintptr_t page_size;

// Zeros from the page of `address` to the end of its file. Only system calls: this is a handler.
bool put_zeros(uintptr_t address) {
  for (Watched* watched = all_watched; watched != nullptr; watched = watched->next) {
    const uintptr_t begin = watched->begin, end = watched->end;
    if (address < begin || address >= end) continue;
    const uintptr_t page = address & ~(page_size - 1);
    void* const zeros = ::mmap(reinterpret_cast<void*>(page), end - page, PROT_READ,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    watched->was_cut = true;
    return zeros != MAP_FAILED;
  }
  return false;
}

void on_bus_error(int, siginfo_t* info, void*) {
  const int saved = errno;
  const bool is_fault = info->si_code > 0;  // and not sent by somebody
  if (is_fault && put_zeros(reinterpret_cast<uintptr_t>(info->si_addr))) {
    errno = saved;
    return;
  }
  ::sigaction(SIGBUS, &previous_action, nullptr);
  if (!is_fault) ::raise(SIGBUS);  // a fault comes again by itself
}

void install_handler() {
  page_size = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  llvm::sys::SetInfoSignalFunction(
      nullptr);  // LLVM's own handlers are installed by now: under ours
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigaction(SIGBUS, &action, &previous_action);
}

bool is_same(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

llvm::Error check(const Watched& watched) {
  constexpr const char* kAdvice = "; let whatever writes it come to an end and try again";
  struct stat now;
  if (::fstat(watched.fd, &now) != 0) now = watched.found;
  if (now.st_size != watched.found.st_size) {
    return fail(ExitCode::kFailed, "{0}: went from {1:N} to {2:N} bytes while it was read{3}",
                watched.path, watched.found.st_size, now.st_size, kAdvice);
  }
  if (!is_same(now.st_mtim, watched.found.st_mtim)) {
    return fail(ExitCode::kFailed, "{0}: was written to while it was read{1}", watched.path,
                kAdvice);
  }
  if (watched.was_cut) {
    return fail(ExitCode::kFailed, "{0}: a part of it cannot be read; is the disk in order?",
                watched.path);
  }
  return llvm::Error::success();
}

// A free one, or one more at the head of the list.
Watched* take_free() {
  Watched* watched = all_watched;
  while (watched != nullptr && watched->begin != 0) watched = watched->next;
  if (watched != nullptr) return watched;
  if (all_watched == nullptr) install_handler();
  watched = new Watched;
  watched->next = all_watched;
  all_watched = watched;
  return watched;
}

}  // namespace

Watched* watch(llvm::StringRef path, int fd, const struct stat& found,
               llvm::ArrayRef<uint8_t> bytes) {
  const std::lock_guard lock(watch_mutex);
  Watched* const watched = take_free();
  watched->path = path.str();
  watched->fd = fd;
  watched->found = found;
  watched->was_cut = false;
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  watched->end = begin + bytes.size();
  watched->begin = begin;
  return watched;
}

void unwatch(Watched* watched) {
  const std::lock_guard lock(watch_mutex);
  watched->begin = watched->end = 0;
  if (watched->was_cut && first_cut.empty()) first_cut = take_error(check(*watched)).second;
  ::close(watched->fd);
}

llvm::Error check_sources() {
  const std::lock_guard lock(watch_mutex);
  for (const Watched* watched = all_watched; watched != nullptr; watched = watched->next) {
    if (watched->begin == 0) continue;
    if (llvm::Error error = check(*watched)) return error;
  }
  return llvm::Error::success();
}

llvm::Error changed_source_or(llvm::Error error) {
  if (!error) return error;
  llvm::Error changed = check_sources();
  if (!changed) return error;
  llvm::consumeError(std::move(error));
  return changed;
}

llvm::Error cut_source() {
  const std::lock_guard lock(watch_mutex);
  if (!first_cut.empty()) return fail(ExitCode::kFailed, "{0}", first_cut);
  for (const Watched* watched = all_watched; watched != nullptr; watched = watched->next) {
    if (watched->begin != 0 && watched->was_cut) return check(*watched);
  }
  return llvm::Error::success();
}

}  // namespace jllm::gguf
