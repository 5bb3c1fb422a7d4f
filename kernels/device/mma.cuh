// Fragments of tensor-core products (m16n8k16) from shared memory; ptx.cuh has the instructions.
// Fragments follow the PTX layout: lane = 4 * g + t; A rows g, g + 8; B column g; results at
// (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
#pragma once

#include "kernels/device/common.cuh"

namespace jllm::device {

constexpr unsigned twice(unsigned half) { return half | half << 16; }

JLLM_DEVICE void load_matrices(const void* row, unsigned (&out)[4]) {
  load_matrices_at(shared_address(row), out);
}

// A fragment: rows 0..15, columns 0..15 at `tile`, `stride` elements from row to row.
JLLM_DEVICE void load_a(const unsigned short* tile, unsigned stride, unsigned (&a)[4]) {
  const unsigned lane = threadIdx.x % kWarp;
  load_matrices(tile + lane % 16 * stride + lane / 16 * 8, a);
}

// B fragments of two neighbouring products: columns 0..15 (stored as rows of the inner dimension)
// in b[0], b[1] for columns 0..7 and b[2], b[3] for 8..15.
JLLM_DEVICE void load_b_pair(const unsigned short* tile, unsigned stride, unsigned (&b)[4]) {
  const unsigned lane = threadIdx.x % kWarp;
  load_matrices(tile + (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 8, b);
}

}  // namespace jllm::device
