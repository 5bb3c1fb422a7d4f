// The whole line, GGUF in, plan out: what `jllmc compile` does behind its options.
#pragma once

#include <llvm/Support/Error.h>
#include <llvm/Support/raw_ostream.h>

#include <cstdint>
#include <optional>
#include <string>

#include "schema/weight_type.h"

namespace jllm {

enum class ReportFormat { kNone, kText, kJson };

struct CompileOptions {
  std::string input;
  std::string output;
  std::string target = "host";
  uint32_t context = 0;                // positions; 0: the model's own, at most kDefaultContext
  std::optional<WeightType> kv_k, kv_v;  // default: the target's
  uint32_t prefill_chunk = 0;          // tokens; 0: the target's
  std::optional<uint64_t> budget;      // bytes; default: the target's
  uint64_t reserve = 0;                // bytes
  std::string nvrtc;                   // library or folder; empty: search
  std::string dump_after;              // stage whose result goes to `dump`
  bool fuse = true;
  bool use_cache = true;
  ReportFormat report = ReportFormat::kNone;
};

constexpr uint32_t kDefaultContext = 4096;
constexpr uint32_t kMaxContext = UINT32_MAX;  // as many positions as the model was trained for

// Writes options.output; the report, or what --dump-after asks for, goes to `out`.
llvm::Error compile(const CompileOptions& options, llvm::raw_ostream& out);

}  // namespace jllm
