#include "tools/jllm/serve/messages.h"

#include <algorithm>
#include <map>

#include "tools/jllm/serve/json_members.h"

namespace jllm::serve {
namespace {

// A string, or parts of {"type": "text", "text": "..."}.
std::string content_of(const Members& message) {
  const Json* content = message.find("content");
  if (content == nullptr) return "";
  const std::string where = message.path("content");
  if (content->is_string()) return content->get<std::string>();
  if (!content->is_array()) refuse(where, "must be a string or an array of text parts");
  std::string text;
  for (size_t i = 0; i < content->size(); ++i) {
    const Members part((*content)[i], where + "[" + std::to_string(i) + "]");
    const std::string type = part.needed_text("type");
    if (type != "text" && type != "refusal") {
      refuse(part.path("type"), "is '" + type + "': this server takes text only",
             "unsupported_value");
    }
    text += part.needed_text(type.c_str());
  }
  return text;
}

text::ToolAnswer answer_of(const Members& message) {
  text::ToolAnswer answer;
  answer.content = content_of(message);
  const Json* calls = message.find("tool_calls");
  if (calls == nullptr) return answer;
  const std::string where = message.path("tool_calls");
  if (!calls->is_array()) refuse(where, "must be an array");
  for (size_t i = 0; i < calls->size(); ++i) {
    const Members call((*calls)[i], where + "[" + std::to_string(i) + "]");
    const Json* function = call.find("function");
    if (function == nullptr) refuse(call.path("function"), "is missing");
    const Members named(*function, call.path("function"));
    const std::string arguments = named.text("arguments", "{}");
    answer.calls.push_back(
        {named.needed_text("name"), arguments.empty() ? "{}" : arguments, call.needed_text("id")});
  }
  return answer;
}

// Reads an answer's results, which may come in any order, in the order of its calls.
class Results {
 public:
  void expect(const std::vector<text::ToolCall>& calls) {
    for (const text::ToolCall& call : calls) ids_.push_back(call.id);
  }
  void add(const std::string& where, const std::string& id, std::string text) {
    if (std::find(ids_.begin(), ids_.end(), id) == ids_.end()) {
      refuse(where, "'" + id + "' is no call of the assistant's message before");
    }
    texts_[id] = std::move(text);
  }
  void give_to(text::Dialogue* dialogue) {
    for (const std::string& id : ids_) {
      const auto text = texts_.find(id);
      if (text == texts_.end()) refuse("messages", "lack the result of the call '" + id + "'");
      dialogue->add_result(text->second);
    }
    ids_.clear();
    texts_.clear();
  }

 private:
  std::vector<std::string> ids_;
  std::map<std::string, std::string> texts_;
};

// What the request says of calls.
struct ToolChoice {
  bool none = false, forced = false;
  std::string name;  // of the function that must be called; empty: any
};

ToolChoice choice_of(const Members& members, bool any_tools) {
  ToolChoice choice;
  const Json* value = members.find("tool_choice");
  if (value == nullptr) return choice;
  if (value->is_string()) {
    const std::string word = value->get<std::string>();
    if (word != "auto" && word != "none" && word != "required") {
      refuse("tool_choice", "must be auto, none, required or a function");
    }
    choice.none = word == "none";
    choice.forced = word == "required";
  } else {
    const Members named(*value, "tool_choice");
    if (named.needed_text("type") != "function") {
      refuse(named.path("type"), "must be 'function'", "unsupported_value");
    }
    const Json* function = named.find("function");
    if (function == nullptr) refuse(named.path("function"), "is missing");
    choice.forced = true;
    choice.name = Members(*function, named.path("function")).needed_text("name");
  }
  if (!any_tools && !choice.none) refuse("tool_choice", "goes with tools only");
  return choice;
}

}  // namespace

void read_messages(const Members& members, text::Dialogue* dialogue) {
  const Json* messages = members.find("messages");
  if (messages == nullptr) refuse("messages", "is missing");
  if (!messages->is_array() || messages->empty()) refuse("messages", "must be an array, not empty");
  Results results;
  for (size_t i = 0; i < messages->size(); ++i) {
    const std::string where = "messages[" + std::to_string(i) + "]";
    const Members message((*messages)[i], where);
    const std::string role = message.needed_text("role");
    if (role == "tool") {
      results.add(where + ".tool_call_id", message.needed_text("tool_call_id"),
                  content_of(message));
      continue;
    }
    results.give_to(dialogue);
    if (role == "user") {
      dialogue->add_user(content_of(message));
    } else if (role == "assistant") {
      const text::ToolAnswer answer = answer_of(message);
      dialogue->add_answer(answer);
      results.expect(answer.calls);
    } else if (role == "system" || role == "developer") {
      if (dialogue->size() > 0) {
        refuse(where + ".role",
               "is '" + role + "': such a message may only stand at the beginning");
      }
      const std::string text = content_of(message);
      dialogue->system += (dialogue->system.empty() || text.empty() ? "" : "\n\n") + text;
    } else {
      refuse(where + ".role", "is '" + role + "', none of system, user, assistant and tool");
    }
  }
  results.give_to(dialogue);
}

void read_tools(const Members& members, const RequestDefaults& defaults, ChatRequest* request) {
  const Json* kwargs = members.find("chat_template_kwargs");  // as vLLM and llama.cpp call it
  if (kwargs != nullptr) {
    const Members named(*kwargs, "chat_template_kwargs");
    if (named.find("enable_thinking") != nullptr) {
      request->dialogue.thinking =
          named.flag("enable_thinking", true) ? Thinking::kOn : Thinking::kOff;
    }
  }
  if (members.find("functions") != nullptr) {
    refuse("functions", "is of an older form of the API; say tools", "unsupported_parameter");
  }
  const Json* tools = members.find("tools");
  if (tools != nullptr && !tools->is_array()) refuse("tools", "must be an array");
  const bool any = tools != nullptr && !tools->empty();
  const ToolChoice choice = choice_of(members, any);
  if (!any || choice.none) return;
  if (!defaults.tools) {
    refuse("tools", "are not covered by the plan's chat format: " + defaults.no_tools_because,
           "unsupported_parameter");
  }
  Json wanted = Json::array();
  for (size_t i = 0; i < tools->size(); ++i) {
    const Members tool((*tools)[i], "tools[" + std::to_string(i) + "]");
    if (tool.needed_text("type") != "function") refuse(tool.path("type"), "must be 'function'");
    const Json* function = tool.find("function");
    if (function == nullptr) refuse(tool.path("function"), "is missing");
    const Members named(*function, tool.path("function"));
    const std::string name = named.needed_text("name");
    if (name.empty()) refuse(named.path("name"), "is empty");
    if (choice.name.empty() || choice.name == name) wanted.push_back(*function);
  }
  request->dialogue.tools = dump(*tools);
  if (!choice.forced) return;
  if (wanted.empty()) {
    refuse("tool_choice", "names '" + choice.name + "', which is none of the tools");
  }
  request->form = CompletionRequest::Form::kToolCall;
  request->functions = dump(wanted);
}

}  // namespace jllm::serve
