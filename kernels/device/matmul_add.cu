// One token: out = residual + W in (+ bias). Also the last step of attention and of the
// feed-forward part. Without RESIDUAL just the product.
#include "kernels/device/gemv.cuh"

#ifndef RESIDUAL
#define RESIDUAL 1
#endif

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ __launch_bounds__(kGemvThreads, BLOCKS) void JLLM_KERNEL(
    const float* in,      // [K], or with IN_IMAGE its byte image
    const Bytes* weight,  // [N] rows of K
#if HAS_BIAS
    const float* bias,  // [N]
#endif
#if RESIDUAL
    const float* residual,  // [N]
#endif
    float* out  // [N]; may be residual
) {
  extern __shared__ Float4 shared[];
  Bytes* image = (Bytes*)shared;
  release_successor();
  multiply_rows<ACTIVATIONS, TYPE, K, N, ROWS, SPLIT>(
      weight, image,
      [&] {
        wait_for_inputs();
#if IN_IMAGE
        stage_image<ACTIVATIONS, kGemvThreads, K>((const Bytes*)in, image);
#else
        stage<ACTIVATIONS, kGemvThreads, K, false>(in, nullptr, {}, image, nullptr);
#endif
      },
      [&](unsigned row, float sum) {
#if HAS_BIAS
        sum += bias[row];
#endif
#if RESIDUAL
        sum += load_shared_across_blocks(residual + row);
#endif
        out[row] = sum;
      });
}
