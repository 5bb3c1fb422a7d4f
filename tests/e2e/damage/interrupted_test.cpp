// A compilation that fails or is ended at any of its calls to the file system: what stood under the
// plan's name stays as it was, or the new plan stands there whole; and nothing else is left. So it
// is where the model changes while it is read.
#include <gtest/gtest.h>
#include <llvm/Support/FormatVariadic.h>
#include <unistd.h>

#include <csignal>

#include "tests/e2e/cli/process.h"
#include "tests/support/edited_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::Process;
using test::ProcessOptions;
using test::ProcessResult;
using Names = std::vector<std::string>;

class Interrupted : public testing::Test {
 protected:
  Interrupted() {
    synth::SynthOptions model = test::tiny_model();
    model.layers = 1;
    test::make_model(model, dir_.file("model.gguf"));
  }
  std::string plan() const { return dir_.file("model.jllm"); }
  // Without the self-test, whose plan is a file of its own elsewhere.
  Names command(const char* context) const {
    return {"compile",    dir_.file("model.gguf"),
            "-o",         plan(),
            "--target",   "host",
            "--context",  context,
            "--selftest", "never"};
  }
  ProcessResult compile(const std::string& fault, const std::string& changed_file = "") const {
    ProcessOptions options;
    options.environment = {"LD_PRELOAD=" JLLM_WRITE_FAULTS, "JLLM_FAULT=" + fault};
    if (!changed_file.empty()) options.environment.push_back("JLLM_FAULT_FILE=" + changed_file);
    return test::jllmc(command("32"), options);
  }
  // The calls of a whole compilation; the plan that it makes is `whole`.
  long count_calls(std::vector<uint8_t>* whole) const {
    ProcessOptions options;
    options.environment = {"LD_PRELOAD=" JLLM_WRITE_FAULTS,
                           "JLLM_FAULT_COUNT=" + counts_.file("n")};
    EXPECT_EQ(test::jllmc(command("32"), options).code, 0);
    *whole = test::read_file(plan());
    return std::stol(test::read_text(counts_.file("n")));
  }
  void start_with(const std::string& old) const {
    ::unlink(plan().c_str());
    if (!old.empty()) test::write_text(plan(), old);
  }
  std::string now() const {
    return dir_.entries() == Names{"model.gguf"} ? "" : test::read_text(plan());
  }

  test::TempDir dir_, counts_;
};

TEST_F(Interrupted, AFullDiskLeavesNothingAtWhicheverWrite) {
  std::vector<uint8_t> whole;
  const long calls = count_calls(&whole);
  ASSERT_GT(calls, 4);
  for (const std::string old : {"", "the plan of before"}) {
    for (const char* what : {"enospc", "eio", "short"}) {
      // The last call syncs the folder, behind the rename: then the plan stands there.
      for (long call = 1; call < calls; ++call) {
        start_with(old);
        const ProcessResult result = compile(std::to_string(call) + ":" + what);
        if (std::string(what) == "short" && result.code == 0) {
          // Only where the call was no write, which could be cut short.
          EXPECT_GE(call, calls - 3);
          continue;
        }
        const char* why = std::string(what) == "eio" ? "Input/output error" : "No space left";
        test::expect_failure(result, 1, {"model.jllm: cannot ", why});
        EXPECT_EQ(now(), old) << what << " at call " << call;
        EXPECT_EQ(dir_.entries().size(), old.empty() ? 1u : 2u) << what << " at call " << call;
      }
    }
  }
}

TEST_F(Interrupted, ASignalLeavesThePlanOfBeforeOrTheNewOneWhole) {
  std::vector<uint8_t> whole;
  const long calls = count_calls(&whole);
  const std::string made(whole.begin(), whole.end());
  const struct {
    const char* what;
    int signal;
  } signals[] = {{"int", SIGINT}, {"term", SIGTERM}, {"kill", SIGKILL}};
  for (const auto& [what, signal] : signals) {
    for (long call = 1; call <= calls; ++call) {
      start_with("old");
      const ProcessResult result = compile(std::to_string(call) + ":" + what);
      EXPECT_EQ(result.signal, signal) << result.err;
      const std::string left = test::read_text(plan());
      EXPECT_EQ(left, call < calls ? "old" : made) << what << " at call " << call;
      // Killed between naming the finished file and renaming it: the next compilation removes that.
      const Names names = dir_.entries();
      const bool between = signal == SIGKILL && call == calls - 1;
      EXPECT_EQ(names.size(), between ? 3u : 2u) << what << " at call " << call;
    }
  }
  EXPECT_EQ(test::jllmc(command("32")).code, 0);
  EXPECT_EQ(test::read_text(plan()), made);
  EXPECT_EQ(dir_.entries(), (Names{"model.gguf", "model.jllm"}));
}

// Cut (reading on would be SIGBUS) or written over, before whichever call.
TEST_F(Interrupted, AModelThatChangesIsAnErrorAndNoPlan) {
  constexpr long kLastCalls = 4;  // sync, name, rename, sync the folder: all was read
  std::vector<uint8_t> whole;
  const long calls = count_calls(&whole);
  ASSERT_GT(calls, kLastCalls + 2);
  const std::string model = dir_.file("model.gguf"), model_bytes = test::read_text(model);
  const std::string before = llvm::formatv("{0:N}", model_bytes.size()).str();
  const std::string half = llvm::formatv("{0:N}", model_bytes.size() / 2).str();
  const struct {
    const char* what;
    std::string error;
  } changes[] = {{"cut", "went from " + before + " to " + half + " bytes while it was read"},
                 {"touch", "was written to while it was read"}};
  for (const auto& [what, error] : changes) {
    for (long call = 1; call <= calls; ++call) {
      start_with("old");
      test::write_text(model, model_bytes);
      usleep(20000);  // file times are coarse
      const ProcessResult result = compile(std::to_string(call) + ":" + what, model);
      const std::string left = test::read_text(plan());
      EXPECT_EQ(dir_.entries(), (Names{"model.gguf", "model.jllm"})) << what << " at call " << call;
      if (call > calls - kLastCalls) {
        EXPECT_EQ(result.code, 0) << what << " at call " << call << result.err;
        EXPECT_EQ(left, std::string(whole.begin(), whole.end()));
        continue;
      }
      EXPECT_EQ(result.code, 1) << what << " at call " << call;
      EXPECT_EQ(result.err, "jllmc: " + model + ": " + error +
                                "; let whatever writes it come to an end and try again\n");
      EXPECT_EQ(left, "old") << what << " at call " << call;
    }
  }
}

TEST_F(Interrupted, OfTwoCompilationsToOneNameOneIsThereWhole) {
  std::vector<std::string> plans;
  for (const char* context : {"32", "48"}) {
    ASSERT_EQ(test::jllmc(command(context)).code, 0);
    plans.push_back(test::read_text(plan()));
  }
  ASSERT_NE(plans[0], plans[1]);
  for (int round = 0; round < 10; ++round) {
    start_with(round % 2 == 0 ? "" : "old");
    Process first(JLLMC_PROGRAM, command("32"));
    Process second(JLLMC_PROGRAM, command("48"));
    const ProcessResult one = first.wait(), two = second.wait();
    EXPECT_EQ(one.code, 0) << one.err;
    EXPECT_EQ(two.code, 0) << two.err;
    const std::string left = test::read_text(plan());
    EXPECT_TRUE(left == plans[0] || left == plans[1]);
    EXPECT_EQ(dir_.entries(), (Names{"model.gguf", "model.jllm"}));
  }
}

}  // namespace
}  // namespace jllm
