// Care for the device while text is made (docs/device-care.md): the options of the commands that
// make text, the check before a plan is loaded, and the pauses and the stop in between tokens.
#pragma once

#include <string>

#include "executor/platform/guard.h"
#include "tools/jllm/arguments.h"
#include "tools/jllm/session.h"

namespace jllm::tool {

struct CareOptions {
  std::string memory_floor = "64M", thermal = "auto";  // as given
};

void add_options(Arguments* arguments, CareOptions* options);
platform::Guard make_guard(const CareOptions& options);  // throws Failure(kUsage)

// A Failure where loading the plan would leave less memory than the floor. Only for plans whose
// arenas lie in the system's memory: on the host, and on a Jetson.
void require_room(const platform::Guard& guard, const CareOptions& options, const OpenPlan& plan);

// Before each token: tells on standard error what has changed, pauses, and is false when the text
// must end here.
bool may_go_on(platform::Guard* guard);

}  // namespace jllm::tool
