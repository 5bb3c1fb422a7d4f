#include "tools/jllm/serve/notify.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace jllm::serve {
namespace {

// Seconds of $WATCHDOG_USEC, 0 where there is none or it is another process's.
double watchdog_seconds() {
  const char* usec = std::getenv("WATCHDOG_USEC");
  const char* pid = std::getenv("WATCHDOG_PID");
  if (usec == nullptr || (pid != nullptr && std::atol(pid) != getpid())) return 0;
  char* end = nullptr;
  const unsigned long long value = std::strtoull(usec, &end, 10);
  return end == usec || *end != 0 ? 0 : static_cast<double>(value) / 1e6;
}

}  // namespace

Notify::Notify() {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  const size_t length = std::strlen(path);
  if (length < 2 || length >= sizeof address_.sun_path) return;
  address_.sun_family = AF_UNIX;
  std::memcpy(address_.sun_path, path, length);
  // A name of no file: systemd writes @ for the zero in front, and nothing ends it.
  if (path[0] == '@') address_.sun_path[0] = 0;
  address_size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket_ >= 0) beat_seconds_ = watchdog_seconds() / 4;
}

Notify::~Notify() {
  if (socket_ >= 0) close(socket_);
}

void Notify::send(const std::string& message, int flags) const {
  if (socket_ < 0) return;
  // Should systemd not take it, nothing can be done about it here.
  [[maybe_unused]] const ssize_t sent =
      sendto(socket_, message.data(), message.size(), MSG_NOSIGNAL | flags,
             reinterpret_cast<const sockaddr*>(&address_), address_size_);
}

void Notify::ready(const std::string& status) const { send("READY=1\nSTATUS=" + status, 0); }

void Notify::stopping() const {
  send("STOPPING=1\nSTATUS=ending when the requests under way are done", 0);
}

void Notify::beat(double now) {
  if (beat_seconds_ <= 0 || now - last_beat_ < beat_seconds_) return;
  last_beat_ = now;
  // One that finds the socket full is lost; three more come before systemd takes it for hung.
  send("WATCHDOG=1", MSG_DONTWAIT);
}

}  // namespace jllm::serve
