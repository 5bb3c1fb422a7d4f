// The expressions of each family and their application: every expression in turn splits each word
// into its matches and what lies between them.
#include "executor/text/pretokenizer.h"

#include <pcre2.h>

#include <utility>

namespace jllm::text {
namespace {

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchDataDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct ContextDeleter {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct JitStackDeleter {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};
using Code = std::unique_ptr<pcre2_code, CodeDeleter>;

// Pieces of the expressions.
// White space as Unicode defines it; PCRE2's own \s also takes U+180E, which the models' \s does
// not.
std::string space() { return R"(\t-\r\x{85}\p{Z})"; }
std::string line_breaks() { return "[" + space() + R"(]*[\r\n]+)"; }
std::string spaces() { return "[" + space() + "]+(?![^" + space() + "])|[" + space() + "]+"; }
std::string contractions() { return "'s|'t|'re|'ve|'m|'ll|'d"; }
std::string any_case_contractions() { return "(?i:" + contractions() + ")"; }

std::string gpt2() {
  return contractions() + R"(| ?\p{L}+| ?\p{N}+| ?[^)" + space() + R"(\p{L}\p{N}]+|)" + spaces();
}

// Llama 3 and its relatives differ in what a letter is, in how digits group, and in what
// punctuation takes along.
std::string llama3_like(const std::string& letters, const std::string& digits,
                        const std::string& behind_punctuation = R"([\r\n]*)") {
  return any_case_contractions() + R"(|[^\r\n\p{L}\p{N}]?[)" + letters + "]+|" + digits + "| ?[^" +
         space() + letters + R"(\p{N}]+)" + behind_punctuation + "|" + line_breaks() + "|" +
         spaces();
}

// Tekken and gpt-4o also end a word where upper case follows lower case.
std::string tekken_like(const std::string& suffix, const std::string& digits) {
  const std::string prefix = R"([^\r\n\p{L}\p{N}]?)";
  const std::string upper = R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])";
  const std::string lower = R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])";
  return prefix + upper + "*" + lower + "+" + suffix + "|" + prefix + upper + "+" + lower + "*" +
         suffix + "|" + digits + "| ?[^" + space() + R"(\p{L}\p{N}]+[\r\n/]*|)" + line_breaks() +
         "|" + spaces();
}

// DeepSeek LLM lists its letters instead of naming a category, and cuts other words at ideographs,
// kana and syllables.
std::string listed_letters() {
  return R"(A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293})"
         R"(\x{295}-\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a})"
         R"(\x{38c}\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556})"
         R"(\x{10a0}-\x{10c5}\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf})"
         R"(\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d})"
         R"(\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d})"
         R"(\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4})"
         R"(\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4})"
         R"(\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124})"
         R"(\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f})"
         R"(\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4})"
         R"(\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d}\x{a680}-\x{a69b}\x{a722}-\x{a76f})"
         R"(\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17})"
         R"(\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3})"
         R"(\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df})"
         R"(\x{1e900}-\x{1e943})";
}
std::string east_asian() { return R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)"; }

std::vector<std::string> deepseek_llm() {
  const std::string blank = "[" + space() + "]";
  return {
      R"([\r\n])", blank + "?[" + listed_letters() + "]+",
      blank + R"(?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)",
      // The published \s+$, but tried once per run: in vain at every space takes quadratic time.
      "(?<!" + blank + ")" + blank + "++$", east_asian(), R"(\p{N}+)"};
}

std::vector<std::string> deepseek_coder() {
  const std::string blank = "[" + space() + "]";
  return {R"([\r\n])", blank + R"(?\p{L}+)", blank + R"(?\p{P}+)", east_asian(), R"(\p{N})"};
}

std::vector<std::string> deepseek_v3() {
  return {R"(\p{N}{1,3})", R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)",
          R"([!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"
          R"( ?[\p{P}\p{S}]+[\r\n]*|)" +
              line_breaks() + "|" + spaces()};
}

std::string poro() {
  return " ?[^(" + space() + R"(|.,!?\x{2026}\x{3002}\x{ff0c}\x{3001}\x{964}\x{6d4}\x{60c})]+)";
}

std::vector<std::string> expressions(fb::PreTokenizer kind) {
  switch (kind) {
    case fb::PreTokenizer::None:
    case fb::PreTokenizer::Lines:
      break;
    case fb::PreTokenizer::Default:
      return {R"([\p{P}$+<=>^~|]+)", gpt2(), R"(\p{N}+)", "[0-9][0-9][0-9]"};
    case fb::PreTokenizer::Gpt2:
      return {gpt2()};
    case fb::PreTokenizer::StarCoder:
      return {R"(\p{N})", gpt2()};
    case fb::PreTokenizer::Falcon:
      return {R"([\p{P}$+<=>^~|`]+)", gpt2(), "[0-9][0-9][0-9]"};
    case fb::PreTokenizer::Llama3:
      return {llama3_like(R"(\p{L})", R"(\p{N}{1,3})")};
    case fb::PreTokenizer::Qwen2:
      return {llama3_like(R"(\p{L})", R"(\p{N})")};
    case fb::PreTokenizer::Qwen35:
      return {llama3_like(R"(\p{L}\p{M})", R"(\p{N})")};
    case fb::PreTokenizer::Tekken:
      return {tekken_like("", R"(\p{N})")};
    case fb::PreTokenizer::Gpt4o:
      return {tekken_like(any_case_contractions() + "?", R"(\p{N}{1,3})")};
    case fb::PreTokenizer::DeepSeekLlm:
      return deepseek_llm();
    case fb::PreTokenizer::DeepSeekCoder:
      return deepseek_coder();
    case fb::PreTokenizer::DeepSeekV3:
      return deepseek_v3();
    case fb::PreTokenizer::SeedCoder:
      return {llama3_like(R"(\p{L})", R"(\p{N})", "")};
    case fb::PreTokenizer::MiniCpm5:
      return {R"(\p{N}{1,3})", llama3_like(R"(\p{L})", R"(\p{N}+)")};
    case fb::PreTokenizer::Poro:
      return {poro()};
    case fb::PreTokenizer::Viking:
      return {poro(), R"(\p{N})"};
  }
  return {};
}

// What one call of split() needs besides the compiled expressions.
struct Scratch {
  std::unique_ptr<pcre2_match_data, MatchDataDeleter> data{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_match_context, ContextDeleter> context{pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_jit_stack, JitStackDeleter> jit_stack{
      pcre2_jit_stack_create(size_t{32} << 10, size_t{1} << 20, nullptr)};

  Scratch() {
    if (context && jit_stack) pcre2_jit_stack_assign(context.get(), nullptr, jit_stack.get());
  }
};

// The next non-empty match at or behind `from`. A match that PCRE2 gives up on counts as none: the
// rest of the text stays one word then, and every byte of it is still encoded.
bool find_match(const pcre2_code* code, const Scratch& scratch, std::string_view text, size_t from,
                std::pair<size_t, size_t>* match) {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
  int count = pcre2_match(code, subject, text.size(), from, options, scratch.data.get(),
                          scratch.context.get());
  if (count == PCRE2_ERROR_JIT_STACKLIMIT) {
    count = pcre2_match(code, subject, text.size(), from, options | PCRE2_NO_JIT,
                        scratch.data.get(), scratch.context.get());
  }
  if (count < 0) return false;
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(scratch.data.get());
  *match = {bounds[0], bounds[1]};
  return true;
}

void split_word(const pcre2_code* code, const Scratch& scratch, std::string_view word,
                std::vector<std::string_view>* words) {
  size_t at = 0;
  std::pair<size_t, size_t> match;
  while (at < word.size() && find_match(code, scratch, word, at, &match)) {
    if (match.first > at) words->push_back(word.substr(at, match.first - at));
    words->push_back(word.substr(match.first, match.second - match.first));
    at = match.second;
  }
  if (at < word.size()) words->push_back(word.substr(at));
}

}  // namespace

struct PreTokenizer::Impl {
  std::vector<Code> codes;
};

PreTokenizer::PreTokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PreTokenizer::~PreTokenizer() = default;

std::unique_ptr<PreTokenizer> PreTokenizer::create(fb::PreTokenizer kind, std::string* error) {
  auto impl = std::make_unique<Impl>();
  for (const std::string& expression : expressions(kind)) {
    int code = 0;
    PCRE2_SIZE offset = 0;
    Code compiled(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                                PCRE2_UTF | PCRE2_UCP, &code, &offset, nullptr));
    if (compiled == nullptr) {
      *error = "PCRE2 " + std::to_string(PCRE2_MAJOR) + "." + std::to_string(PCRE2_MINOR) +
               " rejects the expression " + expression + " (error " + std::to_string(code) +
               "); build with PCRE2 that has Unicode support";
      return nullptr;
    }
    // Where code may not be generated at run time, PCRE2 interprets the expression instead.
    static_cast<void>(pcre2_jit_compile(compiled.get(), PCRE2_JIT_COMPLETE));
    impl->codes.push_back(std::move(compiled));
  }
  return std::unique_ptr<PreTokenizer>(new PreTokenizer(std::move(impl)));
}

void PreTokenizer::split(std::string_view text, std::vector<std::string_view>* words) const {
  words->assign(1, text);
  const Scratch scratch;
  if (!scratch.data) return;  // out of memory: one long word is still correct input for merging
  std::vector<std::string_view> parts;
  for (const Code& code : impl_->codes) {
    parts.clear();
    for (const std::string_view word : *words) split_word(code.get(), scratch, word, &parts);
    words->swap(parts);
  }
}

}  // namespace jllm::text
