#include "compiler/plan.h"

#include <llvm/ADT/STLExtras.h>

#include <algorithm>

#include "compiler/passes/fuse.h"
#include "compiler/support/error.h"
#include "schema/step_state.h"

namespace jllm {
namespace {

constexpr uint32_t kSmallestPrefill = 16;

// Chunk sizes: powers of two up to the largest, so that a prompt's tail wastes at most half a
// chunk.
std::vector<uint32_t> prefill_rows(uint32_t chunk, uint32_t context) {
  std::vector<uint32_t> rows;
  for (uint32_t n = kSmallestPrefill; n < chunk && n < context; n *= 2) rows.push_back(n);
  rows.push_back(std::min(chunk, context));
  return rows;
}

// Whether the plan makes embeddings. Of the ways to make one of a text's states, the last token's
// needs no more than what every decoder computes.
llvm::Expected<bool> embeds(const model::Model& model, const PlanOptions& options) {
  if (options.embeds) return *options.embeds;
  const char* kNames[] = {"none", "mean", "cls", "last", "rank"};
  const uint32_t pooling = model.params.pooling_type;
  if (pooling == model::kNoPooling || pooling == model::kLast) return pooling == model::kLast;
  return fail(ExitCode::kUnsupported,
              "{0}: the model is made for embeddings with {1}.pooling_type {2} ({3}); supported is "
              "3 (last). --embedding last takes the last token's state all the same, --embedding "
              "none makes text",
              model.file->path(), model.params.architecture, pooling, kNames[pooling]);
}

// Rows that one replay verifies: the last token and the drafted ones. Powers of two, so that a
// short draft does not pay for a long one, up to the longest.
llvm::Expected<std::vector<uint32_t>> verify_rows(uint32_t draft, uint32_t context) {
  if (draft > kMaxDraft) {
    return fail(ExitCode::kUsage, "--speculate {0}: a step drafts at most {1} tokens", draft,
                kMaxDraft);
  }
  std::vector<uint32_t> rows;
  if (draft == 0) return rows;
  const uint32_t most = std::min(draft + 1, context);
  for (uint32_t n = 2; n < most; n *= 2) rows.push_back(n);
  if (most > 1) rows.push_back(most);
  return rows;
}

// Rows that one replay decodes, of as many sequences. Powers of two, so that few of them do not pay
// for many, up to all. The host replays one after the other: it has no graphs.
llvm::Expected<std::vector<uint32_t>> batch_rows(uint32_t slots, const target::Target& target) {
  if (slots < 1 || slots > kMaxSlots) {
    return fail(ExitCode::kUsage, "--slots {0}: a plan has room for 1 to {1} sequences", slots,
                kMaxSlots);
  }
  std::vector<uint32_t> rows;
  if (slots == 1 || target.is_host) return rows;
  for (uint32_t n = 2; n < slots; n *= 2) rows.push_back(n);
  rows.push_back(slots);
  return rows;
}

// Who keeps weights in F32 wants full precision: rounding the cache would cost more of it than all
// else.
bool is_full_precision(const gguf::File& file) {
  return llvm::all_of(file.tensors(), [](const gguf::TensorInfo& tensor) {
    return tensor.type() == WeightType::kF32;
  });
}

llvm::Expected<model::ProgramOptions> resolve(const model::Model& model,
                                              const target::Target& target,
                                              const PlanOptions& options) {
  const model::HyperParameters& p = model.params;
  model::ProgramOptions resolved;
  resolved.context =
      options.context != 0 ? options.context : std::min(p.context_length, kDefaultContext);
  if (resolved.context > p.context_length) {
    return fail(ExitCode::kUsage, "--context {0}: the model was trained for at most {1} positions",
                resolved.context, p.context_length);
  }
  if (options.prefill_chunk > kMaxPrefillChunk) {
    return fail(ExitCode::kUsage, "--prefill-chunk {0}: at most {1}", options.prefill_chunk,
                kMaxPrefillChunk);
  }
  const WeightType default_kv =
      is_full_precision(*model.file) ? WeightType::kF32 : target.default_kv;
  resolved.kv_type_k = options.kv_k.value_or(default_kv);
  resolved.kv_type_v = options.kv_v.value_or(default_kv);
  resolved.rotate_keys = options.rotate_keys;
  resolved.prefill_rows = prefill_rows(
      options.prefill_chunk != 0 ? options.prefill_chunk : target.prefill_chunk, resolved.context);
  llvm::Expected<bool> vectors = embeds(model, options);
  if (!vectors) return vectors.takeError();
  resolved.embeds = *vectors;
  llvm::Expected<std::vector<uint32_t>> verify =
      verify_rows(options.speculate.value_or(0), resolved.context);
  if (!verify) return verify.takeError();
  resolved.verify_rows = std::move(*verify);
  resolved.slots = options.slots;
  llvm::Expected<std::vector<uint32_t>> batch = batch_rows(options.slots, target);
  if (!batch) return batch.takeError();
  resolved.batch_rows = std::move(*batch);
  if (resolved.embeds) {  // no token is made
    resolved.verify_rows.clear();
    resolved.batch_rows.clear();
  }
  return resolved;
}

}  // namespace

const std::vector<llvm::StringRef> kPlanStages = {"ir", "passes", "select", "memory"};

llvm::Expected<PlannedModel> plan_model(const gguf::File& file, const target::Target& target,
                                        const PlanOptions& options, const StageObserver& observe) {
  const auto stop_after = [&](llvm::StringRef stage, const PlannedModel& planned) {
    return observe && observe(stage, planned);
  };
  PlannedModel planned;
  planned.target = target;
  llvm::Expected<model::Model> model = model::load(file);
  if (!model) return model.takeError();
  planned.model = std::move(*model);
  llvm::Expected<model::ProgramOptions> resolved = resolve(planned.model, target, options);
  if (!resolved) return resolved.takeError();
  planned.options = std::move(*resolved);

  llvm::Expected<ir::Program> program = model::build_program(planned.model, planned.options);
  if (!program) return program.takeError();
  planned.program = std::move(*program);
  if (stop_after("ir", planned)) return planned;

  // The host runs primitive operations: it is the reference for what fusion makes of them.
  planned.fused = options.fuse && !target.is_host;
  if (planned.fused) passes::fuse(planned.program);
  if (stop_after("passes", planned)) return planned;

  planned.select = options.select;
  llvm::Expected<select::Schedule> schedule =
      select::select(planned.program, target, planned.select);
  if (!schedule) return schedule.takeError();
  planned.schedule = std::move(*schedule);
  if (stop_after("select", planned)) return planned;

  llvm::Expected<memory::Layout> layout =
      memory::plan_layout(planned.program, planned.schedule, target);
  if (!layout) return layout.takeError();
  planned.layout = std::move(*layout);
  stop_after("memory", planned);
  return planned;
}

}  // namespace jllm
