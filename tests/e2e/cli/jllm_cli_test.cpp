// jllm from outside: exit codes and key words of its messages, and help.
#include <gtest/gtest.h>

#include "tests/e2e/cli/process.h"
#include "tests/support/edited_plan.h"
#include "tests/support/gpu.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::EditedPlan;
using test::expect_failure;
using test::jllm;
using test::ProcessResult;
using test::TempDir;

class Jllm : public testing::Test {
 protected:
  std::string plan() const { return dir_.file("model.jllm"); }
  void write_plan(const std::vector<uint8_t>& bytes) const {
    test::write_file(plan(), bytes.data(), bytes.size());
  }

  TempDir dir_;
};

TEST_F(Jllm, MissingFileIsAFailure) {
  for (const char* command : {"run", "tokenize"}) {
    expect_failure(jllm({command, dir_.file("none.jllm")}), 1,
                   {"jllm: ", "none.jllm", "No such file or directory"});
  }
  write_plan(test::small_plan());
  expect_failure(jllm({"run", plan(), "-f", dir_.file("none.txt")}), 1,
                 {"none.txt", "No such file or directory"});
}

TEST_F(Jllm, UsageErrorsAreCode2) {
  write_plan(test::small_plan());
  expect_failure(jllm({}), 2, {"usage: jllm COMMAND"});
  expect_failure(jllm({"bake"}), 2, {"there is no command bake", "usage: jllm COMMAND"});
  expect_failure(jllm({"run"}), 2, {"PLAN.jllm is missing", "usage: jllm run"});
  expect_failure(jllm({"run", plan(), "--frobnicate"}), 2, {"'--frobnicate'", "usage: jllm run"});
  expect_failure(jllm({"run", plan(), plan()}), 2, {"unknown argument"});
  expect_failure(jllm({"run", plan(), "-n"}), 2, {"-n needs a value"});
  expect_failure(jllm({"run", plan(), "-n", "many"}), 2, {"many", "expected a number"});
  expect_failure(jllm({"run", plan(), "-t", "-1"}), 2, {"-1", "from 0 to 100"});
  expect_failure(jllm({"run", plan(), "-t", "nan"}), 2, {"nan", "expected a number"});
  expect_failure(jllm({"run", plan(), "--top-p", "1.5"}), 2, {"--top-p 1.5"});
  expect_failure(jllm({"run", plan(), "--top-k", "-5"}), 2, {"--top-k -5"});
  expect_failure(jllm({"run", plan(), "--seed", "0x"}), 2, {"--seed 0x"});
  expect_failure(jllm({"run", plan(), "-n", "99999999999999999999"}), 2, {"expected a number"});
  expect_failure(jllm({"eval", plan()}), 2, {"--tokens FILE"});
}

TEST_F(Jllm, ATooLongPromptIsCode2) {
  write_plan(test::small_plan());  // context 32
  std::string prompt;
  for (int i = 0; i < 200; ++i) prompt += " word";
  expect_failure(jllm({"run", plan(), "-p", prompt}), 2, {"context takes 32", "--context"});
}

TEST_F(Jllm, ArenasThatCannotBeHadAreCode3) {
  synth::SynthOptions model = test::tiny_model();
  model.context = 1u << 20;
  CompileOptions options;
  options.plan.context = model.context;
  write_plan(test::plan_bytes(model, options));  // 512 MiB of KV cache
  test::ProcessOptions little;
  little.address_space = 256 << 20;
  expect_failure(jllm({"run", plan(), "-n", "1", "--threads", "1"}, little), 3,
                 {"no memory for an arena"});
}

TEST_F(Jllm, DamagedPlansAreCode4) {
  const std::vector<uint8_t>& whole = test::small_plan();
  write_plan({whole.begin(), whole.begin() + 5000});
  expect_failure(jllm({"run", plan()}), 4,
                 {"model.jllm", std::to_string(whole.size()), "5000", "copy complete"});
  write_plan({});
  expect_failure(jllm({"run", plan()}), 4, {"not a plan"});
  test::write_text(plan(), std::string(1000, 'x'));
  expect_failure(jllm({"run", plan()}), 4, {"not a plan"});
  std::vector<uint8_t> damaged = whole;
  damaged[100] ^= 1;
  write_plan(damaged);
  expect_failure(jllm({"run", plan()}), 4, {"damaged"});
  damaged = whole;
  damaged[4] = 2;
  write_plan(damaged);
  expect_failure(jllm({"run", plan()}), 4,
                 {"plan format 2." + std::to_string(kPlanMinor), "compile the model again"});
  EditedPlan invalid;
  invalid.tables.end_tokens = {100000};
  write_plan(invalid.file());
  expect_failure(jllm({"run", plan()}), 4, {"end token 100000"});
}

TEST_F(Jllm, AnUnknownOperationIsCode5) {
  EditedPlan plan_of_tomorrow;
  plan_of_tomorrow.tables.kernels[0]->name = "frobnicate";
  write_plan(plan_of_tomorrow.file());
  expect_failure(jllm({"run", plan(), "-n", "1"}), 5, {"'frobnicate'", "newer jllmc"});
}

TEST_F(Jllm, ACudaPlanWithoutAGpuIsCode6) {
  if (test::no_gpu_reason().empty()) GTEST_SKIP() << "this machine has a GPU";
  EditedPlan cuda;
  cuda.become_cuda();
  write_plan(cuda.file());
  const ProcessResult result = jllm({"run", plan(), "-n", "1"});
  expect_failure(result, 6, {"model.jllm"});
  if (test::no_gpu_reason().find("libcuda") != std::string::npos) {
    expect_failure(result, 6, {"NVIDIA GPU", "libcuda.so.1", "--target host"});
  }
}

TEST_F(Jllm, HelpNamesEveryOption) {
  const ProcessResult general = jllm({"--help"});
  EXPECT_EQ(general.code, 0);
  for (const char* word : {"exit codes", "6 device"}) {
    EXPECT_NE(general.out.find(word), std::string::npos) << word;
  }
  struct Command {
    const char* name;
    std::vector<const char*> options;
  };
  const Command commands[] = {
      {"run",
       {"-p,", "-f,", "-n,", "-t,", "--top-k", "--top-p", "--min-p", "--repeat-penalty", "--seed",
        "--ignore-end", "--json", "-v,", "--threads", "--device", "--eager"}},
      {"eval", {"--tokens", "-f,", "--logits", "--json"}},
      {"tokenize", {"-p,", "-f,", "--special", "--json"}},
      {"vector", {"-p,", "-f,", "--lines", "--dimensions", "--json"}},
      {"bench",
       {"-p,", "-n,", "-d,", "-r,", "--json", "--csv", "--svg", "--peer", "--load", "--cold",
        "--profile", "--per-node"}},
  };
  for (const Command& command : commands) {
    EXPECT_NE(general.out.find(command.name), std::string::npos) << command.name;
    const ProcessResult help = jllm({command.name, "--help"});
    EXPECT_EQ(help.code, 0);
    EXPECT_EQ(help.err, "");
    EXPECT_NE(help.out.find("PLAN.jllm"), std::string::npos);
    for (const char* option : command.options) {
      EXPECT_NE(help.out.find(option), std::string::npos) << command.name << " " << option;
    }
  }
}

TEST_F(Jllm, TellsItsVersion) {
  const ProcessResult result = jllm({"--version"});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out.rfind("jllm ", 0), 0u) << result.out;
}

}  // namespace
}  // namespace jllm
