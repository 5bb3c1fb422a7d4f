// Several sequences in one plan: decoded together, copied and masked, they are what each is alone.
// And what is refused.
#include "tests/support/slots.h"

#include <gtest/gtest.h>

#include "tests/support/edited_plan.h"
#include "tests/support/plan_variant.h"

namespace jllm {
namespace {

using test::EditedPlan;
using test::PlanInMemory;
using test::PlanVariant;
using test::RunningPlan;
using test::Tokens;

const PlanVariant kSmall = {.name = "Small", .slots = 3};

class Slots : public testing::TestWithParam<PlanVariant> {};

TEST_P(Slots, ChangeNoTokenAndNoLogit) {
  const PlanInMemory plan(test::plan_bytes(GetParam().recipe()));
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  RunningPlan run(plan);
  ASSERT_TRUE(run.ok()) << run.create_message;
  ASSERT_EQ(run->slots(), GetParam().slots);
  const std::vector<test::NamedSampling> samplings = test::samplings();
  for (const test::NamedSampling& s : samplings) {
    SCOPED_TRACE(s.name);
    test::check_batches(run, s.sampling);
    if (HasFatalFailure()) return;
  }
  test::check_copies(run, samplings.back().sampling);
  ASSERT_GT(plan.view().plan().end_tokens()->size(), 0u);
  const uint32_t end = plan.view().plan().end_tokens()->Get(0);
  test::check_ahead(run, Sampling(), &end);
  test::check_ahead(run, samplings.back().sampling, nullptr);
  test::check_masks(run);
}

INSTANTIATE_TEST_SUITE_P(
    All, Slots,
    testing::Values(PlanVariant{.name = "Plain", .slots = 3},
                    PlanVariant{.name = "Speculating", .type = "f32", .slots = 2, .speculate = 3},
                    PlanVariant{.name = "QuantisedCache",
                                .like = "qwen2.5-0.5b",
                                .type = "q8_0",
                                .slots = 8,
                                .kv = WeightType::kQ8_0},
                    // The third layer attends; the others remember half of the context.
                    PlanVariant{.name = "ShortConvolutions",
                                .like = "lfm2-1.2b",
                                .slots = 2,
                                .layers = 4,
                                .context = 256}),
    test::variant_name);

TEST(SlotCalls, AreCheckedBeforeAnythingChanges) {
  const PlanInMemory plan(test::plan_bytes(kSmall.recipe()));
  RunningPlan run(plan);
  ASSERT_TRUE(run.ok()) << run.create_message;
  EXPECT_EQ(run->select(3), Error::kBadArgument);
  EXPECT_STREQ(run->last_error(), "the plan has 3 slots: there is no slot 3");
  EXPECT_EQ(run->selected(), 0u);
  run.prefill(test::random_tokens(5, run->vocab_size(), 1));
  const uint32_t twice[] = {0, 0};
  EXPECT_EQ(run->enqueue_batch(twice, 2), Error::kBadArgument);
  EXPECT_STREQ(run->last_error(), "slot 0 is twice in a batch");
  const uint32_t many[] = {0, 1, 2, 3};
  EXPECT_EQ(run->enqueue_batch(many, 0), Error::kBadArgument);
  EXPECT_EQ(run->enqueue_batch(many, 4), Error::kBadArgument);
  EXPECT_EQ(run->enqueue_batch(many + 2, 2), Error::kNothingToDo);  // slot 2 has no prompt
  EXPECT_EQ(run->in_flight(), 0u);
  EXPECT_EQ(run->selected(), 0u);
  EXPECT_GT(run.step().id, 0u);
}

TEST(SlotMemory, IsThereOncePerSlot) {
  PlanVariant one = kSmall;
  one.slots = 1;
  const PlanInMemory single(test::plan_bytes(one.recipe())),
      triple(test::plan_bytes(kSmall.recipe()));
  RunningPlan a(single), b(triple);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(b->memory_use().kv, 3 * a->memory_use().kv);
  EXPECT_EQ(b->memory_use().state, 3 * a->memory_use().state);
  EXPECT_EQ(b->memory_use().weights, a->memory_use().weights);
  EXPECT_EQ(b->memory_use().scratch, a->memory_use().scratch);
}

TEST(SlotPlans, ThatDoNotAddUpAreRefused) {
  const std::vector<uint8_t> bytes = test::plan_bytes(kSmall.recipe());
  const auto refusal = [&](const auto& edit) {
    EditedPlan edited(bytes);
    edit(edited.tables);
    return test::open_head(edited.head()).message;
  };
  EXPECT_EQ(refusal([](auto& plan) { plan.slots = 0; }), "plan: 0 slots");
  EXPECT_EQ(refusal([](auto& plan) { plan.slots = 9; }), "plan: 9 slots");
  EXPECT_EQ(refusal([](auto& plan) { plan.bindings->mask = 8; }),
            "plan: a binding lies outside its arena");
  const auto cache = [](auto edit) { return [edit](auto& plan) { edit(*plan.caches.at(0)); }; };
  const std::string outside = "plan: a cache lies outside its arena";
  EXPECT_EQ(refusal(cache([](auto& c) { c.arena = 99; })), outside);
  EXPECT_EQ(refusal(cache([](auto& c) { c.arena = 0; })), outside);  // weights
  EXPECT_EQ(refusal(cache([](auto& c) { c.positions = 0; })), outside);
  EXPECT_EQ(refusal(cache([](auto& c) { c.positions = 129; })), outside);
  EXPECT_EQ(refusal(cache([](auto& c) { c.groups = 1u << 31; })), outside);
  EXPECT_EQ(refusal(cache([](auto& c) { c.row_bytes = UINT64_MAX; })), outside);
  EXPECT_EQ(refusal(cache([](auto& c) { c.scales = 8, c.scale_bytes = UINT64_MAX / 2; })), outside);
  EXPECT_EQ(refusal(cache([](auto& c) { c.offset = UINT64_MAX; })), outside);
}

}  // namespace
}  // namespace jllm
