// The members of a chat request that become a conversation: its messages and tools.
#pragma once

#include "tools/jllm/serve/api.h"

namespace jllm::serve {

class Members;

// Both throw ApiError.
void read_messages(const Members& request, text::Dialogue* dialogue);
void read_tools(const Members& request, const RequestDefaults& defaults, text::Dialogue* dialogue);

}  // namespace jllm::serve
