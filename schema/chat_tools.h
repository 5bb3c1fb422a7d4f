// Tools and calls' arguments as a chat format writes them: JSON, rewritten in the template's way.
#pragma once

#include <string_view>

#include "schema/chat_generated.h"
#include "schema/chat_json.h"

namespace jllm {

// Whether print_tools() can write these tools.
bool check_tools(const fb::ToolFormat& format, std::string_view tools);
// False where there is no room, or check_tools() is false.
bool print_tools(const fb::ToolFormat& format, std::string_view tools, ChatSink* out);

// The same for the arguments of a call, a JSON object.
bool check_arguments(std::string_view arguments);
bool print_arguments(std::string_view arguments, ChatSink* out);

}  // namespace jllm
