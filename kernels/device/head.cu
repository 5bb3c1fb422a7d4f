// The logits of one row: RMS norm, then the output matrix. With TOPS also the largest of each
// block, so that a greedy choice need not look at all of them again.
#include "kernels/device/gemv.cuh"
#include "kernels/device/ranks.cuh"

#ifndef TOPS
#define TOPS 0
#endif

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ __launch_bounds__(kGemvThreads, BLOCKS) void JLLM_KERNEL(
    const float* x,       // [K]
    const float* norm,    // [K]
    const Bytes* weight,  // [N] rows of K
    float* logits         // [N]
#if TOPS
    ,
    U64* tops  // [gridDim.x] ranks, kNanRank where a logit is not a number
#endif
) {
  extern __shared__ Float4 shared[];
  __shared__ float squares[round_up(K, 32) / 32];
  Bytes* image = (Bytes*)shared;
  release_successor();
  NormPart<kGemvThreads, K> part;
  part.load(norm);
  float factor;
  U64 top = 0;
  multiply_rows<ACTIVATIONS, TYPE, K, N, ROWS, SPLIT>(
      weight, image,
      [&] {
        wait_for_inputs();
        factor =
            rms_factor(stage<ACTIVATIONS, kGemvThreads, K, true>(x, norm, part, image, squares), K,
                       EPSILON_BITS);
      },
      [&](unsigned row, float sum) {
        const float logit = sum * factor;
        logits[row] = logit;
        const U64 rank = logit != logit ? kNanRank : rank_of(logit, row);
        if (TOPS && rank > top) top = rank;
      });
#if TOPS
  __shared__ U64 warps[kGemvWarps];
  top = warp_max(top);
  if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = top;
  __syncthreads();
  if (threadIdx.x >= kWarp) return;
  top = warp_max(threadIdx.x < kGemvWarps ? warps[threadIdx.x] : 0);
  if (threadIdx.x == 0) tops[blockIdx.x] = top;
#endif
}
