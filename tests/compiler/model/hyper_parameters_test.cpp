// model::load: which keys it takes, what stands in for absent ones, and what each refusal says.
#include <gtest/gtest.h>

#include <cmath>

#include "compiler/model/model.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"

namespace jllm::model {
namespace {

using gguf::TempFolder;
using gguf::value_of;
using gguf::Writer;

std::pair<ExitCode, std::string> load_error(const TinyLlama& tiny) {
  const TempFolder folder;
  const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
  llvm::Expected<Model> model = load(file);
  if (model) return {ExitCode::kDone, ""};
  return take_error(model.takeError());
}

void expect_invalid(const TinyLlama& tiny, const std::string& part) {
  const auto [code, text] = load_error(tiny);
  EXPECT_EQ(code, ExitCode::kInvalidFile) << text;
  EXPECT_NE(text.find(part), std::string::npos) << text;
  EXPECT_NE(text.find("m.gguf: "), std::string::npos) << "the file is not named: " << text;
}

TEST(HyperParameters, TakesEveryKey) {
  const TempFolder folder;
  TinyLlama tiny;
  tiny.layers = 3;
  tiny.embedding = 48;
  tiny.ffn = 80;
  tiny.heads = 6;
  tiny.kv_heads = 3;
  tiny.head_dim = 24;
  tiny.vocab = 77;
  tiny.context = 99;
  tiny.rope_base = 12345;
  tiny.epsilon = 3e-6f;
  const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
  const HyperParameters p = value_of(load(file)).params;
  EXPECT_EQ(p.name, "tiny");
  EXPECT_EQ(p.architecture, "llama");
  EXPECT_EQ(p.block_count, 3u);
  EXPECT_EQ(p.embedding_length, 48u);
  EXPECT_EQ(p.feed_forward_length, 80u);
  EXPECT_EQ(p.head_count, 6u);
  EXPECT_EQ(p.head_count_kv, 3u);
  EXPECT_EQ(p.head_dim, 24u);
  EXPECT_EQ(p.rope_dimension_count, 24u);
  EXPECT_EQ(p.vocab_size, 77u);
  EXPECT_EQ(p.context_length, 99u);
  EXPECT_EQ(p.rope_freq_base, 12345.0f);
  EXPECT_EQ(p.norm_epsilon, 3e-6f);
  EXPECT_EQ(p.attention_scale, static_cast<float>(1 / std::sqrt(24.0)));
}

TEST(HyperParameters, AbsentKeysHaveTheFormatsDefaults) {
  const TempFolder folder;
  TinyLlama tiny;
  tiny.kv_heads = tiny.heads;  // what an absent head_count_kv means
  tiny.without = {"attention.head_count_kv", "attention.key_length", "attention.value_length",
                  "rope.dimension_count", "rope.freq_base"};
  const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
  const HyperParameters p = value_of(load(file)).params;
  EXPECT_EQ(p.head_count_kv, 4u);
  EXPECT_EQ(p.head_dim, 64u / 4);
  EXPECT_EQ(p.rope_dimension_count, 16u);
  EXPECT_EQ(p.rope_freq_base, 10000.0f);
}

TEST(HyperParameters, TheModelsOwnAttentionScaleWins) {
  const TempFolder folder;
  TinyLlama tiny;
  tiny.more_keys = [](Writer& w) { w.set_f32("llama.attention.scale", 0.125f); };
  const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
  EXPECT_EQ(value_of(load(file)).params.attention_scale, 0.125f);
}

TEST(HyperParameters, WindowsAndSoftcapsAreOptional) {
  const TempFolder folder;
  TinyLlama tiny;
  const gguf::File plain = write_and_open(tiny, folder.file("plain.gguf"));
  HyperParameters p = value_of(load(plain)).params;
  EXPECT_EQ(p.sliding_window, 0u);
  EXPECT_EQ(p.attention_softcap, 0);
  EXPECT_EQ(p.final_softcap, 0);
  EXPECT_EQ(p.rope_scaling, RopeScaling::kNone);
  EXPECT_EQ(p.rope_attn_factor, 1);
  EXPECT_EQ(p.rope_original_context, p.context_length);
  tiny.more_keys = [](Writer& w) {
    w.set_u32("llama.attention.sliding_window", 512);
    w.set_u32("llama.attention.sliding_window_pattern", 6);
    w.set_f32("llama.attn_logit_softcapping", 50);
    w.set_f32("llama.final_logit_softcapping", 30);
    w.set_f32("llama.rope.freq_base_swa", 20000);
  };
  const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
  p = value_of(load(file)).params;
  EXPECT_EQ(p.sliding_window, 512u);
  EXPECT_EQ(p.sliding_period, 6u);
  EXPECT_EQ(p.attention_softcap, 50);
  EXPECT_EQ(p.final_softcap, 30);
  EXPECT_EQ(p.rope_freq_base_swa, 20000);
}

TEST(HyperParameters, SlidingLayersMayBeFlagged) {
  const auto with_flags = [](const std::vector<int32_t>& flags) {
    TinyLlama tiny;
    tiny.layers = 5;
    tiny.more_keys = [flags](Writer& w) {
      w.set_i32_array("llama.attention.sliding_window_pattern", flags);
    };
    return tiny;
  };
  const std::pair<std::vector<int32_t>, uint32_t> cases[] = {
      {{1, 1, 1, 0, 1}, 4}, {{1, 0, 1, 0, 1}, 2}, {{0, 0, 0, 0, 0}, 1}, {{1, 1, 1, 1, 1}, 6}};
  const TempFolder folder;
  for (const auto& [flags, period] : cases) {
    const gguf::File file = write_and_open(with_flags(flags), folder.file("m.gguf"));
    EXPECT_EQ(value_of(load(file)).params.sliding_period, period);
  }
  for (const std::vector<int32_t>& flags :
       {std::vector<int32_t>{0, 1, 1, 0, 1}, {1, 1, 0, 1, 0}, {1, 1, 1, 0}, {}}) {
    const auto [code, text] = load_error(with_flags(flags));
    EXPECT_EQ(code, ExitCode::kUnsupported) << text;
    EXPECT_NE(text.find("llama.attention.sliding_window_pattern"), std::string::npos) << text;
  }
}

TEST(HyperParameters, SoftcapsAndRopeParametersOutOfRangeAreRefused) {
  const std::pair<const char*, float> cases[] = {{"llama.attn_logit_softcapping", -1.0f},
                                                 {"llama.final_logit_softcapping", NAN},
                                                 {"llama.rope.scaling.attn_factor", 0.0f},
                                                 {"llama.rope.scaling.yarn_beta_fast", -2.0f},
                                                 {"llama.rope.freq_base_swa", 0.0f}};
  for (const auto& [key, value] : cases) {
    TinyLlama tiny;
    tiny.more_keys = [k = key, v = value](Writer& w) { w.set_f32(k, v); };
    expect_invalid(tiny, "inconsistent hyper-parameters");
  }
}

TEST(HyperParameters, AnUnsupportedArchitectureIsNamedWithTheSupportedOnes) {
  TinyLlama tiny;
  tiny.architecture = "rwkv7";
  const auto [code, text] = load_error(tiny);
  EXPECT_EQ(code, ExitCode::kUnsupported);
  EXPECT_NE(text.find("'rwkv7'"), std::string::npos) << text;
  EXPECT_NE(text.find("supported: llama"), std::string::npos) << text;
}

TEST(HyperParameters, RequiredKeysAreNamedWhenTheyAreMissing) {
  for (const char* key :
       {"context_length", "embedding_length", "block_count", "feed_forward_length",
        "attention.head_count", "attention.layer_norm_rms_epsilon"}) {
    TinyLlama tiny;
    tiny.without = {key};
    const auto [code, text] = load_error(tiny);
    EXPECT_EQ(code, ExitCode::kInvalidFile) << key;
    EXPECT_NE(text.find(std::string("llama.") + key), std::string::npos) << text;
  }
}

TEST(HyperParameters, TheFirstOfSeveralProblemsIsReported) {
  TinyLlama tiny;
  tiny.without = {"embedding_length", "attention.head_count"};
  expect_invalid(tiny, "llama.embedding_length");
}

TEST(HyperParameters, ValuesOutOfRangeAreRefusedWithTheRange) {
  const std::tuple<const char*, uint32_t, const char*> cases[] = {
      {"block_count", 0, "llama.block_count is 0, expected 1 to 512"},
      {"block_count", 513, "llama.block_count is 513, expected 1 to 512"},
      {"embedding_length", (1 << 20) + 1,
       "llama.embedding_length is 1048577, expected 1 to 1048576"},
      {"context_length", (1 << 24) + 1, "llama.context_length is 16777217"},
      {"attention.head_count", 0, "llama.attention.head_count is 0"},
      {"attention.head_count_kv", 0, "llama.attention.head_count_kv is 0"},
      {"attention.key_length", 264, "llama.attention.key_length is 264, expected 1 to 256"},
  };
  for (const auto& [key, value, part] : cases) {
    TinyLlama tiny;
    tiny.without = {key};
    tiny.more_keys = [k = std::string("llama.") + key, v = value](Writer& w) { w.set_u32(k, v); };
    expect_invalid(tiny, part);
  }
}

TinyLlama with_kv_heads(std::vector<int32_t> heads) {
  TinyLlama tiny;
  tiny.without = {"attention.head_count_kv"};
  tiny.more_keys = [heads = std::move(heads)](Writer& w) {
    w.set_i32_array("llama.attention.head_count_kv", heads);
  };
  return tiny;
}

TEST(HyperParameters, KeyValueHeadsMayBeGivenPerLayer) {
  const TempFolder folder;
  const gguf::File same = write_and_open(with_kv_heads({2, 2}), folder.file("same.gguf"));
  const HyperParameters all = value_of(load(same)).params;
  EXPECT_EQ(all.head_count_kv, 2u);
  EXPECT_TRUE(all.has_attention(0) && all.has_attention(1));
  const gguf::File some = write_and_open(with_kv_heads({0, 2}), folder.file("some.gguf"));
  const Model model = value_of(load(some));
  EXPECT_EQ(model.params.head_count_kv, 2u);
  EXPECT_FALSE(model.params.has_attention(0));
  EXPECT_TRUE(model.params.has_attention(1));
  // Which llama can do nothing with.
  ProgramOptions options;
  options.context = 64;
  llvm::Expected<ir::Program> program = build_program(model, options);
  ASSERT_FALSE(static_cast<bool>(program));
  const auto [code, text] = take_error(program.takeError());
  EXPECT_EQ(code, ExitCode::kUnsupported);
  EXPECT_NE(text.find("llama.attention.head_count_kv is 0 in layer 0"), std::string::npos) << text;
}

TEST(HyperParameters, KeyValueHeadsPerLayerAreChecked) {
  expect_invalid(with_kv_heads({2, 2, 2}), "attention.head_count_kv has not a number per layer");
  expect_invalid(with_kv_heads({0, 0}), "llama.attention.head_count_kv is 0, expected 1 to");
  const auto [code, text] = load_error(with_kv_heads({2, 4}));
  EXPECT_EQ(code, ExitCode::kUnsupported);
  EXPECT_NE(text.find("head_count_kv has layers with 2 and with 4 heads"), std::string::npos)
      << text;
}

TEST(HyperParameters, HeadsMustDivideAndFit) {
  TinyLlama tiny;
  tiny.kv_heads = 3;
  expect_invalid(tiny, "head_count is no multiple of head_count_kv");

  tiny = TinyLlama();
  tiny.head_dim = 12;
  expect_invalid(tiny, "the head dimension is no multiple of 8");

  tiny = TinyLlama();
  tiny.without = {"attention.value_length"};
  tiny.more_keys = [](Writer& w) { w.set_u32("llama.attention.value_length", 32); };
  expect_invalid(tiny, "keys and values have different head dimensions");

  tiny = TinyLlama();
  tiny.heads = 1 << 17;  // times 16: twice the widest matrix
  tiny.kv_heads = 1;
  tiny.without = {"blk.0.attn_q.weight", "blk.1.attn_q.weight", "blk.0.attn_output.weight",
                  "blk.1.attn_output.weight"};
  expect_invalid(tiny, "the heads are too wide");
}

TEST(HyperParameters, RopeDimensionsMustBeEvenAndFitAHead) {
  for (const uint32_t dimensions : {7u, 18u}) {
    TinyLlama tiny;
    tiny.without = {"rope.dimension_count"};
    tiny.more_keys = [&](Writer& w) { w.set_u32("llama.rope.dimension_count", dimensions); };
    expect_invalid(tiny, "rope.dimension_count is odd or larger than a head");
  }
}

TEST(HyperParameters, BaseAndEpsilonMustBePositive) {
  for (const float bad : {0.0f, -1.0f, std::nanf("")}) {
    TinyLlama tiny;
    tiny.epsilon = bad;
    expect_invalid(tiny, "rope base or epsilon is not positive");
    tiny = TinyLlama();
    tiny.rope_base = bad;
    expect_invalid(tiny, "rope base or epsilon is not positive");
  }
}

TEST(HyperParameters, ATokenEmbeddingIsNeeded) {
  TinyLlama tiny;
  tiny.without = {"token_embd.weight"};
  expect_invalid(tiny, "token_embd.weight is missing or not a matrix");
  tiny.without.clear();
  tiny.shapes = {{"token_embd.weight", {64}}};
  expect_invalid(tiny, "token_embd.weight is missing or not a matrix");
}

TEST(HyperParameters, CountsParametersOfAllTensors) {
  const TempFolder folder;
  TinyLlama tiny;
  // By hand: embedding 512 * 64; per layer two norms of 64, q and output 64 * 64, k and v 32 * 64,
  // three ffn matrices 96 * 64; the last norm.
  const uint64_t expected = 512 * 64 + 2 * (2 * 64 + 2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64) + 64;
  const gguf::File plain = write_and_open(tiny, folder.file("plain.gguf"));
  EXPECT_EQ(value_of(load(plain)).parameter_count, expected);
  EXPECT_EQ(tiny.parameters(), expected);

  tiny.tied = false;
  tiny.qkv_bias = true;
  tiny.rope_factors.assign(8, 1.0f);
  const gguf::File more = write_and_open(tiny, folder.file("more.gguf"));
  EXPECT_EQ(value_of(load(more)).parameter_count, expected + 512 * 64 + 2 * (64 + 32 + 32) + 8);
}

TEST(HyperParameters, ExpertsThatATokenIsNotGivenToAreIdle) {
  const TempFolder folder;
  TinyLlama tiny;
  tiny.more_keys = [](Writer& w) {
    w.set_u32("llama.expert_count", 8);
    w.set_u32("llama.expert_used_count", 2);
    w.add_tensor("blk.0.ffn_up_exps.weight", {64, 96, 8}, WeightType::kF32,
                 std::vector<uint8_t>(64 * 96 * 8 * 4));
  };
  const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
  const Model model = value_of(load(file));
  EXPECT_EQ(model.params.expert_count, 8u);
  EXPECT_EQ(model.params.expert_used_count, 2u);
  EXPECT_EQ(model.params.expert_feed_forward_length, 96u);  // the model's own
  EXPECT_EQ(model.parameter_count, tiny.parameters() + 64 * 96 * 8);
  EXPECT_EQ(model.active_parameter_count, tiny.parameters() + 64 * 96 * 2);
  EXPECT_EQ(parameter_text(12340000, 12340000), "12.3 M parameters");
  EXPECT_EQ(parameter_text(12340000, 5670000), "12.3 M parameters, 5.7 M of them active");
}

TEST(HyperParameters, ExpertsAreRefusedWhereAnArchitectureHasNone) {
  TinyLlama tiny;
  tiny.architecture = "qwen2";
  tiny.more_keys = [](gguf::Writer& w) {
    w.set_u32("qwen2.expert_count", 8);
    w.set_u32("qwen2.expert_used_count", 2);
  };
  const auto [code, text] = load_error(tiny);
  EXPECT_EQ(code, ExitCode::kUnsupported);
  EXPECT_NE(text.find("8 experts"), std::string::npos) << text;
  // Zero experts is how some converters write a dense model.
  tiny.more_keys = [](gguf::Writer& w) { w.set_u32("qwen2.expert_count", 0); };
  EXPECT_EQ(load_error(tiny).first, ExitCode::kDone);
}

TEST(HyperParameters, ExpertsAreNeededWhereAnArchitectureHasThem) {
  TinyLlama tiny;
  tiny.architecture = "olmoe";
  const auto [code, text] = load_error(tiny);
  EXPECT_EQ(code, ExitCode::kInvalidFile);
  EXPECT_NE(text.find("expert_count is 0 or absent"), std::string::npos) << text;
}

TEST(HyperParameters, ExpertsWithTensorsOfTheirOwnAreRefused) {
  TinyLlama tiny;
  tiny.more_keys = [](gguf::Writer& w) {
    w.set_u32("llama.expert_count", 2);
    w.set_u32("llama.expert_used_count", 1);
    w.add_tensor("blk.0.ffn_gate.0.weight", {64, 96}, WeightType::kF32,
                 std::vector<uint8_t>(64 * 96 * 4));
  };
  const auto [code, text] = load_error(tiny);
  EXPECT_EQ(code, ExitCode::kUnsupported);
  EXPECT_NE(text.find("convert the model anew"), std::string::npos) << text;
}

TEST(HyperParameters, NumbersOfExpertsFitTogether) {
  const auto with = [](uint32_t count, uint32_t used) {
    TinyLlama tiny;
    tiny.more_keys = [=](Writer& w) {
      w.set_u32("llama.expert_count", count);
      w.set_u32("llama.expert_used_count", used);
    };
    return tiny;
  };
  expect_invalid(with(8, 0), "expert_used_count is 0 or absent");
  expect_invalid(with(8, 9), "expert_used_count is larger than expert_count");
  expect_invalid(with(513, 2), "llama.expert_count is 513");
  expect_invalid(with(64, 33), "llama.expert_used_count is 33");
}

}  // namespace
}  // namespace jllm::model
