// Opens the CUDA driver and fills the function table; seals it.
#include "executor/src/cuda/driver_api.h"

#include <dlfcn.h>

#include <atomic>

namespace jllm::cuda {
namespace {

std::atomic<uint64_t> sealed_calls{0};

template <typename... Parameters>
Status sealed_entry(Parameters...) {
  sealed_calls.fetch_add(1, std::memory_order_relaxed);
  return kErrorNotPermitted;
}

}  // namespace

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

void seal_cuda_api(CudaApi* api) {
  api->primary_ctx_retain = sealed_entry;
  api->ctx_set_limit = sealed_entry;
  api->mem_alloc = sealed_entry;
  api->mem_host_alloc = sealed_entry;
  api->module_load_data = sealed_entry;
  api->func_set_attribute = sealed_entry;
  api->stream_create = sealed_entry;
  api->stream_begin_capture = sealed_entry;
  api->graph_instantiate = sealed_entry;
  api->event_create = sealed_entry;
}

uint64_t sealed_cuda_calls() { return sealed_calls.load(std::memory_order_relaxed); }

}  // namespace jllm::cuda
