// One token, or TOKENS: out = residual + W in (+ bias). Also the last step of attention and of the
// feed-forward part. Without RESIDUAL just the product.
#include "kernels/device/gemv.cuh"

#ifndef RESIDUAL
#define RESIDUAL 1
#endif

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ __launch_bounds__(kGemvThreads, BLOCKS) void JLLM_KERNEL(
    const float* in,      // [TOKENS][K], or with IN_IMAGE their byte images
    const Bytes* weight,  // [N] rows of K
#if HAS_BIAS
    const float* bias,  // [N]
#endif
#if RESIDUAL
    const float* residual,  // [TOKENS][N]
#endif
    float* out  // [TOKENS][N]; may be residual
) {
  JLLM_DYNAMIC_SHARED(Float4, shared);
  Bytes* image = (Bytes*)shared;
  release_successor();
  multiply_rows<ACTIVATIONS, TYPE, K, N, ROWS, SPLIT>(
      weight, image,
      [&] {
        wait_for_inputs();
#if IN_IMAGE
        constexpr unsigned kOffset = kFirstToken * image_stride<ACTIVATIONS, K>();
        stage_images<ACTIVATIONS, kGemvThreads, K, kTokens>((const Bytes*)in + kOffset, image);
#else
        stage<ACTIVATIONS, kGemvThreads, K, false>(in + kFirstToken * K, nullptr, Norm<K>(), image,
                                                   nullptr, 0);
#endif
      },
      [&](unsigned token, unsigned row, float sum) {
#if HAS_BIAS
        sum += bias[row];
#endif
        const unsigned at = (kFirstToken + token) * N + row;
#if RESIDUAL
        sum += load_shared_across_blocks(residual + at);
#endif
        out[at] = sum;
      });
}
