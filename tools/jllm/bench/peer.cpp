#include "tools/jllm/bench/peer.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tools/jllm/subprocess.h"

namespace jllm::tool {
namespace {

constexpr const char* kProgram = "llama-bench";

[[noreturn]] void fail_document(const std::string& what) {
  throw Failure(kFailed, std::string(kProgram) + " printed no result that can be read: " + what +
                             "; run its command by hand to see why");
}

uint64_t count(const Record& test, const char* key) {
  return test.contains(key) && test[key].is_number() ? test[key].get<uint64_t>() : 0;
}

// The median of its samples, or its mean where an old release does not list them.
double rate_of(const Record& test) {
  if (test.contains("samples_ts") && test["samples_ts"].is_array() && !test["samples_ts"].empty()) {
    return median(test["samples_ts"].get<std::vector<double>>());
  }
  if (!test.contains("avg_ts") || !test["avg_ts"].is_number()) fail_document("no avg_ts");
  return test["avg_ts"].get<double>();
}

}  // namespace

void check_peer(const PeerOptions& options) {
  if (find_program(kProgram).empty()) {
    throw Failure(kUsage,
                  "--peer needs llama-bench of llama.cpp, which is not on the PATH; build it and "
                  "say PATH=/its/folder:$PATH jllm bench ...");
  }
  if (access(options.model.c_str(), R_OK) != 0) {
    throw Failure(kUsage, "--peer " + options.model + ": " + strerror(errno) +
                              "; it takes the GGUF file that the plan was made from");
  }
}

std::vector<std::string> peer_command(const std::string& program, const PeerOptions& options) {
  std::string depths;
  for (const uint32_t depth : options.depths) {
    depths += (depths.empty() ? "" : ",") + std::to_string(depth);
  }
  std::vector<std::string> words = {program,
                                    "-m",
                                    options.model,
                                    "-p",
                                    std::to_string(options.prompt),
                                    "-n",
                                    std::to_string(options.generate),
                                    "-d",
                                    depths,
                                    "-r",
                                    std::to_string(options.repetitions),
                                    "-ngl",
                                    options.is_host ? "0" : "99",
                                    "-fa",
                                    "1",
                                    "-o",
                                    "json"};
  if (options.threads > 0) {
    words.insert(words.end(), {"-t", std::to_string(options.threads)});
  }
  return words;
}

Record run_peer(const PeerOptions& options) {
  check_peer(options);
  const std::vector<std::string> words = peer_command(find_program(kProgram), options);
  std::string command;
  for (const std::string& word : words) command += (command.empty() ? "" : " ") + word;
  const ProgramOutput output = run_program(words, true);
  if (output.code != 0) {
    throw Failure(
        kFailed,
        command + " failed with status " + std::to_string(output.code) +
            "; what it said stands above (depths need a llama-bench of May 2025 or later)");
  }
  Record document = Record::parse(output.out, nullptr, false);
  if (document.is_discarded()) fail_document("not JSON");
  return document;
}

void add_peer(std::vector<Record>* records, const Record& document) {
  if (!document.is_array()) fail_document("not a list of tests");
  for (Record& ours : *records) {
    const Record* same = nullptr;
    for (const Record& test : document) {
      if (!test.is_object()) fail_document("a test is not an object");
      if (count(test, "n_prompt") == count(ours, "n_prompt") &&
          count(test, "n_gen") == count(ours, "n_gen") &&
          count(test, "n_depth") == count(ours, "n_depth")) {
        same = &test;
      }
    }
    for (const char* key :
         {"peer_median_ts", "peer_stddev_ts", "peer_ratio", "peer_build", "peer_backends"}) {
      ours[key] = nullptr;
    }
    if (same == nullptr) continue;
    const double rate = rate_of(*same);
    ours["peer_median_ts"] = rate;
    if (same->contains("stddev_ts")) ours["peer_stddev_ts"] = (*same)["stddev_ts"];
    if (rate > 0) ours["peer_ratio"] = ours["median_ts"].get<double>() / rate;
    if (same->contains("build_commit")) ours["peer_build"] = (*same)["build_commit"];
    if (same->contains("backends")) ours["peer_backends"] = (*same)["backends"];
  }
}

}  // namespace jllm::tool
