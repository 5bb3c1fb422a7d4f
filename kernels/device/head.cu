// The logits of one row: RMS norm, then the output matrix.
#include "kernels/device/gemv.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ __launch_bounds__(kGemvThreads,
                                        2) void JLLM_KERNEL(const float* x,       // [K]
                                                            const float* norm,    // [K]
                                                            const Bytes* weight,  // [N] rows of K
                                                            float* logits         // [N]
) {
  extern __shared__ Float4 shared[];
  __shared__ float scratch[kGemvWarps];
  Bytes* image = (Bytes*)shared;
  release_successor();
  NormPart<kGemvThreads, K> part;
  part.load(norm);
  float factor;
  multiply_rows<ACTIVATIONS, TYPE, K, N, ROWS, SPLIT>(
      weight, image,
      [&] {
        wait_for_inputs();
        factor =
            rms_factor(stage<ACTIVATIONS, kGemvThreads, K, true>(x, norm, part, image, scratch), K,
                       EPSILON_BITS);
      },
      [&](unsigned row, float sum) { logits[row] = sum * factor; });
}
