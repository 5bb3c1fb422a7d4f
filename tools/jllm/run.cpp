// jllm run: continues a prompt and streams the text as it is made.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "executor/text/dialogue.h"
#include "tools/jllm/arguments.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/generation.h"
#include "tools/jllm/memory_table.h"
#include "tools/jllm/prefix_cache.h"
#include "tools/jllm/session.h"

namespace jllm::tool {
namespace {

struct RunOptions {
  PlanPaths plan;
  std::string prompt, file, think, tools;
  PrefixOptions prefix;
  bool chat = false;  // the prompt is a message
  GenerationOptions generation;
  DeviceOptions device;
  CareOptions care;
  bool as_json = false, verbose = false, echo = false;
};

struct RunResult : Generated {
  std::string text;
  text::ToolAnswer answer;  // what of the text are calls
  size_t prompt_tokens = 0, cached_tokens = 0;
  PrefixReport prefix;
  double load_seconds = 0;

  double prompt_rate() const {
    return first_token_seconds > 0 ? double(prompt_tokens - cached_tokens) / first_token_seconds
                                   : 0;
  }
  // Of the tokens behind the first one, which costs no decode step.
  double decode_rate() const {
    return tokens.size() > 1 && decode_seconds > 0 ? double(tokens.size() - 1) / decode_seconds : 0;
  }
};

bool parse(int argc, char** argv, RunOptions* o) {
  Arguments a(
      "jllm run PLAN.jllm [-p TEXT | -f FILE] [-n N] [options]",
      "Continues a prompt. The text goes to standard output, everything else to standard error.");
  add_plan(&a, &o->plan);
  a.text("-p", "--prompt", &o->prompt, "the prompt (default: empty, the model starts by itself)");
  a.text("-f", "--file", &o->file, "read the prompt from a file (- for standard input)");
  a.flag("", "--chat", &o->chat,
         "the prompt is a message to the model: put it into the plan's chat format");
  add_options(&a, &o->prefix, "the conversation; implies --chat");
  a.text("", "--think", &o->think,
         "on or off, for models that can do both; implies --chat (default: the model's)");
  a.text("", "--tools", &o->tools,
         "file with the tools that the model may call, a JSON array of {\"type\": \"function\", "
         "\"function\": {...}}; its calls are printed parsed; implies --chat");
  add_options(&a, &o->generation);
  a.flag("", "--echo", &o->echo, "print the prompt in front of the text");
  a.flag("", "--json", &o->as_json, "print one JSON document instead of the text");
  a.flag("-v", "--verbose", &o->verbose, "tell more on standard error");
  add_options(&a, &o->device);
  add_options(&a, &o->care);
  if (!a.parse(argc, argv)) return false;
  read_options(&o->generation);
  read_options(&o->prefix);
  parse_think(o->think);
  o->chat = o->chat || !o->prefix.system.empty() || !o->think.empty() || !o->tools.empty();
  if (!o->file.empty()) o->prompt = read_text(o->file);
  return true;
}

text::Dialogue dialogue_of(const RunOptions& o) {
  text::Dialogue dialogue;
  dialogue.system = o.prefix.system;
  dialogue.thinking = parse_think(o.think);
  dialogue.tools = o.tools;
  return dialogue;
}

// The prompt as a conversation of one message.
std::vector<uint32_t> encode_message(OpenPlan& plan, const RunOptions& o) {
  text::Dialogue dialogue = dialogue_of(o);
  dialogue.add_user(o.prompt);
  std::vector<uint32_t> tokens;
  std::string reason;
  if (!dialogue.encode(plan.chat_format(), plan.tokenizer(), &tokens, &reason)) {
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

// With --prefix-cache, makes the executor's sequence what it keeps, and drops from it what the
// prompt does not begin with. How many tokens of the prompt are left then.
size_t use_prefix(const RunOptions& o, OpenPlan& plan, Session& session,
                  const std::vector<uint32_t>& prompt, PrefixReport* report) {
  if (o.prefix.cache.empty()) return 0;
  const std::vector<uint32_t> prefix =
      o.chat ? tokens_before_messages(plan, dialogue_of(o)) : prompt;
  *report = keep_prefix(o.prefix.cache, plan, session, prefix);
  const auto end = std::mismatch(prefix.begin(), prefix.end(), prompt.begin(), prompt.end()).first;
  const auto kept = static_cast<uint32_t>(end - prefix.begin());
  session.check(session.executor().rewind(kept));
  return kept;
}

RunResult generate(const RunOptions& o, OpenPlan& plan, Session& session, platform::Guard* guard) {
  RunResult result;
  const std::vector<uint32_t> prompt = encode_prompt(plan, o);
  result.cached_tokens = use_prefix(o, plan, session, prompt, &result.prefix);
  session.check(session.executor().set_sampling(sampling_of(o.generation)));
  // A text that starts at the begin token has the space that SPM puts in front; it is not the
  // user's.
  const bool drop_space = o.prompt.empty() && plan.tokenizer().strips_leading_space();
  const text::ToolNotation notation =
      o.tools.empty() ? text::ToolNotation::kNone : plan.chat_format().notation();
  AnswerPrinter printer(plan.tokenizer(), notation, !o.as_json, drop_space,
                        ends_in_thinking(plan.tokenizer(), prompt));
  if (o.echo && !o.as_json) std::fwrite(o.prompt.data(), 1, o.prompt.size(), stdout);
  const auto rest = prompt.begin() + static_cast<std::ptrdiff_t>(result.cached_tokens);
  static_cast<Generated&>(result) =
      tool::generate(o.generation, plan, session, guard, {rest, prompt.end()},
                     [&](uint32_t token) { printer.push(token); });
  printer.finish();
  result.prompt_tokens = prompt.size();
  result.load_seconds = session.load_seconds();
  result.text = printer.text();
  result.answer = printer.answer();
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

void print_summary(const RunResult& r, OpenPlan& plan, Session& session, const RunOptions& o,
                   const platform::Guard& guard) {
  const fb::Model& model = *plan.view().plan().model();
  const MemoryUse& memory = session.executor().memory_use();
  const SpeculationCounts& counts = session.executor().speculation_counts();
  const std::string kept =
      r.cached_tokens > 0 ? " (" + std::to_string(r.cached_tokens) + " of them kept)" : "";
  std::fprintf(stderr, "\nprompt: %zu tokens%s", r.prompt_tokens, kept.c_str());
  if (r.cached_tokens < r.prompt_tokens) std::fprintf(stderr, ", %.1f tok/s", r.prompt_rate());
  std::fprintf(stderr, ", first token after %.1f ms\n", r.first_token_seconds * 1e3);
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
  if (o.verbose || guard.report().pauses > 0) {
    std::fprintf(stderr, "device care: %s\n", guard.report().text().c_str());
  }
  if (!o.verbose) return;
  std::fprintf(
      stderr,
      "  weights %.1f, kv cache %.1f, scratch %.1f, state %.1f, pinned %.1f MiB; load %.2f s; "
      "seed %llu; context %u\n",
      mebibytes(memory.weights), mebibytes(memory.kv), mebibytes(memory.scratch),
      mebibytes(memory.state), mebibytes(memory.pinned), r.load_seconds,
      static_cast<unsigned long long>(o.generation.seed), model.context());
  print_memory_table(memory_lines(plan, session));
}

void print_json(const RunResult& r, OpenPlan& plan, Session& session, const RunOptions& o,
                const platform::Guard& guard) {
  const fb::Model& model = *plan.view().plan().model();
  const MemoryUse& memory = session.executor().memory_use();
  nlohmann::ordered_json d;
  d["model"] = model.name()->str();
  d["device"] = session.executor().device_name();
  d["text"] = r.text;
  d["tokens"] = r.tokens;
  d["finish_reason"] = r.finish;
  if (!o.tools.empty()) {
    d["content"] = r.answer.content;
    d["tool_calls"] = nlohmann::json::array();
    for (const text::ToolCall& call : r.answer.calls) {
      d["tool_calls"].push_back({{"name", call.name}, {"arguments", call.arguments}});
    }
  }
  d["seed"] = o.generation.seed;
  d["prompt_tokens"] = r.prompt_tokens;
  d["cached_tokens"] = r.cached_tokens;
  if (r.prefix.tokens > 0) d["prefix"] = nlohmann::ordered_json::parse(r.prefix.json());
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
  d["device_care"] = nlohmann::ordered_json::parse(guard.report().json());
  std::printf("%s\n", d.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

}  // namespace

int run_command(int argc, char** argv) {
  RunOptions options;
  if (!parse(argc, argv, &options)) return kDone;
  OpenPlan plan(options.plan);
  plan.require_text();
  if (!options.tools.empty()) options.tools = read_tools(plan, options.tools);
  platform::Guard guard = make_guard(options.care);
  require_room(guard, options.care, plan);
  Session session(plan, executor_options(options.device));
  catch_interrupts(true);
  const RunResult result = generate(options, plan, session, &guard);
  if (options.as_json) {
    print_json(result, plan, session, options, guard);
  } else {
    std::printf("\n");
    std::fflush(stdout);
    print_summary(result, plan, session, options, guard);
  }
  return kDone;
}

}  // namespace jllm::tool
