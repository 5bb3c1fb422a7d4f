// One token: RMS norm, then out = activation(gate) * up. A warp owns the same rows of both
// matrices, a block 32 rows at a time, so that it can hand them on as sub-blocks of a byte image.
#include "kernels/device/gemv.cuh"

using namespace jllm;
using namespace jllm::device;

constexpr unsigned kRows = 2;
constexpr unsigned kTile = kGemvWarps * kRows;
static_assert(kTile == 32, "a tile is a sub-block of the next kernel's image");

extern "C" __global__ __launch_bounds__(kGemvThreads, 2) void JLLM_KERNEL(
    const float* x,       // [K]
    const float* norm,    // [K]
    const Bytes* w_gate,  // [N] rows of K
    const Bytes* w_up,    // [N] rows of K
    float* out            // [N], or with OUT_IMAGE (a mode) its byte image
) {
  extern __shared__ Float4 shared[];
  __shared__ float scratch[kGemvWarps];
  Bytes* image = (Bytes*)shared;
  constexpr unsigned kTiles = (N + kTile - 1) / kTile;
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  release_successor();
  NormPart<kGemvThreads, K> part;
  part.load(norm);

  constexpr bool kSameType = GATE_TYPE == UP_TYPE;
  const auto row_of = [&](unsigned tile) { return tile * kTile + warp * kRows; };
  using GateDot = Dot<ACTIVATIONS, GATE_TYPE, K, kRows>;
  using UpDot = Dot<ACTIVATIONS, UP_TYPE, K, kRows>;
  GateDot dot(0);
  unsigned tile = blockIdx.x;
  Rows rows = rows_from<GATE_TYPE, K, N, kRows>(w_gate, row_of(tile));
  if (kSameType) dot.begin(rows);
  wait_for_inputs();
  const float factor = rms_factor(
      stage<ACTIVATIONS, kGemvThreads, K, true>(x, norm, part, image, scratch), K, EPSILON_BITS);
#if OUT_IMAGE
  __shared__ float values[2][kTile];
#endif
  // Turn by turn the rows of gate and of up, in one loop: where both have one type, the loads of
  // the next turn start while this one's sums are made.
  float gate = 0.0f;
  for (unsigned turn = 0; tile < kTiles; ++turn) {
    const bool is_up = turn % 2 != 0;
    float sum;
    if (kSameType) {
      sum = dot.finish(rows, image);
    } else if (!is_up) {
      dot.begin(rows);
      sum = dot.finish(rows, image);
    } else {
      UpDot up_dot(0);
      up_dot.begin(rows);
      sum = up_dot.finish(rows, image);
    }
    sum *= factor;
    const unsigned this_tile = tile;
    if (is_up) tile += gridDim.x;
    if (tile < kTiles) {
      rows = is_up ? rows_from<GATE_TYPE, K, N, kRows>(w_gate, row_of(tile))
                   : rows_from<UP_TYPE, K, N, kRows>(w_up, row_of(tile));
      if (kSameType) dot.begin(rows);
    }
    if (!is_up) {
      gate = sum;
      continue;
    }
    const float value = activate<ACTIVATION>(gate) * sum;
#if OUT_IMAGE
    float(&shelf)[kTile] = values[turn / 2 % 2];
    if (lane_speaks<kRows>()) shelf[warp * kRows + row_of_lane<kRows>()] = value;
    __syncthreads();
    if (warp == turn / 2 % kGemvWarps) {
      publish_block<OUT_IMAGE, N>(shelf[lane], this_tile, (Bytes*)out);
    }
#else
    const unsigned row = row_of(this_tile) + row_of_lane<kRows>();
    if (lane_speaks<kRows>() && row < N) out[row] = value;
#endif
  }
}
