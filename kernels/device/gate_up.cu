// One token, or TOKENS: RMS norm, then out = activation(gate) * up. A warp owns the same rows of
// both matrices; a block takes at least 32 rows at a time, in one or several passes, so that it can
// hand them on as sub-blocks of a byte image.
#include "kernels/device/gemv.cuh"

using namespace jllm;
using namespace jllm::device;

constexpr unsigned kPassRows = kGemvWarps * ROWS;
constexpr unsigned kTile = kPassRows > 32 ? kPassRows : 32;
constexpr unsigned kPasses = kTile / kPassRows, kSubBlocks = kTile / 32;
static_assert(kTile % kPassRows == 0 && kTile % 32 == 0,
              "whole passes make sub-blocks of the next kernel's image");

extern "C" __global__ __launch_bounds__(kGemvThreads, BLOCKS) void JLLM_KERNEL(
    const float* x,       // [TOKENS][K]
    const float* norm,    // [K]
    const Bytes* w_gate,  // [N] rows of K
    const Bytes* w_up,    // [N] rows of K
    float* out            // [TOKENS][N], or with OUT_IMAGE (a mode) their byte images
) {
  JLLM_DYNAMIC_SHARED(Float4, shared);
  __shared__ float squares[kTokens * (round_up(K, 32) / 32)];
  Bytes* image = (Bytes*)shared;
  constexpr unsigned kTiles = (N + kTile - 1) / kTile;
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  x += kFirstToken * K;
  release_successor();
  Norm<K> part;
  part.load(norm);

  constexpr bool kSameType = GATE_TYPE == UP_TYPE;
  using GateDot = Dot<ACTIVATIONS, GATE_TYPE, K, ROWS>;
  using UpDot = Dot<ACTIVATIONS, UP_TYPE, K, ROWS>;
  GateDot dot(0);
  unsigned tile = blockIdx.x, pass = 0;
  const auto first_row = [&] { return tile * kTile + pass * kPassRows + warp * ROWS; };
  Rows rows = rows_from<GATE_TYPE, K, N, ROWS>(w_gate, first_row());
  if (kSameType) dot.begin(rows);
  wait_for_inputs();
  const unsigned token = Sums<ROWS>::token();
  const float squared =
      stage<ACTIVATIONS, kGemvThreads, K, true>(x, norm, part, image, squares, token);
  const float factor = rms_factor(squared, K, EPSILON_BITS);
#if OUT_IMAGE
  __shared__ float values[2][kTokens][kTile];
  unsigned tiles_done = 0;
#endif
  // Turn by turn the rows of gate and of up, in one loop: where both have one type, the loads of
  // the next turn start while this one's sums are made.
  float gate = 0.0f;
  for (bool is_up = false; tile < kTiles; is_up = !is_up) {
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
    const unsigned this_tile = tile, row = first_row() + Sums<ROWS>::row();
    if (is_up && ++pass == kPasses) pass = 0, tile += gridDim.x;
    if (tile < kTiles) {
      rows = is_up ? rows_from<GATE_TYPE, K, N, ROWS>(w_gate, first_row())
                   : rows_from<UP_TYPE, K, N, ROWS>(w_up, first_row());
      if (kSameType) dot.begin(rows);
    }
    if (!is_up) {
      gate = sum;
      continue;
    }
    const float value = activate<ACTIVATION>(gate) * sum;
#if OUT_IMAGE
    float(&shelf)[kTokens][kTile] = values[tiles_done % 2];
    if (Sums<ROWS>::lane_speaks()) shelf[token][row % kTile] = value;
    if (pass != 0) continue;
    __syncthreads();
    // Tile by tile other warps do it.
    constexpr unsigned kParts = kTokens * kSubBlocks;
    unsigned part = (warp + tiles_done++ * kParts) % kGemvWarps;
    for (; part < kParts; part += kGemvWarps) {
      const unsigned t = part / kSubBlocks, sub_block = part % kSubBlocks;
      const unsigned block = this_tile * kSubBlocks + sub_block;
      if (32 * block >= N) continue;
      publish_block<OUT_IMAGE, N>(shelf[t][32 * sub_block + lane], block,
                                  (Bytes*)out + (kFirstToken + t) * image_stride<OUT_IMAGE, N>());
    }
#else
    if (Sums<ROWS>::lane_speaks() && row < N) out[(kFirstToken + token) * N + row] = value;
#endif
  }
}
