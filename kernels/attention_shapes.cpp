// Tiles of attention; see attention_shapes.h. Sizes repeat those of attention.cu and kv_tiles.cuh:
// the kernel refuses to compile where SHARED is too small.
#include "kernels/attention_shapes.h"

#include <algorithm>

#include "schema/kv_layout.h"

namespace jllm::kernels {
namespace {

uint64_t divide_up(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

bool is_f32(const AttentionProblem& p) { return p.k_type == kKvF32 || p.v_type == kKvF32; }

uint64_t blocks(const AttentionTile& tile, const AttentionProblem& p) {
  return p.kv_heads * divide_up(uint64_t{p.rows} * (p.heads / p.kv_heads), tile.vectors());
}

// KvTile::kBytes.
uint64_t tile_bytes(const AttentionTile& tile, unsigned type, uint64_t head_dim) {
  const uint64_t row = 2 * (divide_up(head_dim, 16) * 16 + 8);
  const uint64_t quants = kv_is_quantised(type) ? kv_layout(type, 1, head_dim).row : 0;
  const uint64_t planes = type == kKvF16 ? tile.stages : type == kKvF32 ? 2 : 1;
  return tile.tile * (planes * row + quants);
}

uint64_t shared_bytes(const AttentionTile& tile, const AttentionProblem& p) {
  const uint64_t vectors = uint64_t{tile.warps} * tile.fragments * 16;
  const uint64_t row = divide_up(p.head_dim, 16) * 16, terms = is_f32(p) ? 2 : 1;
  const uint64_t queries = tile.fragments * terms * row <= 256 ? 0 : vectors * row * 2 * terms;
  const uint64_t results = tile.split == 1 ? 0 : vectors * (p.head_dim + 8) * sizeof(float);
  return std::max(
      tile_bytes(tile, p.k_type, p.head_dim) + tile_bytes(tile, p.v_type, p.head_dim) + queries,
      results);
}

}  // namespace

AttentionTile attention_tile(const AttentionProblem& problem, uint32_t sm_count) {
  constexpr uint64_t kMaxShared = 99 * 1024;
  AttentionTile tile;
  const bool wide = problem.head_dim > 128;
  tile.tile = is_f32(problem) ? (wide ? 16 : 32) : (wide ? 32 : 64);
  // Two fragments halve what a warp reads of each tile, where its registers have room for them and
  // there is work for all multiprocessors.
  tile.fragments = problem.head_dim <= 64 && !is_f32(problem) ? 2 : 1;
  if (blocks(tile, problem) < 2 * uint64_t{sm_count}) tile.fragments = 1;
  // Where there is little work, warps share it: more blocks, of fewer vectors.
  const auto fits = [&] {
    return tile.tile / tile.split >= 16 && blocks(tile, problem) <= sm_count;
  };
  for (tile.split = 4; tile.split > 1 && !fits(); tile.split /= 2) {
  }
  // Then few warps are there to hide what a tile takes to arrive.
  if (tile.split > 1 && problem.k_type == kKvF16 && problem.v_type == kKvF16) {
    for (tile.stages = 4; tile.stages > 2 && shared_bytes(tile, problem) > kMaxShared;) {
      --tile.stages;
    }
  }
  return tile;
}

LaunchShape attention_shape(const AttentionTile& tile, const AttentionProblem& problem) {
  LaunchShape shape;
  shape.block = 32 * tile.warps;
  shape.grid_x = problem.kv_heads;
  shape.grid_y = static_cast<uint32_t>(
      std::max<uint64_t>(blocks(tile, problem) / std::max(problem.kv_heads, 1u), 1));
  shape.shared_bytes = shared_bytes(tile, problem);
  return shape;
}

std::vector<std::string> attention_defines(const AttentionTile& tile,
                                           const AttentionProblem& problem) {
  return {define("WARPS", tile.warps),         define("SPLIT", tile.split),
          define("FRAGMENTS", tile.fragments), define("TILE", tile.tile),
          define("STAGES", tile.stages),       define("SHARED", shared_bytes(tile, problem))};
}

}  // namespace jllm::kernels
