// Compiled once for each set of backends: JLLM_HAS_HOST and JLLM_HAS_CUDA say what is in this one.
#include "executor/src/core/backends.h"

#if JLLM_HAS_CUDA
#include "executor/src/cuda/cuda_backend.h"
#endif
#if JLLM_HAS_HOST
#include "executor/src/host/host_backend.h"
#endif

namespace jllm {

uint64_t backend_bytes([[maybe_unused]] const PlanView& view,
                       [[maybe_unused]] const ExecutorOptions& options) {
#if JLLM_HAS_HOST
  if (view.is_host()) return host_backend_bytes(view, options);
#endif
#if JLLM_HAS_CUDA
  if (!view.is_host()) return cuda_backend_bytes(view, options);
#endif
  return 0;
}

Result<Backend*> create_backend(const PlanView& view,
                                [[maybe_unused]] const ExecutorOptions& options,
                                [[maybe_unused]] void* memory, Message* message) {
#if JLLM_HAS_HOST
  if (view.is_host()) return create_host_backend(view, options, memory, message);
#endif
#if JLLM_HAS_CUDA
  if (!view.is_host()) return create_cuda_backend(view, options, memory, message);
#endif
  const char* const name = view.is_host() ? "host" : "cuda";
  message->format(
      "the plan is for the %s backend, which this library was built without: build it "
      "with -DJLLM_BACKENDS=\"cuda;host\"",
      name);
  return Error::kTargetMismatch;
}

uint64_t arena_block_bytes([[maybe_unused]] const PlanView& view) {
#if JLLM_HAS_HOST
  if (view.is_host()) return host_arena_bytes(view);
#endif
  return 0;
}

}  // namespace jllm
