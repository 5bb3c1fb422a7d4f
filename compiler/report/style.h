// How reports may draw on where they are read.
#pragma once

#include <llvm/Support/raw_ostream.h>

#include <string>

#include "schema/plan_picture.h"

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

using jllm::format_bytes;

}  // namespace jllm::report
