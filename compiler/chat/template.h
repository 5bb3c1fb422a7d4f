// A chat template (Jinja) to a turn grammar, proven: python3 with jinja2 renders the real template,
// and the device's own code must fill in the grammar to the same bytes for every probe.
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <string>

#include "compiler/chat/grammar.h"

namespace jllm::chat {

struct TemplateText {
  std::string jinja;
  std::string bos;  // the tokens' texts
  std::string eos;
};

// Errors: kFailed where python3 or its jinja2 is missing; kUnsupported with the reason where the
// template is no turn grammar.
llvm::Expected<Grammar> reduce_template(const TemplateText& text);

// How many of reduce.py's probes the grammar fills in as the template does; an error names the
// first that differs.
llvm::Expected<uint32_t> prove(const Grammar& grammar, const llvm::json::Array& probes);

// What reduce.py prints for a template: {"grammar", "probes", "tool_probes"} or {"refused"}.
llvm::Expected<llvm::json::Value> run_script(const TemplateText& text);

}  // namespace jllm::chat
