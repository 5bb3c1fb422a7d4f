#include "compiler/report/style.h"

#include <llvm/ADT/StringRef.h>

#include <cstdlib>

namespace jllm::report {
namespace {

llvm::StringRef environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// The first of the variables that is set decides, as in setlocale().
bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string value = environment(name).lower();
    if (value.empty()) continue;
    return value.find("utf-8") != std::string::npos || value.find("utf8") != std::string::npos;
  }
  return false;
}

const char* escape_sequence(Tone tone) {
  switch (tone) {
    case Tone::kPlain:
      return "";
    case Tone::kDim:
      return "\x1b[2m";
    case Tone::kGood:
      return "\x1b[32m";
    case Tone::kWarning:
      return "\x1b[33m";
    case Tone::kBad:
      return "\x1b[31m";
    case Tone::kAccent:
      return "\x1b[36m";
  }
  return "";
}

}  // namespace

Style detect_style(bool is_terminal) {
  Style style;
  style.unicode = locale_is_utf8();
  style.colour = is_terminal && environment("NO_COLOR").empty() && environment("TERM") != "dumb";
  return style;
}

std::string paint(const Style& style, Tone tone, const std::string& text) {
  if (!style.colour || tone == Tone::kPlain) return text;
  return escape_sequence(tone) + text + "\x1b[0m";
}

}  // namespace jllm::report
