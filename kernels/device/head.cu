// The logits of one row, or of TOKENS: RMS norm, then the output matrix. With TOPS also the largest
// of each block, so that a greedy choice need not look at all of them again.
#include "kernels/device/gemv.cuh"
#include "kernels/device/ranks.cuh"

#ifndef TOPS
#define TOPS 0
#endif

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ __launch_bounds__(kGemvThreads, BLOCKS) void JLLM_KERNEL(
    const float* x,       // [TOKENS][K]
    const float* norm,    // [K]
    const Bytes* weight,  // [N] rows of K
    float* logits         // [TOKENS][N]
#if TOPS
    ,
    U64* tops  // [TOKENS][gridDim.x] ranks, kNanRank where a logit is not a number
#endif
) {
  JLLM_DYNAMIC_SHARED(Float4, shared);
  __shared__ float squares[kTokens * (round_up(K, 32) / 32)];
  Bytes* image = (Bytes*)shared;
  x += kFirstToken * K;
  release_successor();
  Norm<K> part;
  part.load(norm);
  const unsigned own_token = Sums<ROWS>::token();
  float factor;
  U64 top = 0;
  multiply_rows<ACTIVATIONS, TYPE, K, N, ROWS, SPLIT>(
      weight, image,
      [&] {
        wait_for_inputs();
        const float squared =
            stage<ACTIVATIONS, kGemvThreads, K, true>(x, norm, part, image, squares, own_token);
        factor = rms_factor(squared, K, EPSILON_BITS);
      },
      [&](unsigned token, unsigned row, float sum) {
        const float logit = sum * factor;
        logits[(kFirstToken + token) * (unsigned long long)N + row] = logit;
        const U64 rank = logit != logit ? kNanRank : rank_of(logit, row);
        if (TOPS && rank > top) top = rank;
      });
#if TOPS
  __shared__ U64 warps[kTokens][kGemvWarps];
  for (unsigned token = 0; token < kTokens; ++token) {
    const U64 largest = warp_max(own_token == token ? top : 0);
    if (threadIdx.x % kWarp == 0) warps[token][threadIdx.x / kWarp] = largest;
  }
  __syncthreads();
  const unsigned token = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (token >= kTokens) return;
  top = warp_max(lane < kGemvWarps ? warps[token][lane] : 0);
  if (lane == 0) tops[(kFirstToken + token) * gridDim.x + blockIdx.x] = top;
#endif
}
