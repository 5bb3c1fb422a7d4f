// The slots of a chunk, expert by expert: `sources` names them in that order, in which a matrix
// product's rows stand, and `tiles` shares out each expert's rows to tiles of TILE. One block.
#include "kernels/device/common.cuh"

using namespace jllm;
using namespace jllm::device;

constexpr unsigned kThreads = 1024, kWarps = kThreads / kWarp;
static_assert(EXPERTS <= kThreads, "a thread per expert");

// The sum of `value` over the threads before this one.
JLLM_DEVICE unsigned sum_before(unsigned value, unsigned* warps) {
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  unsigned sum = value;
#pragma unroll
  for (unsigned step = 1; step < kWarp; step *= 2) {
    const unsigned other = __shfl_up_sync(kAllLanes, sum, step);
    if (lane >= step) sum += other;
  }
  if (lane == kWarp - 1) warps[warp] = sum;
  __syncthreads();
  unsigned before = 0;
  for (unsigned w = 0; w < warp; ++w) before += warps[w];
  __syncthreads();
  return before + sum - value;
}

extern "C" __global__ __launch_bounds__(kThreads) void JLLM_KERNEL(
    const StepState* state,
    const unsigned* chosen,  // [T][SLOTS]
    unsigned* sources,       // [T * SLOTS]
    unsigned* tiles,         // [TILES][3]: expert, first row, end of the expert's rows
    unsigned rows) {
  // Each warp has a run of slots: how many of each expert, then how many stand before the next of
  // its own. No token has an expert twice, so that 16 bits hold a chunk's.
  __shared__ unsigned short counts[kWarps][EXPERTS];
  __shared__ unsigned firsts[EXPERTS], warps[kWarps], used;
  const unsigned thread = threadIdx.x, lane = thread % kWarp, warp = thread / kWarp;
  const unsigned slots = compute_rows(state, rows) * SLOTS;
  const unsigned run = (slots + kThreads - 1) / kThreads * kWarp;
  const unsigned begin = warp * run, end = begin + run < slots ? begin + run : slots;
  unsigned short* const own = counts[warp];
  for (unsigned expert = lane; expert < EXPERTS; expert += kWarp) own[expert] = 0;
  __syncwarp();
  // Calls visit(slot, expert, before): `before` slots of the warp have the same expert and come
  // first.
  const auto for_own_slots = [&](const auto& visit) {
    for (unsigned start = begin; start < end; start += kWarp) {
      const bool inside = start + lane < end;
      const unsigned expert = inside ? chosen[start + lane] : EXPERTS;
      const unsigned same = __match_any_sync(kAllLanes, expert);
      const unsigned before = __popc(same & ((1u << lane) - 1));
      const unsigned earlier = inside ? own[expert] : 0;
      __syncwarp();
      if (inside && before == 0) own[expert] = (unsigned short)(earlier + __popc(same));
      __syncwarp();
      if (inside) visit(start + lane, expert, earlier + before);
    }
  };
  for_own_slots([](unsigned, unsigned, unsigned) {});
  __syncthreads();
  unsigned count = 0;
  if (thread < EXPERTS) {
    for (unsigned w = 0; w < kWarps; ++w) {
      const unsigned of_warp = counts[w][thread];
      counts[w][thread] = (unsigned short)count;
      count += of_warp;
    }
  }
  const unsigned first = sum_before(count, warps);
  const unsigned tile_count = (count + TILE - 1) / TILE;
  const unsigned first_tile = sum_before(tile_count, warps);
  if (thread < EXPERTS) firsts[thread] = first;
  if (thread == kThreads - 1) used = first_tile + tile_count;
  for (unsigned i = 0; i < tile_count; ++i) {
    unsigned* tile = tiles + 3 * (first_tile + i);
    tile[0] = thread, tile[1] = first + i * TILE, tile[2] = first + count;
  }
  __syncthreads();
  // Those that are not needed are empty.
  for (unsigned i = used + thread; i < TILES; i += kThreads) {
    unsigned* tile = tiles + 3 * i;
    tile[0] = tile[1] = tile[2] = 0;
  }
  for_own_slots([&](unsigned slot, unsigned expert, unsigned before) {
    sources[firsts[expert] + before] = slot;
  });
}
