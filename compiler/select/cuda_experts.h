// The launches of a mixture of experts on CUDA: slot by slot where a graph has few tokens, or f32
// weights; otherwise expert by expert on tensor cores.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "compiler/select/schedule.h"
#include "kernels/gemm_shapes.h"
#include "kernels/gemv_shapes.h"

namespace jllm::select {

struct CudaLaunch {
  const char* kernel;
  std::vector<std::string> defines;
  std::vector<Argument> args;
  kernels::LaunchShape shape;
  std::string label;
};

// Of one graph.
class CudaExperts {
 public:
  CudaExperts(const ir::Program& program, const ir::Graph& graph, uint32_t sm_count,
              uint32_t compute_capability, ScheduleBuilder& out)
      : program_(program),
        graph_(graph),
        sms_(sm_count),
        compute_capability_(compute_capability),
        out_(out) {}

  // kRoute, kExpertMatmul, kExpertGlu or kExpertSum; `mode`: of its vector, if it is a product.
  std::vector<CudaLaunch> launches(const ir::Node& node, kernels::Activations mode);

 private:
  // Slots by expert, for token tiles of one size.
  struct Lists {
    Argument sources, tiles;
  };

  std::vector<CudaLaunch> route(const ir::Node& node) const;
  std::vector<CudaLaunch> slot_by_slot(const ir::Node& node, kernels::Activations mode) const;
  std::vector<CudaLaunch> expert_by_expert(const ir::Node& node);
  std::vector<CudaLaunch> sum(const ir::Node& node) const;

  // What says how many rows carry tokens.
  Argument step() const {
    const ir::Bindings& b = program_.bindings;
    return tensor(graph_.kind == ir::GraphKind::kBatch ? b.batch : b.state);
  }

  const ir::Program& program_;
  const ir::Graph& graph_;
  uint32_t sms_, compute_capability_;
  ScheduleBuilder& out_;
  std::map<std::pair<ir::TensorId, uint32_t>, Lists> lists_;  // by what was chosen, and the tile
};

}  // namespace jllm::select
