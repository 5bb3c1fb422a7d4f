#include "compiler/support/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace jllm {

Progress::Progress(std::string what) : what_(std::move(what)), terminal_(isatty(STDERR_FILENO)) {}

Progress::~Progress() {
  if (drawn_) std::fprintf(stderr, "\r\033[K");
}

void Progress::update(uint64_t done, uint64_t total) {
  constexpr int kWidth = 30;
  constexpr auto kInterval = std::chrono::milliseconds(50);
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || total == 0 || (drawn_ && done < total && now - last_ < kInterval)) return;
  last_ = now;
  drawn_ = true;
  const double fraction = std::min(1.0, double(done) / double(total));
  const int filled = int(fraction * kWidth);
  std::fprintf(stderr, "\r%-22s [%.*s%*s] %3d %%", what_.c_str(), filled,
               "##############################", kWidth - filled, "", int(fraction * 100));
  std::fflush(stderr);
}

}  // namespace jllm
