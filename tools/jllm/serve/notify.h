// What systemd is told, where it has started the server (Type=notify): that it is ready, that it
// ends, and by a heartbeat that it lives. Datagrams to $NOTIFY_SOCKET; without one, nothing.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <string>

namespace jllm::serve {

class Notify {
 public:
  Notify();  // from the environment, before there are other threads
  ~Notify();
  Notify(const Notify&) = delete;
  Notify& operator=(const Notify&) = delete;

  void ready(const std::string& status) const;
  void stopping() const;
  // Tells that the caller lives, if a quarter of the time that systemd waits for it (WatchdogSec)
  // has passed since it did. By one thread: the one whose hanging is to be noticed.
  void beat(double now);
  // How often at least beat() should be called; 0: nobody waits for it.
  double beat_seconds() const { return beat_seconds_; }

 private:
  void send(const std::string& message, int flags) const;

  int socket_ = -1;
  sockaddr_un address_ = {};
  socklen_t address_size_ = 0;
  double beat_seconds_ = 0, last_beat_ = 0;
};

}  // namespace jllm::serve
