// A progress line on stderr for long work; silent unless stderr is a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace jllm {

class Progress {
 public:
  // `what` is shown before the bar: "repacking weights".
  explicit Progress(std::string what);
  ~Progress();  // clears the line
  void update(uint64_t done, uint64_t total);

 private:
  std::string what_;
  bool terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace jllm
