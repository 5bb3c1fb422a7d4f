// Named ranges for NVIDIA's profilers (Nsight Systems): passed on where libnvToolsExt.so.1 can be
// opened, else nothing happens.
#pragma once

#include <string>

namespace jllm::tool {

class Nvtx {
 public:
  Nvtx();

  // From construction to destruction.
  class Range {
   public:
    Range(const Nvtx& nvtx, const std::string& name) : pop_(nvtx.pop_) {
      if (nvtx.push_ != nullptr) nvtx.push_(name.c_str());
    }
    ~Range() {
      if (pop_ != nullptr) pop_();
    }
    Range(const Range&) = delete;
    Range& operator=(const Range&) = delete;

   private:
    int (*pop_)();
  };

 private:
  int (*push_)(const char* name) = nullptr;
  int (*pop_)() = nullptr;
};

}  // namespace jllm::tool
