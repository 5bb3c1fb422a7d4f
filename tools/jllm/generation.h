// What the commands that write text share: the options of sampling, the loop that asks for tokens,
// and the printing of an answer and its calls while it comes in.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "executor/text/tool_calls.h"
#include "tools/jllm/arguments.h"
#include "tools/jllm/care.h"
#include "tools/jllm/session.h"

namespace jllm::tool {

struct GenerationOptions {
  uint64_t max_tokens = UINT32_MAX;
  uint64_t seed = 0, top_k = 40, repeat_last_n = 64;
  double temperature = 0.8, top_p = 0.95, min_p = 0.05, repeat_penalty = 1.0;
  uint32_t speculate = UINT32_MAX;  // tokens drafted a step at most
  bool ignore_end = false;
  std::string seed_text, speculate_text = "on";  // as given
};

void add_options(Arguments* arguments, GenerationOptions* options);
void read_options(GenerationOptions* options);  // behind parse(); throws Failure
Sampling sampling_of(const GenerationOptions& options);

// What devices and threads a command runs on.
struct DeviceOptions {
  uint64_t threads = 0, device = 0;
  bool eager = false;
};
void add_options(Arguments* arguments, DeviceOptions* options);
ExecutorOptions executor_options(const DeviceOptions& options);

// The file's text; a Failure where it is empty or the plan's chat format covers no tools.
std::string read_tools(OpenPlan& plan, const std::string& path);

Thinking parse_think(const std::string& text);  // "" or on or off; throws Failure

struct Generated {
  std::vector<uint32_t> tokens;
  const char* finish = "length";
  double first_token_seconds = 0, decode_seconds = 0;
};

// Puts `prompt` behind the executor's sequence and samples until the model ends, `max_tokens` or
// the context are reached, the device's memory runs out (`guard`), or Ctrl-C. `push` gets every
// token but the one that ends the text. What is in flight then is dropped.
Generated generate(const GenerationOptions& options, OpenPlan& plan, Session& session,
                   platform::Guard* guard, const std::vector<uint32_t>& prompt,
                   const std::function<void(uint32_t)>& push);

// Ctrl-C ends a generate() from now on; `once`: a second one ends the program.
void catch_interrupts(bool once);
bool was_interrupted();
void forget_interrupt();

// Whether a prompt opens the block that a model thinks in.
bool ends_in_thinking(const text::Tokenizer& tokenizer, const std::vector<uint32_t>& prompt);

// Prints an answer as it comes in, and its calls behind it. A terminal shows what stands in
// <think> dimmed.
class AnswerPrinter {
 public:
  // `drop_space`: the text's first character, if it is a space, is not printed. `in_thinking`: the
  // answer begins in a block of thinking.
  AnswerPrinter(const text::Tokenizer& tokenizer, text::ToolNotation notation, bool print,
                bool drop_space = false, bool in_thinking = false);
  void push(uint32_t token) { put(decoder_.push(token)); }
  void finish();
  const std::string& text() const { return text_; }
  const text::ToolAnswer& answer() const { return answer_; }  // behind finish()

 private:
  void put(std::string piece);
  void print_up_to(const std::string& text, size_t end);
  size_t thinking_end(std::string_view text) const;

  text::StreamDecoder decoder_;
  text::ToolNotation notation_;
  bool print_;
  bool drop_space_;
  bool in_thinking_;
  bool dims_;  // standard output is a terminal that knows how
  size_t printed_ = 0;
  std::string text_;
  text::ToolAnswer answer_;
};

}  // namespace jllm::tool
