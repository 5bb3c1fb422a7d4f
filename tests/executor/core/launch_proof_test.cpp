// Host plans whose launches would reach outside their buffers are refused before anything runs,
// whatever validate_plan() can say about them; those that pass may compute nonsense, no more.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>

#include "executor/src/host/host_op.h"
#include "tests/e2e/arch/models.h"
#include "tests/support/edited_plan.h"
#include "tests/support/files.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::EditedPlan;

// Plans with every operation of the host backend among them; "sample" is that of plans before 1.4.
std::vector<std::vector<uint8_t>> make_plans() {
  CompileOptions options;
  options.plan.context = 32;
  options.plan.prefill_chunk = 16;
  std::vector<std::vector<uint8_t>> plans = {test::read_file(JLLM_GOLDEN_PLANS "/plan-1.3.jllm")};
  for (const arch::ArchModel& each : arch::arch_models()) {
    static const std::set<std::string> wanted = {"qwen2", "stablelm", "nemotron", "lfm2", "olmoe"};
    if (wanted.count(each.name) == 0) continue;
    synth::SynthOptions model = each.model;
    plans.push_back(test::plan_bytes(model, options));
    if (each.name != "olmoe" && each.name != "qwen2") continue;
    model.type = "q8_0";
    CompileOptions quantised = options;
    quantised.plan.kv_k = quantised.plan.kv_v = WeightType::kQ4_0;
    plans.push_back(test::plan_bytes(model, quantised));
  }
  return plans;
}

const std::vector<std::vector<uint8_t>>& plans() {
  static const std::vector<std::vector<uint8_t>> made = make_plans();
  return made;
}

using Visit = std::function<void(EditedPlan*, const std::string& operation, fbedit::LaunchT*)>;

// The first launch of each operation, over all plans.
void for_each_operation(const Visit& visit) {
  std::set<std::string> seen;
  for (const std::vector<uint8_t>& bytes : plans()) {
    EditedPlan plan(bytes);
    for (auto& graph : plan.tables.graphs) {
      for (auto& launch : graph->launches) {
        const std::string name = plan.tables.kernels[launch->kernel]->name;
        if (seen.insert(name).second) visit(&plan, name, launch.get());
      }
    }
  }
}

// Creates an executor and, where it was created, lets it run.
struct Outcome {
  Error error;
  std::string message;
};

Outcome run_edited(const EditedPlan& edited) {
  const test::PlanInMemory plan(edited.file());
  if (plan.error != Error::kOk) return {plan.error, plan.message};
  test::RunningPlan run(plan);
  if (!run.ok()) return {run.create_error, run.create_message};
  const test::Tokens prompt = test::random_tokens(19, plan.vocab(), 1);
  Error error = run->prefill(prompt.data(), 19);
  for (int step = 0; step < 2 && error == Error::kOk; ++step) {
    error = run->enqueue();
    if (error == Error::kOk) error = run->next().error();
  }
  return {error, ""};
}

TEST(LaunchProof, PlansWithEveryOperationRun) {
  std::set<std::string> seen;
  for_each_operation(
      [&](EditedPlan*, const std::string& name, fbedit::LaunchT*) { seen.insert(name); });
  for (const char* name : {"embed",         "rms_norm",       "layer_norm",
                           "matmul",        "quantise",       "quantise_rows",
                           "product",       "add_bias",       "rope",
                           "kv_append",     "attention",      "short_conv",
                           "glu",           "unary",          "add",
                           "route",         "expert_sum",     "finish_chunk",
                           "sample",        "sample_masked",  "draft",
                           "expert_matmul", "expert_product", "accept"}) {
    ASSERT_NE(host::find_host_op(name), nullptr) << name;
    EXPECT_EQ(seen.count(name), 1u) << "no plan of this test uses " << name;
  }
  for (const std::vector<uint8_t>& bytes : plans()) {
    const Outcome outcome = run_edited(EditedPlan(bytes));
    EXPECT_EQ(outcome.error, Error::kOk) << outcome.message;
  }
}

TEST(LaunchProof, APointerToTooFewBytesIsRefused) {
  for_each_operation([](EditedPlan* plan, const std::string& name, fbedit::LaunchT* launch) {
    for (fbedit::Arg& arg : launch->args) {
      if (arg.kind() != fbedit::ArgKind::Pointer) continue;
      const fbedit::Arg whole = arg;
      arg.mutate_bytes(3);
      const Outcome outcome = run_edited(*plan);
      EXPECT_EQ(outcome.error, Error::kPlanInvalid) << name;
      EXPECT_EQ(outcome.message, "plan: launch " + launch->label + ": operation '" + name +
                                     "' would reach outside its buffers");
      arg = whole;
    }
  });
}

TEST(LaunchProof, ANumberInPlaceOfAPointerIsRefused) {
  for_each_operation([](EditedPlan* plan, const std::string& name, fbedit::LaunchT* launch) {
    for (fbedit::Arg& arg : launch->args) {
      if (arg.kind() != fbedit::ArgKind::Pointer) continue;
      const fbedit::Arg whole = arg;
      arg = fbedit::Arg(4096, 0, 0, fbedit::ArgKind::Immediate, 0, 0);
      EXPECT_EQ(run_edited(*plan).error, Error::kPlanInvalid) << name;
      arg = whole;
    }
  });
}

// Numbers that say no size (flags, floats) may be anything. Sanitizers watch the plans that run.
TEST(LaunchProof, NoNumberMakesALaunchReachFurther) {
  std::map<std::string, int> refused;
  for_each_operation([&](EditedPlan* plan, const std::string& name, fbedit::LaunchT* launch) {
    refused[name] += 0;
    for (fbedit::Arg& arg : launch->args) {
      if (arg.kind() != fbedit::ArgKind::Immediate) continue;
      const fbedit::Arg whole = arg;
      for (const uint64_t value : {whole.value() + 1, whole.value() * 2, whole.value() * 64,
                                   uint64_t{0}, uint64_t{1} << 32, UINT64_MAX}) {
        arg.mutate_value(value);
        const Outcome outcome = run_edited(*plan);
        if (outcome.error == Error::kPlanInvalid) ++refused[name];
      }
      arg = whole;
    }
  });
  for (const auto& [name, count] : refused) {
    EXPECT_GE(count, name == "draft" ? 0 : 3) << name;  // "draft" has no numbers
  }
}

TEST(LaunchProof, OnlySamplersWriteTheExecutorsBuffers) {
  EditedPlan plan(plans().front());
  const fbedit::BindingsT& bindings = *plan.tables.bindings;
  for (auto& graph : plan.tables.graphs) {
    for (auto& launch : graph->launches) {
      if (plan.tables.kernels[launch->kernel]->name != "rms_norm") continue;
      fbedit::Arg& out = launch->args[3];
      const uint64_t bytes = plan.tables.arenas[bindings.state_arena]->size - bindings.step_state;
      // As long as the state's arena has room for the operation's result at all.
      const fbedit::Arg whole = out;
      if (bytes < whole.bytes()) continue;
      out = fbedit::Arg(bindings.step_state, bytes, bindings.state_arena, fbedit::ArgKind::Pointer,
                        0, 0);
      EXPECT_EQ(run_edited(plan).error, Error::kPlanInvalid);
      return;
    }
  }
  FAIL() << "no operation whose result fits the state's arena";
}

}  // namespace
}  // namespace jllm
