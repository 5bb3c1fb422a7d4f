// What --debug-info adds to a plan: how its code came to be. Text (JSON), for people and for tests;
// the executor never reads it.
#pragma once

#include <cstdint>
#include <vector>

#include "compiler/plan.h"

namespace jllm::emit {

// {"ir", "schedule", "memory": what --dump-after prints of each,
//  "files": {name: text} of every kernel's source and of all headers,
//  "modules": [{"kernel", "source": a name of files, "options": [...]}], in the order of segments}
std::vector<uint8_t> build_debug_segment(const PlannedModel& planned);

}  // namespace jllm::emit
