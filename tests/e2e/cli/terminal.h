// A program on a terminal of its own, as a person at it sees it.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace jllm::test {

class Terminal {
 public:
  // `environment`: "NAME=value", added to this process's own.
  Terminal(const std::string& program, const std::vector<std::string>& arguments,
           const std::vector<std::string>& environment);
  // The same of a function in a forked process.
  explicit Terminal(const std::function<void()>& work);
  ~Terminal();  // kills what still runs
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& keys) const;
  // Whether this text appears behind what was awaited before, within half a minute.
  bool shows(const std::string& text) { return shows_one_of({text}) == 0; }
  // Which of these texts appears there, the first of the list where several do; -1: none.
  int shows_one_of(const std::vector<std::string>& texts, double seconds = 30);
  // Its exit code; -1: it still runs after this time, or a signal has ended it.
  int wait(double seconds = 30);
  const std::string& screen() const { return screen_; }  // all that was written

 private:
  bool read_some(int milliseconds);

  pid_t pid_ = -1;
  int fd_ = -1;
  std::string screen_;
  size_t seen_ = 0;
};

}  // namespace jllm::test
