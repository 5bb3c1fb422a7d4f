// How to run the matrix-vector kernels (qkv, matmul_add, gate_up, head): which variants of a kernel
// there are for a problem, which one suits a device without having been measured there, and the
// launch and the macros of a variant.
#pragma once

#include <string>
#include <vector>

#include "kernels/catalogue.h"

namespace jllm::kernels {

// The kernels' macros of these names. Results depend on `split` alone, in the last bits: it is the
// order in which the products of a row are added.
struct GemvVariant {
  uint32_t threads = 512;  // of a block
  uint32_t blocks = 2;     // that a multiprocessor holds at once
  uint32_t rows = 2;       // that a team of warps takes at a time
  uint32_t split = 1;      // warps of a team
  uint32_t in_flight = 4;  // units that a lane loads before it uses the first

  friend bool operator==(const GemvVariant&, const GemvVariant&) = default;
};

// One launch. `n` counts rows: those of q, k and v together, of gate and of up each.
struct GemvProblem {
  std::string kernel;
  std::vector<unsigned> types;  // qkv: of q, k, v; gate_up: of gate, up
  Activations mode = Activations::kExact;
  uint64_t k = 0, n = 0;
  uint32_t tokens = 1;  // that follow each other

  friend bool operator==(const GemvProblem&, const GemvProblem&) = default;
};

bool has_variants(std::string_view kernel);

// Why the kernel cannot be built so for this problem, or cannot keep its loads in registers; empty
// when it can.
std::string why_illegal(const GemvProblem& problem, const GemvVariant& variant);

// The legal variants, each with as many units in flight as suit the type, and with twice as many
// where there are registers for them.
std::vector<GemvVariant> legal_variants(const GemvProblem& problem);
// This one with every other legal number of units in flight.
std::vector<GemvVariant> in_flight_variants(const GemvProblem& problem, const GemvVariant& variant);

// Estimated time of a launch, for comparisons between variants only, and the variant of which it is
// the least.
double cost(const GemvProblem& problem, const GemvVariant& variant, uint32_t sm_count);
GemvVariant choose_variant(const GemvProblem& problem, uint32_t sm_count);

// The variant that multiplies the problem's tokens with the bits that `single`, one for a single
// token, has for each of them.
GemvVariant with_tokens(const GemvProblem& problem, const GemvVariant& single, uint32_t sm_count);

// How many of the problem's tokens a launch takes, in shares as equal as may be: their vectors
// stand in shared memory.
uint32_t tokens_per_launch(const GemvProblem& problem, uint32_t compute_capability);

LaunchShape gemv_shape(const GemvProblem& problem, const GemvVariant& variant, uint32_t sm_count);

// expert_matmul: of `slots` vectors, each with a matrix of its own. A single token's slots decide
// the variant, and with it the bits.
GemvVariant choose_expert_variant(const GemvProblem& problem, uint32_t slots, uint32_t sm_count);
LaunchShape expert_matmul_shape(const GemvProblem& problem, const GemvVariant& variant,
                                uint32_t slots, uint32_t sm_count);

// NAME=VALUE, without what the sources have as default.
std::vector<std::string> gemv_defines(const GemvProblem& problem, const GemvVariant& variant);

}  // namespace jllm::kernels
