// The embedding row of each token of the replay, zeros in rows without one. Block x handles row x;
// a thread decodes whole units.
#include "kernels/device/weights.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ void JLLM_KERNEL(JLLM_SEQUENCES,
                                       const unsigned* tokens,  // [context]
                                       const Bytes* table,      // [vocab] rows of DIM
                                       float* out               // [T][DIM]
) {
  using W = Weight<TYPE>;
  release_successor();
  wait_for_inputs();
  const unsigned row = blockIdx.x;
  float* to = out + (unsigned long long)row * DIM;
  const Sequences sequences = JLLM_SEQUENCES_HERE;
  if (!sequences.has_token(row, gridDim.x)) {
    for (unsigned i = threadIdx.x; i < DIM; i += blockDim.x) to[i] = 0.0f;
    return;
  }
  const unsigned token = sequences.own(tokens, row)[sequences.position(row)];
  const Bytes* from = table + token * row_layout(TYPE, DIM).stride;
  for (unsigned unit = threadIdx.x; unit < units_of<TYPE>(DIM); unit += blockDim.x) {
    const auto raw = W::load(from, unit, DIM);
    for_chunks<W::kUnit / 8>([&](auto chunk) {
      constexpr unsigned kChunk = decltype(chunk)::value;
      float v[8];
      W::template values<kChunk>(raw, v);
#pragma unroll
      for (unsigned i = 0; i < 8; ++i) {
        const unsigned half = i / 4;
        const unsigned index =
            unit * W::kUnit + (half == 0 ? W::first(kChunk) : W::second(kChunk)) + i % 4;
        if (index < DIM) to[index] = W::scale(raw, half) * v[i] - W::minimum(raw, half);
      }
    });
  }
}
