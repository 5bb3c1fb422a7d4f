// In which form kernels of one graph hand activations to each other: f32 rows, or images that the
// kernel which makes them has rounded for the product that reads them.
#pragma once

#include <initializer_list>

#include "compiler/select/schedule.h"
#include "kernels/gemv_shapes.h"

namespace jllm::select {

// Whether products are made row by row of the weights, with the bits of a decode step for each
// token, and not tile by tile.
bool multiplies_row_by_row(const ir::Graph& graph);

class ActivationForms {
 public:
  ActivationForms(const ir::Program& program, const ir::Graph& graph, ActivationMode mode)
      : program_(program), graph_(graph), mode_(mode) {}

  // Whether everybody who reads this result of an RMS norm wants it as a half image, which then
  // takes the place of the f32 rows.
  bool is_half_image(ir::TensorId id) const;

  // How a kernel with these weights reads its vector. By default with residual bytes: int8 alone
  // moves the output by more than quantised weights should (KL 2e-3), and where memory is the limit
  // they cost nothing.
  kernels::Activations mode_for(std::initializer_list<WeightType> types) const;

  // The mode in which this activation passes as a byte image from the kernel that makes it to the
  // one that reads it, or kExact. The image is smaller than the f32 row and takes its place.
  kernels::Activations image_of(ir::TensorId id) const;

 private:
  const ir::Program& program_;
  const ir::Graph& graph_;
  ActivationMode mode_;
};

}  // namespace jllm::select
