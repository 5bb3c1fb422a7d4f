#include "executor/text/dialogue.h"

#include <algorithm>
#include <cstdio>

namespace jllm::text {
namespace {

constexpr size_t kIdSize = 9;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) + 1 - begin);
}

bool is_id(std::string_view id) {
  return id.size() == kIdSize &&
         id.find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") ==
             std::string_view::npos;
}

}  // namespace

void Dialogue::add_user(std::string_view text) {
  texts_.emplace_back(text);
  turns_.push_back({ChatRole::kUser, {}, {}});
  open_calls_.clear();
}

void Dialogue::add_answer(const ToolAnswer& answer) {
  // Formats put white space of their own between a text and calls.
  texts_.emplace_back(answer.calls.empty() ? answer.content : trimmed(answer.content));
  open_calls_ = answer.calls;
  for (ToolCall& call : open_calls_) {
    char id[32];
    std::snprintf(id, sizeof id, "call%05zu", ++calls_made_ % 100000);
    if (!is_id(call.id)) call.id = id;
  }
  turns_.push_back({ChatRole::kAssistant, open_calls_, {}});
}

void Dialogue::add_result(std::string_view text) {
  if (open_calls_.empty()) return;
  texts_.emplace_back(text);
  turns_.push_back({ChatRole::kTool, {}, open_calls_.front().id});
  open_calls_.erase(open_calls_.begin());
}

void Dialogue::shrink(size_t count) {
  if (count >= size()) return;
  texts_.resize(count);
  turns_.erase(turns_.begin() + static_cast<std::ptrdiff_t>(count), turns_.end());
  open_calls_.clear();
}

bool Dialogue::drop_oldest() {
  const auto next = std::find_if(turns_.begin() + (turns_.empty() ? 0 : 1), turns_.end(),
                                 [](const Turn& turn) { return turn.role == ChatRole::kUser; });
  if (next == turns_.end()) return false;
  texts_.erase(texts_.begin(), texts_.begin() + (next - turns_.begin()));
  turns_.erase(turns_.begin(), next);
  return true;
}

bool Dialogue::encode(const ChatFormat& format, const Tokenizer& tokenizer,
                      std::vector<uint32_t>* tokens, std::string* error) const {
  std::vector<std::vector<ChatCall>> calls(size());
  std::vector<ChatTurn> turns(size());
  const std::vector<std::string_view> messages(texts_.begin(), texts_.end());
  for (size_t i = 0; i < size(); ++i) {
    for (const ToolCall& call : turns_[i].calls) {
      calls[i].push_back({call.name, call.arguments, call.id});
    }
    turns[i].role = turns_[i].role;
    turns[i].calls = calls[i].data();
    turns[i].call_count = calls[i].size();
    turns[i].call_id = turns_[i].call_id;
  }
  Conversation conversation;
  conversation.has_system = !system.empty();
  conversation.system = system;
  conversation.messages = messages.data();
  conversation.turns = turns.data();
  conversation.count = size();
  conversation.tools = tools;
  conversation.thinking = thinking;
  return format.encode(tokenizer, conversation, tokens, error);
}

}  // namespace jllm::text
