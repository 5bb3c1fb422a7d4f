// Token ids of random texts against llama.cpp's, for every public vocabulary of JLLM_TEST_DATA and
// for a small one with each pre-tokenizer. Runs with JLLM_ORACLE=1; JLLM_ORACLE_PYTHON names a
// Python with llama-cpp-python.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>

#include "executor/text/utf8.h"
#include "tests/text/public_vocabularies.h"
#include "tests/text/vocabulary_maker.h"

namespace jllm::text {
namespace {

using Ids = std::vector<uint32_t>;

constexpr size_t kTexts = 1500;

std::string python() {
  const char* named = std::getenv("JLLM_ORACLE_PYTHON");
  return named != nullptr ? named : "python3";
}

int run(const std::string& command) { return std::system(command.c_str()); }

#define REQUIRE_ORACLE()                                                                           \
  const char* wanted = std::getenv("JLLM_ORACLE");                                                 \
  if (wanted == nullptr || std::string(wanted) != "1") GTEST_SKIP() << "JLLM_ORACLE=1 is not set"; \
  if (run("'" + python() + "' -c 'import llama_cpp' 2>/dev/null") != 0)                            \
  GTEST_SKIP() << python() << " has no llama_cpp (JLLM_ORACLE_PYTHON names another)"

using Filter = bool (*)(uint32_t code_point);

// Characters whose categories do not depend on the version of Unicode, which differs between PCRE2
// and llama.cpp: beyond the first plane, only emoji.
bool is_old(uint32_t code_point) {
  return code_point < 0x10000 || (code_point >= 0x1f300 && code_point < 0x1f650);
}

// Where llama.cpp's expressions equal the published ones of tekken and gpt-4o: it tells the case of
// ASCII letters only, and takes marks for punctuation.
bool is_ascii_or_ideograph(uint32_t code_point) {
  return code_point < 0x80 || (code_point >= 0x4e00 && code_point < 0x9fa6);
}

// deepseek-llm and deepseek-coder: for llama.cpp, \s is white space of ASCII.
bool is_no_rare_space(uint32_t code_point) {
  constexpr uint32_t kSpaces[] = {0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000};
  return is_old(code_point) && !(code_point >= 0x2000 && code_point <= 0x200a) &&
         std::find(std::begin(kSpaces), std::end(kSpaces), code_point) == std::end(kSpaces);
}

Filter filter_of(const std::string& pre) {
  if (pre == "tekken" || pre == "gpt-4o") return is_ascii_or_ideograph;
  if (pre == "deepseek-llm" || pre == "deepseek-coder") return is_no_rare_space;
  return is_old;
}

std::string filtered(std::string_view text, Filter keep) {
  std::string out;
  while (!text.empty()) {
    const Utf8Character character = first_character(text);
    if (keep(character.code_point)) out += text.substr(0, character.size);
    text.remove_prefix(character.size);
  }
  return out;
}

// Half of the texts are characters of every kind, half are tokens of the vocabulary in random
// order: those are what merges are about. Control tokens are among them.
std::vector<std::string> random_texts(const Tokenizer& tokenizer, Filter keep) {
  std::mt19937_64 random(7);
  std::vector<std::string> texts;
  while (texts.size() < kTexts) {
    std::string bytes;
    if (texts.size() % 2 == 0) {
      bytes = random_text(random(), 1 + random() % 60);
    } else {
      for (size_t count = 1 + random() % 30; count > 0; --count) {
        bytes += tokenizer.piece(static_cast<uint32_t>(random() % tokenizer.vocab_size()), true);
        if (random() % 8 == 0) bytes += random_text(random(), 1);
      }
    }
    std::string text;
    append_valid_utf8(bytes, &text);
    texts.push_back(filtered(text, keep));
  }
  return texts;
}

std::string hexadecimal(const std::string& text) {
  static const char kDigits[] = "0123456789abcdef";
  std::string digits;
  for (const char c : text) {
    digits += kDigits[static_cast<uint8_t>(c) >> 4];
    digits += kDigits[c & 15];
  }
  return digits;
}

Ids next_line(std::istream& stream) {
  std::string line;
  std::getline(stream, line);
  std::istringstream words(line);
  return {std::istream_iterator<uint32_t>(words), std::istream_iterator<uint32_t>()};
}

void expect_ids_of_llama_cpp(const std::string& path, Filter keep = is_old) {
  const OpenTokenizer open = open_gguf(path);
  ASSERT_TRUE(open.tokenizer) << open.error;
  const TemporaryFile texts_file, ids_file;
  const std::vector<std::string> texts = random_texts(*open.tokenizer, keep);
  std::ofstream out(texts_file.path.str().str());
  for (const std::string& text : texts) out << hexadecimal(text) << "\n";
  out.close();
  ASSERT_EQ(run("'" + python() + "' '" JLLM_TEXT_TEST_DIR "/llama_cpp_tokens.py' '" + path + "' '" +
                texts_file.path.str().str() + "' > '" + ids_file.path.str().str() + "'"),
            0);
  std::ifstream stream(ids_file.path.str().str());
  Ids ends = next_line(stream);
  // llama.cpp also ends a reply at "</s>" where it is a merged string of HTML (qwen2), and at token
  // 11 where no key names EOS.
  const auto is_ordinary = [&](uint32_t id) {
    return !open->is_control(id) && (id == 11 || open->piece(id, true) == "</s>");
  };
  ends.erase(std::remove_if(ends.begin(), ends.end(), is_ordinary), ends.end());
  EXPECT_EQ(open->end_of_generation(), ends);
  size_t different = 0;
  for (const std::string& text : texts) {
    for (const bool parse_special : {false, true}) {
      const Ids expected = next_line(stream);
      ASSERT_TRUE(stream) << "too few lines";
      if (open->encode(text, {true, parse_special}) == expected) continue;
      ++different;
      EXPECT_EQ(open->encode(text, {true, parse_special}), expected) << hexadecimal(text);
      if (different == 5) return;
    }
  }
}

class DifferentialFile : public testing::TestWithParam<const char*> {};

TEST_P(DifferentialFile, EqualsLlamaCpp) {
  REQUIRE_TEST_DATA();
  REQUIRE_ORACLE();
  expect_ids_of_llama_cpp(vocabulary_path(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(All, DifferentialFile, testing::ValuesIn(kVocabularyFiles));

void expect_ids_of_llama_cpp(const VocabularyMaker& maker, Filter keep = is_old) {
  const TemporaryFile file;
  ASSERT_FALSE(static_cast<bool>(write_gguf(maker, file.path)));
  expect_ids_of_llama_cpp(file.path.str().str(), keep);
}

TEST(Differential, Llama3EqualsLlamaCpp) {
  REQUIRE_TEST_DATA();
  REQUIRE_ORACLE();
  expect_ids_of_llama_cpp(llama3());
}

TEST(Differential, Qwen2EqualsLlamaCpp) {
  REQUIRE_TEST_DATA();
  REQUIRE_ORACLE();
  expect_ids_of_llama_cpp(qwen2());
}

class DifferentialFamily : public testing::TestWithParam<const char*> {};

TEST_P(DifferentialFamily, EqualsLlamaCpp) {
  REQUIRE_ORACLE();
  const std::string name = GetParam();
  VocabularyMaker maker = bytes_vocabulary(name);
  // Any two bytes of a word merge, so that ids show where words begin and end.
  for (int left = 0; left < 256; ++left) {
    for (int right = 0; right < 256; ++right) {
      const std::string first = letters_of(std::string(1, static_cast<char>(left)));
      const std::string second = letters_of(std::string(1, static_cast<char>(right)));
      maker.merges.push_back(first + " " + second);
      maker.add(first + second, kNormal);
    }
  }
  const uint32_t begin = maker.add("<|begin|>", kControl);
  maker.add("<|im_end|>", kControl);
  maker.add("<tool>", kUserDefined);
  maker.more_keys = [=](gguf::Writer& writer) {
    writer.set_u32("tokenizer.ggml.bos_token_id", begin);
    writer.set_u32("tokenizer.ggml.eos_token_id", begin);
  };
  expect_ids_of_llama_cpp(maker, filter_of(name));
}

INSTANTIATE_TEST_SUITE_P(All, DifferentialFamily,
                         testing::Values("default", "gpt-2", "starcoder", "falcon", "llama-bpe",
                                         "dbrx", "qwen2", "qwen35", "tekken", "gpt-4o",
                                         "deepseek-llm", "deepseek-coder", "deepseek-v3",
                                         "bailingmoe", "seed-coder", "minicpm5", "poro-chat",
                                         "viking"));

// Small letters, the mark of spaces and line breaks, and pieces of them with scores that tie.
VocabularyMaker random_spm(uint64_t seed) {
  VocabularyMaker maker = spm_vocabulary();
  std::mt19937_64 random(seed);
  std::vector<std::string> pieces = {"\xe2\x96\x81", "a", "b", "c", "\n", "\xc3\xa9", "."};
  for (const std::string& piece : pieces) maker.add(piece, kNormal, -1000);
  while (pieces.size() < 150) {
    const std::string piece = pieces[random() % pieces.size()] + pieces[random() % pieces.size()];
    if (std::find(pieces.begin(), pieces.end(), piece) != pieces.end()) continue;
    pieces.push_back(piece);
    maker.add(piece, kNormal, -static_cast<float>(random() % 40));
  }
  maker.add("  ", kUserDefined);
  maker.add("<tool>", kUserDefined);
  maker.add("<end_of_turn>", kControl);
  return maker;
}

TEST(Differential, SpmEqualsLlamaCpp) {
  REQUIRE_ORACLE();
  for (const bool add_space_prefix : {true, false}) {  // Gemma: false
    VocabularyMaker maker = random_spm(11 + add_space_prefix);
    maker.more_keys = [&](gguf::Writer& writer) {
      writer.set_bool("tokenizer.ggml.add_space_prefix", add_space_prefix);
    };
    expect_ids_of_llama_cpp(maker);
  }
}

TEST(Differential, Gemma4EqualsLlamaCpp) {
  REQUIRE_ORACLE();
  VocabularyMaker maker = spm_vocabulary();
  maker.model = "gemma4";
  std::mt19937_64 random(5);
  const std::string mark = "\xe2\x96\x81";
  std::vector<std::string> pieces = {mark, "a", "b", "c", "\xc3\xa9", ".", "z"};
  for (const std::string& piece : pieces) {
    if (piece != "z") maker.add(piece, kNormal);  // on the way to a token without being one
  }
  while (maker.merges.size() < 150) {
    const std::string left = pieces[random() % pieces.size()];
    const std::string right = pieces[random() % pieces.size()];
    const std::string piece = left + right;
    if (std::find(pieces.begin(), pieces.end(), piece) != pieces.end()) continue;
    maker.merges.push_back(left + " " + right);
    pieces.push_back(piece);
    if (random() % 8 != 0) maker.add(piece, kNormal);
  }
  for (const char* lines : {"\n", "\n\n", "\n\n\n\n"}) maker.add(lines, kNormal);
  maker.add("<tool>", kUserDefined);
  maker.add("<turn|>", kControl);
  maker.more_keys = [](gguf::Writer& writer) {
    writer.set_u32("tokenizer.ggml.bos_token_id", 1);
    writer.set_u32("tokenizer.ggml.eos_token_id", 2);
    writer.set_bool("tokenizer.ggml.add_bos_token", false);  // without effect
  };
  expect_ids_of_llama_cpp(maker);
}

}  // namespace
}  // namespace jllm::text
