// Rotates the first 2 * PAIRS elements of each head by position * frequency. Grid (blocks over
// pairs, T).
#include "kernels/device/common.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ void JLLM_KERNEL(JLLM_SEQUENCES,
                                       const float* in,           // [T][HEADS][HEAD_DIM]
                                       const float* frequencies,  // [PAIRS]
                                       float* out                 // [T][HEADS][HEAD_DIM]; may be in
) {
  const unsigned row = blockIdx.y;
  const Sequences sequences = JLLM_SEQUENCES_HERE;
  if (row > 0 && !sequences.has_token(row, gridDim.y)) return;
  const unsigned position = sequences.position(row);
  constexpr unsigned kHalf = HEAD_DIM / 2;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < HEADS * kHalf;
       i += gridDim.x * blockDim.x) {
    const unsigned pair = i % kHalf;
    const unsigned long long base = ((unsigned long long)row * HEADS + i / kHalf) * HEAD_DIM;
    unsigned first, second;
    pair_elements(pair, PAIRS, NEOX, &first, &second);
    float a = in[base + first], b = in[base + second];
    if (pair < PAIRS) {
      rotate(&a, &b, position, frequencies[pair], bits_to_float(MAGNITUDE_BITS));
    }
    out[base + first] = a;
    out[base + second] = b;
  }
}
