// Whole synthetic models: shapes, type mixes, metadata and reproducibility.
#include "compiler/synth/synth.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>

#include "compiler/synth/shapes.h"
#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm::synth {
namespace {

using gguf::File;
using gguf::TempFolder;
using gguf::value_of;

SynthOptions small(const std::string& like, const std::string& type) {
  SynthOptions options;
  options.like = like;
  options.type = type;
  options.layers = 2;
  options.embedding = 256;
  options.ffn = 512;
  options.heads = 8;
  options.kv_heads = 2;
  options.head_dim = 32;
  options.vocab = 1024;
  options.context = 128;
  return options;
}

File make(const TempFolder& folder, const SynthOptions& options) {
  const std::string path = folder.file("m.gguf");
  if (llvm::Error error = synthesise(options, path)) {
    throw std::runtime_error(take_error(std::move(error)).second);
  }
  return value_of(File::open(path));
}

std::string error_of(const SynthOptions& options) {
  auto [code, text] = take_error(synthesise(options, "/nonexistent/m.gguf"));
  EXPECT_EQ(code, ExitCode::kUsage);
  return text;
}

WeightType type_of(const File& file, const std::string& name) {
  const gguf::TensorInfo* tensor = file.find_tensor(name);
  if (tensor == nullptr) throw std::runtime_error("no tensor " + name);
  return tensor->type();
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Synth, WritesTheTensorsAndKeysOfALlama) {
  TempFolder folder;
  const File file = make(folder, small("llama-3.1-8b", "q8_0"));
  EXPECT_EQ(value_of(file.get_string("general.architecture")), "llama");
  EXPECT_EQ(value_of(file.get_u64("llama.block_count")), 2u);
  EXPECT_EQ(value_of(file.get_u64("llama.embedding_length")), 256u);
  EXPECT_EQ(value_of(file.get_u64("llama.attention.head_count_kv")), 2u);
  EXPECT_EQ(value_of(file.get_u64("llama.context_length")), 128u);
  EXPECT_EQ(value_of(file.get_f64("llama.rope.freq_base")), 500000.0);
  EXPECT_EQ(value_of(file.get_string_array("tokenizer.ggml.tokens")).size(), 1024u);
  EXPECT_EQ(value_of(file.get_string("tokenizer.ggml.pre")), "llama-bpe");
  const std::pair<const char*, std::vector<uint64_t>> shapes[] = {
      {"rope_freqs.weight", {16}},
      {"token_embd.weight", {256, 1024}},
      {"blk.1.attn_norm.weight", {256}},
      {"blk.1.attn_q.weight", {256, 256}},
      {"blk.1.attn_k.weight", {256, 64}},
      {"blk.1.attn_v.weight", {256, 64}},
      {"blk.1.attn_output.weight", {256, 256}},
      {"blk.1.ffn_norm.weight", {256}},
      {"blk.1.ffn_gate.weight", {256, 512}},
      {"blk.1.ffn_up.weight", {256, 512}},
      {"blk.1.ffn_down.weight", {512, 256}},
      {"output_norm.weight", {256}},
      {"output.weight", {256, 1024}},
  };
  EXPECT_EQ(file.tensors().size(), 4 + 2 * 9u);
  for (const auto& [name, shape] : shapes) {
    const gguf::TensorInfo* tensor = file.find_tensor(name);
    ASSERT_NE(tensor, nullptr) << name;
    EXPECT_EQ(tensor->shape, shape) << name;
  }
  EXPECT_EQ(type_of(file, "output.weight"), WeightType::kQ8_0);
  EXPECT_EQ(type_of(file, "output_norm.weight"), WeightType::kF32);
}

TEST(Synth, TiesTheOutputWhereTheModelDoes) {
  TempFolder folder;
  const File file = make(folder, small("smollm2-135m", "q4_0"));
  EXPECT_EQ(file.find_tensor("output.weight"), nullptr);
  EXPECT_EQ(file.find_tensor("rope_freqs.weight"), nullptr);
  EXPECT_EQ(type_of(file, "token_embd.weight"), WeightType::kQ6_K);
  EXPECT_EQ(type_of(file, "blk.0.attn_q.weight"), WeightType::kQ4_0);
  EXPECT_EQ(value_of(file.get_string("tokenizer.ggml.pre")), "smollm");
}

TEST(Synth, WritesSentencePieceVocabularies) {
  TempFolder folder;
  const File file = make(folder, small("mistral-7b", "f32"));
  EXPECT_EQ(value_of(file.get_string("tokenizer.ggml.model")), "llama");
  EXPECT_EQ(value_of(file.get_f64_array("tokenizer.ggml.scores")).size(), 1024u);
  EXPECT_FALSE(file.has("tokenizer.ggml.merges"));
  EXPECT_EQ(value_of(file.get_u64("tokenizer.ggml.eos_token_id")), 2u);
}

TEST(Synth, EveryMixWritesItsBaseType) {
  const std::pair<const char*, WeightType> bases[] = {
      {"f32", WeightType::kF32},       {"f16", WeightType::kF16},
      {"bf16", WeightType::kBF16},     {"q4_0", WeightType::kQ4_0},
      {"q5_0", WeightType::kQ5_0},     {"q8_0", WeightType::kQ8_0},
      {"q4_k", WeightType::kQ4_K},     {"Q4_K_M", WeightType::kQ4_K},
      {"q6_k", WeightType::kQ6_K},     {"q4_1", WeightType::kQ4_1},
      {"q5_1", WeightType::kQ5_1},     {"q5_k", WeightType::kQ5_K},
      {"q5_k_m", WeightType::kQ5_K},   {"q1_0", WeightType::kQ1_0},
      {"q2_k", WeightType::kQ2_K},     {"q3_k", WeightType::kQ3_K},
      {"iq4_nl", WeightType::kIQ4_NL}, {"iq4_xs", WeightType::kIQ4_XS},
      {"mxfp4", WeightType::kMXFP4},   {"tq1_0", WeightType::kTQ1_0},
      {"tq2_0", WeightType::kTQ2_0},   {"q2_0", WeightType::kQ2_0}};
  EXPECT_EQ(std::size(bases), type_mixes().size());
  TempFolder folder;
  for (const auto& [name, base] : bases) {
    const File file = make(folder, small("tinyllama", name));
    EXPECT_EQ(type_of(file, "blk.0.attn_q.weight"), base) << name;
    EXPECT_EQ(type_of(file, "token_embd.weight"), base) << name;
  }
}

TEST(Synth, GivesSomeLayersMoreBits) {
  TempFolder folder;
  SynthOptions options = small("tinyllama", "q4_k_m");
  options.layers = 16;
  const File file = make(folder, options);
  std::string more;
  for (int layer = 0; layer < 16; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    const WeightType type = type_of(file, prefix + "ffn_down.weight");
    EXPECT_EQ(type, type_of(file, prefix + "attn_v.weight"));
    EXPECT_EQ(type_of(file, prefix + "ffn_up.weight"), WeightType::kQ4_K);
    if (type == WeightType::kQ6_K) more += std::to_string(layer) + " ";
  }
  EXPECT_EQ(more, "0 1 4 7 10 13 14 15 ");
  EXPECT_EQ(type_of(file, "output.weight"), WeightType::kQ6_K);
}

TEST(Synth, FallsBackForRowsThatBlocksDoNotDivide) {
  TempFolder folder;
  SynthOptions options = small("smollm2-135m", "q4_k_m");
  options.embedding = 576;
  const File smollm = make(folder, options);
  EXPECT_EQ(type_of(smollm, "token_embd.weight"), WeightType::kQ8_0);
  EXPECT_EQ(type_of(smollm, "blk.1.attn_q.weight"), WeightType::kQ5_0);
  EXPECT_EQ(type_of(smollm, "blk.1.attn_v.weight"), WeightType::kQ8_0);
  EXPECT_EQ(type_of(smollm, "blk.1.ffn_down.weight"), WeightType::kQ6_K);
  options.embedding = 100;
  EXPECT_EQ(type_of(make(folder, options), "blk.1.attn_q.weight"), WeightType::kF16);
}

TEST(Synth, ScalesTheRotaryFrequenciesAsLlama3) {
  TempFolder folder;
  const File file = make(folder, small("llama-3.2-1b", "f32"));
  const llvm::ArrayRef<uint8_t> data = file.data(*file.find_tensor("rope_freqs.weight"));
  std::vector<float> factors(16);
  ASSERT_EQ(data.size(), 16 * sizeof(float));
  std::memcpy(factors.data(), data.data(), data.size());
  EXPECT_EQ(factors.front(), 1.0f);
  EXPECT_EQ(factors.back(), 32.0f);
  EXPECT_TRUE(std::is_sorted(factors.begin(), factors.end()));
}

TEST(Synth, IsReproducible) {
  TempFolder folder;
  SynthOptions options = small("llama-3.2-1b", "q4_k_m");
  make(folder, options);
  const std::string first = bytes_of(folder.file("m.gguf"));
  make(folder, options);
  EXPECT_TRUE(first == bytes_of(folder.file("m.gguf")));
  options.seed = 1;
  make(folder, options);
  const std::string other = bytes_of(folder.file("m.gguf"));
  EXPECT_EQ(first.size(), other.size());
  EXPECT_FALSE(first == other);
}

TEST(Synth, ReportsProgressUpToTheEnd) {
  TempFolder folder;
  uint64_t last = 0;
  uint64_t total = 0;
  llvm::Error error = synthesise(small("tinyllama", "q4_0"), folder.file("m.gguf"),
                                 [&](uint64_t done, uint64_t all) {
                                   EXPECT_GT(done, last);
                                   last = done;
                                   total = all;
                                 });
  EXPECT_FALSE(static_cast<bool>(error));
  EXPECT_GT(total, 0u);
  EXPECT_EQ(last, total);
}

// The whole model of a shape, without its weights.
File header_of(const TempFolder& folder, const std::string& like, const std::string& type) {
  SynthOptions options;
  options.like = like;
  options.type = type;
  options.header_only = true;
  const std::string path = folder.file("header.gguf");
  if (llvm::Error error = synthesise(options, path)) {
    throw std::runtime_error(take_error(std::move(error)).second);
  }
  return value_of(File::open(path, {.header_only = true}));
}

// A wrong number in the table of shapes would show in the number of weights.
TEST(Synth, ShapesGiveThePublishedParameterCounts) {
  const std::pair<const char*, double> published[] = {{"llama-3.2-1b", 1.236e9},
                                                      {"llama-3.2-3b", 3.213e9},
                                                      {"llama-3.1-8b", 8.030e9},
                                                      {"tinyllama", 1.100e9},
                                                      {"smollm2-135m", 134.5e6},
                                                      {"smollm2-360m", 361.8e6},
                                                      {"smollm2-1.7b", 1.711e9},
                                                      {"mistral-7b", 7.248e9},
                                                      {"mistral-nemo", 12.248e9},
                                                      {"qwen2.5-0.5b", 494.0e6},
                                                      {"qwen2.5-1.5b", 1.5437e9},
                                                      {"qwen2.5-3b", 3.0859e9},
                                                      {"qwen2.5-7b", 7.6156e9},
                                                      {"qwen3-0.6b", 596.05e6},
                                                      {"qwen3-1.7b", 1.7206e9},
                                                      {"qwen3-4b", 4.0225e9},
                                                      {"qwen3-8b", 8.1907e9},
                                                      {"qwen3-embedding-0.6b", 595.78e6},
                                                      {"bonsai-8b", 8.1907e9},
                                                      {"gemma-2-2b", 2.6143e9},
                                                      {"gemma-3-1b", 999.89e6},
                                                      {"gemma-3-4b", 3.880e9},
                                                      {"phi-3-mini", 3.8211e9},
                                                      {"phi-4-mini", 3.8360e9},
                                                      {"phi-4", 14.6595e9},
                                                      {"stablelm-2-1.6b", 1.6445e9},
                                                      {"olmo-2-1b", 1.4849e9},
                                                      {"olmo-3-7b", 7.298e9},
                                                      {"granite-3.3-2b", 2.5335e9},
                                                      {"smollm3-3b", 3.0751e9},
                                                      {"nemotron-mini-4b", 4.191e9},
                                                      {"lfm2-350m", 354.48e6},
                                                      {"lfm2-1.2b", 1.1703e9},
                                                      {"mixtral-8x7b", 46.7028e9},
                                                      {"qwen3-30b-a3b", 30.5321e9},
                                                      {"olmoe-1b-7b", 6.919e9},
                                                      {"granite-3.1-1b-a400m", 1.3349e9},
                                                      {"granite-3.1-3b-a800m", 3.2992e9}};
  EXPECT_EQ(std::size(published), model_shapes().size());
  TempFolder folder;
  for (const auto& [name, parameters] : published) {
    double total = 0;
    const File file = header_of(folder, name, "f16");
    for (const gguf::TensorInfo& tensor : file.tensors()) {
      total += double(tensor.elements());
    }
    EXPECT_NEAR(total / parameters, 1, 1e-3) << name;
  }
}

TEST(Synth, AHeaderAloneIsTheBeginningOfTheWholeFile) {
  TempFolder folder;
  SynthOptions options = small("qwen3-0.6b", "q4_k_m");
  make(folder, options);
  const std::string whole = bytes_of(folder.file("m.gguf"));
  options.header_only = true;
  ASSERT_FALSE(static_cast<bool>(synthesise(options, folder.file("h.gguf"))));
  const std::string head = bytes_of(folder.file("h.gguf"));
  EXPECT_LT(head.size(), whole.size());
  EXPECT_TRUE(whole.compare(0, head.size(), head) == 0);
  const File file = value_of(File::open(folder.file("h.gguf"), {.header_only = true}));
  EXPECT_FALSE(file.has_data(file.tensors()[0]));
}

// Bonsai 8B is published with every matrix in Q1_0, as a file of 1.15 GB.
TEST(Synth, BonsaiIsOneBitThroughout) {
  TempFolder folder;
  uint64_t bytes = 0;
  const File file = header_of(folder, "bonsai-8b", "q1_0");
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    bytes += tensor.byte_size;
    EXPECT_EQ(tensor.type(), tensor.shape.size() == 2 ? WeightType::kQ1_0 : WeightType::kF32)
        << tensor.name;
  }
  EXPECT_NEAR(double(bytes), 1.15e9, 0.01e9);
}

std::string block_tensors(const File& file) {
  std::string names;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    if (tensor.name.rfind("blk.1.", 0) == 0) names += tensor.name.substr(6) + " ";
  }
  return names;
}

TEST(Synth, EveryArchitectureHasItsTensors) {
  const std::pair<const char*, const char*> cases[] = {
      {"qwen2.5-0.5b",
       "attn_norm.weight attn_q.weight attn_q.bias attn_k.weight attn_k.bias attn_v.weight "
       "attn_v.bias attn_output.weight ffn_norm.weight ffn_gate.weight ffn_up.weight "
       "ffn_down.weight "},
      {"qwen3-0.6b",
       "attn_norm.weight attn_q.weight attn_k.weight attn_v.weight attn_q_norm.weight "
       "attn_k_norm.weight attn_output.weight ffn_norm.weight ffn_gate.weight ffn_up.weight "
       "ffn_down.weight "},
      {"gemma-2-2b",
       "attn_norm.weight attn_q.weight attn_k.weight attn_v.weight attn_output.weight "
       "post_attention_norm.weight ffn_norm.weight ffn_gate.weight ffn_up.weight ffn_down.weight "
       "post_ffw_norm.weight "},
      {"gemma-3-1b",
       "attn_norm.weight attn_q.weight attn_k.weight attn_v.weight attn_q_norm.weight "
       "attn_k_norm.weight attn_output.weight post_attention_norm.weight ffn_norm.weight "
       "ffn_gate.weight ffn_up.weight ffn_down.weight post_ffw_norm.weight "},
      {"phi-4-mini",
       "attn_norm.weight attn_qkv.weight attn_output.weight ffn_norm.weight ffn_up.weight "
       "ffn_down.weight "},
      {"stablelm-2-1.6b",
       "attn_norm.weight attn_norm.bias attn_q.weight attn_q.bias attn_k.weight attn_k.bias "
       "attn_v.weight attn_v.bias attn_output.weight ffn_norm.weight ffn_norm.bias "
       "ffn_gate.weight ffn_up.weight ffn_down.weight "},
      {"olmo-2-1b",
       "attn_q.weight attn_k.weight attn_v.weight attn_q_norm.weight attn_k_norm.weight "
       "attn_output.weight post_attention_norm.weight ffn_gate.weight ffn_up.weight "
       "ffn_down.weight post_ffw_norm.weight "},
      {"granite-3.3-2b",
       "attn_norm.weight attn_q.weight attn_k.weight attn_v.weight attn_output.weight "
       "ffn_norm.weight ffn_gate.weight ffn_up.weight ffn_down.weight "},
      {"smollm3-3b",
       "attn_norm.weight attn_q.weight attn_k.weight attn_v.weight attn_output.weight "
       "ffn_norm.weight ffn_gate.weight ffn_up.weight ffn_down.weight "},
      {"lfm2-1.2b",
       "attn_norm.weight shortconv.in_proj.weight shortconv.conv.weight "
       "shortconv.out_proj.weight ffn_norm.weight ffn_gate.weight ffn_up.weight "
       "ffn_down.weight "},
      {"nemotron-mini-4b",
       "attn_norm.weight attn_norm.bias attn_q.weight attn_k.weight attn_v.weight "
       "attn_output.weight ffn_norm.weight ffn_norm.bias ffn_up.weight ffn_down.weight "},
  };
  TempFolder folder;
  for (const auto& [name, tensors] : cases) {
    const File file = make(folder, small(name, "f32"));
    EXPECT_EQ(block_tensors(file), tensors) << name;
    EXPECT_EQ(value_of(file.get_string("general.architecture")), find_shape(name)->architecture);
  }
}

TEST(Synth, Olmo2NormalisesAllHeadsTogether) {
  TempFolder folder;
  const File file = make(folder, small("olmo-2-1b", "f32"));
  EXPECT_EQ(file.find_tensor("blk.1.attn_q_norm.weight")->elements(), 256u);  // 8 heads of 32
  EXPECT_EQ(file.find_tensor("blk.1.attn_k_norm.weight")->elements(), 64u);   // 2
}

TEST(Synth, SixOfLfm2sLayersAttend) {
  TempFolder folder;
  const File file = header_of(folder, "lfm2-1.2b", "q4_k_m");
  const std::vector<uint64_t> heads = {0, 0, 8, 0, 0, 8, 0, 0, 8, 0, 8, 0, 8, 0, 8, 0};
  EXPECT_EQ(value_of(file.get_u64_array("lfm2.attention.head_count_kv")), heads);
  EXPECT_EQ(value_of(file.get_u64("lfm2.shortconv.l_cache")), 3u);
  EXPECT_EQ(type_of(file, "blk.0.shortconv.conv.weight"), WeightType::kF32);
  EXPECT_EQ(type_of(file, "blk.0.shortconv.in_proj.weight"), WeightType::kQ4_K);
  EXPECT_NE(file.find_tensor("token_embd_norm.weight"), nullptr);
  EXPECT_EQ(file.find_tensor("output_norm.weight"), nullptr);
}

TEST(Synth, GraniteHasItsFactors) {
  TempFolder folder;
  const File file = make(folder, small("granite-3.3-2b", "f32"));
  EXPECT_EQ(value_of(file.get_f64("granite.embedding_scale")), 12.0);
  EXPECT_EQ(value_of(file.get_f64("granite.residual_scale")), double{0.22f});
  EXPECT_EQ(value_of(file.get_f64("granite.attention.scale")), 1.0 / 64);
  EXPECT_EQ(value_of(file.get_f64("granite.logit_scale")), 8.0);
}

TEST(Synth, LongropeAndPartsOfHeadsScaleWithTheShape) {
  TempFolder folder;
  SynthOptions options = small("phi-4-mini", "f32");
  options.rope_original_context = 32;
  const File file = make(folder, options);
  EXPECT_EQ(value_of(file.get_u64("phi3.rope.dimension_count")), 24u);  // 96 of 128: 24 of 32
  EXPECT_EQ(file.find_tensor("rope_factors_long.weight")->elements(), 12u);
  EXPECT_EQ(file.find_tensor("rope_factors_short.weight")->elements(), 12u);
  // sqrt(1 + ln(128 / 32) / ln(32))
  EXPECT_NEAR(value_of(file.get_f64("phi3.rope.scaling.attn_factor")), 1.18322, 1e-5);
  const File whole = header_of(folder, "phi-4-mini", "f16");
  EXPECT_NEAR(value_of(whole.get_f64("phi3.rope.scaling.attn_factor")), 1.19024, 1e-5);
}

TEST(Synth, TokenizersAreOfTheModelsFamily) {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"qwen3-0.6b", "gpt2", "qwen2"},
      {"stablelm-2-1.6b", "gpt2", "stablelm2"},
      {"phi-4-mini", "gpt2", "gpt-4o"},
      {"phi-4", "gpt2", "dbrx"},
      {"mistral-nemo", "gpt2", "tekken"},
      {"phi-3-mini", "llama", "default"},
      {"nemotron-mini-4b", "llama", "default"},
      {"gemma-2-2b", "llama", "default"},
      {"olmo-2-1b", "gpt2", "dbrx"}};
  TempFolder folder;
  for (const auto& [name, model, pre] : cases) {
    const File file = make(folder, small(name, "f32"));
    EXPECT_EQ(value_of(file.get_string("tokenizer.ggml.model")), model) << name;
    EXPECT_EQ(value_of(file.get_string("tokenizer.ggml.pre")), pre) << name;
    EXPECT_EQ(value_of(file.get_string_array("tokenizer.ggml.tokens")).size(), 1024u) << name;
    const bool gemma = std::string(name) == "gemma-2-2b";
    EXPECT_EQ(value_of(file.get_bool_or("tokenizer.ggml.add_space_prefix", true)), !gemma) << name;
  }
}

TEST(Synth, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(error_of(small("gpt-5", "q4_0")),
            "synth: unknown model 'gpt-5' for --like; choose one of llama-3.2-1b, llama-3.2-3b, "
            "llama-3.1-8b, tinyllama, smollm2-135m, smollm2-360m, smollm2-1.7b, mistral-7b, "
            "mistral-nemo, qwen2.5-0.5b, qwen2.5-1.5b, qwen2.5-3b, qwen2.5-7b, qwen3-0.6b, "
            "qwen3-1.7b, qwen3-4b, qwen3-8b, qwen3-embedding-0.6b, bonsai-8b, gemma-2-2b, "
            "gemma-3-1b, gemma-3-4b, "
            "phi-3-mini, phi-4-mini, phi-4, stablelm-2-1.6b, olmo-2-1b, olmo-3-7b, "
            "granite-3.3-2b, smollm3-3b, lfm2-350m, lfm2-1.2b, mixtral-8x7b, "
            "qwen3-30b-a3b, olmoe-1b-7b, granite-3.1-1b-a400m, granite-3.1-3b-a800m, "
            "nemotron-mini-4b");
  EXPECT_EQ(error_of(small("tinyllama", "iq3_s")),
            "synth: unknown --type 'iq3_s'; choose one of f32, f16, bf16, q4_0, q5_0, q4_1, q5_1, "
            "q8_0, q4_k, q4_k_m, q5_k, q5_k_m, q6_k, q2_k, q3_k, iq4_nl, iq4_xs, mxfp4, tq1_0, "
            "tq2_0, q2_0, q1_0");
  SynthOptions options = small("tinyllama", "q4_0");
  options.kv_heads = 3;
  EXPECT_EQ(error_of(options),
            "synth: 8 heads cannot share 3 key/value heads; give a divisor of 8");
  options = small("tinyllama", "q4_0");
  options.vocab = 300;
  EXPECT_EQ(error_of(options), "synth: the vocabulary is 300; it must lie between 512 and 400,000");
  options = small("tinyllama", "q4_0");
  options.head_dim = 33;
  EXPECT_EQ(error_of(options), "synth: the head dimension is 33; it must be even");
}

}  // namespace
}  // namespace jllm::synth
