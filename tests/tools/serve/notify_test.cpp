// The datagrams that systemd gets.
#include "tools/jllm/serve/notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>

namespace jllm::serve {
namespace {

// As systemd listens: on a file, or on a name of no file, which the environment writes with @.
class Listener {
 public:
  explicit Listener(const std::string& name) : name_(name) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name[0] == '@') address.sun_path[0] = 0;
    socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(bind(socket_, reinterpret_cast<const sockaddr*>(&address), size), 0) << name;
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  ~Listener() {
    close(socket_);
    if (name_[0] == '/') unlink(name_.c_str());
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
  }
  // The next datagram, "" where none has come.
  std::string next() const {
    char text[4096];
    const ssize_t size = recv(socket_, text, sizeof text, 0);
    return size < 0 ? "" : std::string(text, static_cast<size_t>(size));
  }

 private:
  std::string name_;
  int socket_ = -1;
};

std::string of_this_process(const std::string& text) { return text + std::to_string(getpid()); }

TEST(Notify, TellsReadyAndStopping) {
  for (const std::string& name :
       {testing::TempDir() + of_this_process("notify."), of_this_process("@jllm-notify-test-")}) {
    const Listener systemd(name);
    const Notify notify;
    EXPECT_EQ(systemd.next(), "");
    notify.ready("listening on port 1");
    EXPECT_EQ(systemd.next(), "READY=1\nSTATUS=listening on port 1");
    notify.stopping();
    EXPECT_EQ(systemd.next().substr(0, 18), "STOPPING=1\nSTATUS=");
    EXPECT_EQ(systemd.next(), "");
  }
}

TEST(Notify, BeatsFourTimesInTheWatchdogsTime) {
  const Listener systemd(of_this_process("@jllm-notify-test-"));
  setenv("WATCHDOG_USEC", "8000000", 1);
  setenv("WATCHDOG_PID", of_this_process("").c_str(), 1);
  Notify notify;
  EXPECT_EQ(notify.beat_seconds(), 2);
  int beats = 0;
  for (int i = 0; i < 100; ++i) {
    notify.beat(1000 + 0.1 * i);
    const std::string message = systemd.next();
    if (message.empty()) continue;
    EXPECT_EQ(message, "WATCHDOG=1");
    ++beats;
  }
  EXPECT_EQ(beats, 5);  // at 0, 2, 4, 6 and 8 of 10 seconds
}

TEST(Notify, OthersWatchdogsAreNotItsOwn) {
  const Listener systemd(of_this_process("@jllm-notify-test-"));
  setenv("WATCHDOG_USEC", "8000000", 1);
  setenv("WATCHDOG_PID", "1", 1);
  Notify notify;
  EXPECT_EQ(notify.beat_seconds(), 0);
  notify.beat(1000);
  EXPECT_EQ(systemd.next(), "");
  setenv("WATCHDOG_USEC", "soon", 1);
  unsetenv("WATCHDOG_PID");
  EXPECT_EQ(Notify().beat_seconds(), 0);
}

TEST(Notify, WithoutSystemdNothingHappens) {
  const std::string long_name = "/" + std::string(200, 'a');
  for (const char* name :
       {"", "/", "@", "vsock:2:1", "relative", "/no/such/folder/socket", long_name.c_str()}) {
    setenv("NOTIFY_SOCKET", name, 1);
    Notify notify;
    notify.ready("here");
    notify.beat(1000);
    notify.stopping();
  }
  unsetenv("NOTIFY_SOCKET");
  Notify().ready("here");
}

}  // namespace
}  // namespace jllm::serve
