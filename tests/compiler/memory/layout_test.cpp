// memory::plan_layout on tiny models: sizes of the arenas to the byte, sharing of scratch between
// launches and graphs, and splitting at the largest safe allocation.
#include "compiler/memory/layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "compiler/planner.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"

namespace jllm::memory {
namespace {

using gguf::value_of;

constexpr uint32_t kContext = 64;

target::Target host() { return value_of(target::find("host")); }
target::Target cuda() { return value_of(target::find("h200")); }

// Plans a model and keeps what the plan points into.
struct Planned {
  Planned(const TinyLlama& tiny, const target::Target& target)
      : file(write_and_open(tiny, folder.file("m.gguf"))) {
    PlanOptions options;
    options.context = kContext;
    plan = value_of(plan_model(file, target, options));
  }

  const Layout& layout() const { return plan.layout; }
  // Tensors with a place in an arena of this kind, in tensor order.
  std::vector<ir::TensorId> in(ArenaKind kind) const {
    std::vector<ir::TensorId> ids;
    for (ir::TensorId id = 0; id < layout().tensors.size(); ++id) {
      const auto& l = layout().tensors[id];
      if (l && layout().arenas[l->arena].kind == kind) ids.push_back(id);
    }
    return ids;
  }
  const Location& at(ir::TensorId id) const { return *layout().tensors[id]; }

  gguf::TempFolder folder;
  gguf::File file;
  PlannedModel plan;
};

uint64_t aligned(uint64_t size) { return (size + 255) / 256 * 256; }

TEST(Layout, ArenasOfATinyModelToTheByte) {
  const Planned p(TinyLlama(), host());
  // f32 matrices of a layer: q and output 64 * 64, k and v 32 * 64, three of 96 * 64; norms of 64.
  const uint64_t layer = 4 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64 + 2 * 64);
  // All are multiples of 256 bytes but the 8 rope frequencies, which take one unit of 256.
  EXPECT_EQ(p.layout().total(ArenaKind::kWeights), 4 * 512 * 64 + 2 * layer + 4 * 64 + 256);
  // Keys and values of 2 layers: 2 heads x 64 positions x 16 f32.
  EXPECT_EQ(p.layout().total(ArenaKind::kKv), 2 * 2 * (2 * 64 * 16 * 4));
  // StepState (48 words), tokens, logits, the hidden row and the token mask, each rounded up to
  // 256.
  EXPECT_EQ(p.layout().total(ArenaKind::kState), aligned(48 * 4) + aligned(kContext * 4) +
                                                     aligned(512 * 4) + aligned(64 * 4) +
                                                     aligned(4 * 4 + 512 / 8));
  EXPECT_EQ(p.layout().total(ArenaKind::kHostPinned), 64 * 16);  // 64 slots of 16 bytes
  EXPECT_EQ(p.layout().device_bytes(),
            p.layout().total(ArenaKind::kWeights) + p.layout().total(ArenaKind::kKv) +
                p.layout().total(ArenaKind::kState) + p.layout().total(ArenaKind::kScratch));
}

TEST(Layout, QuantisedMatricesTakeTheirBlocks) {
  TinyLlama tiny;
  tiny.type = WeightType::kQ4_0;  // 18 bytes for 32 weights
  const Planned p(tiny, host());
  const auto matrix = [](uint64_t rows, uint64_t cols) { return aligned(rows * cols / 32 * 18); };
  const uint64_t layer = 2 * matrix(64, 64) + 2 * matrix(32, 64) + 3 * matrix(96, 64) + 2 * 256;
  EXPECT_EQ(p.layout().total(ArenaKind::kWeights), matrix(512, 64) + 2 * layer + 256 + 256);
}

TEST(Layout, DevicesPadEachRowTo16Bytes) {
  TinyLlama tiny;
  tiny.type = WeightType::kQ4_0;  // a row of 64: 32 bytes of nibbles and 4 of scales -> 48
  const Planned p(tiny, cuda());
  const auto matrix = [](uint64_t rows, uint64_t stride) { return aligned(rows * stride); };
  // ffn_down has rows of 96: 48 + 6 -> 64.
  const uint64_t layer =
      2 * matrix(64, 48) + 2 * matrix(32, 48) + 2 * matrix(96, 48) + matrix(64, 64) + 2 * 256;
  EXPECT_EQ(p.layout().total(ArenaKind::kWeights), matrix(512, 48) + 2 * layer + 256 + 256);
}

TEST(Layout, BuffersThatLiveAlwaysNeverTouch) {
  for (const target::Target& target : {host(), cuda()}) {
    const Planned p(TinyLlama(), target);
    for (const ArenaKind kind :
         {ArenaKind::kWeights, ArenaKind::kKv, ArenaKind::kState, ArenaKind::kHostPinned}) {
      std::vector<ir::TensorId> ids = p.in(kind);
      ASSERT_FALSE(ids.empty());
      uint64_t end = 0;  // stages behind the layout rely on tensor order within an arena
      for (const ir::TensorId id : ids) {
        EXPECT_EQ(p.at(id).graph, -1);
        EXPECT_EQ(p.at(id).offset, end) << p.plan.program[id].name;
        end = aligned(p.at(id).offset + p.at(id).size);
      }
      EXPECT_EQ(end, p.layout().total(kind));
    }
  }
}

TEST(Layout, ScratchIsSharedByGraphsAndProvedWithinEach) {
  for (const target::Target& target : {host(), cuda()}) {
    const Planned p(TinyLlama(), target);
    std::map<int32_t, uint64_t> end;    // by graph: where its scratch ends
    std::map<int32_t, uint64_t> bound;  // by graph: the largest sum of live bytes
    const std::vector<ir::TensorId> ids = p.in(ArenaKind::kScratch);
    for (const ir::TensorId a : ids) {
      const Location& x = p.at(a);
      ASSERT_GE(x.graph, 0);
      end[x.graph] = std::max(end[x.graph], x.offset + aligned(x.size));
      uint64_t live = 0;  // at x's first launch; the peak lies at some buffer's first launch
      for (const ir::TensorId b : ids) {
        const Location& y = p.at(b);
        if (y.graph != x.graph) continue;
        if (y.first_use <= x.first_use && x.first_use <= y.last_use) live += aligned(y.size);
        if (a == b || x.first_use > y.last_use || y.first_use > x.last_use) continue;
        EXPECT_TRUE(x.offset + x.size <= y.offset || y.offset + y.size <= x.offset)
            << p.plan.program[a].name << " and " << p.plan.program[b].name;
      }
      bound[x.graph] = std::max(bound[x.graph], live);
    }
    ASSERT_EQ(end.size(), p.plan.schedule.graphs.size());
    uint64_t sum = 0, largest = 0, lower_bound = 0;
    for (const auto& [graph, bytes] : end) {
      sum += bytes;
      largest = std::max(largest, bytes);
      lower_bound = std::max(lower_bound, bound[graph]);
    }
    EXPECT_EQ(p.layout().total(ArenaKind::kScratch), largest);
    EXPECT_LT(largest, sum);
    EXPECT_EQ(p.layout().scratch_lower_bound, lower_bound);
    EXPECT_GE(largest, lower_bound);
  }
}

// Lifetimes follow the launches: nothing is read outside of the time in which it is kept.
TEST(Layout, EveryArgumentIsAliveAtItsLaunch) {
  const Planned p(TinyLlama(), cuda());
  for (size_t g = 0; g < p.plan.schedule.graphs.size(); ++g) {
    const auto& launches = p.plan.schedule.graphs[g].launches;
    for (uint32_t i = 0; i < launches.size(); ++i) {
      for (const select::Argument& arg : launches[i].args) {
        if (arg.kind != select::Argument::Kind::kTensor) continue;
        ASSERT_TRUE(p.layout().tensors[arg.tensor].has_value());
        const Location& l = p.at(arg.tensor);
        if (l.graph < 0) continue;
        EXPECT_EQ(l.graph, static_cast<int32_t>(g));
        EXPECT_LE(l.first_use, i);
        EXPECT_GE(l.last_use, i);
      }
    }
  }
}

TEST(Layout, UnusedTensorsGetNoPlace) {
  const Planned p(TinyLlama(), cuda());
  // Fusion leaves no reader of the norm's result in a decode step.
  for (ir::TensorId id = 0; id < p.plan.program.tensors.size(); ++id) {
    if (p.plan.program[id].name == "decode/blk.0.attn_norm") {
      EXPECT_FALSE(p.layout().tensors[id].has_value());
      return;
    }
  }
  FAIL() << "the program has no such tensor";
}

// --- the largest safe allocation ---

TEST(Layout, WeightsAreSplitAtTheLargestAllocation) {
  target::Target target = host();
  target.largest_allocation = 140000;  // the embedding takes 131072
  const Planned p(TinyLlama(), target);
  const Planned whole(TinyLlama(), host());
  size_t weights_arenas = 0;
  for (const Arena& arena : p.layout().arenas) {
    EXPECT_LE(arena.size, target.largest_allocation);
    weights_arenas += arena.kind == ArenaKind::kWeights ? 1 : 0;
  }
  // 378368 bytes: embedding, norm, frequencies and the first norm (131840) leave 8160, too few for
  // attn_q (16384); the rest of layer 0 is 123136 and leaves 16864, into which go the norm and
  // attn_q of layer 1 (16640); the remaining 106752 need a third arena.
  EXPECT_EQ(weights_arenas, 3u);
  EXPECT_EQ(p.layout().total(ArenaKind::kWeights), whole.layout().total(ArenaKind::kWeights));
  std::map<uint32_t, uint64_t> end;
  for (const ir::TensorId id : p.in(ArenaKind::kWeights)) {
    const Location& l = p.at(id);
    EXPECT_EQ(l.offset, end[l.arena]) << "a gap within an arena";
    end[l.arena] = aligned(l.offset + l.size);
    EXPECT_LE(end[l.arena], p.layout().arenas[l.arena].size) << "a tensor straddles arenas";
    if (l.offset == 0 && end.size() > 1) {
      EXPECT_GT(std::prev(end.find(l.arena))->second + aligned(l.size), target.largest_allocation)
          << "a new arena though the last had room";
    }
  }
}

TEST(Layout, CachesAreSplitAtTheLargestAllocation) {
  TinyLlama tiny;
  tiny.vocab = 16;
  tiny.ffn = 32;
  target::Target target = host();
  target.largest_allocation = 32768;  // three of four caches of 8192 would fit beside each other...
  target.prefill_chunk = 16;
  const Planned four(tiny, target);
  EXPECT_EQ(four.layout().total(ArenaKind::kKv), 32768u);
  target.largest_allocation = 32767;  // ... but not the fourth
  const Planned split(tiny, target);
  std::vector<uint64_t> sizes;
  for (const Arena& arena : split.layout().arenas) {
    if (arena.kind == ArenaKind::kKv) sizes.push_back(arena.size);
  }
  EXPECT_EQ(sizes, (std::vector<uint64_t>{24576, 8192}));
}

std::pair<ExitCode, std::string> plan_error(const TinyLlama& tiny, const target::Target& target) {
  const gguf::TempFolder folder;
  const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
  PlanOptions options;
  options.context = kContext;
  llvm::Expected<PlannedModel> plan = plan_model(file, target, options);
  if (plan) return {ExitCode::kDone, ""};
  return take_error(plan.takeError());
}

TEST(Layout, ATensorBeyondTheLargestAllocationDoesNotFit) {
  target::Target target = host();
  target.largest_allocation = 131071;
  const auto [code, text] = plan_error(TinyLlama(), target);
  EXPECT_EQ(code, ExitCode::kDoesNotFit);
  EXPECT_NE(text.find("token_embd.weight takes 131,072 bytes"), std::string::npos) << text;
  EXPECT_NE(text.find("131,071"), std::string::npos) << text;
  target.largest_allocation = 131072;
  EXPECT_EQ(plan_error(TinyLlama(), target).first, ExitCode::kDone);
}

TEST(Layout, ScratchBeyondTheLargestAllocationDoesNotFit) {
  TinyLlama tiny;
  tiny.vocab = 16;
  tiny.ffn = 32;
  target::Target target = host();
  const uint64_t scratch = Planned(tiny, target).layout().total(ArenaKind::kScratch);
  ASSERT_GT(scratch, 16384u) << "the largest weight, or the test would see another refusal";
  target.largest_allocation = scratch - 1;
  const auto [code, text] = plan_error(tiny, target);
  EXPECT_EQ(code, ExitCode::kDoesNotFit);
  EXPECT_NE(text.find("the scratch memory takes"), std::string::npos) << text;
}

// One cache of a layer takes 2 heads x context x 16 f32; 100,000 bytes hold 781 positions, of which
// 768 are a multiple of 64. Without a limit on allocations all of them fit.
TEST(Layout, TheLargestContextKeepsCachesWithinOneAllocation) {
  TinyLlama tiny;
  tiny.context = 8192;
  tiny.vocab = 16;
  tiny.ffn = 32;
  const gguf::TempFolder folder;
  const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
  target::Target target = cuda();
  target.prefill_chunk = 16;
  EXPECT_EQ(value_of(Planner(file).largest_context(target, {}, {})), 8192u);
  target.default_kv = WeightType::kF32;
  target.largest_allocation = 100000;
  EXPECT_EQ(value_of(Planner(file).largest_context(target, {}, {})), 768u);
}

}  // namespace
}  // namespace jllm::memory
