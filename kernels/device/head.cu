// The logits of one row: RMS norm, then the output matrix.
#include "kernels/device/gemv.cuh"

using namespace jllm;
using namespace jllm::device;

constexpr unsigned kRows = 2;

extern "C" __global__ __launch_bounds__(kGemvThreads,
                                        2) void JLLM_KERNEL(const float* x,       // [K]
                                                            const float* norm,    // [K]
                                                            const Bytes* weight,  // [N] rows of K
                                                            float* logits         // [N]
) {
  extern __shared__ Float4 shared[];
  __shared__ float scratch[kGemvWarps];
  float* image = (float*)shared;
  const float factor = rms_factor(
      stage<K, true, Weight<TYPE>::kHasMinimum>(x, norm, image, scratch), K, EPSILON_BITS);
  for_row_groups((N + kRows - 1) / kRows, [&](unsigned group) {
    const Bytes* rows[kRows];
    float sums[kRows];
    row_pointers<TYPE, K>(weight, group * kRows, N, rows);
    dot_rows<TYPE, K>(rows, image, sums);
    if (threadIdx.x % kWarp != 0) return;
    for (unsigned r = 0; r < kRows && group * kRows + r < N; ++r) {
      logits[group * kRows + r] = sums[r] * factor;
    }
  });
}
