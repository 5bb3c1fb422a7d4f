// jllm: replays compiled plans on the device.
#include <cstdio>
#include <cstring>
#include <exception>

#include "jllm_version.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/session.h"

namespace {

struct Command {
  const char* name;
  int (*run)(int argc, char** argv);
  const char* help;
};

constexpr Command kCommands[] = {
    {"run", jllm::tool::run_command, "continue a prompt"},
    {"chat", jllm::tool::chat_command, "talk with a model, several turns"},
#ifdef JLLM_SERVE
    {"serve", jllm::tool::serve_command, "a model behind OpenAI's HTTP API"},
    {"health", jllm::tool::health_command, "how a server of `jllm serve` is"},
#endif
    {"bench", jllm::tool::bench_command, "time prompts and generation"},
    {"eval", jllm::tool::eval_command, "perplexity and raw logits of a text"},
    {"embed", jllm::tool::embed_command, "a plan as a part of a program: assembler, object or C"},
    {"doctor", jllm::tool::doctor_command,
     "what machine is here, what is wrong with it; a target file"},
    {"verify", jllm::tool::verify_command, "whether a plan and its weight file are whole"},
    {"install", jllm::tool::install_command, "put a new plan in the place of the one in use"},
    {"selftest", jllm::tool::selftest_command, "whether this device computes what it should"},
    {"tokenize", jllm::tool::tokenize_command, "show the tokens of a text"},
    {"vector", jllm::tool::vector_command, "the embeddings of texts, by a plan that makes some"},
};

void print_help(FILE* out) {
  std::fprintf(
      out,
      "usage: jllm COMMAND PLAN.jllm [options]      (jllm COMMAND --help for its options)\n\n"
      "Replays a plan that jllmc compiled.\n\ncommands:\n");
  for (const Command& command : kCommands)
    std::fprintf(out, "  %-10s %s\n", command.name, command.help);
  std::fprintf(
      out,
      "\nexit codes: 0 done, 1 failed, 2 usage, 3 does not fit, 4 invalid file, 5 unsupported, "
      "6 device\n");
}

void print_unknown(const char* command) {
  std::fprintf(stderr, "jllm: there is no command %s", command);
#ifndef JLLM_SERVE
  if (std::strcmp(command, "serve") == 0 || std::strcmp(command, "health") == 0) {
    std::fprintf(stderr, " in this build: run tools/get_httplib.sh, and build with JLLM_SERVE=ON");
  }
#endif
  std::fprintf(stderr, "\n\n");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 2 && (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0)) {
    print_help(stdout);
    return jllm::tool::kDone;
  }
  if (argc >= 2 && std::strcmp(argv[1], "--version") == 0) {
    std::printf("jllm %s\n", JLLM_VERSION);
    return jllm::tool::kDone;
  }
  try {
    for (const Command& command : kCommands) {
      if (argc >= 2 && std::strcmp(argv[1], command.name) == 0)
        return command.run(argc - 2, argv + 2);
    }
    if (argc >= 2) print_unknown(argv[1]);
    print_help(stderr);
    return jllm::tool::kUsage;
  } catch (const jllm::tool::Failure& failure) {
    std::fprintf(stderr, "jllm: %s\n", failure.what());
    return failure.code;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "jllm: %s\n", failure.what());
    return jllm::tool::kFailed;
  }
}
