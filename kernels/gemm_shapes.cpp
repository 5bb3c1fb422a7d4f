// Tiles of the tensor-core matrix product; see gemm_shapes.h. Sizes repeat those of gemm.cuh and
// tile_weights.cuh: the kernel refuses to compile where SHARED is too small.
#include "kernels/gemm_shapes.h"

#include <algorithm>

#include "schema/row_layout.h"

namespace jllm::kernels {
namespace {

uint64_t divide_up(uint64_t a, uint64_t b) { return (a + b - 1) / b; }
uint64_t round_up(uint64_t a, uint64_t b) { return divide_up(a, b) * b; }

// Bytes per 32 weights, of scales per stage, and table entries per 32 weights: TileWeight.
struct TileBytes {
  uint64_t main, side, scales, entries;
};

TileBytes tile_bytes(unsigned type, uint64_t subs) {
  switch (type) {
    case kRowQ4_0:
    case kRowIQ4_NL:
      return {16, 0, 2 * subs, 1};
    case kRowIQ4_XS:
      return {16, 0, 8, 1};
    case kRowMXFP4:
      return {16, 0, 4, 1};
    case kRowQ2_K:
      return {0, 8, 4 + 2 * subs, 2};
    case kRowQ3_K:
      return {0, 12, 4 + 2 * subs, 2};
    case kRowTQ2_0:
    case kRowQ2_0:
      return {0, 8, 4, 1};
    case kRowQ5_0:
      return {16, 4, 2 * subs, 1};
    case kRowQ8_0:
      return {32, 0, 2 * subs, 1};
    case kRowQ4_1:
      return {16, 0, 4 * subs, 1};
    case kRowQ5_1:
      return {16, 4, 4 * subs, 1};
    case kRowQ4_K:
      return {16, 0, 16, 1};
    case kRowQ5_K:
      return {16, 4, 16, 1};
    case kRowQ6_K:
      return {16, 8, 4 + 2 * subs, 2};
    case kRowQ1_0:
      return {0, 4, 4, 1};
    default:  // f16, bf16
      return {64, 0, 0, 0};
  }
}

uint64_t shared_bytes(const GemmTile& tile, unsigned type) {
  const uint64_t subs = tile.depth / 32, rows = tile.rows();
  const TileBytes bytes = tile_bytes(type, subs);
  const uint64_t pieces = bytes.main * subs / 16;
  const uint64_t slot = uint64_t(tile.tokens()) * tile.depth * 2 + pieces * (rows * 16 + 64) +
                        rows * (bytes.side * subs + bytes.scales);
  return tile.stages * round_up(slot, tile.wgmma ? 1024 : 128) +
         2 * bytes.entries * subs * rows * 4 + tile.tokens() * 4;
}

uint64_t row_tiles(const GemmTile& tile, const GemmProblem& problem) {
  if (problem.gated) return divide_up(problem.n[0], tile.rows() / 2);
  uint64_t tiles = 0;
  for (const uint64_t n : problem.n) tiles += divide_up(n, tile.rows());
  return tiles;
}

// Token tiles, with experts where each has as many rows as the others.
uint64_t token_tiles(const GemmTile& tile, const GemmProblem& problem) {
  const uint64_t groups = std::max(problem.experts, 1u);
  return groups * divide_up(divide_up(problem.rows, groups), tile.tokens());
}

// Blocks run in pairs on a multiprocessor, the last of an odd number alone.
double cost(const GemmTile& tile, const GemmProblem& problem, uint32_t sm_count) {
  const uint64_t blocks = row_tiles(tile, problem) * token_tiles(tile, problem);
  const uint64_t per_sm = divide_up(blocks, std::max(sm_count, 1u));
  const double area = double(tile.tokens()) * tile.rows();
  return area * (double(per_sm / 2 * 2) / tile.together + double(per_sm % 2) / tile.alone);
}

}  // namespace

const std::vector<GemmTile>& gemm_tiles() {
  // Speeds: TFLOP/s per multiprocessor of an H200, Q4_K.
  static const std::vector<GemmTile> tiles = {
      {8, 4, 1, 4, 1, 64, 3, 2, false, 2.2, 2.62},   // 128 tokens x 128 rows
      {8, 4, 1, 2, 2, 64, 4, 2, false, 1.84, 2.33},  // 128 x 64
      {4, 8, 1, 2, 2, 64, 4, 2, false, 1.97, 2.23},  // 64 x 128
      {4, 8, 1, 1, 4, 128, 3, 2, false, 1.06, 1.8},  // 64 x 64
      {2, 8, 1, 1, 4, 128, 3, 2, false, 0.64, 1.2},  // 32 x 64
      {2, 4, 1, 1, 4, 128, 4, 3, false, 0.58, 0.9},  // 32 x 32
      {16, 2, 1, 8, 1, 64, 4, 1, true, 4.3, 4.3},    // 256 x 128
      {8, 2, 1, 8, 1, 64, 3, 2, true, 3.25, 3.5},    // 128 x 128
      {8, 2, 1, 4, 1, 64, 3, 3, true, 2.2, 3.2},     // 128 x 64
      {4, 2, 1, 4, 1, 64, 4, 3, true, 1.4, 2.2},     // 64 x 64
  };
  return tiles;
}

bool has_gemm(unsigned type) { return type != kRowF32; }

bool fits(const GemmTile& tile, const GemmProblem& problem) {
  if (!problem.gated) return true;
  // Copies of pairs of matrices step over whole pairs of 8 rows.
  const uint64_t pieces = tile_bytes(problem.types[0], tile.depth / 32).main * tile.depth / 512;
  return pieces == 0 || tile.threads() / pieces % 16 == 0;
}

GemmTile gemm_tile(const GemmProblem& problem, uint32_t sm_count, uint32_t compute_capability) {
  const GemmTile* best = nullptr;
  for (const GemmTile& tile : gemm_tiles()) {
    if (!fits(tile, problem) || (tile.wgmma && compute_capability != 90)) continue;
    if (best == nullptr || cost(tile, problem, sm_count) < cost(*best, problem, sm_count)) {
      best = &tile;
    }
  }
  return *best;  // the first fits every problem
}

LaunchShape gemm_shape(const GemmTile& tile, const GemmProblem& problem) {
  LaunchShape shape;
  shape.block = tile.threads();
  shape.grid_x =
      problem.experts != 0
          ? expert_tiles(tile, problem)
          : static_cast<uint32_t>(std::max<uint64_t>(divide_up(problem.rows, tile.tokens()), 1));
  shape.grid_y = static_cast<uint32_t>(row_tiles(tile, problem));
  for (const unsigned type : problem.types) {
    shape.shared_bytes = std::max(shape.shared_bytes, shared_bytes(tile, type));
  }
  return shape;
}

std::vector<std::string> gemm_defines(const GemmTile& tile, const GemmProblem& problem) {
  std::vector<std::string> defines;
  const auto add = [&](std::string_view name, uint64_t value) {
    defines.push_back(define(name, value));
  };
  add("K", problem.k);
  add("TYPE", problem.types[0]);
  add("N", problem.n[0]);
  if (problem.types.size() > 1) add("MATRICES", problem.types.size());
  for (size_t i = 1; i < problem.types.size() && !problem.gated; ++i) {
    add("TYPE_" + std::to_string(i), problem.types[i]);
    add("N_" + std::to_string(i), problem.n[i]);
  }
  add("TILE_M", tile.m);
  add("TILE_N", tile.n);
  add("WARPS_M", tile.warps_m);
  add("WARPS_N", tile.warps_n);
  add("WARPS_K", tile.warps_k);
  add("DEPTH", tile.depth);
  add("STAGES", tile.stages);
  add("BLOCKS", tile.blocks);
  if (tile.wgmma) add("WGMMA", 1);
  if (problem.experts != 0) add("EXPERTS", problem.experts);
  add("SHARED", gemm_shape(tile, problem).shared_bytes);
  return defines;
}

uint32_t expert_tiles(const GemmTile& tile, const GemmProblem& problem) {
  // Each expert has at most one tile that is not full.
  return problem.rows / tile.tokens() + std::min(problem.experts, problem.rows);
}

uint64_t half_image_bytes(uint64_t rows, uint64_t k) {
  return rows * (2 * round_up(k, 16) + sizeof(float));
}

}  // namespace jllm::kernels
