// jllm tokenize: the tokens of a text, as ids and as the pieces that they stand for.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/jllm/arguments.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/session.h"

namespace jllm::tool {

int tokenize_command(int argc, char** argv) {
  PlanPaths paths;
  std::string prompt, file;
  bool special = false;
  bool as_json = false;
  Arguments arguments("jllm tokenize PLAN.jllm [-p TEXT | -f FILE] [--special] [--json]",
                      "Shows the tokens of a text, one per line: id and piece.");
  add_plan(&arguments, &paths);
  arguments.text("-p", "--prompt", &prompt, "the text");
  arguments.text("-f", "--file", &file, "read the text from a file (- for standard input)");
  arguments.flag("", "--special", &special,
                 "add the begin token, and read control tokens in the text");
  arguments.flag("", "--json", &as_json, "print {\"tokens\": [...], \"pieces\": [...]}");
  if (!arguments.parse(argc, argv)) return kDone;
  if (!file.empty()) prompt = read_text(file);

  OpenPlan plan(paths);
  const text::Tokenizer& tokenizer = plan.tokenizer();
  const std::vector<uint32_t> ids = tokenizer.encode(prompt, {special, special});
  if (!as_json) {
    for (const uint32_t id : ids) std::printf("%6u  %s\n", id, tokenizer.piece(id, true).c_str());
    return kDone;
  }
  nlohmann::ordered_json document;
  document["tokens"] = ids;
  document["pieces"] = nlohmann::json::array();
  for (const uint32_t id : ids) document["pieces"].push_back(tokenizer.piece(id, true));
  // Pieces may be parts of characters: what is not UTF-8 is replaced.
  std::printf("%s\n",
              document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  return kDone;
}

}  // namespace jllm::tool
