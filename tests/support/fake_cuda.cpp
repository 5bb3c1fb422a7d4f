#include "tests/support/fake_cuda.h"

#include <dlfcn.h>

namespace jllm::test {

std::string FakeCuda::what_lives() const {
  char text[1024];
  const uint64_t count = live(text, sizeof text);
  return count > 0 ? text : "";
}

std::string FakeCuda::take_violations() const {
  char text[8192];
  const uint64_t count = violations(text, sizeof text);
  return count > 0 ? text : "";
}

const FakeCuda* fake_cuda() {
  static const FakeCuda* const found = []() -> const FakeCuda* {
    void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return nullptr;
    static FakeCuda control;
#define JLLM_FIND(name)                                                                        \
  control.name = reinterpret_cast<decltype(control.name)>(dlsym(library, "fake_cuda_" #name)); \
  if (control.name == nullptr) return nullptr;
    JLLM_FAKE_CUDA_CONTROL(JLLM_FIND)
#undef JLLM_FIND
    return &control;
  }();
  return found;
}

}  // namespace jllm::test
