// jllm run: continues a prompt and streams the text as it is made.
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <random>

#include "tools/jllm/arguments.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/memory_table.h"
#include "tools/jllm/session.h"

namespace jllm::tool {
namespace {

// Tokens asked for ahead of the one that is read, so that a GPU never waits for the host.
constexpr uint32_t kAhead = 4;

volatile std::sig_atomic_t interrupted = 0;

struct RunOptions {
  std::string plan, prompt, file, system, think;
  bool chat = false;  // the prompt is a message
  uint64_t max_tokens = UINT32_MAX;
  uint64_t threads = 0, device = 0, seed = 0;
  uint64_t top_k = 40, repeat_last_n = 64;
  double temperature = 0.8, top_p = 0.95, min_p = 0.05, repeat_penalty = 1.0;
  uint32_t speculate = UINT32_MAX;  // tokens drafted a step at most
  bool as_json = false, verbose = false, ignore_end = false, eager = false, echo = false;
};

struct RunResult {
  std::string text;
  std::vector<uint32_t> tokens;
  const char* finish = "length";
  size_t prompt_tokens = 0;
  double load_seconds = 0, first_token_seconds = 0, decode_seconds = 0;

  double prompt_rate() const {
    return first_token_seconds > 0 ? double(prompt_tokens) / first_token_seconds : 0;
  }
  // Of the tokens behind the first one, which costs no decode step.
  double decode_rate() const {
    return tokens.size() > 1 && decode_seconds > 0 ? double(tokens.size() - 1) / decode_seconds : 0;
  }
};

uint32_t parse_speculate(const std::string& text) {
  if (text == "on") return UINT32_MAX;
  if (text == "off") return 0;
  const bool digits = text.find_first_not_of("0123456789") == std::string::npos;
  if (text.empty() || !digits || text.size() > 9) {
    throw Failure(kUsage, "--speculate " + text + ": expected on, off or a number of tokens");
  }
  return static_cast<uint32_t>(std::stoul(text));
}

bool parse(int argc, char** argv, RunOptions* o) {
  Arguments a(
      "jllm run PLAN.jllm [-p TEXT | -f FILE] [-n N] [options]",
      "Continues a prompt. The text goes to standard output, everything else to standard error.");
  std::string seed, speculate = "on";
  a.positional("PLAN.jllm", &o->plan);
  a.text("-p", "--prompt", &o->prompt, "the prompt (default: empty, the model starts by itself)");
  a.text("-f", "--file", &o->file, "read the prompt from a file (- for standard input)");
  a.flag("", "--chat", &o->chat,
         "the prompt is a message to the model: put it into the plan's chat format");
  a.text("", "--system", &o->system, "the system text of the conversation; implies --chat");
  a.text("", "--think", &o->think,
         "on or off, for models that can do both; implies --chat (default: the model's)");
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
  a.text("-s", "--seed", &seed, "seed of the draws (default: a new one each run)");
  a.text("", "--speculate", &speculate,
         "verify tokens drafted from the text so far: on, off, or how many a step at most; the "
         "text stays the same (default: on, for plans compiled with --speculate)");
  a.flag("", "--ignore-end", &o->ignore_end, "go on behind end-of-text tokens");
  a.flag("", "--echo", &o->echo, "print the prompt in front of the text");
  a.flag("", "--json", &o->as_json, "print one JSON document instead of the text");
  a.flag("-v", "--verbose", &o->verbose, "tell more on standard error");
  a.integer("", "--threads", &o->threads, 64, "host plans: worker threads (default: one per CPU)");
  a.integer("", "--device", &o->device, 1023, "CUDA plans: device number (default 0)");
  a.flag("", "--eager", &o->eager,
         "CUDA plans: launch kernel by kernel, without graphs (debugging)");
  if (!a.parse(argc, argv)) return false;
  o->speculate = parse_speculate(speculate);
  if (!o->think.empty() && o->think != "on" && o->think != "off") {
    throw Failure(kUsage, "--think " + o->think + ": expected on or off");
  }
  o->chat = o->chat || !o->system.empty() || !o->think.empty();
  if (!o->file.empty()) o->prompt = read_text(o->file);
  if (seed.empty()) {
    std::random_device random;
    o->seed = random();
  } else {
    char* end = nullptr;
    o->seed = std::strtoull(seed.c_str(), &end, 10);
    if (*end != 0) throw Failure(kUsage, "--seed " + seed + ": expected a number");
  }
  return true;
}

// The prompt as a conversation of one message.
std::vector<uint32_t> encode_message(OpenPlan& plan, const RunOptions& o) {
  const std::string_view message = o.prompt;
  Conversation conversation;
  conversation.has_system = !o.system.empty();
  conversation.system = o.system;
  conversation.messages = &message;
  conversation.count = 1;
  if (!o.think.empty()) conversation.thinking = o.think == "on" ? Thinking::kOn : Thinking::kOff;
  std::vector<uint32_t> tokens;
  std::string reason;
  if (!plan.chat_format().encode(plan.tokenizer(), conversation, &tokens, &reason)) {
    throw Failure(kUsage, reason);
  }
  return tokens;
}

std::vector<uint32_t> encode_prompt(OpenPlan& plan, const RunOptions& o) {
  std::vector<uint32_t> tokens =
      o.chat ? encode_message(plan, o) : plan.tokenizer().encode(o.prompt, {true, true});
  if (tokens.empty() && plan.tokenizer().bos() >= 0) {
    tokens.push_back(static_cast<uint32_t>(plan.tokenizer().bos()));
  }
  if (tokens.empty())
    throw Failure(kUsage, "the prompt is empty and the model has no begin token; say -p TEXT");
  const uint32_t context = plan.view().plan().model()->context();
  if (tokens.size() > context) {
    throw Failure(kUsage, "the prompt has " + std::to_string(tokens.size()) +
                              " tokens, the plan's context takes " + std::to_string(context) +
                              "; compile with a larger --context");
  }
  return tokens;
}

class Printer {
 public:
  Printer(const text::Tokenizer& tokenizer, bool print, bool drop_space)
      : decoder_(tokenizer, false), print_(print), drop_space_(drop_space) {}

  void push(uint32_t token) { put(decoder_.push(token)); }
  void finish() { put(decoder_.finish()); }
  const std::string& text() const { return text_; }

 private:
  void put(std::string piece) {
    if (drop_space_ && !piece.empty()) {
      if (piece[0] == ' ') piece.erase(0, 1);
      drop_space_ = false;
    }
    text_ += piece;
    if (print_ && !piece.empty()) {
      std::fwrite(piece.data(), 1, piece.size(), stdout);
      std::fflush(stdout);
    }
  }

  text::StreamDecoder decoder_;
  bool print_;
  bool drop_space_;
  std::string text_;
};

RunResult generate(const RunOptions& o, OpenPlan& plan, Session& session) {
  RunResult result;
  Executor& executor = session.executor();
  const std::vector<uint32_t> prompt = encode_prompt(plan, o);
  result.prompt_tokens = prompt.size();
  result.load_seconds = session.load_seconds();
  Sampling sampling;
  sampling.temperature = static_cast<float>(o.temperature);
  sampling.top_k = static_cast<uint32_t>(o.top_k);
  sampling.top_p = static_cast<float>(o.top_p);
  sampling.min_p = static_cast<float>(o.min_p);
  sampling.repeat_penalty = static_cast<float>(o.repeat_penalty);
  sampling.repeat_last_n = static_cast<uint32_t>(o.repeat_last_n);
  sampling.seed = o.seed;
  sampling.ignore_end = o.ignore_end;
  session.check(executor.set_sampling(sampling));

  // A text that starts at the begin token has the space that SPM puts in front; it is not the
  // user's.
  const bool drop_space = o.prompt.empty() && plan.tokenizer().strips_leading_space();
  Printer printer(plan.tokenizer(), !o.as_json, drop_space);
  if (o.echo && !o.as_json) std::fwrite(o.prompt.data(), 1, o.prompt.size(), stdout);
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
      printer.push(token.value().id);
      if (token.value().done == kContextFull) result.finish = "context";
      running = token.value().done == kRunning;
    }
    if (interrupted != 0) {
      result.finish = "interrupted";
      running = false;
    }
  }
  result.first_token_seconds = first - start;
  result.decode_seconds = now_seconds() - first;
  session.check(executor.rewind(executor.count()));  // what is in flight is waited for and dropped
  printer.finish();
  result.text = printer.text();
  return result;
}

// One without speculation.
double tokens_per_step(const SpeculationCounts& counts) {
  return counts.steps > 0 ? double(counts.steps + counts.accepted) / double(counts.steps) : 1;
}

// Weights are read once a step.
double weight_gbps(const RunResult& r, OpenPlan& plan, const SpeculationCounts& counts) {
  const auto bytes = double(plan.view().plan().model()->weights_read_per_token());
  return bytes * r.decode_rate() / tokens_per_step(counts) / 1e9;
}

double mebibytes(uint64_t bytes) { return double(bytes) / (1024 * 1024); }

void print_summary(const RunResult& r, OpenPlan& plan, Session& session, const RunOptions& o) {
  const fb::Model& model = *plan.view().plan().model();
  const MemoryUse& memory = session.executor().memory_use();
  const SpeculationCounts& counts = session.executor().speculation_counts();
  std::fprintf(stderr, "\nprompt: %zu tokens, %.1f tok/s, first token after %.1f ms\n",
               r.prompt_tokens, r.prompt_rate(), r.first_token_seconds * 1e3);
  std::fprintf(stderr, "output: %zu tokens, %.1f tok/s, %.2f GB/s of weights; ended by: %s\n",
               r.tokens.size(), r.decode_rate(), weight_gbps(r, plan, counts), r.finish);
  if (counts.drafted > 0) {
    std::fprintf(stderr, "speculation: %llu of %llu drafted tokens held, %.2f tokens a step\n",
                 static_cast<unsigned long long>(counts.accepted),
                 static_cast<unsigned long long>(counts.drafted), tokens_per_step(counts));
  }
  std::fprintf(stderr, "memory: %.1f MiB planned on %s; peak of this process %.1f MiB\n",
               mebibytes(memory.device_total() + memory.pinned), session.executor().device_name(),
               mebibytes(peak_resident_bytes()));
  if (!o.verbose) return;
  std::fprintf(
      stderr,
      "  weights %.1f, kv cache %.1f, scratch %.1f, state %.1f, pinned %.1f MiB; load %.2f s; "
      "seed %llu; context %u\n",
      mebibytes(memory.weights), mebibytes(memory.kv), mebibytes(memory.scratch),
      mebibytes(memory.state), mebibytes(memory.pinned), r.load_seconds,
      static_cast<unsigned long long>(o.seed), model.context());
  print_memory_table(memory_lines(plan, session));
}

void print_json(const RunResult& r, OpenPlan& plan, Session& session, const RunOptions& o) {
  const fb::Model& model = *plan.view().plan().model();
  const MemoryUse& memory = session.executor().memory_use();
  nlohmann::ordered_json d;
  d["model"] = model.name()->str();
  d["device"] = session.executor().device_name();
  d["text"] = r.text;
  d["tokens"] = r.tokens;
  d["finish_reason"] = r.finish;
  d["seed"] = o.seed;
  d["prompt_tokens"] = r.prompt_tokens;
  d["generated_tokens"] = r.tokens.size();
  d["prompt_tok_s"] = r.prompt_rate();
  d["decode_tok_s"] = r.decode_rate();
  d["ttft_ms"] = r.first_token_seconds * 1e3;
  d["load_s"] = r.load_seconds;
  const SpeculationCounts& counts = session.executor().speculation_counts();
  d["speculation"] = {{"most_drafted", session.executor().most_drafted()},
                      {"steps", counts.steps},
                      {"drafts", counts.drafts},
                      {"drafted", counts.drafted},
                      {"accepted", counts.accepted},
                      {"tokens_per_step", tokens_per_step(counts)}};
  d["weight_gbps"] = weight_gbps(r, plan, counts);
  d["device_bytes"] = memory.device_total();
  d["pinned_bytes"] = memory.pinned;
  d["peak_resident_bytes"] = peak_resident_bytes();
  std::printf("%s\n", d.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

}  // namespace

int run_command(int argc, char** argv) {
  RunOptions options;
  if (!parse(argc, argv, &options)) return kDone;
  OpenPlan plan(options.plan);
  ExecutorOptions executor_options;
  executor_options.threads = static_cast<unsigned>(options.threads);
  executor_options.device = static_cast<int>(options.device);
  executor_options.graphs = !options.eager;
  Session session(plan, executor_options);
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = 1; };
  action.sa_flags = SA_RESETHAND;  // a second Ctrl-C ends the program at once
  sigaction(SIGINT, &action, nullptr);
  const RunResult result = generate(options, plan, session);
  if (options.as_json) {
    print_json(result, plan, session, options);
  } else {
    std::printf("\n");
    std::fflush(stdout);
    print_summary(result, plan, session, options);
  }
  return kDone;
}

}  // namespace jllm::tool
