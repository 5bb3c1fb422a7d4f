// Runs a host plan's prefix and tables, which may be damaged: what opens is created and steps a few
// times, and must stay inside its memory. Weights are made up, so that inputs stay small.
#pragma once

#include <functional>

#include "jllm/executor.h"
#include "tests/fuzz/fuzz.h"

namespace jllm::fuzz {

// `head` is changed: the hash of its tables is made to fit.
void run_host_plan(uint8_t* head, size_t size);

// What opens is created, and handed to `use`.
void with_host_plan(uint8_t* head, size_t size,
                    const std::function<void(const PlanView&, Executor&)>& use);

}  // namespace jllm::fuzz
