// Every byte of a plan's head is damaged in turn, behind a hash that fits. Opening must never crash
// (sanitizers watch), and what still opens must hold every promise that the executor builds on:
// those are checked here again, in a second wording that shares no code with validate.cpp.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "schema/step_state.h"
#include "tests/support/edited_plan.h"

namespace jllm {
namespace {

// Sums of file values are made in 128 bits, where they cannot wrap.
__extension__ typedef unsigned __int128 Wide;

class Promises {
 public:
  Promises(const PlanView& view, uint64_t file_size)
      : plan_(view.plan()), view_(view), file_size_(file_size) {}

  // The first broken promise, or an empty string.
  std::string broken() const {
    std::string found = prefix();
    if (found.empty()) found = tables();
    if (found.empty()) found = launches();
    if (found.empty()) found = bindings();
    return found;
  }

 private:
  bool inside(uint64_t arena, uint64_t offset, uint64_t size) const {
    if (arena >= plan_.arenas()->size()) return false;
    return Wide{offset} + size <= plan_.arenas()->Get(static_cast<uint32_t>(arena))->size();
  }

  std::string prefix() const {
    const PlanPrefix& p = view_.prefix();
    if (Wide{p.plan_offset} + p.plan_size > p.segments_offset) return "tables over segments";
    if (Wide{p.segments_offset} + p.segments_size != file_size_) return "segments not to the end";
    return "";
  }

  std::string tables() const {
    Wide end = view_.prefix().segments_offset;
    for (const fb::Segment* s : *plan_.segments()) {
      if (s->offset() < end || s->offset() % 4096 != 0) return "segments overlap";
      end = Wide{s->offset()} + s->size();
      if (end > file_size_) return "segment outside the file";
      if (s->sha256()->size() != 32) return "digest";
      if (s->kind() == fb::SegmentKind::Weights &&
          !inside(s->dest_arena(), s->dest_offset(), s->size())) {
        return "weights outside their arena";
      }
    }
    for (const fb::Buffer* b : *plan_.buffers()) {
      if (!inside(b->arena(), b->offset(), b->size())) return "buffer outside its arena";
      if (b->name()->c_str()[b->name()->size()] != 0) return "name without an end";
    }
    for (const fb::Kernel* k : *plan_.kernels()) {
      const bool has_module = k->module_segment() >= 0 &&
                              static_cast<uint32_t>(k->module_segment()) < plan_.segments()->size();
      if (view_.is_host() ? k->module_segment() != -1 : !has_module) return "kernel without code";
      const Wide threads = Wide{k->block_x()} * k->block_y() * k->block_z();
      if (threads == 0 || threads > 1024 || k->arg_count() > 32) return "block";
    }
    return "";
  }

  std::string launches() const {
    for (const fb::Graph* graph : *plan_.graphs()) {
      for (const fb::Launch* launch : *graph->launches()) {
        if (launch->kernel() >= plan_.kernels()->size()) return "kernel index";
        if (launch->args()->size() != plan_.kernels()->Get(launch->kernel())->arg_count()) {
          return "argument count";
        }
        for (const fb::Arg* arg : *launch->args()) {
          if (arg->kind() != fb::ArgKind::Immediate && arg->kind() != fb::ArgKind::Pointer) {
            return "argument kind";
          }
          if (arg->kind() == fb::ArgKind::Pointer &&
              !inside(arg->arena(), arg->value(), arg->bytes())) {
            return "pointer";
          }
        }
      }
    }
    return "";
  }

  std::string bindings() const {
    const fb::Bindings& b = *plan_.bindings();
    const fb::Model& model = *plan_.model();
    if (!inside(b.state_arena(), b.step_state(), sizeof(StepState))) return "state";
    if (!inside(b.state_arena(), b.tokens(), uint64_t{4} * model.context())) return "tokens";
    if (!inside(b.logits_arena(), b.logits(), uint64_t{4} * model.vocab_size())) return "logits";
    if (!inside(b.ring_arena(), b.ring(), kRingSlots * sizeof(RingSlot))) return "ring";
    if (plan_.end_tokens()->size() > kMaxEndTokens) return "end tokens";
    return "";
  }

  const fb::Plan& plan_;
  const PlanView& view_;
  uint64_t file_size_;
};

struct Tally {
  uint32_t refused = 0;
  uint32_t opened = 0;
};

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

// Opens `head` as it stands; a broken promise is a test failure.
void try_open(const std::vector<uint8_t>& head, uint64_t file_size, size_t where, Tally* tally) {
  const std::unique_ptr<void, Free> block(std::malloc(head.size()));
  std::memcpy(block.get(), head.data(), head.size());
  Message message;
  const Result<PlanView> view =
      PlanView::open(static_cast<const uint8_t*>(block.get()), head.size(), file_size, &message);
  if (!view.ok()) {
    ++tally->refused;
    ASSERT_STRNE(message.text, "") << "no reason for the damage at byte " << where;
    return;
  }
  ++tally->opened;
  ASSERT_EQ(Promises(view.value(), file_size).broken(), "") << "byte " << where;
}

constexpr uint8_t kFlips[] = {0x01, 0x80, 0xff};

TEST(Mutation, DamageBehindTheHashNeverGetsPastValidation) {
  const std::vector<uint8_t> whole = test::small_head();
  const uint64_t file_size = test::small_plan().size();
  Tally tally;
  for (size_t i = 0; i < whole.size() && !HasFatalFailure(); ++i) {
    for (const uint8_t flip : kFlips) {
      std::vector<uint8_t> head = whole;
      head[i] ^= flip;
      test::fix_hash(&head);
      try_open(head, file_size, i, &tally);
    }
  }
  // Names, labels and immediates may change freely; offsets, sizes and counts may not.
  EXPECT_GT(tally.opened, whole.size() / 10);
  EXPECT_GT(tally.refused, whole.size() / 10);
}

TEST(Mutation, DamageIsCaughtByTheHash) {
  const std::vector<uint8_t> whole = test::small_head();
  for (size_t i = sizeof(PlanPrefix); i < whole.size(); ++i) {
    std::vector<uint8_t> head = whole;
    head[i] ^= 0x10;
    const test::Opened opened = test::open_head(head);
    ASSERT_EQ(opened.error, Error::kPlanDamaged) << i;
    ASSERT_EQ(opened.message, "the plan's tables are damaged (hash mismatch)");
  }
}

// Wrong in two places at once, where a check of one might lean on the other.
TEST(Mutation, PairsOfDamagedWordsNeverGetPastValidation) {
  const std::vector<uint8_t> whole = test::small_head();
  const uint64_t file_size = test::small_plan().size();
  Tally tally;
  uint64_t random = 1;
  const auto next = [&random](uint64_t bound) {
    random = random * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX generator
    return (random >> 33) % bound;
  };
  constexpr uint32_t kInteresting[] = {0, 1, 4, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff};
  for (int round = 0; round < 20000 && !HasFatalFailure(); ++round) {
    std::vector<uint8_t> head = whole;
    for (int word = 0; word < 2; ++word) {
      const size_t at = sizeof(PlanPrefix) + next((whole.size() - sizeof(PlanPrefix)) / 4) * 4;
      const uint32_t value = kInteresting[next(std::size(kInteresting))];
      std::memcpy(head.data() + at, &value, std::min<size_t>(4, head.size() - at));
    }
    test::fix_hash(&head);
    try_open(head, file_size, 0, &tally);
  }
  EXPECT_GT(tally.opened, 0u);
  EXPECT_GT(tally.refused, 0u);
}

}  // namespace
}  // namespace jllm
