// A conversation that grows: what its texts, calls and results are, kept and handed to a
// ChatFormat. May use the heap.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "executor/text/chat.h"
#include "executor/text/tool_calls.h"
#include "schema/chat_format.h"

namespace jllm::text {

class Dialogue {
 public:
  std::string system;  // empty: none
  std::string tools;   // a JSON array (Conversation.tools), empty: none
  Thinking thinking = Thinking::kDefault;

  void add_user(std::string_view text);
  // What parse_tool_calls() made of the model's answer. Calls without an id of 9 letters get one.
  void add_answer(const ToolAnswer& answer);
  // The result of a call of the answer before, in the calls' order.
  void add_result(std::string_view text);

  // The last answer's calls that have no result yet.
  const std::vector<ToolCall>& open_calls() const { return open_calls_; }

  struct Message {
    ChatRole role;
    std::string_view text;
    const std::vector<ToolCall>& calls;  // of an answer
    std::string_view call_id;            // of a result
  };
  size_t size() const { return texts_.size(); }
  Message message(size_t i) const {
    return {turns_[i].role, texts_[i], turns_[i].calls, turns_[i].call_id};
  }
  // Forgets the messages from `count` on.
  void shrink(size_t count);
  // Forgets the user's oldest message and what followed up to the next; false, and nothing, where
  // there is no next.
  bool drop_oldest();

  // As ChatFormat::encode().
  bool encode(const ChatFormat& format, const Tokenizer& tokenizer, std::vector<uint32_t>* tokens,
              std::string* error) const;

 private:
  struct Turn {
    ChatRole role;
    std::vector<ToolCall> calls;
    std::string call_id;
  };

  std::vector<std::string> texts_;
  std::vector<Turn> turns_;
  std::vector<ToolCall> open_calls_;
  size_t calls_made_ = 0;
};

}  // namespace jllm::text
