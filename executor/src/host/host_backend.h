// The host backend: plain memory, worker threads, launches run at once. No graphs.
#pragma once

#include "executor/src/core/backend.h"

namespace jllm {

// Size of the block that create_host_backend() needs.
uint64_t host_backend_bytes(const PlanView& view, const ExecutorOptions& options);
// Size of a block that holds every arena of the plan (ExecutorOptions::arena_memory).
uint64_t host_arena_bytes(const PlanView& view);

// Starts the worker threads. `memory` is 64-byte aligned and outlives the backend; `message`
// receives the reason of every later failure too.
Result<Backend*> create_host_backend(const PlanView& view, const ExecutorOptions& options,
                                     void* memory, Message* message);

}  // namespace jllm
