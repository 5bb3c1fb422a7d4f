// One token: out = residual + W in (+ bias). Also the last step of attention and of the
// feed-forward part.
#include "kernels/device/gemv.cuh"

using namespace jllm;
using namespace jllm::device;

constexpr unsigned kRows = 2;

extern "C" __global__ __launch_bounds__(kGemvThreads,
                                        2) void JLLM_KERNEL(const float* in,      // [K]
                                                            const Bytes* weight,  // [N] rows of K
#if HAS_BIAS
                                                            const float* bias,  // [N]
#endif
                                                            const float* residual,  // [N]
                                                            float* out  // [N]; may be residual
) {
  extern __shared__ Float4 shared[];
  float* image = (float*)shared;
  stage<K, false, Weight<TYPE>::kHasMinimum>(in, nullptr, image, nullptr);
  for_row_groups((N + kRows - 1) / kRows, [&](unsigned group) {
    const Bytes* rows[kRows];
    float sums[kRows];
    row_pointers<TYPE, K>(weight, group * kRows, N, rows);
    dot_rows<TYPE, K>(rows, image, sums);
    if (threadIdx.x % kWarp != 0) return;
    for (unsigned r = 0; r < kRows && group * kRows + r < N; ++r) {
      const unsigned row = group * kRows + r;
#if HAS_BIAS
      sums[r] += bias[row];
#endif
      out[row] = residual[row] + sums[r];
    }
  });
}
