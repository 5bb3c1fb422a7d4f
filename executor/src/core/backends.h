// The backends that this library was built with (CMake's JLLM_BACKENDS), by the plan's target.
#pragma once

#include "executor/src/core/backend.h"

namespace jllm {

// Size of the block that create_backend() needs.
uint64_t backend_bytes(const PlanView& view, const ExecutorOptions& options);
Result<Backend*> create_backend(const PlanView& view, const ExecutorOptions& options, void* memory,
                                Message* message);

// Executor::arena_bytes().
uint64_t arena_block_bytes(const PlanView& view);

}  // namespace jllm
