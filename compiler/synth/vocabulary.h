// Synthetic but valid vocabularies of any size, in the structure of GGUF's tokenizer metadata.
// Every token is reachable: encoding its text gives exactly that token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace jllm::synth {

struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;       // 1 normal, 2 unknown, 3 control, 6 byte
  std::vector<float> scores;        // SPM only
  std::vector<std::string> merges;  // BPE only
  uint32_t bos = 0;
  uint32_t eos = 0;
};

// Sizes from which a vocabulary can be made. The upper bound is what pairs of syllables can fill.
constexpr uint32_t kMinVocabulary = 512;
constexpr uint32_t kMaxVocabulary = 400000;

// Byte-level BPE ('gpt2'): 256 byte tokens, merged tokens, control tokens with `control_names`
// first.
Vocabulary make_bpe_vocabulary(uint32_t size, const std::vector<std::string>& control_names,
                               uint32_t bos, uint32_t eos);

// SentencePiece ('llama'): <unk> <s> </s>, byte tokens, merged tokens, single characters, control
// tokens with `control_names`.
Vocabulary make_spm_vocabulary(uint32_t size, const std::vector<std::string>& control_names = {});

}  // namespace jllm::synth
