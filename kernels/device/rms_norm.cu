// out = in / sqrt(mean(in^2) + epsilon) * weight, per row and group. Block (x, y) handles group y
// of row x. With OUT_HALVES the rows' image for the tensor-core matrix product (half_image.cuh).
#include "kernels/device/half_image.cuh"

using namespace jllm;
using namespace jllm::device;

#ifndef OUT_HALVES
#define OUT_HALVES 0
#endif

constexpr unsigned kThreads = row_threads(DIM);
constexpr unsigned kLength = OUT_HALVES ? image_length(DIM) : DIM;
constexpr unsigned kTurns = (kLength / 4 + kThreads - 1) / kThreads;

extern "C" __global__ __launch_bounds__(kThreads) void JLLM_KERNEL(
    const StepState* state,
    const float* in,      // [T][groups][DIM]
    const float* weight,  // [DIM]
    float* out            // [T][groups][DIM], or with OUT_HALVES (one group) the image
) {
  __shared__ float scratch[kThreads / kWarp];
  __shared__ unsigned magnitudes[kThreads / kWarp];
  release_successor();
  wait_for_inputs();
  const unsigned row = blockIdx.x;
  if (row >= compute_rows(state, gridDim.x)) return;
  const unsigned long long base = ((unsigned long long)row * gridDim.y + blockIdx.y) * DIM;
  Float4 values[kTurns];
  float squares = 0.0f;
#pragma unroll
  for (unsigned turn = 0; turn < kTurns; ++turn) {
    const unsigned first = 4 * (turn * kThreads + threadIdx.x);
    Float4& v = values[turn];
    v = {0.0f, 0.0f, 0.0f, 0.0f};
    if (first < DIM) v = load_shared_across_blocks((const Float4*)(in + base + first));
    squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  const float factor = rms_factor(block_sum(squares, scratch), DIM, EPSILON_BITS);
#pragma unroll
  for (unsigned turn = 0; turn < kTurns; ++turn) {
    const unsigned first = 4 * (turn * kThreads + threadIdx.x);
    if (first >= DIM) break;
    const Float4 w = *(const Float4*)(weight + first);
    Float4& v = values[turn];
    v = {v.x * factor * w.x, v.y * factor * w.y, v.z * factor * w.z, v.w * factor * w.w};
#if !OUT_HALVES
    *(Float4*)(out + base + first) = v;
#endif
  }
#if OUT_HALVES
  store_image_row<DIM, kThreads>(values, row, gridDim.x, (Bytes*)out, magnitudes);
#endif
}
