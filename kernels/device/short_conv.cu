// out = c * (sum over j of taps[j] * (b * x) at position - (TAPS - 1) + j), per element; positions
// before the first count as 0. A thread slides over SEGMENT rows of one column; those of the first
// segment also read and then keep b * x of the last positions, row position % RECENT of `recent`.
// Rows without tokens become 0. Grid (blocks over N, segments of ROWS rows), y fixed; with BATCH,
// ROWS is 1 and z the row.
#include "kernels/device/common.cuh"

using namespace jllm;
using namespace jllm::device;

// The product has one rounding wherever it is made: here, in a later row, or read from `recent`.
JLLM_DEVICE float gated(const float* row, unsigned i) {
  return __fmul_rn(load_shared_across_blocks(row + i),
                   load_shared_across_blocks(row + 2ull * N + i));
}

extern "C" __global__ void JLLM_KERNEL(JLLM_SEQUENCES,
                                       const float* in,    // [ROWS][3][N]: b, c, x
                                       const float* taps,  // [N][TAPS]
                                       float* recent,      // [RECENT][N]
                                       float* out          // [ROWS][N]
) {
  release_successor();
  wait_for_inputs();
  const Sequences sequences = JLLM_SEQUENCES_HERE;
#if BATCH
  const unsigned batch_row = blockIdx.z, rows = sequences.has_token(batch_row, gridDim.z) ? 1 : 0;
  const unsigned position = sequences.position(batch_row);
  in += 3ull * N * batch_row;
  out += (unsigned long long)N * batch_row;
  recent = sequences.own(recent, batch_row);
#else
  const unsigned rows = token_rows(state, ROWS), position = sequences.position(0);
#endif
  const unsigned first = blockIdx.y * SEGMENT;
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= N) return;
  unsigned end = min(first + SEGMENT, (unsigned)ROWS);
  for (; end > first && end > rows; --end) out[(unsigned long long)N * (end - 1) + i] = 0.0f;
  if (end == first) return;
  const auto row_of = [&](unsigned row) { return in + 3ull * N * row; };
  const auto kept = [&](unsigned at) { return recent + (unsigned long long)(at % RECENT) * N + i; };

  float weights[TAPS], window[TAPS];  // window[j]: as far back as weights[j]
#pragma unroll
  for (unsigned j = 0; j < TAPS; ++j) weights[j] = taps[i * TAPS + j];
#pragma unroll
  for (unsigned j = 0; j + 1 < TAPS; ++j) {
    const unsigned back = TAPS - 1 - j;
    window[j + 1] = back <= first ? gated(row_of(first - back), i)
                    : back <= position + first
                        ? load_shared_across_blocks(kept(position + first - back))
                        : 0.0f;
  }
  for (unsigned row = first; row < end; ++row) {
#pragma unroll
    for (unsigned j = 0; j + 1 < TAPS; ++j) window[j] = window[j + 1];
    window[TAPS - 1] = gated(row_of(row), i);
    float sum = 0.0f;
#pragma unroll
    for (unsigned j = 0; j < TAPS; ++j) sum = __fmaf_rn(weights[j], window[j], sum);
    out[(unsigned long long)N * row + i] = load_shared_across_blocks(row_of(row) + N + i) * sum;
  }
  if (first > 0) return;
  for (unsigned row = rows > RECENT ? rows - RECENT : 0; row < rows; ++row) {
    *kept(position + row) = gated(row_of(row), i);
  }
}
