// The members of a chat request that become a conversation: its messages and tools.
#pragma once

#include "tools/jllm/serve/api.h"

namespace jllm::serve {

class Members;

// Both throw ApiError.
void read_messages(const Members& members, text::Dialogue* dialogue);
// Where a call is forced, it is the request's form, whatever response_format says of texts.
void read_tools(const Members& members, const RequestDefaults& defaults, ChatRequest* request);

}  // namespace jllm::serve
