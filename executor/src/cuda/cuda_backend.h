// The CUDA backend: driver API only, one stream, graphs captured once and never updated.
#pragma once

#include "executor/src/core/backend.h"

namespace jllm {

// Size of the block that create_cuda_backend() needs.
uint64_t cuda_backend_bytes(const PlanView& view, const ExecutorOptions& options);

// Opens the driver and the device, and refuses a device for which the plan was not made. `memory`
// is 64-byte aligned and outlives the backend; `message` receives the reason of every later failure
// too.
Result<Backend*> create_cuda_backend(const PlanView& view, const ExecutorOptions& options,
                                     void* memory, Message* message);

}  // namespace jllm
