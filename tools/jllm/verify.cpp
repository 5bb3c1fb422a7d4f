// jllm verify: whether a plan, and the weight file that it names, are whole.
#include <cinttypes>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/jllm/arguments.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/session.h"

namespace jllm::tool {

int verify_command(int argc, char** argv) {
  PlanPaths paths;
  bool as_json = false;
  Arguments arguments("jllm verify PLAN.jllm [--weights FILE] [--trusted-key FILE] [--json]",
                      "Reads all of a plan and of the weight file that it names and compares every "
                      "SHA-256.\nWith --trusted-key it must also be signed with that key.");
  add_plan(&arguments, &paths);
  arguments.flag("", "--json", &as_json, "print one JSON document");
  if (!arguments.parse(argc, argv)) return kDone;
  PlanFile plan(paths);
  plan.verify();
  const fb::WeightFile* weights = plan.view().plan().weight_file();
  const bool is_signed = plan.signature().has_value();
  if (as_json) {
    nlohmann::ordered_json document;
    document["plan"] = plan.path();
    document["plan_bytes"] = plan.view().prefix().file_size;
    if (weights != nullptr) {
      document["weight_file"] = plan.weights_path();
      document["weight_file_bytes"] = weights->size();
    }
    document["segments"] = plan.view().plan().segments()->size();
    document["signed"] = is_signed;
    document["signature_trusted"] = !paths.trusted_key.empty();
    std::printf("%s\n",
                document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return kDone;
  }
  std::printf("%s: whole, %u segments, %s\n", plan.path().c_str(),
              plan.view().plan().segments()->size(),
              !is_signed                  ? "not signed"
              : paths.trusted_key.empty() ? "signed (--trusted-key FILE checks by whom)"
                                          : "signed with a trusted key");
  if (weights != nullptr) {
    std::printf("%s: whole, %" PRIu64 " bytes\n", plan.weights_path().c_str(), weights->size());
  }
  return kDone;
}

}  // namespace jllm::tool
