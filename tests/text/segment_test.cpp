// The way from GGUF metadata to the segment, and what open() does with damaged segments.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "compiler/emit/tokenizer_segment.h"
#include "compiler/gguf/file.h"
#include "schema/tokenizer_generated.h"
#include "tests/text/vocabulary_maker.h"

namespace jllm::text {
namespace {

VocabularyMaker small_bpe() {
  VocabularyMaker maker = bytes_vocabulary("llama-bpe");
  maker.add_merge("h", "e");
  maker.add_merge("he", "l");
  maker.add("<|eot_id|>", kControl);
  maker.add("<tool>", kUserDefined);
  return maker;
}

VocabularyMaker small_spm() {
  VocabularyMaker maker = spm_vocabulary();
  for (const char* piece : {"\xe2\x96\x81", "h", "e", "he", "\xe2\x96\x81he"}) {
    maker.add(piece, kNormal, -static_cast<float>(maker.tokens.size()));
  }
  return maker;
}

VocabularyMaker small_gemma4() {
  VocabularyMaker maker = spm_vocabulary();
  maker.model = "gemma4";
  for (const char* piece : {"\xe2\x96\x81", "h", "e", "he", "\n", "\n\n"})
    maker.add(piece, kNormal);
  maker.merges = {"h e", "\xe2\x96\x81 he"};
  maker.more_keys = [](gguf::Writer& writer) { writer.set_u32("tokenizer.ggml.bos_token_id", 1); };
  return maker;
}

void expect_error(const VocabularyMaker& maker, ExitCode code, const std::string& part) {
  const OpenTokenizer result = make(maker);
  EXPECT_FALSE(result.tokenizer);
  EXPECT_EQ(result.code, code) << result.error;
  EXPECT_NE(result.error.find(part), std::string::npos) << result.error;
}

TEST(TokenizerSegment, SameInputSameBytes) {
  for (const VocabularyMaker& maker : {small_bpe(), small_spm(), small_gemma4()}) {
    const OpenTokenizer first = make(maker);
    ASSERT_TRUE(first.tokenizer) << first.error;
    EXPECT_EQ(first.segment, make(maker).segment);
  }
}

TEST(TokenizerSegment, UnknownModelOrPreTokenizerIsUnsupported) {
  VocabularyMaker maker = small_bpe();
  maker.pre = "mystery";
  expect_error(maker, ExitCode::kUnsupported, "mystery");
  for (const char* name : {"kimi-k2", "youtu", "superbpe", "tiny_aya", "chameleon", "afmoe"}) {
    maker.pre = name;
    expect_error(maker, ExitCode::kUnsupported, std::string("'") + name + "'");
  }
  maker = small_bpe();
  maker.model = "rwkv";
  expect_error(maker, ExitCode::kUnsupported, "rwkv");
  maker.model = "bert";
  expect_error(maker, ExitCode::kUnsupported, "'bert' (WordPiece)");
  maker.model = "t5";
  expect_error(maker, ExitCode::kUnsupported, "'t5' (Unigram)");
}

TEST(TokenizerSegment, KnowsThePreTokenizersByName) {
  using Pre = fb::PreTokenizer;
  const std::pair<Pre, std::vector<const char*>> families[] = {
      {Pre::Default, {"default"}},
      {Pre::Gpt2, {"gpt-2", "phi-2", "olmo", "mpt", "jais", "trillion", "exaone4", "mellum"}},
      {Pre::StarCoder, {"starcoder", "smollm", "refact", "command-r", "exaone", "minerva-7b"}},
      {Pre::Falcon, {"falcon"}},
      {Pre::Llama3, {"llama3", "llama-bpe", "falcon3", "lfm2", "smaug-bpe", "dbrx", "glm4"}},
      {Pre::Qwen2, {"qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez", "solar-open"}},
      {Pre::Qwen35, {"qwen35"}},
      {Pre::Tekken, {"tekken"}},
      {Pre::Gpt4o, {"gpt-4o", "llama4"}},
      {Pre::DeepSeekLlm, {"deepseek-llm"}},
      {Pre::DeepSeekCoder, {"deepseek-coder"}},
      {Pre::DeepSeekV3, {"deepseek-v3", "hunyuan-dense", "joyai-llm"}},
      {Pre::SeedCoder, {"seed-coder"}},
      {Pre::MiniCpm5, {"minicpm5"}},
      {Pre::Poro, {"poro-chat", "bloom", "gpt3-finnish"}},
      {Pre::Viking, {"viking"}},
  };
  for (const auto& [kind, names] : families) {
    for (const char* name : names) {
      VocabularyMaker maker = small_bpe();
      maker.pre = name;
      const OpenTokenizer result = make(maker);
      ASSERT_TRUE(result.tokenizer) << result.error;
      EXPECT_EQ(fb::GetVocabulary(result.segment.data())->pre_tokenizer(), kind) << name;
    }
  }
}

TEST(TokenizerSegment, EndOfGenerationByKeyAndByText) {
  VocabularyMaker maker = small_bpe();
  const uint32_t pad = maker.add("<padding>", kControl);
  const uint32_t separator = maker.add("<next file>", kControl);
  const uint32_t other = maker.add("<other>", kControl);
  maker.add("<|file_sep|>", kControl);  // a key names another
  const uint32_t deepseek = maker.add(
      "<\xef\xbd\x9c"
      "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
      kNormal);
  const uint32_t repository = maker.add("<|repo_name|>", kNormal);
  maker.more_keys = [&](gguf::Writer& writer) {
    writer.set_u32("tokenizer.ggml.eos_token_id", other);
    writer.set_u32("tokenizer.ggml.fim_pad_token_id", pad);
    writer.set_u32("tokenizer.ggml.fim_sep_token_id", separator);
  };
  const OpenTokenizer open = make(maker);
  ASSERT_TRUE(open.tokenizer) << open.error;
  EXPECT_EQ(open->end_of_generation(),
            std::vector<uint32_t>(
                {id_of(maker, "<|eot_id|>"), pad, separator, other, deepseek, repository}));
  EXPECT_TRUE(open->is_control(deepseek));  // whatever its type says
}

TEST(TokenizerSegment, PartsOfAReplyDoNotEndIt) {
  VocabularyMaker maker = small_bpe();
  const uint32_t end = maker.add("<|end|>", kControl);
  const OpenTokenizer phi = make(maker);
  ASSERT_TRUE(phi.tokenizer) << phi.error;
  EXPECT_TRUE(phi->is_end_of_generation(end));
  const uint32_t last = maker.add("<|return|>", kControl);
  const uint32_t call = maker.add("<|call|>", kControl);
  const OpenTokenizer harmony = make(maker);
  ASSERT_TRUE(harmony.tokenizer) << harmony.error;
  EXPECT_FALSE(harmony->is_end_of_generation(end));
  EXPECT_TRUE(harmony->is_end_of_generation(last));
  EXPECT_TRUE(harmony->is_end_of_generation(call));
}

TEST(TokenizerSegment, MissingPreTokenizerIsDefault) {
  VocabularyMaker maker = small_bpe();
  maker.pre.clear();
  const OpenTokenizer result = make(maker);
  ASSERT_TRUE(result.tokenizer) << result.error;
  const auto* vocabulary = fb::GetVocabulary(result.segment.data());
  EXPECT_EQ(vocabulary->pre_tokenizer(), fb::PreTokenizer::Default);
}

TEST(TokenizerSegment, WarnsOfAMissingPreTokenizer) {
  const auto warning_of = [](const VocabularyMaker& maker) -> std::string {
    const TemporaryFile path;
    if (llvm::Error error = write_gguf(maker, path.path))
      return take_error(std::move(error)).second;
    auto file = gguf::File::open(path.path);
    if (!file) return take_error(file.takeError()).second;
    return emit::tokenizer_warning(*file);
  };
  VocabularyMaker maker = small_bpe();
  EXPECT_EQ(warning_of(maker), "");
  EXPECT_EQ(warning_of(small_spm()), "");
  maker.pre.clear();
  EXPECT_NE(warning_of(maker).find("tokenizer.ggml.pre"), std::string::npos);
}

TEST(TokenizerSegment, InconsistentMetadataIsInvalid) {
  VocabularyMaker maker = small_bpe();
  maker.types.pop_back();
  expect_error(maker, ExitCode::kInvalidFile, "token_type");
  maker = small_bpe();
  maker.types[3] = 7;
  expect_error(maker, ExitCode::kInvalidFile, "token_type");
  maker = small_bpe();
  maker.merges.push_back("nospace");
  expect_error(maker, ExitCode::kInvalidFile, "merges[2]");
  maker = small_spm();
  maker.scores.pop_back();
  expect_error(maker, ExitCode::kInvalidFile, "scores");
  maker = small_spm();
  maker.scores[5] = NAN;
  expect_error(maker, ExitCode::kInvalidFile, "scores");
  for (const char* key : {"bos", "eos", "eot", "eom", "unknown"}) {
    maker = small_spm();
    const std::string name = std::string("tokenizer.ggml.") + key + "_token_id";
    maker.more_keys = [&](gguf::Writer& writer) {
      writer.set_u32(name, static_cast<uint32_t>(maker.tokens.size()));
    };
    expect_error(maker, ExitCode::kInvalidFile, name);
  }
  maker = small_spm();
  maker.tokens.clear();
  expect_error(maker, ExitCode::kInvalidFile, "tokens");
}

TEST(TokenizerSegment, OddTokensAreTolerated) {
  VocabularyMaker maker = small_bpe();
  maker.scores.clear();               // BPE has no use for scores
  maker.tokens.push_back("");         // empty
  maker.tokens.push_back(" plain ");  // outside the byte alphabet
  maker.tokens.push_back("\xff");     // not UTF-8
  maker.types.resize(maker.tokens.size(), kNormal);
  const OpenTokenizer bpe = make(maker);
  ASSERT_TRUE(bpe.tokenizer) << bpe.error;
  EXPECT_EQ(bpe->piece(bpe->vocab_size() - 2, false), " plain ");
  maker = small_spm();
  maker.add("", kNormal);
  maker.add("\xff", kNormal);
  maker.add("<0x0G>", kByte);
  maker.add("he", kNormal);  // again
  const OpenTokenizer spm = make(maker);
  ASSERT_TRUE(spm.tokenizer) << spm.error;
  EXPECT_EQ(spm->encode("hehe", {false, false}).size(), 2u);
}

// Uses everything that a tokenizer can do; what comes out does not matter here.
void use(const Tokenizer& tokenizer) {
  for (const bool flag : {false, true}) {
    const std::string text =
        "hello he\n\n<tool><|eot_id|> <s>\xf0\x9f\xa6\x99\xff" + random_text(3, 50);
    const std::vector<uint32_t> ids = tokenizer.encode(text, {flag, flag});
    tokenizer.decode(ids, flag);
  }
  for (uint32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    tokenizer.piece(id, true);
    tokenizer.is_control(id);
    tokenizer.is_end_of_generation(id);
  }
}

TEST(TokenizerSegment, TruncatedSegmentsNeverCrash) {
  for (const VocabularyMaker& maker : {small_bpe(), small_spm(), small_gemma4()}) {
    const OpenTokenizer whole = make(maker);
    ASSERT_TRUE(whole.tokenizer) << whole.error;
    use(*whole.tokenizer);
    for (size_t size = 0; size < whole.segment.size(); size += size < 400 ? 1 : 13) {
      const std::vector<uint8_t> part(whole.segment.begin(), whole.segment.begin() + size);
      const OpenTokenizer result = open_segment(part);
      if (result.tokenizer) {
        use(*result.tokenizer);
      } else {
        EXPECT_FALSE(result.error.empty());
      }
    }
  }
}

TEST(TokenizerSegment, DamagedSegmentsNeverCrash) {
  std::mt19937 random(5);
  for (const VocabularyMaker& maker : {small_bpe(), small_spm(), small_gemma4()}) {
    const OpenTokenizer whole = make(maker);
    ASSERT_TRUE(whole.tokenizer) << whole.error;
    int opened = 0;
    for (int round = 0; round < 3000; ++round) {
      std::vector<uint8_t> damaged = whole.segment;
      for (auto flips = 1 + random() % 3; flips > 0; --flips) {
        damaged[random() % damaged.size()] ^= static_cast<uint8_t>(1u << random() % 8);
      }
      const OpenTokenizer result = open_segment(damaged);
      if (!result.tokenizer) continue;
      use(*result.tokenizer);
      ++opened;
    }
    EXPECT_GT(opened, 0);
    EXPECT_LT(opened, 3000);
  }
}

TEST(TokenizerSegment, MisalignedMemoryIsRefused) {
  const OpenTokenizer whole = make(small_bpe());
  std::vector<uint8_t> shifted = {0};
  shifted.insert(shifted.end(), whole.segment.begin(), whole.segment.end());
  std::string error;
  EXPECT_FALSE(Tokenizer::open(shifted.data() + 1, whole.segment.size(), &error));
  EXPECT_NE(error.find("aligned"), std::string::npos);
}

}  // namespace
}  // namespace jllm::text
