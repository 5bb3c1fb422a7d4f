// Planner: remembered plans are the plans, and the largest context is the largest.
#include "compiler/planner.h"

#include <gtest/gtest.h>

#include "compiler/support/error.h"
#include "schema/step_state.h"
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

// --- Speculation ---

PlanOptions speculating(uint32_t draft) {
  PlanOptions options = plan_of(1024);
  options.speculate = draft;
  return options;
}

uint32_t resolved(SomeModel& model, const target::Target& target, const PlanOptions& options) {
  return value_of(model.planner.resolve(target, options, {})).speculate.value_or(UINT32_MAX);
}

TEST(PlannerSpeculation, IsTheDefaultWhereThereIsRoomForIt) {
  SomeModel model;
  const target::Target any = device("host", 0);
  const uint64_t with = model.total(any, speculating(kDefaultDraft));
  const uint64_t without = model.total(any, speculating(0));
  ASSERT_GT(with, without);
  EXPECT_EQ(resolved(model, any, plan_of(1024)), kDefaultDraft);
  EXPECT_EQ(resolved(model, device("host", with), plan_of(1024)), kDefaultDraft);
  EXPECT_EQ(resolved(model, device("host", with - 1), plan_of(1024)), 0u);
  EXPECT_EQ(resolved(model, device("host", without - 1), plan_of(1024)), 0u);
  BudgetOptions budget;
  budget.reserve = 1;
  EXPECT_EQ(value_of(model.planner.resolve(device("host", with), plan_of(1024), budget)).speculate,
            0u);
}

TEST(PlannerSpeculation, StaysAsAskedForWhetherItFitsOrNot) {
  SomeModel model;
  for (const uint32_t draft : {0u, 1u, 7u}) {
    for (const uint64_t bytes : {uint64_t{0}, kMiB}) {
      EXPECT_EQ(resolved(model, device("host", bytes), speculating(draft)), draft);
    }
  }
}

TEST(PlannerSpeculation, NeverMakesTheContextSmaller) {
  SomeModel model;
  const uint64_t budget = model.total(device("host", 0), plan_of(1024));
  EXPECT_EQ(value_of(model.planner.largest_context(device("host", budget), plan_of(0), {})), 1024u);
}

TEST(PlannerSpeculation, ItsBytesAreTheDifference) {
  SomeModel model;
  const target::Target any = device("host", 0);
  const uint64_t without = model.total(any, speculating(0));
  uint64_t last = 0;
  for (uint32_t draft = 0; draft <= kMaxDraft; ++draft) {
    const Footprint footprint = value_of(model.planner.footprint(any, speculating(draft), {}));
    EXPECT_EQ(footprint.speculation_bytes, footprint.budget.total() - without) << draft;
    EXPECT_EQ(footprint.options.most_drafted(), draft);
    EXPECT_GE(footprint.speculation_bytes, last) << draft;
    last = footprint.speculation_bytes;
    // At least the logits of every row, where prompts need less scratch than these.
    const std::vector<uint32_t>& rows = footprint.options.verify_rows;
    if (draft == 0) {
      EXPECT_TRUE(rows.empty());
    } else {
      EXPECT_EQ(rows.back(), draft + 1);
      for (size_t i = 1; i < rows.size(); ++i) EXPECT_LE(rows[i], 2 * rows[i - 1]);
      EXPECT_EQ(rows.front(), 2u);
    }
  }
  EXPECT_GT(last, 0u);
}

TEST(PlannerSpeculation, ShortContextsVerifyLess) {
  SomeModel model;
  PlanOptions options = speculating(7);
  options.context = 3;
  EXPECT_EQ(value_of(model.planner.footprint(device("host", 0), options, {})).options.verify_rows,
            std::vector<uint32_t>({2, 3}));
  options.context = 1;
  EXPECT_TRUE(value_of(model.planner.footprint(device("host", 0), options, {}))
                  .options.verify_rows.empty());
}

TEST(PlannerSpeculation, RefusalsSayWhatToDo) {
  SomeModel model;
  for (const char* target : {"host", "h200"}) {
    llvm::Expected<Footprint> plan = model.planner.footprint(device(target, 0), speculating(8), {});
    ASSERT_FALSE(static_cast<bool>(plan));
    EXPECT_EQ(
        take_error(plan.takeError()),
        std::pair(ExitCode::kUsage, std::string("--speculate 8: a step drafts at most 7 tokens")));
  }
}

}  // namespace
}  // namespace jllm::fit
