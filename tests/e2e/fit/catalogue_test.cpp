// Models of true shape, TinyLlama 1.1B to Phi-4 14B, on the Orin Nano 8GB: Q4_K_M weights, a
// context of 4096 (or the model's own), f16 caches. What is expected is worked out here from shapes
// and block sizes, without the planner; a shape that joins the library joins the test.
#include <gtest/gtest.h>

#include <optional>

#include "compiler/fit/verdict.h"
#include "compiler/synth/shapes.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using gguf::value_of;
using synth::ModelShape;

constexpr uint64_t kMiB = 1024 * 1024;
constexpr uint64_t kHeadless = 6300 * kMiB;  // of what a system without desktop has available
constexpr uint64_t kDesktop = kHeadless - 865 * kMiB;  // a desktop takes 865
constexpr uint64_t kCudaContext = 160 * kMiB;          // estimate in the target's file
// Scratch, logits and the token history: with prompts in chunks of 128 at most 64 MiB, since a
// chunk's widest activation (128 rows of 18944 f32) takes 9 MiB and few live at the same time.
// Code, graphs and the process are estimated with 60 more at most.
constexpr uint64_t kRest = (64 + 60) * kMiB;

struct Known {
  const char* name;
  bool fits;
  std::optional<bool> fits_with_desktop;  // empty: so close that the estimates decide
};

// Q4_K takes 0.5625, Q6_K 0.8203 bytes a weight. Of Q4_K_M's matrices the output and half of the
// layers' attn_v and ffn_down are Q6_K. In MiB, weights + KV cache + CUDA context against 6300 or
// 5435:
constexpr Known kKnown[] = {
    {"tinyllama", true, true},     // 1.1e9 weights: 636 + 44 + 160
    {"smollm2-135m", true, true},  // 0.13e9: 100 + 90 + 160
    {"smollm2-360m", true, true},  // 0.36e9: 260 + 160 + 160
    {"lfm2-350m", true, true},     // 0.35e9: 216 + 48 + 160
    {"lfm2-1.2b", true, true},     // 1.17e9: 710 + 48 + 160
    {"qwen2.5-0.5b", true, true},  // 0.49e9: 377 + 48 + 160
    {"qwen3-0.6b", true, true},    // 0.60e9: 374 + 448 + 160
    {"qwen3-embedding-0.6b", true, true},
    {"llama-3.2-1b", true, true},      // 1.24e9: 763 + 128 + 160
    {"gemma-3-1b", true, true},        // 1.0e9: below 0.82e9 + 104 + 160
    {"qwen2.5-1.5b", true, true},      // 1.5e9: 936 + 112 + 160
    {"olmo-2-1b", true, true},         // 1.5e9: 888 + 512 + 160
    {"stablelm-2-1.6b", true, true},   // 1.6e9: 980 + 768 + 160
    {"smollm2-1.7b", true, true},      // 1.7e9: 1005 + 768 + 160
    {"qwen3-1.7b", true, true},        // 1.7e9: 1050 + 448 + 160
    {"granite-3.3-2b", true, true},    // 2.5e9: 1472 + 320 + 160
    {"gemma-2-2b", true, true},        // 2.6e9: below 2040 + 416 + 160
    {"smollm3-3b", true, true},        // 3.1e9: 1819 + 288 + 160
    {"qwen2.5-3b", true, true},        // 3.1e9: 1835 + 144 + 160
    {"llama-3.2-3b", true, true},      // 3.2e9: 1919 + 448 + 160
    {"phi-3-mini", true, true},        // 3.8e9: 2174 + 1536 + 160
    {"phi-4-mini", true, true},        // 3.8e9: 2310 + 512 + 160
    {"gemma-3-4b", true, true},        // 3.9e9: below 3040 + 544 + 160
    {"qwen3-4b", true, true},          // 4.0e9: 2378 + 576 + 160
    {"nemotron-mini-4b", true, true},  // 4.2e9: 2569 + 512 + 160
    {"mistral-7b", true, true},        // 7.2e9: 4170 + 512 + 160 = 4842
    {"qwen2.5-7b", true, true},        // 7.6e9: 4462 + 224 + 160 = 4846
    {"olmo-3-7b", false, false},       // 7.3e9: 4259 + 2048 + 160 = 6467: more than 6300
    {"llama-3.1-8b",
     true,
     {}},                       // 8.0e9: 4685 + 512 + 160 = 5357, and the rest up to 5435 or beyond
    {"qwen3-8b", true, false},  // 8.2e9: 4789 + 576 + 160 = 5525: more than 5435
    {"bonsai-8b", true, false},  // the same shape
    // Of a mixture of experts all count.
    {"granite-3.1-1b-a400m", true, true},  // 1.3e9: 784 + 192 + 160
    {"granite-3.1-3b-a800m", true, true},  // 3.3e9: 1900 + 256 + 160
    {"olmoe-1b-7b", true, true},           // 6.9e9: 4.0e3 + 512 + 160
    {"qwen3-30b-a3b", false, false},       // 30.5e9: in Q4_K alone 16378
    {"mixtral-8x7b", false, false},        // 46.7e9: in Q4_K alone 25053
    {"mistral-nemo", false, false},        // 12.2e9: in Q4_K alone 6570
    {"phi-4", false, false},               // 14.7e9: in Q4_K alone 7864
};

uint32_t context_of(const ModelShape& shape) { return std::min(shape.context_length, 4096u); }

// Keys and values of every layer that attends, two bytes an element.
uint64_t kv_bytes(const ModelShape& shape) {
  uint64_t layers = 0;
  for (uint32_t i = 0; i < shape.block_count; ++i) layers += shape.has_attention(i) ? 1 : 0;
  return uint64_t{2} * layers * shape.head_count_kv * shape.head_dim * 2 * context_of(shape);
}

class Catalogue : public testing::TestWithParam<const ModelShape*> {
 protected:
  static gguf::File header(const char* name, const gguf::TempFolder& folder,
                           const char* type = "q4_k_m") {
    synth::SynthOptions options;
    options.like = name;
    options.type = type;
    options.header_only = true;
    const std::string path = folder.file("m.gguf");
    test::make_model(options, path);
    gguf::OpenOptions open;
    open.header_only = true;
    return value_of(gguf::File::open(path, open));
  }

  // What the file's tensors take.
  static uint64_t tensor_bytes(const gguf::File& file) {
    uint64_t sum = 0;
    for (const gguf::TensorInfo& tensor : file.tensors()) sum += tensor.byte_size;
    return sum;
  }
};

TEST_P(Catalogue, OnOrinNano8GB) {
  const ModelShape& shape = *GetParam();
  const gguf::TempFolder folder;
  const gguf::File file = header(shape.name, folder);
  Planner planner(file);
  target::Target target = value_of(target::find("orin-nano-8gb"));
  ASSERT_EQ(target.budget_bytes, kHeadless) << "the test's figures are derived for this budget";
  fit::Question question;
  question.plan.context = context_of(shape);
  const fit::Verdict headless = value_of(fit::judge(planner, target, question));
  ASSERT_FALSE(static_cast<bool>(target::use_desktop_budget(&target)));
  ASSERT_EQ(target.budget_bytes, kDesktop);
  const fit::Verdict desktop = value_of(fit::judge(planner, target, question));

  const Budget& b = headless.footprint->budget;
  EXPECT_EQ(b.kv, kv_bytes(shape));
  // Rows on the device are padded, and constants widened to f32: 2 % at most.
  const uint64_t weights = tensor_bytes(file);
  EXPECT_GE(b.weights, weights);
  EXPECT_LE(b.weights, weights + weights / 50);
  EXPECT_LE(b.total(), b.weights + b.kv + kCudaContext + kRest);

  const uint64_t least = weights + kv_bytes(shape) + kCudaContext;
  const uint64_t most = least + weights / 50 + kRest;
  for (const auto& [verdict, budget] :
       {std::pair(&headless, kHeadless), std::pair(&desktop, kDesktop)}) {
    // Between the two the margin of the estimate decides.
    if (most <= budget || least > budget) {
      EXPECT_EQ(verdict->fits(), most <= budget);
    }
  }
  for (const Known& known : kKnown) {
    if (std::string(known.name) != shape.name) continue;
    EXPECT_EQ(headless.fits(), known.fits);
    EXPECT_EQ(desktop.fits(), known.fits_with_desktop.value_or(desktop.fits()));
  }
}

std::vector<const ModelShape*> all_shapes() {
  std::vector<const ModelShape*> shapes;
  for (const ModelShape& shape : synth::model_shapes()) shapes.push_back(&shape);
  return shapes;
}

std::string test_name(const testing::TestParamInfo<const ModelShape*>& info) {
  std::string name = info.param->name;
  for (char& c : name) {
    if (c == '-' || c == '.') c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Shapes, Catalogue, testing::ValuesIn(all_shapes()), test_name);

TEST(CatalogueTable, NamesShapesOfTheLibrary) {
  for (const Known& known : kKnown) EXPECT_NE(synth::find_shape(known.name), nullptr) << known.name;
}

class KnownCaches : public Catalogue {
 protected:
  uint64_t mib(const char* name, uint32_t context, WeightType type) {
    const gguf::TempFolder folder;
    const gguf::File file = header(name, folder);
    Planner planner(file);
    PlanOptions options;
    options.context = context;
    options.kv_k = options.kv_v = type;
    const Footprint footprint =
        value_of(planner.footprint(value_of(target::find("orin-nano-8gb")), options, {}));
    EXPECT_EQ(footprint.budget.kv % kMiB, 0u);
    return footprint.budget.kv / kMiB;
  }
};

// 36 layers x 8 heads x 128: 2 * 36 * 8 * 128 * 4096 elements of 2, 34/32 or 18/32 bytes.
TEST_F(KnownCaches, Of36LayersAt4096) {
  EXPECT_EQ(mib("qwen3-8b", 4096, WeightType::kF16), 576u);
  EXPECT_EQ(mib("qwen3-8b", 4096, WeightType::kQ8_0), 306u);
  EXPECT_EQ(mib("qwen3-8b", 4096, WeightType::kQ4_0), 162u);
  EXPECT_EQ(mib("qwen3-4b", 4096, WeightType::kF16), 576u);
}

TEST_F(KnownCaches, OfQwen3_1_7B) {
  EXPECT_EQ(mib("qwen3-1.7b", 2048, WeightType::kF16), 224u);
  EXPECT_EQ(mib("qwen3-1.7b", 4096, WeightType::kF16), 448u);
  EXPECT_EQ(mib("qwen3-1.7b", 8192, WeightType::kF16), 896u);
}

// As it is published: 18 bytes hold 128 weights, so that 8.2e9 of them take 1099 MiB. With a cache
// in q8_0, 306 MiB at 4096, even a desktop leaves most of the memory free.
TEST_F(KnownCaches, BonsaiInOneBit) {
  const gguf::TempFolder folder;
  const gguf::File file = header("bonsai-8b", folder, "q1_0");
  Planner planner(file);
  fit::Question question;
  question.desktop = true;
  question.plan.context = 4096;
  question.plan.kv_k = question.plan.kv_v = WeightType::kQ8_0;
  const auto targets = value_of(fit::targets_of({"orin-nano-8gb"}, false, false, question));
  const fit::Verdict verdict = value_of(fit::judge(planner, targets.front(), question));
  EXPECT_EQ(verdict.answer, fit::Answer::kFits);
  EXPECT_NEAR(double(verdict.footprint->budget.weights) / kMiB, 1099, 11);
  EXPECT_EQ(verdict.footprint->budget.kv, 306 * kMiB);
}

}  // namespace
}  // namespace jllm
