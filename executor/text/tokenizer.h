// Text to token ids and back, from the tokenizer segment of a plan. May use the heap.
// Algorithms: SPM (score-ordered merges, byte fallback) and byte-level BPE (rank-ordered merges
// behind a pre-tokenizer regex); GGUF's tokenizer.ggml.* keys are their source.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "schema/chat_format.h"

namespace jllm::text {

class SpecialMatcher;
struct SpecialMatch;
class Vocabulary;

struct EncodeOptions {
  bool add_special = true;    // add BOS/EOS where the model asks for them
  bool parse_special = true;  // control tokens written in the text become their ids
};

// Immutable once open: any number of threads may use one Tokenizer.
class Tokenizer {
 public:
  // Verifies the segment (a FlatBuffer, schema/tokenizer.fbs) and builds the lookup tables. Null on
  // a damaged or unsupported segment, with the reason in *error. The segment must outlive the
  // Tokenizer and stand at a multiple of 8 bytes.
  static std::unique_ptr<Tokenizer> open(const uint8_t* segment, size_t size, std::string* error);
  virtual ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // What is not UTF-8 in `text` is read as U+FFFD. `text` is shorter than 4 GiB.
  std::vector<uint32_t> encode(std::string_view text, const EncodeOptions& options) const;

  // A rendered conversation (render_chat): control tokens become their ids only where they lie
  // wholly in one of the `trusted` stretches, which ascend. BOS is added where the model asks for
  // it and the text does not begin with it.
  std::vector<uint32_t> encode_chat(std::string_view text,
                                    const std::vector<TextRange>& trusted) const;

  // The bytes that a token stands for; empty for control tokens unless `with_special`. SPM's U+2581
  // is already a space here. An id >= vocab_size() gives an empty string.
  std::string piece(uint32_t id, bool with_special) const;

  // The bytes of a whole text: its pieces, without the space that SPM put before the text. They are
  // valid UTF-8 only if the tokens are; StreamDecoder sees to that.
  std::string decode(const std::vector<uint32_t>& ids, bool with_special) const;

  uint32_t vocab_size() const;
  bool is_control(uint32_t id) const;
  bool is_end_of_generation(uint32_t id) const;
  const std::vector<uint32_t>& end_of_generation() const;  // ascending
  int64_t bos() const;                                     // -1 when there is none
  bool adds_bos() const;
  bool strips_leading_space()
      const;  // SPM with add_space_prefix: a decoded text loses its first space

 protected:
  // A stretch of the text between special tokens, or one special token.
  struct Fragment {
    std::string_view text;
    uint32_t token;       // kNone for a stretch of text
    bool behind_special;  // at the start of the text or behind a special token
  };

  explicit Tokenizer(std::unique_ptr<const Vocabulary> vocabulary);
  virtual void encode_fragments(const std::vector<Fragment>& fragments,
                                std::vector<uint32_t>* ids) const = 0;
  const Vocabulary& vocabulary() const { return *vocabulary_; }

 private:
  std::vector<Fragment> split(std::string_view text, const std::vector<TextRange>& trusted) const;
  bool find_special(std::string_view text, size_t from, const std::vector<TextRange>& trusted,
                    SpecialMatch* match) const;

  std::unique_ptr<const Vocabulary> vocabulary_;
  std::unique_ptr<const SpecialMatcher> all_specials_;
  std::unique_ptr<const SpecialMatcher> user_defined_;
  std::vector<uint32_t> end_of_generation_;
};

// Turns a stream of tokens into a stream of complete UTF-8 sequences. Bytes of an unfinished
// character are held back; bytes that can never become one come out as U+FFFD. The Tokenizer must
// outlive it.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool with_special);
  std::string push(uint32_t id);  // text that is complete now
  std::string finish();           // what is left

 private:
  const Tokenizer& tokenizer_;
  bool with_special_;
  std::string held_;  // the beginning of an unfinished character, 0 to 3 bytes
};

}  // namespace jllm::text
