// One token: RMS norm, then out = silu(gate) * up. A warp owns the same rows of both matrices.
#include "kernels/device/gemv.cuh"

using namespace jllm;
using namespace jllm::device;

constexpr unsigned kRows = 2;

extern "C" __global__ __launch_bounds__(kGemvThreads,
                                        2) void JLLM_KERNEL(const float* x,       // [K]
                                                            const float* norm,    // [K]
                                                            const Bytes* w_gate,  // [N] rows of K
                                                            const Bytes* w_up,    // [N] rows of K
                                                            float* out            // [N]
) {
  extern __shared__ Float4 shared[];
  __shared__ float scratch[kGemvWarps];
  float* image = (float*)shared;
  constexpr bool kSums = Weight<GATE_TYPE>::kHasMinimum || Weight<UP_TYPE>::kHasMinimum;
  const float factor = rms_factor(stage<K, true, kSums>(x, norm, image, scratch), K, EPSILON_BITS);
  for_row_groups((N + kRows - 1) / kRows, [&](unsigned group) {
    const Bytes* rows[kRows];
    float gate[kRows], up[kRows];
    row_pointers<GATE_TYPE, K>(w_gate, group * kRows, N, rows);
    dot_rows<GATE_TYPE, K>(rows, image, gate);
    __syncwarp();  // keeps the loads below from joining those above, for which registers do not
                   // suffice
    row_pointers<UP_TYPE, K>(w_up, group * kRows, N, rows);
    dot_rows<UP_TYPE, K>(rows, image, up);
    if (threadIdx.x % kWarp != 0) return;
    for (unsigned r = 0; r < kRows && group * kRows + r < N; ++r) {
      out[group * kRows + r] = silu(gate[r] * factor) * (up[r] * factor);
    }
  });
}
