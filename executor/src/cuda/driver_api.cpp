// Opens the CUDA driver and fills the function table.
#include "executor/src/cuda/driver_api.h"

#include <dlfcn.h>

namespace jllm::cuda {

const char* load_cuda_api(CudaApi* api) {
  // Never closed: the driver keeps threads and state of its own until the process ends.
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return "libcuda.so.1 cannot be opened: is the NVIDIA driver installed?";
  }
  // NOLINTBEGIN(bugprone-macro-parentheses): a list of parameters takes none around it.
#define JLLM_LOAD(field, symbol, parameters)                                     \
  api->field = reinterpret_cast<Status(*) parameters>(dlsym(library, #symbol));  \
  if (api->field == nullptr) {                                                   \
    return "libcuda.so.1 lacks " #symbol ": the driver is older than CUDA 11.4"; \
  }
  JLLM_CUDA_API(JLLM_LOAD)
#undef JLLM_LOAD
#define JLLM_LOAD(field, symbol, parameters) \
  api->field = reinterpret_cast<Status(*) parameters>(dlsym(library, #symbol));
  JLLM_CUDA_OPTIONAL_API(JLLM_LOAD)
#undef JLLM_LOAD
  // NOLINTEND(bugprone-macro-parentheses)
  return nullptr;
}

}  // namespace jllm::cuda
