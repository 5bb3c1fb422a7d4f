#include "tools/jllm/generation.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace jllm::tool {
namespace {

// Tokens asked for ahead of the one that is read, so that a GPU never waits for the host.
constexpr uint32_t kAhead = 4;

constexpr std::string_view kThink = "<think>", kThinkEnd = "</think>";

volatile std::sig_atomic_t interrupted = 0;

bool terminal_knows_styles() {
  const char* terminal = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");  // no-color.org
  return isatty(STDOUT_FILENO) != 0 && terminal != nullptr &&
         std::string_view(terminal) != "dumb" && (no_color == nullptr || no_color[0] == 0);
}

uint32_t parse_speculate(const std::string& text) {
  if (text == "on") return UINT32_MAX;
  if (text == "off") return 0;
  const bool digits = text.find_first_not_of("0123456789") == std::string::npos;
  if (text.empty() || !digits || text.size() > 9) {
    throw Failure(kUsage, "--speculate " + text + ": expected on, off or a number of tokens");
  }
  return static_cast<uint32_t>(std::stoul(text));
}

}  // namespace

void add_options(Arguments* arguments, GenerationOptions* o) {
  Arguments& a = *arguments;
  a.integer("-n", "--tokens", &o->max_tokens, UINT32_MAX,
            "tokens to make at most (default: to the end)");
  a.number("-t", "--temp", &o->temperature, 0, 100,
           "temperature; 0 takes the likeliest token (default 0.8)");
  a.integer("", "--top-k", &o->top_k, UINT32_MAX,
            "keep the K likeliest tokens, 0 is off (default 40)");
  a.number("", "--top-p", &o->top_p, 1e-6, 1,
           "keep the likeliest tokens of this mass, 1 is off (default 0.95)");
  a.number("", "--min-p", &o->min_p, 0, 1,
           "drop tokens below this share of the likeliest (default 0.05)");
  a.number("", "--repeat-penalty", &o->repeat_penalty, 1e-3, 100,
           "penalty on recent tokens, 1 is off (default 1)");
  a.integer("", "--repeat-last-n", &o->repeat_last_n, UINT32_MAX,
            "tokens that the penalty looks back at (default 64)");
  a.text("-s", "--seed", &o->seed_text, "seed of the draws (default: a new one each run)");
  a.text("", "--speculate", &o->speculate_text,
         "verify tokens drafted from the text so far: on, off, or how many a step at most; the "
         "text stays the same (default: on, for plans compiled with --speculate)");
  a.flag("", "--ignore-end", &o->ignore_end, "go on behind end-of-text tokens");
}

void read_options(GenerationOptions* o) {
  o->speculate = parse_speculate(o->speculate_text);
  if (o->seed_text.empty()) {
    std::random_device random;
    o->seed = random();
    return;
  }
  char* end = nullptr;
  o->seed = std::strtoull(o->seed_text.c_str(), &end, 10);
  if (*end != 0) throw Failure(kUsage, "--seed " + o->seed_text + ": expected a number");
}

Sampling sampling_of(const GenerationOptions& o) {
  Sampling sampling;
  sampling.temperature = static_cast<float>(o.temperature);
  sampling.top_k = static_cast<uint32_t>(o.top_k);
  sampling.top_p = static_cast<float>(o.top_p);
  sampling.min_p = static_cast<float>(o.min_p);
  sampling.repeat_penalty = static_cast<float>(o.repeat_penalty);
  sampling.repeat_last_n = static_cast<uint32_t>(o.repeat_last_n);
  sampling.seed = o.seed;
  sampling.ignore_end = o.ignore_end;
  return sampling;
}

void add_options(Arguments* a, DeviceOptions* o) {
  a->integer("", "--threads", &o->threads, 64, "host plans: worker threads (default: one per CPU)");
  a->integer("", "--device", &o->device, 1023, "CUDA plans: device number (default 0)");
  a->flag("", "--eager", &o->eager,
          "CUDA plans: launch kernel by kernel, without graphs (debugging)");
}

ExecutorOptions executor_options(const DeviceOptions& o) {
  ExecutorOptions options;
  options.threads = static_cast<unsigned>(o.threads);
  options.device = static_cast<int>(o.device);
  options.graphs = !o.eager;
  return options;
}

std::string read_tools(OpenPlan& plan, const std::string& path) {
  plan.require_tools();
  std::string tools = read_text(path);
  if (tools.find_first_not_of(" \t\r\n") == std::string::npos) {
    throw Failure(kUsage, path + ": no tools in it");
  }
  return tools;
}

Thinking parse_think(const std::string& text) {
  if (text.empty()) return Thinking::kDefault;
  if (text == "on") return Thinking::kOn;
  if (text == "off") return Thinking::kOff;
  throw Failure(kUsage, "--think " + text + ": expected on or off");
}

Generated generate(const GenerationOptions& o, OpenPlan& plan, Session& session,
                   platform::Guard* guard, const std::vector<uint32_t>& prompt,
                   const std::function<void(uint32_t)>& push) {
  Generated result;
  if (!may_go_on(guard)) {
    result.finish = "memory";
    return result;
  }
  Executor& executor = session.executor();
  const double start = now_seconds();
  session.check(executor.prefill(prompt.data(), static_cast<uint32_t>(prompt.size())));
  executor.set_speculation(o.speculate);
  const bool speculates = o.speculate > 0 && executor.most_drafted() > 0;
  const uint32_t ahead = plan.view().is_host() ? 1 : kAhead;
  uint64_t asked = 0;
  // A draft needs all tokens in front of it, so that none is asked for ahead then.
  const auto next_token = [&]() {
    if (speculates) {
      return executor.generate(static_cast<uint32_t>(o.max_tokens - result.tokens.size()));
    }
    while (asked < o.max_tokens && executor.in_flight() < ahead) {
      session.check(executor.enqueue());
      ++asked;
    }
    return executor.next();
  };
  double first = start;
  for (bool running = true; running && result.tokens.size() < o.max_tokens;) {
    const Result<SampledToken> token = next_token();
    session.check(token.error());
    if (result.tokens.empty()) first = now_seconds();
    result.tokens.push_back(token.value().id);
    if (token.value().done == kEndToken) {
      result.finish = "stop";
      running = false;
    } else {
      push(token.value().id);
      if (token.value().done == kContextFull) result.finish = "context";
      running = token.value().done == kRunning;
    }
    if (running && result.tokens.size() < o.max_tokens && !may_go_on(guard)) {
      result.finish = "memory";
      running = false;
    }
    if (was_interrupted()) {
      result.finish = "interrupted";
      running = false;
    }
  }
  result.first_token_seconds = first - start;
  result.decode_seconds = now_seconds() - first;
  session.check(executor.rewind(executor.count()));  // what is in flight is waited for and dropped
  return result;
}

void catch_interrupts(bool once) {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = 1; };
  if (once) action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
}

bool was_interrupted() { return interrupted != 0; }

void forget_interrupt() { interrupted = 0; }

bool ends_in_thinking(const text::Tokenizer& tokenizer, const std::vector<uint32_t>& prompt) {
  constexpr std::ptrdiff_t kMostTokens = 12;  // the mark in pieces, and white space behind it
  const auto size = static_cast<std::ptrdiff_t>(prompt.size());
  std::string end =
      tokenizer.decode({prompt.end() - std::min(size, kMostTokens), prompt.end()}, true);
  end.resize(end.find_last_not_of(" \t\r\n") + 1);
  return end.size() >= kThink.size() &&
         end.compare(end.size() - kThink.size(), kThink.size(), kThink) == 0;
}

// Calls may be written with control tokens.
AnswerPrinter::AnswerPrinter(const text::Tokenizer& tokenizer, text::ToolNotation notation,
                             bool print, bool drop_space, bool in_thinking)
    : decoder_(tokenizer, notation != text::ToolNotation::kNone),
      notation_(notation),
      print_(print),
      drop_space_(drop_space),
      in_thinking_(in_thinking),
      dims_(terminal_knows_styles()) {}

// Where the block of thinking ends that the text begins with; 0: it begins with none. An opening
// that may still become one counts as thinking that is not over.
size_t AnswerPrinter::thinking_end(std::string_view text) const {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (!in_thinking_) {
    if (begin == std::string_view::npos) return 0;
    const std::string_view opening = text.substr(begin, kThink.size());
    if (opening != kThink.substr(0, opening.size())) return 0;
    if (opening.size() < kThink.size()) return std::string_view::npos;
  }
  const size_t end = text.find(kThinkEnd);
  return end == std::string_view::npos ? end : end + kThinkEnd.size();
}

void AnswerPrinter::put(std::string piece) {
  if (drop_space_ && !piece.empty()) {
    if (piece[0] == ' ') piece.erase(0, 1);
    drop_space_ = false;
  }
  text_ += piece;
  print_up_to(text_, text::text_before_calls(text_, notation_));
}

void AnswerPrinter::print_up_to(const std::string& text, size_t end) {
  if (!print_ || end <= printed_) return;
  const auto write = [&](size_t to) {
    std::fwrite(text.data() + printed_, 1, to - printed_, stdout);
    printed_ = to;
  };
  const size_t thinking = dims_ ? std::min(thinking_end({text.data(), end}), end) : 0;
  if (printed_ < thinking) {
    // Each piece for itself, so that an interrupted text leaves the terminal as it was.
    std::fputs("\033[2m", stdout);
    write(thinking);
    std::fputs("\033[22m", stdout);
  }
  write(end);
  std::fflush(stdout);
}

void AnswerPrinter::finish() {
  put(decoder_.finish());
  answer_ = text::parse_tool_calls(text_, notation_);
  print_up_to(answer_.content, answer_.content.size());
  if (!print_) return;
  const bool in_line = printed_ > 0 && answer_.content.back() != '\n';
  for (size_t i = 0; i < answer_.calls.size(); ++i) {
    const text::ToolCall& call = answer_.calls[i];
    std::printf("%stool call: %s(%s)", i > 0 || in_line ? "\n" : "", call.name.c_str(),
                call.arguments.c_str());
  }
  std::fflush(stdout);
}

}  // namespace jllm::tool
