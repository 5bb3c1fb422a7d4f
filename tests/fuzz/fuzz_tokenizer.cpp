// Any bytes as a tokenizer segment: what opens cuts texts and puts them together again.
#include "executor/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace jllm::fuzz {
namespace {

constexpr std::string_view kTexts[] = {"", " ", "Hello, w\xc3\xb6rld 12345 <s></s>  \n\t",
                                       "\xff\xfe\xc0\x80 \xf0\x9f\x98\x80",
                                       "<|im_start|>user\nIt's 3 o'clock<|im_end|>\n"};

void run(const uint8_t* data, size_t size) {
  const AlignedCopy segment(data, size);
  std::string error;
  const auto tokenizer = text::Tokenizer::open(segment.data(), segment.size(), &error);
  JLLM_FUZZ_CHECK(tokenizer != nullptr || !error.empty());
  if (tokenizer == nullptr) return;
  for (const std::string_view text : kTexts) {
    for (const bool parse : {false, true}) {
      text::EncodeOptions options;
      options.parse_special = parse;
      const std::vector<uint32_t> ids = tokenizer->encode(text, options);
      for (const uint32_t id : ids) JLLM_FUZZ_CHECK(id < tokenizer->vocab_size());
      tokenizer->decode(ids, true);
    }
    tokenizer->encode_chat(text, {{0, text.size() / 2}});
  }
  text::StreamDecoder stream(*tokenizer, true);
  const uint32_t ids = tokenizer->vocab_size() < 1000 ? tokenizer->vocab_size() : 1000;
  for (uint32_t id = 0; id < ids; ++id) stream.push(id);
  stream.finish();
  tokenizer->piece(tokenizer->vocab_size(), true);
}

}  // namespace
}  // namespace jllm::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  jllm::fuzz::run(data, size);
  return 0;
}
