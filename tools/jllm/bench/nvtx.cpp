#include "tools/jllm/bench/nvtx.h"

#include <dlfcn.h>

namespace jllm::tool {

Nvtx::Nvtx() {
  void* library = dlopen("libnvToolsExt.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return;
  push_ = reinterpret_cast<int (*)(const char*)>(dlsym(library, "nvtxRangePushA"));
  pop_ = reinterpret_cast<int (*)()>(dlsym(library, "nvtxRangePop"));
  if (push_ == nullptr || pop_ == nullptr) push_ = nullptr, pop_ = nullptr;
}

}  // namespace jllm::tool
