// The planning half of the compiler: from a model and a target to the layout, to the byte, without
// reading a weight. `compile` and `fit` both stand on this, so that their numbers cannot differ.
#pragma once

#include <llvm/Support/Error.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "compiler/memory/layout.h"
#include "compiler/model/model.h"
#include "compiler/select/schedule.h"
#include "compiler/target/target.h"

namespace jllm {

constexpr uint32_t kDefaultContext = 4096;
constexpr uint32_t kMaxPrefillChunk = 2048;
constexpr uint32_t kDefaultDraft = 3;

struct PlanOptions {
  uint32_t context = 0;                  // positions; 0: the model's own, at most kDefaultContext
  std::optional<WeightType> kv_k, kv_v;  // default: F32 for an F32 model, else the target's
  uint32_t prefill_chunk = 0;            // tokens; 0: the target's
  bool fuse = true;
  select::SelectOptions select;
  bool rotate_keys = true;  // see model::ProgramOptions
  uint32_t slots = 1;       // sequences at once, 1 to kMaxSlots
  // Tokens that a step may draft, at most kMaxDraft; 0: no verify graphs. Planner::resolve() gives
  // those who did not choose the default.
  std::optional<uint32_t> speculate;
  // Embeddings instead of text; default: what the model is made for (pooling_type).
  std::optional<bool> embeds;

  friend bool operator==(const PlanOptions&, const PlanOptions&) = default;
};

// Everything that is decided before code is generated. Refers to the gguf::File that the model came
// from.
struct PlannedModel {
  model::Model model;
  target::Target target;
  model::ProgramOptions options;  // as resolved
  bool fused = false;
  select::SelectOptions select;
  ir::Program program;
  select::Schedule schedule;
  memory::Layout layout;
};

// Called behind each stage ("ir", "passes", "select", "memory") with what is planned so far;
// returning true ends the planning there.
using StageObserver = std::function<bool(llvm::StringRef stage, const PlannedModel& planned)>;
extern const std::vector<llvm::StringRef> kPlanStages;

llvm::Expected<PlannedModel> plan_model(const gguf::File& file, const target::Target& target,
                                        const PlanOptions& options,
                                        const StageObserver& observe = {});

}  // namespace jllm
