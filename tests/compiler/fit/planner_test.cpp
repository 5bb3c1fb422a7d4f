// Planner: remembered plans are the plans, and the largest context is the largest.
#include "compiler/planner.h"

#include <gtest/gtest.h>

#include "tests/compiler/fit/some_model.h"

namespace jllm::fit {
namespace {

void expect_same(const Budget& a, const Budget& b) {
  EXPECT_EQ(a.weights, b.weights);
  EXPECT_EQ(a.kv, b.kv);
  EXPECT_EQ(a.scratch, b.scratch);
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.pinned, b.pinned);
  EXPECT_EQ(a.code, b.code);
  EXPECT_EQ(a.graphs, b.graphs);
  EXPECT_EQ(a.host, b.host);
  EXPECT_EQ(a.context, b.context);
  EXPECT_EQ(a.reserve, b.reserve);
  EXPECT_EQ(a.limit, b.limit);
}

// Asked for in an order in which a planner that confuses devices would hand out another's plan.
TEST(Planner, RemembersWhatPlansDependOn) {
  SomeModel model;
  BudgetOptions budget;
  budget.reserve = 12345;
  for (int round = 0; round < 2; ++round) {
    for (const char* name :
         {"orin-nano-8gb", "orin-nano-8gb@15w", "orin-nano-8gb@7w", "orin-nx-8gb", "agx-orin-64gb",
          "thor-t5000", "h200", "host", "sm_87"}) {
      for (const uint32_t context : {64u, 4096u}) {
        const target::Target target = value_of(target::find(name));
        const PlanOptions options = plan_of(context);
        const Footprint known = value_of(model.planner.footprint(target, options, budget));
        const PlannedModel planned = value_of(plan_model(model.file, target, options));
        expect_same(known.budget, make_footprint(planned, budget).budget);
        EXPECT_EQ(known.options.context, context);
      }
    }
  }
}

TEST(Planner, TheLargestContextFitsAndTheNextDoesNot) {
  SomeModel model;
  for (const char* name : {"orin-nano-8gb", "agx-orin-64gb", "host"}) {
    for (const WeightType type : {WeightType::kF16, WeightType::kQ8_0, WeightType::kQ4_0}) {
      const uint64_t least = model.total(device(name, 0), plan_of(64, type));
      const uint64_t most = model.total(device(name, 0), plan_of(32768, type));
      for (int share = 0; share <= 20; ++share) {
        const target::Target target = device(name, least + (most - least) * share / 20);
        const uint32_t context =
            value_of(model.planner.largest_context(target, plan_of(0, type), {}));
        ASSERT_GE(context, 64u);
        EXPECT_EQ(context % 64, 0u);
        EXPECT_LE(model.total(target, plan_of(context, type)), target.budget_bytes);
        if (context < 32768) {
          EXPECT_GT(model.total(target, plan_of(context + 64, type)), target.budget_bytes);
        }
      }
    }
  }
}

TEST(Planner, NoContextFitsWhereTheWeightsDoNot) {
  SomeModel model;
  EXPECT_EQ(value_of(model.planner.largest_context(device("host", kMiB), {}, {})), 0u);
}

TEST(Planner, AllFitsWithoutABudget) {
  SomeModel model;
  EXPECT_EQ(value_of(model.planner.largest_context(device("host", 0), {}, {})), 32768u);
}

// 100 positions are no multiple of the step, but the model's own.
TEST(Planner, AModelWithAShortContext) {
  TinyLlama tiny = SomeModel::shape();
  for (const uint32_t context : {40u, 100u}) {
    tiny.context = context;
    SomeModel model(tiny);
    const uint64_t all = model.total(device("host", 0), plan_of(context));
    EXPECT_EQ(value_of(model.planner.largest_context(device("host", all), plan_of(0), {})),
              context);
    const uint32_t less =
        value_of(model.planner.largest_context(device("host", all - 1), plan_of(0), {}));
    EXPECT_EQ(less, context == 100 ? 64u : 0u);
  }
}

TEST(Planner, ReserveAndLimitCount) {
  SomeModel model;
  const target::Target target = device("host", 0);
  BudgetOptions budget;
  budget.limit = model.total(target, plan_of(1024));
  EXPECT_EQ(value_of(model.planner.largest_context(target, plan_of(0), budget)), 1024u);
  budget.reserve = 1;
  EXPECT_EQ(value_of(model.planner.largest_context(target, plan_of(0), budget)), 960u);
}

}  // namespace
}  // namespace jllm::fit
