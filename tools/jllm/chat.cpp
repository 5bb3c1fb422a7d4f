// jllm chat: a conversation at the terminal. What the executor has of it stays there: a message
// costs the tokens behind those that are the same as before.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "executor/text/dialogue.h"
#include "tools/jllm/arguments.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/generation.h"

namespace jllm::tool {
namespace {

constexpr const char* kHelp =
    "  /system TEXT   begin afresh with this system text; without TEXT: with none\n"
    "  /think on|off  for models that can do both; /think alone: as the model likes\n"
    "  /tools FILE    tools that the model may call (JSON); its calls ask you for their results\n"
    "  /clear         begin afresh\n"
    "  /quit          leave, as Ctrl-D does\n"
    "A line that ends with \\ goes on in the next one, // begins a message with a slash, and\n"
    "Ctrl-C stops an answer.\n";

struct ChatOptions {
  std::string plan, system, think, tools;
  GenerationOptions generation;
  DeviceOptions device;
  CareOptions care;
  bool verbose = false;
};

bool parse(int argc, char** argv, ChatOptions* o) {
  Arguments a("jllm chat PLAN.jllm [--system TEXT] [options]",
              "A conversation in the plan's chat format: lines from standard input, answers to "
              "standard output.\nThe plan's context holds all of it. In it:\n" +
                  std::string(kHelp));
  a.positional("PLAN.jllm", &o->plan);
  a.text("", "--system", &o->system, "the system text of the conversation");
  a.text("", "--think", &o->think, "on or off, for models that can do both (default: the model's)");
  a.text("", "--tools", &o->tools, "file with the tools that the model may call, as for jllm run");
  add_options(&a, &o->generation);
  a.flag("-v", "--verbose", &o->verbose, "tell after each answer what it cost");
  add_options(&a, &o->device);
  add_options(&a, &o->care);
  if (!a.parse(argc, argv)) return false;
  read_options(&o->generation);
  return true;
}

class Chat {
 public:
  Chat(const ChatOptions& options, OpenPlan& plan, Session& session, platform::Guard* guard)
      : options_(options), plan_(plan), session_(session), guard_(guard) {
    dialogue_.system = options.system;
    dialogue_.thinking = parse_think(options.think);
    dialogue_.tools = options.tools;
    session_.check(session_.executor().set_sampling(sampling_of(options.generation)));
  }

  void run() {
    if (is_terminal_) {
      std::fprintf(stderr, "%s on %s; /help tells what else there is\n",
                   plan_.view().plan().model()->name()->c_str(), session_.executor().device_name());
    }
    std::string line;
    while (!leaves_ && read_line("> ", &line)) {
      if (line.rfind("//", 0) == 0) {
        say(line.substr(1));
      } else if (line.rfind('/', 0) == 0) {
        command(line);
      } else if (!line.empty()) {
        say(line);
      }
    }
    if (is_terminal_ && !leaves_) std::fprintf(stderr, "\n");
  }

 private:
  // False at the end of the input, and for Ctrl-C.
  bool read_line(const std::string& prompt, std::string* text) {
    text->clear();
    for (const char* shown = prompt.c_str();; shown = ". ") {
      if (is_terminal_) std::fputs(shown, stderr);
      char* line = nullptr;
      size_t room = 0;
      errno = 0;
      ssize_t size = ::getline(&line, &room, stdin);
      if (size > 0) text->append(line, static_cast<size_t>(size));
      std::free(line);
      if (size <= 0) return !text->empty() && !was_interrupted();
      if (text->back() == '\n') text->pop_back();
      if (text->empty() || text->back() != '\\') return true;
      text->back() = '\n';
    }
  }

  void command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
    if (name == "/help") {
      std::fputs(kHelp, stderr);
    } else if (name == "/quit" || name == "/exit") {
      leaves_ = true;
    } else if (name == "/clear") {
      dialogue_.shrink(0);
    } else if (name == "/system") {
      dialogue_.system = rest;
      dialogue_.shrink(0);
    } else {
      try {
        setting(name, rest);
      } catch (const Failure& failure) {
        std::fprintf(stderr, "%s\n", failure.what());
      }
    }
  }

  void setting(const std::string& name, const std::string& rest) {
    if (name == "/think") {
      dialogue_.thinking = parse_think(rest);
    } else if (name == "/tools") {
      dialogue_.tools = rest.empty() ? "" : read_tools(plan_, rest);
    } else {
      std::fprintf(stderr, "no command %s; /help tells which there are\n", name.c_str());
    }
  }

  // One message of the user's, its answer, and as long as that calls tools, their results and the
  // next answer.
  void say(const std::string& text) {
    const size_t before = dialogue_.size();
    dialogue_.add_user(text);
    for (bool results_given = true; results_given;) {
      results_given = false;
      if (!answer()) return dialogue_.shrink(before);
      while (!dialogue_.open_calls().empty()) {
        std::string result;
        if (!read_line("result of " + dialogue_.open_calls().front().name + "> ", &result)) {
          leaves_ = true;
          return;
        }
        dialogue_.add_result(result);
        results_given = true;
      }
    }
  }

  // False where the conversation cannot go on like this: its last message is not kept.
  bool answer() {
    std::vector<uint32_t> tokens;
    std::string reason;
    if (!dialogue_.encode(plan_.chat_format(), plan_.tokenizer(), &tokens, &reason)) {
      std::fprintf(stderr, "%s\n", reason.c_str());
      return false;
    }
    const uint32_t context = session_.executor().context();
    if (tokens.size() >= context) {
      std::fprintf(
          stderr,
          "the conversation has %zu tokens now, the plan's context takes %u: /clear begins "
          "afresh\n",
          tokens.size(), context);
      return false;
    }
    const std::ptrdiff_t kept = keep_common(tokens);
    const text::ToolNotation notation =
        dialogue_.tools.empty() ? text::ToolNotation::kNone : plan_.chat_format().notation();
    AnswerPrinter printer(plan_.tokenizer(), notation, true);
    forget_interrupt();
    const Generated result = generate(options_.generation, plan_, session_, guard_,
                                      {tokens.begin() + kept, tokens.end()},
                                      [&](uint32_t token) { printer.push(token); });
    forget_interrupt();
    if (result.tokens.empty() && result.finish == std::string_view("memory")) {
      sequence_.resize(static_cast<size_t>(kept));  // the message was not even read
      return false;
    }
    printer.finish();
    std::printf("\n");
    std::fflush(stdout);
    sequence_ = std::move(tokens);
    if (options_.verbose) print_costs(result, kept);
    sequence_.insert(sequence_.end(), result.tokens.begin(), result.tokens.end());
    dialogue_.add_answer(printer.answer());
    if (result.finish == std::string_view("context")) {
      std::fprintf(stderr, "the plan's context of %u tokens is full: /clear begins afresh\n",
                   context);
    }
    return true;
  }

  // Rewinds the executor to what `tokens` begin with; how many that are.
  std::ptrdiff_t keep_common(const std::vector<uint32_t>& tokens) {
    const size_t most = std::min(sequence_.size(), tokens.size() - 1);
    const auto differs = std::mismatch(
        tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(most), sequence_.begin());
    const auto common = differs.first - tokens.begin();
    session_.check(session_.executor().rewind(static_cast<uint32_t>(common)));
    return common;
  }

  void print_costs(const Generated& result, std::ptrdiff_t kept) const {
    const double seconds = result.decode_seconds;
    std::fprintf(stderr,
                 "[%zu tokens of conversation, %td of them kept; first token after %.1f ms; %zu "
                 "tokens, %.1f tok/s; ended by: %s]\n",
                 sequence_.size(), kept, result.first_token_seconds * 1e3, result.tokens.size(),
                 result.tokens.size() > 1 && seconds > 0
                     ? static_cast<double>(result.tokens.size() - 1) / seconds
                     : 0.0,
                 result.finish);
    std::fprintf(stderr, "[device care: %s]\n", guard_->report().text().c_str());
  }

  const ChatOptions& options_;
  OpenPlan& plan_;
  Session& session_;
  platform::Guard* guard_;
  text::Dialogue dialogue_;
  std::vector<uint32_t> sequence_;  // what the executor has
  const bool is_terminal_ = isatty(STDIN_FILENO) != 0;
  bool leaves_ = false;
};

}  // namespace

int chat_command(int argc, char** argv) {
  ChatOptions options;
  if (!parse(argc, argv, &options)) return kDone;
  OpenPlan plan(options.plan);
  plan.chat_format();
  if (!options.tools.empty()) options.tools = read_tools(plan, options.tools);
  platform::Guard guard = make_guard(options.care);
  require_room(guard, options.care, plan);
  Session session(plan, executor_options(options.device));
  catch_interrupts(false);
  Chat(options, plan, session, &guard).run();
  return kDone;
}

}  // namespace jllm::tool
