// The image of f32 rows for the tensor-core matrix product (half_image.cuh). A block per row. With
// SLOTS the image's rows are the slots of the tokens, in the order of expert_lists.
#include "kernels/device/half_image.cuh"

using namespace jllm;
using namespace jllm::device;

constexpr unsigned kThreads = row_threads(DIM);
constexpr unsigned kTurns = (image_length(DIM) / 4 + kThreads - 1) / kThreads;

extern "C" __global__ __launch_bounds__(kThreads) void JLLM_KERNEL(
    const StepState* state,
    const float* in,  // [T][DIM], or with IN_PER_SLOT [T][SLOTS][DIM]
#ifdef SLOTS
    const unsigned* sources,  // [T * SLOTS]
#endif
    Bytes* image) {
  __shared__ unsigned scratch[kThreads / kWarp];
  const unsigned row = blockIdx.x;
#ifdef SLOTS
  if (row >= compute_rows(state, gridDim.x / SLOTS) * SLOTS) return;
  const unsigned source = IN_PER_SLOT ? sources[row] : sources[row] / SLOTS;
#else
  if (row >= compute_rows(state, gridDim.x)) return;
  const unsigned source = row;
#endif
  const float* from = in + (unsigned long long)source * DIM;
  Float4 values[kTurns];
#pragma unroll
  for (unsigned turn = 0; turn < kTurns; ++turn) {
    const unsigned first = 4 * (turn * kThreads + threadIdx.x);
    values[turn] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (first < DIM) values[turn] = load_shared_across_blocks((const Float4*)(from + first));
  }
  store_image_row<DIM, kThreads>(values, row, gridDim.x, image, scratch);
}
