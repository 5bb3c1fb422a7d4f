// KV caches through the planner: known sizes to the byte, types of K and V apart, and what is
// refused.
#include <gtest/gtest.h>

#include "compiler/plan.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"

namespace jllm::memory {
namespace {

using gguf::value_of;

constexpr uint64_t kMebibyte = 1 << 20;

// The caches of a model depend on layers, KV heads, head dimension and context alone: the rest is
// tiny.
TinyLlama shaped(uint32_t layers, uint32_t kv_heads, uint32_t head_dim) {
  TinyLlama tiny;
  tiny.layers = layers;
  tiny.heads = tiny.kv_heads = kv_heads;
  tiny.head_dim = head_dim;
  tiny.embedding = tiny.ffn = 32;
  tiny.vocab = 32;
  tiny.context = 8192;
  return tiny;
}

class KvCache : public testing::Test {
 protected:
  llvm::Expected<PlannedModel> plan(const TinyLlama& tiny, const char* target, uint32_t context,
                                    WeightType k, WeightType v) {
    file_.emplace(write_and_open(tiny, folder_.file("m.gguf")));
    PlanOptions options;
    options.context = context;
    options.kv_k = k;
    options.kv_v = v;
    return plan_model(*file_, value_of(target::find(target)), options);
  }
  // K's type when nothing is asked for.
  WeightType default_type(const TinyLlama& tiny, const char* target) {
    file_.emplace(write_and_open(tiny, folder_.file("m.gguf")));
    return value_of(plan_model(*file_, value_of(target::find(target)), {})).options.kv_type_k;
  }
  uint64_t bytes(const TinyLlama& tiny, const char* target, uint32_t context, WeightType k,
                 WeightType v) {
    return value_of(plan(tiny, target, context, k, v)).layout.total(ArenaKind::kKv);
  }
  std::pair<ExitCode, std::string> error(const TinyLlama& tiny, WeightType k, WeightType v) {
    llvm::Expected<PlannedModel> planned = plan(tiny, "host", 64, k, v);
    if (planned) return {ExitCode::kDone, ""};
    return take_error(planned.takeError());
  }

  gguf::TempFolder folder_;
  std::optional<gguf::File> file_;
};

TEST_F(KvCache, DefaultIsTheTargetsButF32ForAnF32Model) {
  TinyLlama tiny = shaped(1, 1, 32);
  EXPECT_EQ(default_type(tiny, "h200"), WeightType::kF32);
  tiny.type = WeightType::kF16;
  EXPECT_EQ(default_type(tiny, "h200"), WeightType::kF16);
  EXPECT_EQ(default_type(tiny, "host"), WeightType::kF32);
}

TEST_F(KvCache, KnownSizes) {
  const WeightType f32 = WeightType::kF32, f16 = WeightType::kF16, q8_0 = WeightType::kQ8_0,
                   q4_0 = WeightType::kQ4_0;
  for (const char* target : {"host", "orin-nano-8gb"}) {
    const TinyLlama qwen3_8b = shaped(36, 8, 128);
    EXPECT_EQ(bytes(qwen3_8b, target, 4096, f16, f16), 576 * kMebibyte);
    EXPECT_EQ(bytes(qwen3_8b, target, 4096, q8_0, q8_0), 306 * kMebibyte);
    EXPECT_EQ(bytes(qwen3_8b, target, 4096, q4_0, q4_0), 162 * kMebibyte);
    EXPECT_EQ(bytes(qwen3_8b, target, 4096, f32, f32), 1152 * kMebibyte);
    EXPECT_EQ(bytes(qwen3_8b, target, 4096, q8_0, q4_0), (306 + 162) / 2 * kMebibyte);
    EXPECT_EQ(bytes(qwen3_8b, target, 4096, q4_0, f16), (162 + 576) / 2 * kMebibyte);
    const TinyLlama qwen3_1_7b = shaped(28, 8, 128);
    EXPECT_EQ(bytes(qwen3_1_7b, target, 2048, f16, f16), 224 * kMebibyte);
    EXPECT_EQ(bytes(qwen3_1_7b, target, 4096, f16, f16), 448 * kMebibyte);
    EXPECT_EQ(bytes(qwen3_1_7b, target, 8192, f16, f16), 896 * kMebibyte);
  }
}

TEST_F(KvCache, OnlyKeysInQ4_0AreRotated) {
  const auto rotation = [&](WeightType k, WeightType v, const char* name) {
    const PlannedModel planned = value_of(plan(shaped(1, 2, 96), "host", 64, k, v));
    for (const ir::Tensor& tensor : planned.program.tensors) {
      if (tensor.name == name) return tensor.rotation;
    }
    return ~0u;
  };
  const WeightType f16 = WeightType::kF16, q8_0 = WeightType::kQ8_0, q4_0 = WeightType::kQ4_0;
  EXPECT_EQ(rotation(q4_0, q4_0, "cache_k.0"), 32u);
  EXPECT_EQ(rotation(q4_0, q4_0, "cache_v.0"), 0u);
  EXPECT_EQ(rotation(q8_0, f16, "cache_k.0"), 0u);
}

TEST_F(KvCache, HeadsThatAreNoWholeNumberOfGroupsAreRefused) {
  const TinyLlama tiny = shaped(1, 2, 80);
  for (const WeightType type : {WeightType::kQ8_0, WeightType::kQ4_0}) {
    const auto [code, text] = error(tiny, WeightType::kF16, type);
    EXPECT_EQ(code, ExitCode::kUnsupported);
    EXPECT_NE(text.find("multiple of 32, and this model's is 80"), std::string::npos) << text;
    EXPECT_NE(text.find("--kv-v f16"), std::string::npos) << text;
    EXPECT_NE(error(tiny, type, WeightType::kF16).second.find("--kv-k f16"), std::string::npos);
  }
  EXPECT_EQ(error(tiny, WeightType::kF16, WeightType::kF32).first, ExitCode::kDone);
}

TEST_F(KvCache, OtherTypesAreRefused) {
  const auto [code, text] = error(shaped(1, 2, 64), WeightType::kQ4_K, WeightType::kF16);
  EXPECT_EQ(code, ExitCode::kUnsupported);
  EXPECT_NE(text.find("q4_k is not supported; supported: f32, f16, q8_0, q4_0"), std::string::npos)
      << text;
  EXPECT_EQ(value_of(model::parse_kv_type("q8_0")), WeightType::kQ8_0);
  llvm::Expected<WeightType> unknown = model::parse_kv_type("q5_1");
  ASSERT_FALSE(bool(unknown));
  EXPECT_EQ(take_error(unknown.takeError()).first, ExitCode::kUnsupported);
}

}  // namespace
}  // namespace jllm::memory
