#include "tests/tools/plan_file/plans.h"

#include "jllm/executor.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"
#include "tools/jllm/session.h"

namespace jllm::test {

void make_plan_file(const std::string& path, const PlanOptionsOf& options) {
  const TempDir dir;
  synth::SynthOptions model = tiny_model();
  model.seed = options.seed;
  make_model(model, dir.file("model.gguf"));
  CompileOptions compile;
  compile.input = dir.file("model.gguf");
  compile.output = path;
  compile.plan.context = options.context;
  compile.split_weights = options.split;
  make_plan(compile);
}

std::string weight_file_in(const TempDir& folder) {
  std::string found;
  for (const std::string& name : folder.entries()) {
    if (name.size() < 6 || name.substr(name.size() - 6) != ".jllmw") continue;
    EXPECT_TRUE(found.empty()) << found << " and " << name;
    found = folder.file(name);
  }
  EXPECT_FALSE(found.empty());
  return found;
}

void flip(const std::string& path, uint64_t offset) {
  std::vector<uint8_t> bytes = read_file(path);
  ASSERT_LT(offset, bytes.size());
  bytes[offset] ^= 0x10;
  write_file(path, bytes.data(), bytes.size());
}

Outcome outcome_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const tool::Failure& failure) {
    return {failure.code, failure.what()};
  }
  return {};
}

void expect_refusal(const Outcome& outcome, tool::ExitCode code, const std::string& words) {
  EXPECT_EQ(outcome.code, code) << outcome.message;
  EXPECT_NE(outcome.message.find(words), std::string::npos) << outcome.message;
}

std::vector<uint32_t> generate(const tool::PlanPaths& paths) {
  tool::OpenPlan plan(paths);
  tool::Session session(plan, RunningPlan::one_thread());
  Executor& executor = session.executor();
  const Tokens prompt = {1, 17, 42, 5};
  session.check(executor.prefill(prompt.data(), static_cast<uint32_t>(prompt.size())));
  std::vector<uint32_t> tokens;
  for (uint32_t i = 0; i < 16; ++i) {
    session.check(executor.enqueue());
    const Result<SampledToken> token = executor.next();
    session.check(token.error());
    tokens.push_back(token.value().id);
    if (token.value().done != kRunning) break;
  }
  return tokens;
}

}  // namespace jllm::test
