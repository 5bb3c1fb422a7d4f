// jllm chat: a conversation at the terminal. What the executor has of it stays there: a message
// costs the tokens behind those that are the same as before.
#include <algorithm>
#include <cstdio>

#include "executor/text/dialogue.h"
#include "tools/jllm/arguments.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/generation.h"
#include "tools/jllm/line_editor.h"
#include "tools/jllm/prefix_cache.h"
#include "tools/jllm/transcript.h"

namespace jllm::tool {
namespace {

constexpr const char* kHelp =
    "  /system TEXT   begin afresh with this system text; without TEXT: with none\n"
    "  /think on|off  for models that can do both; /think alone: as the model likes\n"
    "  /tools FILE    tools that the model may call (JSON); its calls ask you for their results\n"
    "  /reset         begin afresh (/clear does the same)\n"
    "  /drop          forget the oldest message and its answer\n"
    "  /stats         what the conversation has taken so far: tokens, time, memory\n"
    "  /save FILE     write the conversation as JSON, in the form of OpenAI's messages\n"
    "  /quit          leave, as Ctrl-D does\n"
    "A line that ends with \\ goes on in the next one, // begins a message with a slash, and\n"
    "Ctrl-C stops an answer; the conversation stays.\n";

struct ChatOptions {
  PlanPaths plan;
  PrefixOptions prefix;
  std::string think, tools, history = default_history_path(), when_full = "ask";
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
  add_plan(&a, &o->plan);
  add_options(&a, &o->prefix, "the conversation");
  a.text("", "--think", &o->think, "on or off, for models that can do both (default: the model's)");
  a.text("", "--tools", &o->tools, "file with the tools that the model may call, as for jllm run");
  a.text("", "--when-full", &o->when_full,
         "when the context is full: ask, stop (the message is refused), or drop (the oldest "
         "messages are forgotten); ask is stop where nobody is at a terminal (default: ask)");
  a.text("", "--history", &o->history,
         "file that keeps the lines typed at a terminal; an empty name keeps none (default: "
         "~/.local/state/jllm/history)");
  add_options(&a, &o->generation);
  a.flag("-v", "--verbose", &o->verbose, "tell after each answer what it cost");
  add_options(&a, &o->device);
  add_options(&a, &o->care);
  if (!a.parse(argc, argv)) return false;
  read_options(&o->generation);
  read_options(&o->prefix);
  if (o->when_full != "ask" && o->when_full != "stop" && o->when_full != "drop") {
    throw Failure(kUsage, "--when-full " + o->when_full + ": expected ask, stop or drop");
  }
  return true;
}

class Chat {
 public:
  Chat(const ChatOptions& options, OpenPlan& plan, Session& session, platform::Guard* guard)
      : options_(options), plan_(plan), session_(session), guard_(guard), editor_(options.history) {
    dialogue_.system = options.prefix.system;
    dialogue_.thinking = parse_think(options.think);
    dialogue_.tools = options.tools;
    session_.check(session_.executor().set_sampling(sampling_of(options.generation)));
    if (options.prefix.cache.empty()) return;
    sequence_ = tokens_before_messages(plan, dialogue_);
    keep_prefix(options.prefix.cache, plan, session, sequence_);
  }

  void run() {
    if (editor_.is_terminal()) {
      std::fprintf(stderr, "%s on %s; /help tells what else there is%s\n",
                   plan_.view().plan().model()->name()->c_str(), session_.executor().device_name(),
                   editor_.edits() ? "" : " (with libedit2 installed, lines can be edited)");
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
    if (editor_.is_terminal() && !leaves_) std::fprintf(stderr, "\n");
  }

 private:
  // False at the end of the input. Ctrl-C at a terminal gives up the line, elsewhere it is the end.
  bool read_line(const std::string& prompt, std::string* text) {
    text->clear();
    std::string line;
    for (;;) {
      const LineEditor::Outcome outcome = editor_.read(text->empty() ? prompt : ". ", &line);
      if (outcome == LineEditor::Outcome::kEnd) return !text->empty();
      if (outcome == LineEditor::Outcome::kInterrupted) {
        forget_interrupt();
        if (!editor_.is_terminal()) return false;
        std::fprintf(stderr, "[Ctrl-D or /quit leaves]\n");
        text->clear();
        continue;
      }
      *text += line;
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
    } else if (name == "/clear" || name == "/reset") {
      dialogue_.shrink(0);
    } else if (name == "/drop") {
      if (!dialogue_.drop_oldest()) dialogue_.shrink(0);
      std::fprintf(stderr, "[%zu messages are left]\n", dialogue_.size());
    } else if (name == "/stats") {
      print_stats();
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
    } else if (name == "/save") {
      if (rest.empty()) throw Failure(kUsage, "/save needs the name of a file");
      const bool again = rest == saved_to_;
      save_transcript(rest, again, plan_, dialogue_);
      saved_to_ = rest;
      std::fprintf(stderr, "[%zu messages are in %s]\n", dialogue_.size(), rest.c_str());
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

  // The conversation as tokens. Where the context has no room for them and an answer, what
  // --when-full says; false where that is to stop, or the format refuses it.
  bool encode(std::vector<uint32_t>* tokens) {
    const uint32_t context = session_.executor().context();
    const auto room = static_cast<size_t>(
        std::min<uint64_t>(options_.generation.max_tokens, context / kAnswerShare));
    bool drops = options_.when_full == "drop";
    for (size_t dropped = 0;; ++dropped) {
      std::string reason;
      if (!dialogue_.encode(plan_.chat_format(), plan_.tokenizer(), tokens, &reason)) {
        std::fprintf(stderr, "%s\n", reason.c_str());
        return false;
      }
      const bool fits = tokens->size() + (drops ? room : 1) <= context;
      if (fits && dropped > 0) {
        std::fprintf(stderr, "[the context was full: %zu of the oldest messages were forgotten]\n",
                     dropped);
      }
      if (fits) return true;
      if (!drops) drops = asks_to_drop(tokens->size());
      if (drops && dialogue_.drop_oldest()) continue;
      if (drops && tokens->size() < context) return true;  // a shorter answer, then
      std::fprintf(
          stderr,
          "the conversation has %zu tokens now, the plan's context takes %u: /drop forgets "
          "the oldest message, /reset begins afresh\n",
          tokens->size(), context);
      return false;
    }
  }

  bool asks_to_drop(size_t tokens) {
    if (options_.when_full != "ask" || !editor_.is_terminal() || dialogue_.size() < 2) return false;
    std::fprintf(stderr, "the conversation has %zu tokens now, the plan's context takes %u\n",
                 tokens, session_.executor().context());
    std::string choice;
    return read_line("forget the oldest messages? [y/n] ", &choice) &&
           (choice == "y" || choice == "yes");
  }

  // False where the conversation cannot go on like this: its last message is not kept.
  bool answer() {
    std::vector<uint32_t> tokens;
    if (!encode(&tokens)) return false;
    const uint32_t context = session_.executor().context();
    const std::ptrdiff_t kept = keep_common(tokens);
    const text::ToolNotation notation =
        dialogue_.tools.empty() ? text::ToolNotation::kNone : plan_.chat_format().notation();
    AnswerPrinter printer(plan_.tokenizer(), notation, true, false,
                          ends_in_thinking(plan_.tokenizer(), tokens));
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
    totals_.add(result, sequence_.size() - static_cast<size_t>(kept), static_cast<size_t>(kept));
    if (options_.verbose) print_costs(result, kept);
    sequence_.insert(sequence_.end(), result.tokens.begin(), result.tokens.end());
    dialogue_.add_answer(printer.answer());
    if (result.finish == std::string_view("context")) {
      std::fprintf(stderr,
                   "[the plan's context of %u tokens is full: the answer ends here; /drop forgets "
                   "the oldest message, /reset begins afresh]\n",
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

  // All answers so far.
  struct Totals {
    size_t answers = 0, consumed = 0, kept = 0, made = 0;
    double seconds = 0;  // of making
    void add(const Generated& result, size_t new_tokens, size_t kept_tokens) {
      ++answers;
      consumed += new_tokens;
      kept += kept_tokens;
      made += result.tokens.size();
      seconds += result.decode_seconds;
    }
  };

  void print_stats() const {
    const Executor& executor = session_.executor();
    std::fprintf(stderr,
                 "[conversation: %zu messages, %u of %u tokens; %zu answers: %zu tokens made, %.1f "
                 "tok/s; %zu tokens of prompts consumed, %zu kept from before]\n",
                 dialogue_.size(), executor.count(), executor.context(), totals_.answers,
                 totals_.made, static_cast<double>(totals_.made) / std::max(totals_.seconds, 1e-9),
                 totals_.consumed, totals_.kept);
    const SpeculationCounts& counts = executor.speculation_counts();
    if (counts.drafted > 0) {
      std::fprintf(stderr, "[drafts: %llu tokens, %llu of them right]\n",
                   static_cast<unsigned long long>(counts.drafted),
                   static_cast<unsigned long long>(counts.accepted));
    }
    std::fprintf(
        stderr, "[memory: plan %.1f MiB, process %.1f MiB resident, %.1f MiB of the system free]\n",
        in_mib(executor.memory_use().device_total()), in_mib(host_memory().resident),
        in_mib(host_memory().available));
    std::fprintf(stderr, "[device care: %s]\n", guard_->report().text().c_str());
  }

  static double in_mib(uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

  static constexpr uint32_t kAnswerShare = 4;  // of the context at least, when messages are dropped

  const ChatOptions& options_;
  OpenPlan& plan_;
  Session& session_;
  platform::Guard* guard_;
  text::Dialogue dialogue_;
  std::vector<uint32_t> sequence_;  // what the executor has
  Totals totals_;
  LineEditor editor_;
  std::string saved_to_;
  bool leaves_ = false;
};

}  // namespace

int chat_command(int argc, char** argv) {
  ChatOptions options;
  if (!parse(argc, argv, &options)) return kDone;
  OpenPlan plan(options.plan);
  plan.require_text();
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
