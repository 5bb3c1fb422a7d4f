#include "compiler/select/schedule.h"

#include <llvm/Support/FormatVariadic.h>

#include <cstring>

#include "compiler/support/error.h"

namespace jllm::select {

Argument tensor(ir::TensorId id) { return {Argument::Kind::kTensor, id, 0}; }
Argument immediate(uint64_t value) { return {Argument::Kind::kImmediate, 0, value}; }
Argument slot_stride(ir::TensorId id) { return {Argument::Kind::kStride, id, 0}; }
Argument immediate_f32(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return immediate(bits);
}

const char* activation_mode_name(ActivationMode mode) {
  switch (mode) {
    case ActivationMode::kF32:
      return "f32";
    case ActivationMode::kQ8:
      return "q8";
    case ActivationMode::kQ8R:
      return "q8r";
    case ActivationMode::kAuto:
      break;
  }
  return "auto";
}

void ScheduleBuilder::begin_graph(const ir::Graph& graph) {
  schedule_.graphs.push_back({graph.kind, graph.rows, graph.logits, {}});
}

uint32_t ScheduleBuilder::kernel(KernelSpec spec) {
  uint32_t same_source = 0;
  for (uint32_t i = 0; i < schedule_.kernels.size(); ++i) {
    const KernelSpec& known = schedule_.kernels[i];
    if (known.source != spec.source) continue;
    if (spec.source.empty() ? known.name == spec.name
                            : known.defines == spec.defines && known.block == spec.block &&
                                  known.shared_bytes == spec.shared_bytes) {
      return i;
    }
    ++same_source;
  }
  if (!spec.source.empty()) spec.name += "_" + std::to_string(same_source);
  schedule_.kernels.push_back(std::move(spec));
  return static_cast<uint32_t>(schedule_.kernels.size() - 1);
}

void ScheduleBuilder::launch(uint32_t kernel, std::vector<Argument> args, const std::string& label,
                             uint32_t grid_x, uint32_t grid_y, uint32_t grid_z) {
  schedule_.graphs.back().launches.push_back(
      {kernel, {grid_x, grid_y, grid_z}, std::move(args), label});
}

Argument ScheduleBuilder::scratch(const std::string& name, uint64_t words) {
  ir::Tensor t;
  t.name = name;
  t.rows = 1;
  t.cols = words;
  return tensor(program_.add(std::move(t)));
}

Argument ScheduleBuilder::persistent(const std::string& name, uint64_t words) {
  for (ir::TensorId id = 0; id < program_.tensors.size(); ++id) {
    if (program_[id].kind == ir::TensorKind::kPersistent && program_[id].name == name) {
      return tensor(id);
    }
  }
  ir::Tensor t;
  t.name = name;
  t.kind = ir::TensorKind::kPersistent;
  t.rows = 1;
  t.cols = words;
  return tensor(program_.add(std::move(t)));
}

llvm::Expected<Schedule> select(ir::Program& program, const target::Target& target,
                                const SelectOptions& options) {
  if (options.tuning && !options.tuning->entries.empty() &&
      !options.tuning->made_for(target.compute_capability, target.sm_count)) {
    return fail(
        ExitCode::kUsage,
        "the tuning table is for devices of compute capability {0} with {1} "
        "multiprocessors, {2} has {3} and {4}; make one with jllmc tune, or say --tuning none",
        options.tuning->compute_capability, options.tuning->sm_count, target.name,
        target.compute_capability, target.sm_count);
  }
  ScheduleBuilder builder(program);
  if (target.is_host) choose_panels(program, options, builder);
  for (const ir::Graph& graph : program.graphs) {
    builder.begin_graph(graph);
    llvm::Error error = target.is_host ? select_host(program, graph, options, builder)
                                       : select_cuda(program, graph, target, options, builder);
    if (error) return error;
  }
  return builder.take();
}

void dump(const Schedule& schedule, llvm::raw_ostream& os) {
  for (size_t i = 0; i < schedule.kernels.size(); ++i) {
    const KernelSpec& kernel = schedule.kernels[i];
    os << llvm::formatv("kernel {0} {1} block={2} shared={3}", i, kernel.name, kernel.block,
                        kernel.shared_bytes);
    for (const std::string& define : kernel.defines) os << ' ' << define;
    os << '\n';
  }
  for (const ScheduledGraph& graph : schedule.graphs) {
    os << llvm::formatv("graph rows={0} launches={1}\n", graph.rows, graph.launches.size());
    for (const Launch& launch : graph.launches) {
      os << llvm::formatv("  {0,-24} {1,-16} grid=({2},{3},{4})\n", launch.label,
                          schedule.kernels[launch.kernel].name, launch.grid[0], launch.grid[1],
                          launch.grid[2]);
    }
  }
}

}  // namespace jllm::select
