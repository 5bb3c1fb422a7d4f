// The same tests by `llama-bench`, for results side by side.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/jllm/bench/measure.h"
#include "tools/jllm/bench/record.h"

namespace jllm::tool {

struct PeerOptions {
  std::string model;  // a GGUF file
  uint64_t prompt = 0, generate = 0, repetitions = 1;
  std::vector<uint32_t> depths;
  uint64_t threads = 0;  // 0: llama-bench's own choice
  bool is_host = false;  // keep all layers on the CPU
};

// Throws Failure(kUsage) when there is no llama-bench on the PATH or no such model.
void check_peer(const PeerOptions& options);
// The command's words. Flash attention is on, as jllm has nothing else.
std::vector<std::string> peer_command(const std::string& program, const PeerOptions& options);
// Runs it and returns its JSON document. Throws Failure with the reason.
Record run_peer(const PeerOptions& options);

// Adds to each of our records what the peer measured in the same test: peer_* fields, null where it
// has no such test. Throws Failure when the document is not llama-bench's.
void add_peer(std::vector<Record>* records, const Record& document);

}  // namespace jllm::tool
