// Cache rows position .. of each head = in. Grid (blocks over elements, T).
#include "kernels/device/common.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ void JLLM_KERNEL(const StepState* state,
                                       const float* in,             // [T][HEADS][HEAD_DIM]
                                       Kv<KV_TYPE>::Element* cache  // [HEADS][CONTEXT][HEAD_DIM]
) {
  const unsigned row = blockIdx.y;
  const unsigned position = state->position + row;
  if (row >= token_rows(state, gridDim.y) || position >= CONTEXT) return;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < HEADS * HEAD_DIM;
       i += gridDim.x * blockDim.x) {
    const unsigned head = i / HEAD_DIM, element = i % HEAD_DIM;
    cache[((unsigned long long)head * CONTEXT + position) * HEAD_DIM + element] =
        Kv<KV_TYPE>::encode(in[(unsigned long long)row * HEADS * HEAD_DIM + i]);
  }
}
