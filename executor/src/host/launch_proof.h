// Proves before the first launch that the operations of a host plan stay inside their buffers:
// what each reads and writes follows from its numbers, and none may reach further than its
// arguments' bytes, which validate_plan() has proved to lie in the arenas. Together with it a
// host plan may be made by anybody: it cannot touch memory that is not its own.
#pragma once

#include "schema/plan_view.h"

namespace jllm::host {

// Every launch of every graph. The message names the first that would not stay inside; operations
// that this build lacks are left to those who look them up.
Error prove_launches(const fb::Plan& plan, Message* message);

}  // namespace jllm::host
