// Self-tests: passed by what computes the same up to rounding, and failed by what does not.
#include "tools/jllm/self_test.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "compiler/gguf/file.h"
#include "compiler/support/error.h"
#include "tests/support/fake_cuda.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using tool::OpenPlan;
using tool::SelfTestVerdict;
using tool::Session;

using Segment = std::vector<uint8_t>;

// As jllmc makes it.
llvm::Expected<Segment> make(const SelfTestRequest& request) {
  OpenPlan exact(request.exact), rough(request.rough);
  tool::SelfTestOptions options;
  options.context = request.context;
  options.eight_bits = request.eight_bits;
  options.experts = request.experts;
  options.cache_of_quants = request.cache_of_quants;
  return tool::make_self_test(exact, rough, options);
}

class SelfTest : public testing::Test {
 protected:
  SelfTest() {
    options_.input = dir_.file("model.gguf");
    options_.output = dir_.file("model.jllm");
    options_.plan.context = 100;
    options_.self_test = SelfTestChoice::kAlways;
    options_.make_self_test = make;
    model_ = test::tiny_model();
    model_.type = "q8_0";
  }

  void compile() {
    test::make_model(model_, options_.input);
    test::make_plan(options_);
  }
  // Compiles, and gives the self-test of this plan to all that follow.
  void keep_self_test() {
    Segment kept;
    options_.make_self_test = [&](const SelfTestRequest& request) {
      llvm::Expected<Segment> segment = make(request);
      if (segment) kept = *segment;
      return segment;
    };
    compile();
    options_.make_self_test = [kept](const SelfTestRequest&) -> llvm::Expected<Segment> {
      return kept;
    };
  }
  // Names, and where they begin in the file.
  std::vector<std::pair<std::string, uint64_t>> tensors() const {
    llvm::Expected<gguf::File> file = gguf::File::open(options_.input);
    if (!file) throw std::runtime_error(llvm::toString(file.takeError()));
    std::vector<std::pair<std::string, uint64_t>> found;
    for (const gguf::TensorInfo& tensor : file->tensors()) {
      found.emplace_back(tensor.name, tensor.offset);
    }
    return found;
  }
  SelfTestVerdict run(const ExecutorOptions& options = test::RunningPlan::one_thread()) const {
    OpenPlan plan(options_.output);
    Session session(plan, options);
    return tool::run_self_test(plan, session);
  }
  // Writes zeros or anything else over the weights.
  void change_weights(uint64_t first, uint64_t step, uint8_t mask) const {
    std::vector<uint8_t> bytes = test::read_file(options_.output);
    OpenPlan plan(options_.output);
    const fb::Segment& weights = *plan.view().find_segment(fb::SegmentKind::Weights);
    for (uint64_t i = first; i < weights.size(); i += step) bytes[weights.offset() + i] ^= mask;
    test::write_file(options_.output, bytes.data(), bytes.size());
  }

  test::TempDir dir_;
  CompileOptions options_;
  synth::SynthOptions model_;
};

TEST_F(SelfTest, TheSameProcessorPassesBitForBit) {
  compile();
  const SelfTestVerdict verdict = run();
  EXPECT_TRUE(verdict.passed());
  EXPECT_TRUE(verdict.exact);
  EXPECT_EQ(verdict.steps, tool::kSelfTestSteps);
  EXPECT_EQ(verdict.largest_error, 0);
  EXPECT_EQ(verdict.missed, 0u);
  ExecutorOptions threads;
  threads.threads = 3;
  EXPECT_TRUE(run(threads).exact);
}

TEST_F(SelfTest, IsDeterministic) {
  compile();
  const std::vector<uint8_t> first = test::read_file(options_.output);
  compile();
  EXPECT_EQ(test::read_file(options_.output), first);
  EXPECT_EQ(dir_.entries().size(), 2u) << "the plan for the host is gone";
}

// Compiled for one precision of activations, run with another: that is rounding, and must pass
// without being the same.
TEST_F(SelfTest, RoundingPasses) {
  for (const char* type : {"q8_0", "q4_k_m"}) {
    SCOPED_TRACE(type);
    model_.type = type;
    if (std::strcmp(type, "q4_k_m") == 0) model_.embedding = model_.ffn = 256;
    options_.plan.select.activations = select::ActivationMode::kF32;
    keep_self_test();
    options_.plan.select.activations = select::ActivationMode::kQ8R;
    compile();
    const SelfTestVerdict verdict = run();
    EXPECT_TRUE(verdict.passed());
    EXPECT_FALSE(verdict.exact);
    EXPECT_GT(verdict.largest_error, 0);
    EXPECT_LT(verdict.largest_error, 0.5) << "15 bits are finer than halves";
  }
}

// One block of 32 weights in the wrong, of each matrix in turn; one weight of each norm.
TEST_F(SelfTest, OneWrongBlockFails) {
  keep_self_test();
  const std::vector<uint8_t> right = test::read_file(options_.input);
  uint32_t tried = 0;
  for (const auto& [name, offset] : tensors()) {
    SCOPED_TRACE(name);
    if (name == "token_embd.weight") continue;  // most rows are of tokens that do not occur
    std::vector<uint8_t> wrong = right;
    // Of the output, the row of a token whose logit is compared.
    const uint64_t row = name == "output.weight" ? 2 : 0;
    const bool is_norm = name.find("norm") != std::string::npos;
    uint8_t* block = wrong.data() + offset + row * model_.embedding / 32 * 34;
    const uint32_t sign = is_norm ? 3 : 1;  // of a float, or of a block's scale
    block[sign] ^= 0x80;
    test::write_file(options_.input, wrong.data(), wrong.size());
    test::make_plan(options_);
    const SelfTestVerdict verdict = run();
    EXPECT_FALSE(verdict.passed());
    ++tried;
  }
  EXPECT_EQ(tried, 20u);
}

TEST_F(SelfTest, WrongRopeFrequenciesFail) {
  keep_self_test();
  std::vector<uint8_t> wrong = test::read_file(options_.input);
  const std::string key = "rope.freq_base";
  const auto found = std::search(wrong.begin(), wrong.end(), key.begin(), key.end());
  ASSERT_NE(found, wrong.end());
  float base = 0;
  uint8_t* at = &*found + key.size() + sizeof(uint32_t);  // behind the type of the value
  std::memcpy(&base, at, sizeof base);
  base *= 1.1f;
  std::memcpy(at, &base, sizeof base);
  test::write_file(options_.input, wrong.data(), wrong.size());
  test::make_plan(options_);
  const SelfTestVerdict verdict = run();
  EXPECT_FALSE(verdict.passed());
}

TEST_F(SelfTest, EveryCacheTypeAndPrecision) {
  for (const WeightType kv : {WeightType::kF32, WeightType::kF16, WeightType::kQ8_0}) {
    for (const auto mode : {select::ActivationMode::kF32, select::ActivationMode::kQ8}) {
      model_.head_dim = 32;
      options_.plan.kv_k = options_.plan.kv_v = kv;
      options_.plan.select.activations = mode;
      compile();
      EXPECT_TRUE(run().exact) << weight_type_name(kv);
    }
  }
}

TEST_F(SelfTest, SmallContexts) {
  for (const uint32_t context : {2u, 3u, 10u, 39u, 40u}) {
    options_.plan.context = context;
    compile();
    const SelfTestVerdict verdict = run();
    EXPECT_TRUE(verdict.exact) << context;
    EXPECT_GE(verdict.steps, 1u);
  }
}

TEST_F(SelfTest, OtherWeightsFail) {
  compile();
  change_weights(0, 64, 0x40);
  const SelfTestVerdict verdict = run();
  EXPECT_FALSE(verdict.passed());
  EXPECT_FALSE(verdict.exact);
  EXPECT_GT(verdict.largest_error, 1);
}

// A quarter of one percent of the weights' bytes.
TEST_F(SelfTest, AFewWrongWeightsFail) {
  compile();
  change_weights(1, 400, 0x7f);
  EXPECT_FALSE(run().passed());
}

TEST_F(SelfTest, SplitPlansHaveOneToo) {
  options_.split_weights = true;
  compile();
  EXPECT_TRUE(run().exact);
}

TEST_F(SelfTest, MixturesOfExpertsHaveOneToo) {
  model_.like = "qwen3-30b-a3b";
  model_.embedding = 64;
  model_.heads = 4;
  model_.kv_heads = 2;
  model_.head_dim = 32;
  model_.experts = 8;
  model_.experts_used = 2;
  model_.expert_ffn = 64;
  compile();
  const SelfTestVerdict verdict = run();
  EXPECT_TRUE(verdict.exact);
}

// Kernels, executed by the fake driver, pass what the host has written.
struct Kernels {
  const char* name;
  const char* like = "llama-3.2-1b";
  const char* type = "f16";
  WeightType kv = WeightType::kF16;
  select::ActivationMode activations = select::ActivationMode::kAuto;
};
void PrintTo(const Kernels& kernels, std::ostream* os) { *os << kernels.name; }

class SelfTestOnKernels : public SelfTest, public testing::WithParamInterface<Kernels> {};

TEST_P(SelfTestOnKernels, Passes) {
  JLLM_NEEDS_FAKE_CUDA();
  const Kernels& m = GetParam();
  model_.like = m.like;
  model_.type = m.type;
  model_.embedding = model_.ffn = 256;
  model_.head_dim = 64;
  if (m.like == std::string("lfm2-1.2b")) model_.layers = 3;  // the third attends
  if (m.like == std::string("qwen3-30b-a3b")) {
    model_.expert_ffn = 256;
    model_.experts = 8;
    model_.experts_used = 2;
  }
  options_.target = test::kFakeTarget;
  options_.plan.context = 128;  // all as fake_cuda_models_test has it: these kernels are built once
  options_.plan.prefill_chunk = 32;
  options_.plan.speculate = 2;
  options_.plan.kv_k = options_.plan.kv_v = m.kv;
  options_.plan.select.activations = m.activations;
  compile();
  const SelfTestVerdict verdict = run();
  EXPECT_TRUE(verdict.passed());
  EXPECT_FALSE(verdict.exact) << "kernels add up in another order";
}

INSTANTIATE_TEST_SUITE_P(
    Models, SelfTestOnKernels,
    testing::Values(
        Kernels{.name = "F16"}, Kernels{.name = "Q8_0", .type = "q8_0", .kv = WeightType::kQ8_0},
        Kernels{.name = "Q4_0", .type = "q4_0", .kv = WeightType::kQ4_0},
        Kernels{.name = "Q4KM", .type = "q4_k_m"},
        Kernels{.name = "EightBits", .type = "q8_0", .activations = select::ActivationMode::kQ8},
        Kernels{.name = "Mixture", .like = "qwen3-30b-a3b", .type = "q8_0"},
        Kernels{.name = "Lfm2", .like = "lfm2-1.2b", .type = "q4_k_m"}),
    [](const auto& which) { return std::string(which.param.name); });

TEST_F(SelfTest, OnlyWhereItIsAskedFor) {
  options_.self_test = SelfTestChoice::kNever;
  compile();
  try {
    run();
    FAIL();
  } catch (const tool::Failure& failure) {
    EXPECT_EQ(failure.code, tool::kUnsupported);
    EXPECT_NE(std::string(failure.what()).find("--selftest always"), std::string::npos);
  }
}

TEST_F(SelfTest, WhereItCannotBeMadeCompilingSaysHowToDoWithout) {
  compile();  // makes the model too
  options_.make_self_test = [](const SelfTestRequest&) -> llvm::Expected<Segment> {
    return fail(ExitCode::kFailed, "no memory");
  };
  for (const SelfTestChoice choice : {SelfTestChoice::kAuto, SelfTestChoice::kAlways}) {
    options_.self_test = choice;
    const test::CompileOutcome outcome = test::compile_model(options_);
    EXPECT_EQ(outcome.code, ExitCode::kFailed);
    EXPECT_NE(outcome.message.find("no memory"), std::string::npos) << outcome.message;
    EXPECT_NE(outcome.message.find("--selftest never"), std::string::npos) << outcome.message;
  }
}

// Whatever byte of the segment is another: refused or failed, never a crash.
TEST_F(SelfTest, DamagedSegments) {
  compile();
  const std::vector<uint8_t> whole = test::read_file(options_.output);
  uint64_t offset = 0, size = 0;
  {
    OpenPlan plan(options_.output);
    const fb::Segment& segment = *plan.view().find_segment(fb::SegmentKind::SelfTest);
    offset = segment.offset();
    size = segment.size();
  }
  uint32_t refused = 0;
  for (uint64_t i = 0; i < size; i += 5) {
    std::vector<uint8_t> damaged = whole;
    damaged[offset + i] ^= 0x81;
    test::write_file(options_.output, damaged.data(), damaged.size());
    try {
      run();
    } catch (const tool::Failure&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 10u);
}

}  // namespace
}  // namespace jllm
