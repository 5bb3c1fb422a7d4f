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

// Llama 3 and its relatives differ in what a letter is and in how digits group.
std::string llama3_like(const std::string& letters, const std::string& digits) {
  return any_case_contractions() + R"(|[^\r\n\p{L}\p{N}]?[)" + letters + "]+|" + digits + "| ?[^" +
         space() + letters + R"(\p{N}]+[\r\n]*|)" + line_breaks() + "|" + spaces();
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

std::vector<std::string> expressions(fb::PreTokenizer kind) {
  switch (kind) {
    case fb::PreTokenizer::None:
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
  }
  return {};
}

// What one call of split() needs besides the compiled expressions.
struct Scratch {
  std::unique_ptr<pcre2_match_data, MatchDataDeleter> data{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_match_context, ContextDeleter> context{pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_jit_stack, JitStackDeleter> jit_stack{
      pcre2_jit_stack_create(32 * 1024, 1024 * 1024, nullptr)};

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
