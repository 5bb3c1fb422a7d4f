// Over models x targets x contexts x KV cache types: the verdict of `jllmc fit`, made from the
// header of the model alone, and the plan file that `jllmc compile` writes agree to the byte in
// every arena. CUDA plans get made-up code, so no NVRTC is needed.
#include <gtest/gtest.h>

#include <filesystem>

#include "compiler/emit/plan_writer.h"
#include "compiler/fit/verdict.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using fb::ArenaKind;
using gguf::value_of;

struct NamedModel {
  const char* name;
  TinyLlama model;
};

// Every weight type, head dimension, tied or not, with and without biases; widths that leave gaps
// at the alignment of 256 bytes.
std::vector<NamedModel> models() {
  TinyLlama narrow;
  narrow.embedding = 96;
  narrow.ffn = 160;
  narrow.heads = 3;
  narrow.kv_heads = 1;
  narrow.head_dim = 32;
  narrow.layers = 3;
  TinyLlama wide;
  wide.embedding = 256;
  wide.ffn = 768;
  wide.head_dim = 64;
  wide.tied = false;
  wide.qkv_bias = true;
  wide.context = 600;
  std::vector<NamedModel> all = {{"narrow_f32", narrow}, {"small_heads_f32", TinyLlama()}};
  for (const auto& [name, type] :
       {std::pair("wide_f16", WeightType::kF16), std::pair("wide_q8_0", WeightType::kQ8_0),
        std::pair("wide_q4_0", WeightType::kQ4_0), std::pair("wide_q4_k", WeightType::kQ4_K)}) {
    TinyLlama model = wide;
    model.type = type;
    model.types = {{"token_embd.weight", WeightType::kQ6_K},
                   {"blk.1.ffn_down.weight", WeightType::kQ6_K}};
    all.push_back({name, model});
  }
  return all;
}

constexpr const char* kTargets[] = {"host",          "sm_86", "orin-nano-8gb", "orin-nano-8gb@7w",
                                    "agx-orin-64gb", "h200"};
constexpr uint32_t kContexts[] = {16, 100, 128};
constexpr WeightType kCaches[][2] = {{WeightType::kF16, WeightType::kF16},
                                     {WeightType::kF32, WeightType::kF16},
                                     {WeightType::kQ8_0, WeightType::kQ8_0},
                                     {WeightType::kQ8_0, WeightType::kQ4_0},
                                     {WeightType::kQ4_0, WeightType::kQ4_0}};

uint64_t arena_bytes(const test::PlanInMemory& plan, ArenaKind kind) {
  uint64_t sum = 0;
  for (const fb::Arena* arena : *plan.view().plan().arenas()) {
    if (arena->kind() == kind) sum += arena->size();
  }
  return sum;
}

void expect_arenas(const test::PlanInMemory& plan, const Budget& budget) {
  EXPECT_EQ(arena_bytes(plan, ArenaKind::Weights), budget.weights);
  EXPECT_EQ(arena_bytes(plan, ArenaKind::Kv), budget.kv);
  EXPECT_EQ(arena_bytes(plan, ArenaKind::Scratch), budget.scratch);
  EXPECT_EQ(arena_bytes(plan, ArenaKind::State), budget.state);
  EXPECT_EQ(arena_bytes(plan, ArenaKind::HostPinned), budget.pinned);
}

class FitMatrix : public testing::Test {
 protected:
  // Writes the model, and beside it the part of it that fit needs.
  void write(const TinyLlama& model) {
    write_model(model, whole_);
    const std::string bytes = [&] {
      std::ifstream in(whole_, std::ios::binary);
      return std::string(std::istreambuf_iterator<char>(in), {});
    }();
    uint64_t data = bytes.size();
    const gguf::File file = value_of(gguf::File::open(whole_));
    for (const gguf::TensorInfo& tensor : file.tensors()) data = std::min(data, tensor.offset);
    header_ = folder_.write("header.gguf", bytes.substr(0, data));
  }

  // The plan as compile() writes it, less the kernels' machine code.
  test::PlanInMemory compiled(const gguf::File& file, const target::Target& target,
                              const PlanOptions& options) {
    const PlannedModel planned = value_of(plan_model(file, target, options));
    std::vector<std::vector<uint8_t>> modules;
    if (!target.is_host) modules.assign(planned.schedule.kernels.size(), {1, 2, 3});
    emit::PlanInputs inputs;
    inputs.planned = &planned;
    inputs.modules = &modules;
    inputs.tokenizer = {'t', 'o', 'k'};
    const std::string path = folder_.file("m.jllm");
    value_of(emit::write_plan(inputs, path));
    return test::PlanInMemory(test::read_file(path));
  }

  gguf::TempFolder folder_;
  std::string whole_ = folder_.file("whole.gguf");
  std::string header_;
};

TEST_F(FitMatrix, EveryArenaAgreesToTheByte) {
  gguf::OpenOptions header_only;
  header_only.header_only = true;
  int compared = 0;
  int refused = 0;
  for (const NamedModel& m : models()) {
    write(m.model);
    const gguf::File file = value_of(gguf::File::open(whole_));
    const gguf::File header = value_of(gguf::File::open(header_, header_only));
    Planner planner(header);  // one for all: what it remembers must be right too
    for (const char* target_name : kTargets) {
      const target::Target target = value_of(target::find(target_name));
      for (const uint32_t context : kContexts) {
        for (const auto& [k, v] : kCaches) {
          SCOPED_TRACE(std::string(m.name) + " on " + target_name + ", context " +
                       std::to_string(context) + ", K " + weight_type_name(k) + ", V " +
                       weight_type_name(v));
          fit::Question question;
          question.plan.context = context;
          question.plan.kv_k = k;
          question.plan.kv_v = v;
          llvm::Expected<fit::Verdict> verdict = fit::judge(planner, target, question);
          if (!verdict) {  // then compile refuses it with the same words
            const auto [code, text] = take_error(verdict.takeError());
            llvm::Expected<PlannedModel> planned = plan_model(file, target, question.plan);
            ASSERT_FALSE(static_cast<bool>(planned));
            EXPECT_EQ(take_error(planned.takeError()), std::pair(code, text));
            EXPECT_EQ(code, ExitCode::kUnsupported);
            ++refused;
            continue;
          }
          ASSERT_TRUE(verdict->footprint);
          const PlanOptions resolved = value_of(planner.resolve(target, question.plan, {}));
          EXPECT_EQ(resolved.speculate, kDefaultDraft);
          const test::PlanInMemory plan = compiled(file, target, resolved);
          ASSERT_EQ(plan.error, Error::kOk) << plan.message;
          expect_arenas(plan, verdict->footprint->budget);
          EXPECT_EQ(plan.view().plan().model()->context(), verdict->footprint->options.context);
          EXPECT_EQ(plan.view().plan().model()->weights_read_per_token(),
                    verdict->footprint->weights_per_token);
          ++compared;
        }
      }
    }
  }
  const int combinations = 6 * 6 * 3 * 5;
  EXPECT_EQ(compared + refused, combinations);
  // Heads of 16 have no quantised caches: 3 of the 5 pairs of one model.
  EXPECT_EQ(refused, 6 * 3 * 3);
}

// The whole line, with a tokenizer: compile() takes what fit says fits, and refuses what it does
// not, with the same figures.
TEST_F(FitMatrix, CompileAgreesOnTheVerdict) {
  const std::string input = folder_.file("m.gguf");
  test::make_model(test::tiny_model(), input);
  const gguf::File file = value_of(gguf::File::open(input));
  Planner planner(file);
  const target::Target host = value_of(target::find("host"));
  for (const uint32_t context : kContexts) {
    fit::Question question;
    question.plan.context = context;
    question.budget.reserve = 100;
    const Footprint footprint = value_of(planner.footprint(host, question.plan, question.budget));
    for (const bool fits : {true, false}) {
      question.budget.limit = footprint.budget.total() - (fits ? 0 : 1);
      const fit::Verdict verdict = value_of(fit::judge(planner, host, question));
      EXPECT_EQ(verdict.fits(), fits);
      CompileOptions options;
      options.input = input;
      options.output = folder_.file("m.jllm");
      options.plan = question.plan;
      options.budget = question.budget;
      const test::CompileOutcome outcome = test::compile_model(options);
      EXPECT_EQ(outcome.code, fits ? ExitCode::kDone : ExitCode::kDoesNotFit) << outcome.message;
      if (fits) {
        expect_arenas(test::PlanInMemory(test::read_file(options.output)),
                      verdict.footprint->budget);
      } else {
        EXPECT_NE(outcome.message.find(", 1 B too much"), std::string::npos) << outcome.message;
      }
      std::filesystem::remove(options.output);
    }
  }
}

// --context max is what fit calls the largest context.
TEST_F(FitMatrix, TheLargestContextIsCompiled) {
  const std::string input = folder_.file("m.gguf");
  test::make_model(test::tiny_model(), input);
  const gguf::File file = value_of(gguf::File::open(input));
  Planner planner(file);
  const target::Target host = value_of(target::find("host"));
  fit::Question question;
  question.plan.context = 150;
  question.budget.limit = value_of(planner.footprint(host, question.plan, {})).budget.total();
  const uint32_t largest = value_of(planner.largest_context(host, question.plan, question.budget));
  EXPECT_EQ(largest, 128u);
  CompileOptions options;
  options.input = input;
  options.output = folder_.file("m.jllm");
  options.budget = question.budget;
  options.context_max = true;
  test::make_plan(options);
  const test::PlanInMemory plan(test::read_file(options.output));
  EXPECT_EQ(plan.view().plan().model()->context(), largest);
}

}  // namespace
}  // namespace jllm
