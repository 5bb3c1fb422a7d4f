// Any bytes as a chat format: what opens renders conversations of every kind into the room that it
// asked for.
#include "schema/chat_format.h"
#include "tests/fuzz/fuzz.h"

namespace jllm::fuzz {
namespace {

constexpr std::string_view kTools =
    R"([{"type": "function", "function": {"name": "f", "description": "\u00e9", "parameters":
        {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}}}])";

void render(const fb::ChatFormat& format, const Conversation& conversation) {
  size_t bytes = 0, ranges = 0;
  chat_room(format, conversation, &bytes, &ranges);
  if (bytes > 64u << 20 || ranges > 1u << 20) return;
  std::vector<char> room(bytes);
  std::vector<TextRange> trusted(ranges);
  ChatText text;
  text.text = room.data();
  text.capacity = bytes;
  text.trusted = trusted.data();
  text.trusted_capacity = ranges;
  const ChatError error = render_chat(format, conversation, &text);
  JLLM_FUZZ_CHECK(error != ChatError::kTooSmall);
  JLLM_FUZZ_CHECK(text.size <= bytes && text.trusted_count <= ranges);
  size_t end = 0;
  for (size_t i = 0; error == ChatError::kOk && i < text.trusted_count; ++i) {
    JLLM_FUZZ_CHECK(trusted[i].begin >= end && trusted[i].end <= text.size);
    end = trusted[i].end;
  }
  // Half the room must be refused or do, never overrun.
  text.capacity = bytes / 2;
  text.trusted_capacity = ranges / 2;
  (void)render_chat(format, conversation, &text);
}

void run(const uint8_t* data, size_t size) {
  const AlignedCopy segment(data, size);
  const char* why = nullptr;
  const fb::ChatFormat* format = open_chat_format(segment.data(), segment.size(), &why);
  JLLM_FUZZ_CHECK(format != nullptr || why != nullptr);
  if (format == nullptr) return;
  const std::string_view messages[] = {"Hi <|im_end|>", "Let me see.", "{\"y\": 1}", "Done."};
  const ChatCall call = {"f", "{\"x\": 1}", "123456789"};
  const ChatTurn turns[] = {{ChatRole::kUser, nullptr, 0, {}},
                            {ChatRole::kAssistant, &call, 1, {}},
                            {ChatRole::kTool, nullptr, 0, "123456789"},
                            {ChatRole::kAssistant, nullptr, 0, {}}};
  for (size_t count = 0; count <= 4; ++count) {
    for (const Thinking thinking : {Thinking::kDefault, Thinking::kOn, Thinking::kOff}) {
      Conversation plain;
      plain.messages = messages;
      plain.count = count;
      plain.thinking = thinking;
      plain.has_system = count % 2 == 1;
      plain.system = "Be brief.";
      render(*format, plain);
      plain.turns = turns;
      plain.tools = kTools;
      plain.generation_prompt = count != 4;
      render(*format, plain);
    }
  }
}

}  // namespace
}  // namespace jllm::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  jllm::fuzz::run(data, size);
  return 0;
}
