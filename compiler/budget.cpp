#include "compiler/budget.h"

#include "compiler/emit/plan_writer.h"
#include "schema/checked_math.h"

namespace jllm {
namespace {

// Mean size of a compiled kernel; plans for sm_87 made by NVRTC 12.6 have 20 to 23 KiB per kernel.
constexpr uint64_t kCodeBytesPerKernel = 24 * 1024;
// The driver takes memory in blocks of 2 MiB. On an H200 (docs/fit.md) 27 modules of 0.8 MiB in all
// took two of them, and graphs of 1250, 2170 and 2480 launches took two, three and three:
// between 1.9 and 2.5 KiB each.
constexpr uint64_t kDriverBlock = 2 * 1024 * 1024;
constexpr uint64_t kGraphBytesPerLaunch = 2304;
// What the executor's process takes beside the arenas: the pinned upload buffer (8 MiB), the plan's
// tables, the tokenizer, itself and the driver's own data, of which the graphs have a part. On the
// H200 42.0, 47.4 and 49.3 MiB for graphs as above. The driver's libraries belong to the estimate
// of the CUDA context.
constexpr uint64_t kCudaHostBytes = uint64_t{35} << 20;
constexpr uint64_t kCudaHostBytesPerLaunch = 6 * 1024;
constexpr uint64_t kHostBytes = uint64_t{16} << 20;

}  // namespace

void set_limits(const target::Target& target, const BudgetOptions& options, Budget* budget) {
  budget->context = target.context_bytes;
  budget->reserve = options.reserve;
  budget->limit = options.limit.value_or(target.budget_bytes);
}

uint64_t code_memory(uint64_t module_bytes) {
  return align_up(module_bytes, kDriverBlock) + kDriverBlock;
}

Footprint make_footprint(const PlannedModel& planned, const BudgetOptions& options) {
  using memory::ArenaKind;
  const memory::Layout& layout = planned.layout;
  Footprint footprint;
  footprint.options = planned.options;
  footprint.weights_per_token =
      emit::weights_read_per_token(planned.program, planned.target.is_host);
  footprint.scratch_lower_bound = layout.scratch_lower_bound;
  footprint.kernels = planned.schedule.kernels.size();
  Budget& budget = footprint.budget;
  budget.weights = layout.total(ArenaKind::kWeights);
  budget.kv = layout.total(ArenaKind::kKv);
  budget.scratch = layout.total(ArenaKind::kScratch);
  budget.state = layout.total(ArenaKind::kState);
  budget.pinned = layout.total(ArenaKind::kHostPinned);
  const bool is_host = planned.target.is_host;
  for (const ir::Tensor& tensor : planned.program.tensors) {
    if (tensor.kind != ir::TensorKind::kRecent) continue;
    footprint.recent_bytes += memory::storage_bytes(tensor, is_host);
  }
  for (const select::ScheduledGraph& graph : planned.schedule.graphs) {
    footprint.launches += graph.launches.size();
  }
  if (!is_host) {
    budget.code = code_memory(footprint.kernels * kCodeBytesPerKernel);
    budget.graphs = align_up(footprint.launches * kGraphBytesPerLaunch, kDriverBlock);
  }
  budget.host =
      is_host ? kHostBytes : kCudaHostBytes + footprint.launches * kCudaHostBytesPerLaunch;
  set_limits(planned.target, options, &budget);
  return footprint;
}

Prediction predict(const Footprint& footprint, const target::Target& target) {
  Prediction prediction;
  prediction.bytes_per_token = footprint.weights_per_token + footprint.budget.kv;
  if (target.bandwidth_gbps > 0 && footprint.weights_per_token > 0) {
    prediction.tokens_per_second = target.bandwidth_gbps * 1e9 / double(prediction.bytes_per_token);
  }
  prediction.load_seconds = double(footprint.budget.weights) / kStorageBytesPerSecond;
  return prediction;
}

}  // namespace jllm
