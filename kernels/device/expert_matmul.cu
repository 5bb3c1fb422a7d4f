// Every slot of every token: its vector times the matrix of the expert that was chosen for it, row
// by row of the weights; with ACTIVATION activation(gate) * up of two matrices. Grid (any, T *
// SLOTS).
#include "kernels/device/gemv.cuh"

// Whether each slot has a vector of its own, or those of a token share one.
#ifndef IN_PER_SLOT
#define IN_PER_SLOT 0
#endif

using namespace jllm;
using namespace jllm::device;

static_assert(kTokens == 1, "a block has one slot");

template <unsigned kType>
JLLM_DEVICE const Bytes* matrix_of(const Bytes* weights, unsigned expert) {
  return weights + (unsigned long long)row_layout(kType, K).stride * N * expert;
}

extern "C" __global__ __launch_bounds__(kGemvThreads, BLOCKS) void JLLM_KERNEL(
    const StepState* state,
    const float* in,         // [T][K], or with IN_PER_SLOT [T][SLOTS][K]
    const unsigned* chosen,  // [T][SLOTS]
    const Bytes* weight,     // [experts][N] rows of K; with ACTIVATION those of the gate
#ifdef ACTIVATION
    const Bytes* up,  // [experts][N] rows of K
#endif
    float* out  // [T][SLOTS][N]
) {
  JLLM_DYNAMIC_SHARED(Float4, shared);
  Bytes* image = (Bytes*)shared;
  const unsigned slot = blockIdx.y;
  release_successor();
  wait_for_inputs();
  if (slot / SLOTS >= compute_rows(state, gridDim.y / SLOTS)) return;
  const unsigned expert = load_shared_across_blocks(chosen + slot);
  const float* from = in + (unsigned long long)(IN_PER_SLOT ? slot : slot / SLOTS) * K;
  float* to = out + (unsigned long long)slot * N;
  multiply_rows<ACTIVATIONS, TYPE, K, N, ROWS, SPLIT>(
      matrix_of<TYPE>(weight, expert), image,
      [&] {
        stage<ACTIVATIONS, kGemvThreads, K, false>(from, nullptr, Norm<K>(), image, nullptr, 0);
      },
      [&](unsigned, unsigned row, float sum) { to[row] = sum; });
#ifdef ACTIVATION
  // The same lane stores the same rows of both.
  multiply_rows<ACTIVATIONS, UP_TYPE, K, N, ROWS, SPLIT>(
      matrix_of<UP_TYPE>(up, expert), image, [] { __syncthreads(); },
      [&](unsigned, unsigned row, float sum) { to[row] = activate<ACTIVATION>(to[row]) * sum; });
#endif
}
