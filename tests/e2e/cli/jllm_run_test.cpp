// What jllm's commands put out: text on standard output alone, JSON documents with stable keys, and
// a run that is interrupted.
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/e2e/cli/process.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using nlohmann::json;
using test::jllm;
using test::Process;
using test::ProcessResult;
using test::TempDir;

// A long context, so that a run takes as long as a test needs.
constexpr uint32_t kContext = 1 << 16;

class JllmRun : public testing::Test {
 protected:
  JllmRun() { test::write_file(plan(), plan_bytes().data(), plan_bytes().size()); }

  static const std::vector<uint8_t>& plan_bytes() {
    static const std::vector<uint8_t> bytes = [] {
      synth::SynthOptions model = test::tiny_model();
      model.context = kContext;
      CompileOptions options;
      options.plan.context = kContext;
      return test::plan_bytes(model, options);
    }();
    return bytes;
  }
  std::string plan() const { return dir_.file("model.jllm"); }
  std::vector<std::string> command(const char* name, std::vector<std::string> more) const {
    std::vector<std::string> words = {name, plan()};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  ProcessResult run(std::vector<std::string> more) const {
    more.insert(more.end(), {"--threads", "1"});
    const ProcessResult result = jllm(command("run", std::move(more)));
    EXPECT_EQ(result.code, 0) << result.err;
    return result;
  }

  TempDir dir_;
};

// The document, which must be the only thing there.
json parse(const std::string& text) {
  const json document = json::parse(text, nullptr, false);
  EXPECT_TRUE(document.is_object()) << text;
  return document.is_object() ? document : json::object();
}

void expect_keys(const json& document, const std::vector<const char*>& keys) {
  for (const char* key : keys) EXPECT_TRUE(document.contains(key)) << key;
}

test::Tokens tokens_of(const json& document) {
  return document.value("tokens", test::Tokens{UINT32_MAX});
}

// On the host the plan is the process: its arenas and an estimate for the rest.
TEST_F(JllmRun, VerboseHoldsPlannedAgainstMeasuredMemory) {
  const std::string err = run({"-p", "a", "-n", "2", "-t", "0", "-v"}).err;
  const test::PlanInMemory view(plan_bytes());
  double arenas = 0;
  for (const fb::Arena* arena : *view.view().plan().arenas()) arenas += double(arena->size());
  arenas += double(view.view().plan().requirements()->host_bytes_estimate());
  for (const char* name : {"process", "system"}) {
    const size_t at = err.find("\n  " + std::string(name) + " ");
    ASSERT_NE(at, std::string::npos) << err;
    double planned = 0, measured = 0, difference = 0;
    ASSERT_EQ(std::sscanf(err.c_str() + at, " %*s %lf %lf %lf", &planned, &measured, &difference),
              3);
    // Figures are rounded to a tenth.
    EXPECT_NEAR(planned, arenas / (1024 * 1024), 0.06);
    EXPECT_NEAR(measured - planned, difference, 0.11);
  }
}

TEST_F(JllmRun, StandardOutputHoldsTheTextAlone) {
  const ProcessResult text = run({"-t", "0", "-n", "12", "-p", "some words"});
  const json d = parse(run({"-t", "0", "-n", "12", "-p", "some words", "--json"}).out);
  EXPECT_EQ(text.out, d.value("text", "") + "\n");
  for (const char* word : {"prompt:", "output: 12 tokens", "memory:", "ended by: length"}) {
    EXPECT_NE(text.err.find(word), std::string::npos) << word;
  }
}

TEST_F(JllmRun, TheJsonDocumentHasStableKeys) {
  const ProcessResult result = run({"-t", "0.7", "-n", "9", "--seed", "11", "-p", "a", "--json"});
  EXPECT_EQ(result.err, "");
  const json d = parse(result.out);
  expect_keys(
      d, {"model", "device", "text", "tokens", "finish_reason", "seed", "prompt_tokens",
          "generated_tokens", "prompt_tok_s", "decode_tok_s", "ttft_ms", "load_s", "speculation",
          "weight_gbps", "device_bytes", "pinned_bytes", "peak_resident_bytes"});
  EXPECT_EQ(d.value("seed", int64_t{-1}), 11);
  EXPECT_EQ(d.value("generated_tokens", int64_t{-1}), 9);
  EXPECT_EQ(tokens_of(d).size(), 9u);
  EXPECT_EQ(d.value("finish_reason", ""), "length");
}

TEST_F(JllmRun, GreedyTokensAreTheExecutors) {
  const json d = parse(run({"-t", "0", "-n", "20", "--ignore-end", "--json"}).out);
  const test::PlanInMemory in_memory(plan_bytes());
  test::RunningPlan executor(in_memory);
  Sampling sampling;
  sampling.ignore_end = true;
  executor.set_sampling(sampling);
  executor.prefill({1});  // an empty prompt is the begin token
  EXPECT_EQ(tokens_of(d), executor.generate(20));
  EXPECT_EQ(d.value("prompt_tokens", int64_t{-1}), 1);
}

// A model that sees the last token alone goes round in circles, so that drafts hold.
TEST_F(JllmRun, SpeculationChangesTheStepsAndNotTheTokens) {
  synth::SynthOptions model = test::tiny_model();
  model.like = "gemma-3-1b";
  model.layers = 1;
  model.sliding_window = 1;
  const std::vector<uint8_t> bytes = test::plan_bytes(model);
  test::write_file(plan(), bytes.data(), bytes.size());
  const auto speculate = [&](const char* how) {
    const json d = parse(
        run({"-t", "0", "-n", "120", "--ignore-end", "-p", "a", "--json", "--speculate", how}).out);
    EXPECT_EQ(tokens_of(d).size(), 120u);
    return d;
  };
  const json plain = speculate("off");
  EXPECT_EQ(plain["speculation"]["drafted"], 0);
  EXPECT_EQ(plain["speculation"]["tokens_per_step"], 1.0);
  EXPECT_EQ(plain["speculation"]["most_drafted"], kDefaultDraft);
  EXPECT_EQ(tokens_of(speculate("0")), tokens_of(plain));
  double last = 1;
  for (const char* how : {"1", "2", "on"}) {
    const json d = speculate(how);
    EXPECT_EQ(tokens_of(d), tokens_of(plain)) << how;
    const json& s = d["speculation"];
    EXPECT_GT(s["accepted"], 0) << how;
    EXPECT_LE(s["accepted"], s["drafted"]) << how;
    EXPECT_EQ(s["steps"].get<int>() + s["accepted"].get<int>(), 120) << how;
    EXPECT_GT(s["tokens_per_step"], last) << how;
    last = s["tokens_per_step"];
  }
  // More than the plan can is what it can.
  EXPECT_EQ(speculate("1000")["speculation"]["tokens_per_step"], last);
  const ProcessResult text = run({"-t", "0", "-n", "120", "--ignore-end", "-p", "a"});
  EXPECT_NE(text.err.find("drafted tokens held, "), std::string::npos) << text.err;
  EXPECT_NE(text.err.find(" tokens a step"), std::string::npos) << text.err;
  for (const char* bad : {"maybe", "-1", "", "4x", "99999999999"}) {
    test::expect_failure(jllm(command("run", {"--speculate", bad})), 2,
                         {"--speculate", "expected on, off or a number"});
  }
}

TEST_F(JllmRun, SeedsReproduceAndAreToldWhenDrawn) {
  const std::vector<std::string> seeded = {"-n", "16", "--ignore-end", "--seed", "5", "--json"};
  const json first = parse(run(seeded).out);
  EXPECT_EQ(tokens_of(parse(run(seeded).out)), tokens_of(first));
  const json drawn = parse(run({"-n", "16", "--ignore-end", "--json"}).out);
  const std::string seed = std::to_string(drawn.value("seed", uint64_t{0}));
  const json again = parse(run({"-n", "16", "--ignore-end", "--seed", seed, "--json"}).out);
  EXPECT_EQ(tokens_of(again), tokens_of(drawn));
}

TEST_F(JllmRun, PromptsComeFromWordsFilesAndStandardInput) {
  test::write_text(dir_.file("prompt.txt"), "the same words");
  const json words = parse(run({"-t", "0", "-n", "5", "-p", "the same words", "--json"}).out);
  const json file = parse(run({"-t", "0", "-n", "5", "-f", dir_.file("prompt.txt"), "--json"}).out);
  EXPECT_EQ(tokens_of(file), tokens_of(words));
  test::ProcessOptions input;
  input.input = "the same words";
  const ProcessResult piped =
      jllm(command("run", {"-t", "0", "-n", "5", "-f", "-", "--json", "--threads", "1"}), input);
  EXPECT_EQ(tokens_of(parse(piped.out)), tokens_of(words));
}

TEST_F(JllmRun, ZeroTokensAreNone) {
  const ProcessResult result = run({"-n", "0", "--json"});
  EXPECT_EQ(tokens_of(parse(result.out)), test::Tokens{});
}

TEST_F(JllmRun, TokenizeShowsIdsAndPieces) {
  const ProcessResult result = jllm(command("tokenize", {"-p", "a word", "--json"}));
  ASSERT_EQ(result.code, 0) << result.err;
  const json d = parse(result.out);
  expect_keys(d, {"tokens", "pieces"});
  const test::Tokens tokens = tokens_of(d);
  ASSERT_FALSE(tokens.empty());
  EXPECT_EQ(d["pieces"].size(), tokens.size());
  // The same, a token to a line.
  const ProcessResult text = jllm(command("tokenize", {"-p", "a word"}));
  EXPECT_EQ(std::count(text.out.begin(), text.out.end(), '\n'), ptrdiff_t(tokens.size()));
  const json special =
      parse(jllm(command("tokenize", {"-p", "a word", "--special", "--json"})).out);
  test::Tokens with_begin = {1};
  with_begin.insert(with_begin.end(), tokens.begin(), tokens.end());
  EXPECT_EQ(tokens_of(special), with_begin);
}

TEST_F(JllmRun, EvalWritesTheExecutorsLogits) {
  const test::Tokens tokens = test::random_tokens(12, 512, 3);
  std::string list;
  for (const uint32_t token : tokens) list += std::to_string(token) + " ";
  test::write_text(dir_.file("tokens.txt"), list);
  const ProcessResult result =
      jllm(command("eval", {"--tokens", dir_.file("tokens.txt"), "--logits", dir_.file("l.f32"),
                            "--json", "--threads", "1"}));
  ASSERT_EQ(result.code, 0) << result.err;
  const json d = parse(result.out);
  expect_keys(d, {"tokens", "perplexity", "nats_per_token", "seconds"});
  EXPECT_EQ(d.value("tokens", int64_t{-1}), 12);
  const test::PlanInMemory in_memory(plan_bytes());
  test::RunningPlan executor(in_memory);
  std::vector<uint8_t> expected;
  for (const test::Logits& row : executor.force_all(tokens)) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(row.data());
    expected.insert(expected.end(), bytes, bytes + row.size() * sizeof(float));
  }
  EXPECT_EQ(test::read_file(dir_.file("l.f32")), expected);
}

// Interrupts a run that would take minutes, once `started` says so.
ProcessResult interrupt(Process& process, const std::function<bool()>& started) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::seconds(60);
  while (!started() && Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_TRUE(started()) << "the run never began";
  const auto sent = Clock::now();
  process.send(SIGINT);
  const ProcessResult result = process.wait(30);
  EXPECT_LT(Clock::now() - sent, std::chrono::seconds(1));
  return result;
}

TEST_F(JllmRun, AnInterruptEndsARunInOrder) {
  Process process(JLLM_PROGRAM, command("run", {"--ignore-end", "--threads", "1"}));
  const ProcessResult result = interrupt(process, [&] { return process.output().size() > 20; });
  EXPECT_EQ(result.code, 0) << result.err << " signal " << result.signal;
  EXPECT_NE(result.err.find("ended by: interrupted"), std::string::npos) << result.err;
  EXPECT_EQ(result.out.back(), '\n');
}

TEST_F(JllmRun, AnInterruptedJsonDocumentIsWhole) {
  Process process(JLLM_PROGRAM, command("run", {"--ignore-end", "--threads", "1", "--json"}));
  // Nothing shows from outside before the end; loading this plan takes a few milliseconds.
  const auto loaded = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  const ProcessResult result =
      interrupt(process, [&] { return std::chrono::steady_clock::now() > loaded; });
  ASSERT_EQ(result.code, 0) << result.err << " signal " << result.signal;
  const json d = parse(result.out);
  EXPECT_EQ(d.value("finish_reason", ""), "interrupted");
  EXPECT_GT(tokens_of(d).size(), 0u);
  EXPECT_EQ(d.value("generated_tokens", size_t{0}), tokens_of(d).size());
}

}  // namespace
}  // namespace jllm
