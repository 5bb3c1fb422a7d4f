#include "compiler/synth/tokenizers.h"

#include <string>
#include <vector>

#include "compiler/synth/vocabulary.h"

namespace jllm::synth {
namespace {

struct BpeFamily {
  const char* pre;
  std::vector<std::string> controls;  // the first control tokens, in order; reserved ones follow
  size_t control_count;
  uint32_t bos, eos;  // indices of controls
  bool add_bos;
  bool add_eos = false;
};

const char* kReserved = "";  // a place among named controls

BpeFamily bpe_family(Tokenizer tokenizer, uint32_t vocab_size) {
  // A small vocabulary cannot give up as many tokens as the real ones reserve.
  const auto at_most = [&](size_t count) { return vocab_size < 4 * count ? size_t{16} : count; };
  const std::vector<std::string> chat_ml = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  switch (tokenizer) {
    case Tokenizer::kQwenBpe:
      return {"qwen2", chat_ml, 17, 0, 2, false};
    case Tokenizer::kQwenEmbeddingBpe:
      return {"qwen2", chat_ml, 17, 0, 0, false, true};
    case Tokenizer::kStableLmBpe:
      return {"stablelm2", chat_ml, 17, 0, 0, false};
    case Tokenizer::kPhi4Bpe:
      return {"dbrx", chat_ml, 17, 0, 2, false};
    case Tokenizer::kGpt4oBpe:
      return {"gpt-4o", {"<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"},
              17,       0,
              4,        false};
    case Tokenizer::kTekkenBpe:
      return {"tekken", {"<unk>", "<s>", "</s>", "[INST]", "[/INST]"}, at_most(1000), 1, 2, true};
    case Tokenizer::kLlamaBpe:
      return {"llama-bpe",
              {"<|begin_of_text|>", "<|end_of_text|>", kReserved, kReserved, kReserved, kReserved,
               "<|start_header_id|>", "<|end_header_id|>", kReserved, "<|eot_id|>"},
              at_most(256),
              0,
              9,
              true};
    default:
      return {"smollm", chat_ml, 17, 1, 2, false};
  }
}

std::vector<std::string> control_names(const BpeFamily& family) {
  std::vector<std::string> names = family.controls;
  names.resize(family.control_count, kReserved);
  size_t reserved = 0;
  for (std::string& name : names) {
    if (name == kReserved) {
      name = "<|reserved_special_token_" + std::to_string(reserved++) + "|>";
    }
  }
  return names;
}

// The control tokens behind <unk>, <s> and </s>.
std::vector<std::string> spm_controls(Tokenizer tokenizer) {
  switch (tokenizer) {
    case Tokenizer::kPhi3Spm:
      return {"<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"};
    case Tokenizer::kGemmaSpm:
      return {"<start_of_turn>", "<end_of_turn>"};
    default:
      return {};
  }
}

bool is_spm(Tokenizer tokenizer) {
  return tokenizer == Tokenizer::kSpm || tokenizer == Tokenizer::kPhi3Spm ||
         tokenizer == Tokenizer::kGemmaSpm;
}

void set_common(const Vocabulary& vocabulary, bool add_bos, gguf::Writer& writer) {
  writer.set_string_array("tokenizer.ggml.tokens", vocabulary.tokens);
  writer.set_i32_array("tokenizer.ggml.token_type", vocabulary.types);
  writer.set_u32("tokenizer.ggml.bos_token_id", vocabulary.bos);
  writer.set_u32("tokenizer.ggml.eos_token_id", vocabulary.eos);
  writer.set_bool("tokenizer.ggml.add_bos_token", add_bos);
}

}  // namespace

void set_tokenizer(Tokenizer tokenizer, uint32_t vocab_size, gguf::Writer& writer) {
  if (is_spm(tokenizer)) {
    const Vocabulary vocabulary = make_spm_vocabulary(vocab_size, spm_controls(tokenizer));
    writer.set_string("tokenizer.ggml.model", "llama");
    writer.set_string("tokenizer.ggml.pre", "default");
    set_common(vocabulary, true, writer);
    writer.set_f32_array("tokenizer.ggml.scores", vocabulary.scores);
    writer.set_u32("tokenizer.ggml.unknown_token_id", 0);
    if (tokenizer == Tokenizer::kGemmaSpm) {
      writer.set_bool("tokenizer.ggml.add_space_prefix", false);
    }
    return;
  }
  const BpeFamily family = bpe_family(tokenizer, vocab_size);
  const Vocabulary vocabulary =
      make_bpe_vocabulary(vocab_size, control_names(family), family.bos, family.eos);
  writer.set_string("tokenizer.ggml.model", "gpt2");
  writer.set_string("tokenizer.ggml.pre", family.pre);
  set_common(vocabulary, family.add_bos, writer);
  if (family.add_eos) writer.set_bool("tokenizer.ggml.add_eos_token", true);
  writer.set_string_array("tokenizer.ggml.merges", vocabulary.merges);
}

}  // namespace jllm::synth
