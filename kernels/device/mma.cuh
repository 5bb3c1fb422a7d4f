// Tensor-core matrix products behind three wrappers: fragments from shared memory and m16n8k16.
// Fragments follow the PTX layout: lane = 4 * g + t; A rows g, g + 8; B column g; results at
// (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
#pragma once

#include "kernels/device/common.cuh"

namespace jllm::device {

JLLM_DEVICE unsigned shared_address(const void* at) {
  return (unsigned)__cvta_generic_to_shared(at);
}

// Four 8x8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8.
JLLM_DEVICE void load_matrices(const void* row, unsigned (&out)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(row))
               : "memory");
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

JLLM_DEVICE void mma_f16(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

JLLM_DEVICE void mma_bf16(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace jllm::device
