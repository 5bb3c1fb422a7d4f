// Architecture lfm2: which layers remember what, to the byte, and what is refused. That the results
// are right, the logits of tests/e2e/arch say.
#include <gtest/gtest.h>

#include <algorithm>

#include "compiler/budget.h"
#include "compiler/plan.h"
#include "compiler/synth/synth.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"

namespace jllm::model {
namespace {

using gguf::TempFolder;
using gguf::value_of;
using gguf::Writer;

constexpr uint32_t kLayers = 6, kAttending = 2, kWidth = 64, kKvHeads = 2, kHeadDim = 16;

class Lfm2 : public testing::Test {
 protected:
  PlannedModel plan(const char* target, uint32_t context) {
    synth::SynthOptions options;
    options.like = "lfm2-1.2b";
    options.type = "f16";
    options.layers = kLayers;
    options.embedding = kWidth;
    options.ffn = 96;
    options.heads = 4;
    options.kv_heads = kKvHeads;
    options.head_dim = kHeadDim;
    options.vocab = 512;
    options.context = 4096;
    if (llvm::Error error = synth::synthesise(options, folder_.file("m.gguf"))) {
      throw std::runtime_error(take_error(std::move(error)).second);
    }
    file_.emplace(value_of(gguf::File::open(folder_.file("m.gguf"))));
    PlanOptions plan;
    plan.context = context;
    plan.kv_k = plan.kv_v = WeightType::kF16;
    return value_of(plan_model(*file_, value_of(target::find(target)), plan));
  }

  TempFolder folder_;
  std::optional<gguf::File> file_;
};

TEST_F(Lfm2, CachesAndStatesToTheByte) {
  for (const char* target : {"host", "orin-nano-8gb"}) {
    for (const uint32_t context : {32u, 128u, 136u, 4096u}) {
      SCOPED_TRACE(context);
      const PlannedModel planned = plan(target, context);
      EXPECT_EQ(planned.layout.total(memory::ArenaKind::kKv),
                uint64_t{2} * kAttending * context * kKvHeads * kHeadDim * 2);
      // The last 128 positions in f32, of every layer that does not attend.
      const uint64_t rows = std::min(context, 128u);
      const uint64_t recent = (kLayers - kAttending) * rows * kWidth * 4;
      EXPECT_EQ(make_footprint(planned, {}).recent_bytes, recent);
      uint64_t placed = 0;
      for (size_t id = 0; id < planned.program.tensors.size(); ++id) {
        if (planned.program.tensors[id].kind != ir::TensorKind::kRecent) continue;
        ASSERT_TRUE(planned.layout.tensors[id]);
        const memory::Location& location = *planned.layout.tensors[id];
        EXPECT_EQ(planned.layout.arenas[location.arena].kind, memory::ArenaKind::kState);
        placed += location.size;
      }
      EXPECT_EQ(placed, recent);
      // Three taps read two positions; a memory of the whole context reaches anywhere.
      EXPECT_EQ(planned.program.rewind_reach, context > 128 ? 126u : 0u);
    }
  }
}

TEST_F(Lfm2, NumberOfTapsIsChecked) {
  for (const uint32_t taps : {0u, 17u}) {
    const TempFolder folder;
    TinyLlama tiny;
    tiny.architecture = "lfm2";
    tiny.more_keys = [&](Writer& w) { w.set_u32("lfm2.shortconv.l_cache", taps); };
    const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
    ProgramOptions options;
    options.context = 64;
    llvm::Expected<ir::Program> program = build_program(value_of(load(file)), options);
    ASSERT_FALSE(static_cast<bool>(program));
    const auto [code, text] = take_error(program.takeError());
    EXPECT_EQ(code, ExitCode::kInvalidFile);
    EXPECT_NE(text.find("l_cache is " + std::to_string(taps) + ", expected 1 to 16"),
              std::string::npos)
        << text;
  }
}

}  // namespace
}  // namespace jllm::model
