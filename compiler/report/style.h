// How reports may draw on where they are read.
#pragma once

#include <llvm/Support/raw_ostream.h>

#include <string>

namespace jllm::report {

struct Style {
  bool unicode = false;  // block characters in bars
  bool colour = false;   // ANSI escape sequences
};

// Unicode where the locale is UTF-8; colour on a terminal, unless NO_COLOR or TERM=dumb speaks
// against it.
Style detect_style(bool is_terminal);

enum class Tone { kPlain, kDim, kGood, kWarning, kBad, kAccent };

// `text` in the tone's colour, or as it is.
std::string paint(const Style& style, Tone tone, const std::string& text);

// "12.3 MiB"; sizes below 1 MiB in KiB or bytes.
std::string format_bytes(uint64_t bytes);

}  // namespace jllm::report
