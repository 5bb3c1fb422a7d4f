// Text to token ids and back, from the tokenizer segment of a plan. May use the heap.
// Algorithms: SPM (score-ordered merges, byte fallback) and byte-level BPE (rank-ordered merges behind a
// pre-tokenizer regex); GGUF's tokenizer.ggml.* keys are their source.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace jllm::text {

struct EncodeOptions {
  bool add_special = true;    // add BOS/EOS where the model asks for them
  bool parse_special = true;  // control tokens written in the text become their ids
};

class Tokenizer {
 public:
  // Verifies the segment (a FlatBuffer, schema/tokenizer.fbs) and builds the lookup tables. Null on a damaged
  // or unsupported segment, with the reason in *error. The segment must outlive the Tokenizer.
  static std::unique_ptr<Tokenizer> open(const uint8_t* segment, size_t size, std::string* error);
  virtual ~Tokenizer() = default;

  virtual std::vector<uint32_t> encode(std::string_view text, const EncodeOptions& options) const = 0;

  // The bytes that a token stands for; empty for control tokens unless `with_special`. SPM's U+2581 is
  // already a space here. An id >= vocab_size() gives an empty string.
  std::string piece(uint32_t id, bool with_special) const;

  uint32_t vocab_size() const;
  bool is_control(uint32_t id) const;
  bool is_end_of_generation(uint32_t id) const;
  const std::vector<uint32_t>& end_of_generation() const;  // ascending
  int64_t bos() const;                                     // -1 when there is none
  bool adds_bos() const;
  bool strips_leading_space() const;  // SPM with add_space_prefix: a decoded text loses its first space
  // ... the implementation adds what it needs (protected state).
};

// Turns a stream of tokens into a stream of complete UTF-8 sequences. Bytes of an unfinished character are
// held back; bytes that can never become one come out as U+FFFD.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool with_special);
  std::string push(uint32_t id);  // text that is complete now
  std::string finish();           // what is left
};

}  // namespace jllm::text
