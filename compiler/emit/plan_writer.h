// Writes the plan file: prefix, tables, then code, weights, tokenizer. Weights are repacked and
// streamed, so that memory use stays bounded however large the model is; equal inputs give equal
// bytes.
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "compiler/gguf/requantise.h"
#include "compiler/plan.h"

namespace jllm::emit {

struct PlanInputs {
  const PlannedModel* planned = nullptr;
  const std::vector<std::vector<uint8_t>>* modules = nullptr;  // one per kernel; empty on the host
  std::vector<uint8_t> tokenizer;                              // segment
  std::vector<uint8_t> chat_format;                            // segment; empty: none
  std::vector<uint8_t> self_test;                              // segment; empty: none
  std::vector<uint8_t> debug;                                  // segment; empty: none
  std::vector<uint32_t> end_tokens;
  bool split_weights = false;  // into a file of their own, beside the plan
  uint32_t cuda_version = 0;   // 12060 for 12.6
  std::string nvrtc_version;   // "12.6"
  std::vector<std::string> options;
  gguf::Edits* edits = nullptr;  // of the weights, none where it is null; learns what they cost
  std::function<void(uint64_t done, uint64_t total)> progress;
};

struct PlanSizes {
  uint64_t file_bytes = 0;
  uint64_t weight_bytes = 0;
  uint64_t code_bytes = 0;
  std::string weight_file;  // its path, where the weights were split off
  uint64_t weight_file_bytes = 0;
  bool weight_file_reused = false;
};

llvm::Expected<PlanSizes> write_plan(const PlanInputs& inputs, llvm::StringRef path);

// Bytes of weights that one decode step reads: every weight of the decode graph once, of an
// embedding table only one row.
uint64_t weights_read_per_token(const ir::Program& program, bool is_host);

}  // namespace jllm::emit
