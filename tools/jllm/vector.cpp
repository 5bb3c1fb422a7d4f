// jllm vector: the embeddings of texts, by a plan that makes some.
#include <algorithm>
#include <cstdio>

#include "tools/jllm/arguments.h"
#include "tools/jllm/care.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/embedding_vector.h"
#include "tools/jllm/generation.h"
#include "tools/jllm/session.h"

namespace jllm::tool {
namespace {

struct VectorOptions {
  PlanPaths plan;
  std::string prompt, file;
  bool lines = false, as_json = false;
  uint64_t dimensions = 0;
  DeviceOptions device;
  CareOptions care;
};

bool parse(int argc, char** argv, VectorOptions* o) {
  Arguments a("jllm vector PLAN.jllm (-p TEXT | -f FILE) [--lines] [--json] [options]",
              "Prints the embedding of a text, scaled to the length 1: its numbers on one line.\n"
              "The plan is one of jllmc compile --embedding last, or of a model made for it.");
  add_plan(&a, &o->plan);
  a.text("-p", "--prompt", &o->prompt, "the text");
  a.text("-f", "--file", &o->file, "read the text from a file (- for standard input)");
  a.flag("", "--lines", &o->lines, "each line that is not empty is a text of its own");
  a.integer("", "--dimensions", &o->dimensions, UINT32_MAX,
            "keep so many numbers only, scaled anew, of a model that was trained for that");
  a.flag("", "--json", &o->as_json, "print an array of arrays");
  add_options(&a, &o->device);
  add_options(&a, &o->care);
  if (!a.parse(argc, argv)) return false;
  if (o->prompt.empty() == o->file.empty()) throw Failure(kUsage, "give either -p TEXT or -f FILE");
  if (!o->file.empty()) o->prompt = read_text(o->file);
  return true;
}

std::vector<std::string> texts_of(const VectorOptions& o) {
  if (!o.lines) return {o.prompt};
  std::vector<std::string> texts;
  for (size_t begin = 0; begin < o.prompt.size();) {
    const size_t end = std::min(o.prompt.find('\n', begin), o.prompt.size());
    if (end > begin) texts.push_back(o.prompt.substr(begin, end - begin));
    begin = end + 1;
  }
  return texts;
}

std::vector<float> vector_of(const std::string& text, const VectorOptions& o, OpenPlan& plan,
                             Session& session) {
  const std::vector<uint32_t> tokens = plan.tokenizer().encode(text, {true, true});
  const fb::Model& model = *plan.view().plan().model();
  if (tokens.empty() || tokens.size() > model.context()) {
    throw Failure(kUsage, "a text has " + std::to_string(tokens.size()) +
                              " tokens, the plan's context takes 1 to " +
                              std::to_string(model.context()) +
                              "; compile with a larger --context");
  }
  Executor& executor = session.executor();
  std::vector<float> vector(model.embedding_length());
  session.check(executor.rewind(0));
  session.check(executor.prefill(tokens.data(), static_cast<uint32_t>(tokens.size())));
  session.check(executor.embedding(vector.data(), model.embedding_length()));
  if (!normalise(&vector, static_cast<uint32_t>(o.dimensions))) {
    throw Failure(kFailed, "the model made a vector of zeros or of no numbers");
  }
  return vector;
}

}  // namespace

int vector_command(int argc, char** argv) {
  VectorOptions options;
  if (!parse(argc, argv, &options)) return kDone;
  OpenPlan plan(options.plan);
  if (!makes_embeddings(plan.view().plan())) {
    throw Failure(kUnsupported, plan.path() +
                                    ": the plan makes text, no embeddings: compile the model with "
                                    "--embedding last");
  }
  const uint32_t length = plan.view().plan().model()->embedding_length();
  if (options.dimensions > length) {
    throw Failure(kUsage, "--dimensions " + std::to_string(options.dimensions) +
                              ": the vectors have " + std::to_string(length));
  }
  platform::Guard guard = make_guard(options.care);
  require_room(guard, options.care, plan);
  Session session(plan, executor_options(options.device));
  const char* separator = options.as_json ? "[" : "";
  for (const std::string& text : texts_of(options)) {
    if (!may_go_on(&guard)) throw Failure(kFailed, "the system's memory is below --memory-floor");
    std::string line = separator;
    if (options.as_json) line += '[';
    append_numbers(vector_of(text, options, plan, session), options.as_json ? ',' : ' ', &line);
    line += options.as_json ? "]" : "\n";
    std::fwrite(line.data(), 1, line.size(), stdout);
    if (options.as_json) separator = ",\n";
  }
  if (options.as_json) std::fputs(*separator == '[' ? "[]\n" : "]\n", stdout);
  return kDone;
}

}  // namespace jllm::tool
