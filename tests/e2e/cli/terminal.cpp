#include "tests/e2e/cli/terminal.h"

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <stdexcept>

namespace jllm::test {
namespace {

void run_program(const std::string& program, const std::vector<std::string>& arguments,
                 const std::vector<std::string>& environment) {
  for (const std::string& entry : environment) {
    const size_t at = entry.find('=');
    setenv(entry.substr(0, at).c_str(), entry.substr(at + 1).c_str(), 1);
  }
  std::vector<char*> words = {const_cast<char*>(program.c_str())};
  for (const std::string& word : arguments) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  execv(program.c_str(), words.data());
  _exit(127);
}

}  // namespace

Terminal::Terminal(const std::string& program, const std::vector<std::string>& arguments,
                   const std::vector<std::string>& environment)
    : Terminal([&] { run_program(program, arguments, environment); }) {}

Terminal::Terminal(const std::function<void()>& work) {
  const winsize size = {40, 200, 0, 0};
  pid_ = forkpty(&fd_, nullptr, nullptr, &size);
  if (pid_ < 0) throw std::runtime_error("no terminal can be had");
  if (pid_ > 0) return;
  work();
  _exit(0);
}

Terminal::~Terminal() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(fd_);
}

void Terminal::type(const std::string& keys) const {
  if (write(fd_, keys.data(), keys.size()) != static_cast<ssize_t>(keys.size())) {
    throw std::runtime_error("the terminal takes no keys");
  }
}

bool Terminal::read_some(int milliseconds) {
  pollfd ready = {fd_, POLLIN, 0};
  if (poll(&ready, 1, milliseconds) <= 0) return true;
  char text[4096];
  const ssize_t size = read(fd_, text, sizeof text);
  if (size <= 0) return false;  // the other side is closed
  screen_.append(text, static_cast<size_t>(size));
  return true;
}

int Terminal::shows_one_of(const std::vector<std::string>& texts, double seconds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  for (bool open = true;;) {
    for (size_t i = 0; i < texts.size(); ++i) {
      const size_t at = screen_.find(texts[i], seen_);
      if (at == std::string::npos) continue;
      seen_ = at + texts[i].size();
      return static_cast<int>(i);
    }
    if (!open || std::chrono::steady_clock::now() > deadline) return -1;
    open = read_some(50);
  }
}

int Terminal::wait(double seconds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < deadline && read_some(20)) {
  }
  int status = 0;
  for (; waitpid(pid_, &status, WNOHANG) == 0; usleep(1000)) {
    if (std::chrono::steady_clock::now() > deadline) return -1;
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace jllm::test
