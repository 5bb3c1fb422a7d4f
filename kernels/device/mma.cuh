// What tensor-core products are made of: asynchronous copies into shared memory, fragments from
// there, arithmetic on pairs of halves, m16n8k16.
// Fragments follow the PTX layout: lane = 4 * g + t; A rows g, g + 8; B column g; results at
// (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
#pragma once

#include "kernels/device/common.cuh"

namespace jllm::device {

JLLM_DEVICE unsigned shared_address(const void* at) {
  return (unsigned)__cvta_generic_to_shared(at);
}

// --- Copies from global to shared memory, past registers ---

// Starts a copy of kBytes (4, 8 or 16); `size` of them (kBytes or 0) are read, the rest is zeros.
// kTo and kFrom are offsets, in bytes.
template <unsigned kBytes, unsigned kTo = 0, unsigned kFrom = 0>
JLLM_DEVICE void copy_async(unsigned to, const void* from, unsigned size) {
  static_assert(kFrom < 1u << 23, "an offset of an instruction");
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0+%3], [%1+%4], 16, %2;" ::"r"(to),
                 "l"(from), "r"(size), "n"(kTo), "n"(kFrom)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0+%3], [%1+%4], %5, %2;" ::"r"(to), "l"(from),
                 "r"(size), "n"(kTo), "n"(kFrom), "n"(kBytes)
                 : "memory");
  }
}
// Ends a group of copies; waits until at most kPending groups of this thread are under way.
JLLM_DEVICE void end_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <unsigned kPending>
JLLM_DEVICE void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// --- Pairs of halves ---

JLLM_DEVICE unsigned half2_fma(unsigned a, unsigned b, unsigned c) {
  unsigned d;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
JLLM_DEVICE unsigned half2_add(unsigned a, unsigned b) {
  unsigned d;
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
JLLM_DEVICE unsigned half2_mul(unsigned a, unsigned b) {
  unsigned d;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
constexpr unsigned twice(unsigned half) { return half | half << 16; }

// (a & mask) | bits in one instruction, given bits in a register.
template <unsigned kMask>
JLLM_DEVICE unsigned and_or(unsigned a, unsigned bits) {
  unsigned d;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(d) : "r"(a), "n"(kMask), "r"(bits));
  return d;
}
// A value that the compiler can no longer know.
JLLM_DEVICE unsigned in_register(unsigned value) {
  asm volatile("" : "+r"(value));
  return value;
}

// --- Fragments and products ---

// Four 8x8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8.
JLLM_DEVICE void load_matrices_at(unsigned address, unsigned (&out)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}
// The same matrices, each transposed.
JLLM_DEVICE void load_transposed_matrices_at(unsigned address, unsigned (&out)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}
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

JLLM_DEVICE void mma_f16(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

JLLM_DEVICE void mma_bf16(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace jllm::device
