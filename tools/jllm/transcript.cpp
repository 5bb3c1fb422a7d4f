#include "tools/jllm/transcript.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

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

Failure failure_of(const std::string& path) {
  return Failure(kFailed, path + ": " + std::strerror(errno));
}

void write_whole(const std::string& path, const std::string& text) {
  std::FILE* file = std::fopen(path.c_str(), "wx");
  if (file == nullptr) throw failure_of(path);
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size() &&
                       std::fflush(file) == 0 && fsync(fileno(file)) == 0;
  const int reason = errno;
  std::fclose(file);
  if (written) return;
  std::remove(path.c_str());
  errno = reason;
  throw failure_of(path);
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
  const std::string temporary = path + "." + std::to_string(getpid());
  write_whole(temporary, text);
  if (std::rename(temporary.c_str(), path.c_str()) == 0) return;
  const Failure failure = failure_of(path);
  std::remove(temporary.c_str());
  throw failure;
}

}  // namespace jllm::tool
