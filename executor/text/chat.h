// Conversations to tokens, from the chat format segment of a plan. May use the heap; what fills in
// the format, schema/chat_format.h, does not.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "executor/text/tokenizer.h"
#include "executor/text/tool_calls.h"
#include "schema/chat_format.h"

namespace jllm::text {

// Immutable once open.
class ChatFormat {
 public:
  // Null on a damaged segment, with the reason in *error. The segment must outlive the ChatFormat
  // and stand at a multiple of 8 bytes.
  static std::unique_ptr<ChatFormat> open(const uint8_t* segment, size_t size, std::string* error);

  // False where the format refuses the conversation, with the reason in *error. A date of zeros is
  // today.
  bool encode(const Tokenizer& tokenizer, const Conversation& conversation,
              std::vector<uint32_t>* tokens, std::string* error) const;

  // How the model writes calls (parse_tool_calls); kNone: the format covers no tools, and
  // tools_refusal() says why.
  ToolNotation notation() const;
  std::string tools_refusal() const;

 private:
  explicit ChatFormat(const fb::ChatFormat& format) : format_(format) {}
  const fb::ChatFormat& format_;
};

}  // namespace jllm::text
