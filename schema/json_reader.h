// A cursor over JSON text that takes nothing apart but what it is asked for. Allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace jllm {

class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}

  // Past white space: whether `word` comes next; then the cursor goes behind it.
  bool take(std::string_view word);
  // The next character, 0 at the end.
  char peek();
  bool at_end() { return peek() == 0 && at_ == text_.size(); }
  size_t position() {
    peek();
    return at_;
  }
  std::string_view from(size_t begin) const { return text_.substr(begin, at_ - begin); }

  // A value of any kind; false where there is none.
  bool skip_value(int depth = 0);
  // A number's own text; empty where there is none.
  std::string_view number();

  // A string with its escapes resolved: put(std::string_view) gets it in pieces and returns false
  // to stop. False where there is none.
  template <class Put>
  bool string(Put&& put) {
    if (!take("\"")) return false;
    char room[4];
    for (std::string_view piece; next_piece(room, &piece);) {
      if (piece.empty()) return true;
      if (!put(piece)) return false;
    }
    return false;
  }

 private:
  // A stretch of a string, or one resolved escape in `room`; empty behind the closing quote. False
  // where the text is no JSON.
  bool next_piece(char* room, std::string_view* piece);
  bool skip_list(char end, bool has_names, int depth);
  size_t skip_digits();
  bool one_of(const char* letters);
  bool hex4(uint32_t* value);
  bool escaped_code_point(uint32_t* code);

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace jllm
