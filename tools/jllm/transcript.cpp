#include "tools/jllm/transcript.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "tools/plan_file/replace_file.h"

namespace jllm::tool {
namespace {

using Json = nlohmann::ordered_json;

const char* name_of(ChatRole role) {
  switch (role) {
    case ChatRole::kUser:
      return "user";
    case ChatRole::kAssistant:
      return "assistant";
    case ChatRole::kTool:
      return "tool";
  }
  return "user";
}

Json message_of(const text::Dialogue::Message& message) {
  Json json = {{"role", name_of(message.role)}, {"content", message.text}};
  for (const text::ToolCall& call : message.calls) {
    json["tool_calls"].push_back(
        {{"id", call.id},
         {"type", "function"},
         {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  if (!message.call_id.empty()) json["tool_call_id"] = message.call_id;
  return json;
}

}  // namespace

void save_transcript(const std::string& path, bool replace, OpenPlan& plan,
                     const text::Dialogue& dialogue) {
  if (!replace && access(path.c_str(), F_OK) == 0) {
    throw Failure(kUsage, path + " is there already: choose another name");
  }
  Json json = {{"model", plan.view().plan().model()->name()->str()}, {"messages", Json::array()}};
  if (!dialogue.system.empty()) {
    json["messages"].push_back({{"role", "system"}, {"content", dialogue.system}});
  }
  for (size_t i = 0; i < dialogue.size(); ++i) {
    json["messages"].push_back(message_of(dialogue.message(i)));
  }
  // A model's bytes may be no UTF-8.
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  ReplaceFile file(path);
  file.append(text);
  file.commit();
}

}  // namespace jllm::tool
