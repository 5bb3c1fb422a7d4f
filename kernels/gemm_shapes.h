// How to tile the tensor-core matrix product (kernels/device/gemm.cu): what tiles there are, what
// they need, and which suits a product on a device.
#pragma once

#include <string>
#include <vector>

#include "kernels/catalogue.h"

namespace jllm::kernels {

// A warp computes 16 * m tokens x 8 * n rows; the warps of a block stand warps_m x warps_n, and
// warps_k of them share each stage of `depth` weights along k. The kernel's macros of these names.
struct GemmTile {
  uint32_t m, n, warps_m, warps_n, warps_k, depth, stages;
  uint32_t blocks;  // that a multiprocessor is to hold
  bool wgmma;       // for the instructions of compute capability 9.0
  // Speed of a multiprocessor with one block and with two of them, in any unit.
  double alone, together;

  uint32_t tokens() const { return 16 * m * warps_m; }
  uint32_t rows() const { return 8 * n * warps_n; }
  uint32_t threads() const { return 32 * warps_m * warps_n * warps_k; }
};

const std::vector<GemmTile>& gemm_tiles();

// One launch: matrices of `k` columns and n[i] rows of types[i], for `rows` tokens. A gated one has
// two matrices, gate and up, of one type and size.
struct GemmProblem {
  uint32_t rows = 0;
  uint64_t k = 0;
  std::vector<unsigned> types;
  std::vector<uint64_t> n;
  bool gated = false;
  uint32_t experts = 0;  // the rows are shared out to so many matrices of that shape; 0: to one
};

bool has_gemm(unsigned type);  // f32 has not: kernel matmul
bool fits(const GemmTile& tile, const GemmProblem& problem);

// The tile that promises the shortest time, a LaunchShape and the macros of both.
GemmTile gemm_tile(const GemmProblem& problem, uint32_t sm_count, uint32_t compute_capability);
LaunchShape gemm_shape(const GemmTile& tile, const GemmProblem& problem);
std::vector<std::string> gemm_defines(const GemmTile& tile, const GemmProblem& problem);

// Token tiles of a problem with experts, whatever share of the rows each has.
uint32_t expert_tiles(const GemmTile& tile, const GemmProblem& problem);

// Bytes of the half image of `rows` tokens, which halves and rms_norm (OUT_HALVES) make.
uint64_t half_image_bytes(uint64_t rows, uint64_t k);

}  // namespace jllm::kernels
