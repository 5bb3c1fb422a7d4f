// Cuts a text into words by the regular expressions of a BPE model, through PCRE2.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "schema/tokenizer_generated.h"

namespace jllm::text {

class PreTokenizer {
 public:
  // Null with the reason in *error when PCRE2 cannot compile an expression of `kind`.
  static std::unique_ptr<PreTokenizer> create(fb::PreTokenizer kind, std::string* error);
  ~PreTokenizer();
  PreTokenizer(const PreTokenizer&) = delete;
  PreTokenizer& operator=(const PreTokenizer&) = delete;

  // Replaces *words by views of `text` (valid UTF-8) that together are all of it.
  void split(std::string_view text, std::vector<std::string_view>* words) const;

 private:
  struct Impl;
  explicit PreTokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace jllm::text
