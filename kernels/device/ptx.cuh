// Every line of assembly behind a function: number formats, memory access, asynchronous copies,
// fragments and products of tensor cores (those of a group of four warps are in wgmma.cuh). A build
// for another machine, as the tests have one, replaces this header and wgmma.cuh alone.
#pragma once

#include "kernels/device/types.cuh"

namespace jllm::device {

// Memory of a launch's own size: type name[].
#define JLLM_DYNAMIC_SHARED(type, name) extern __shared__ type name[]

// --- Number formats ---

JLLM_DEVICE float half_to_float(unsigned short bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

// Round to nearest even; infinity beyond the range.
JLLM_DEVICE unsigned short float_to_half(float value) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

// Two halves in one word, `low` in the low one.
JLLM_DEVICE unsigned floats_to_half2(float low, float high) {
  unsigned bits;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}
JLLM_DEVICE unsigned floats_to_bfloat2(float low, float high) {
  unsigned bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

JLLM_DEVICE float exp2_approx(float value) {
  float out;
  asm("ex2.approx.f32 %0, %1;" : "=f"(out) : "f"(value));
  return out;
}

// Four products and their sum on top of `sum`: bytes of `weights` unsigned or signed.
JLLM_DEVICE int dot4_unsigned(unsigned weights, unsigned values, int sum) {
  int out;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(out) : "r"(weights), "r"(values), "r"(sum));
  return out;
}

// --- Memory ---

// Weights: read once, through the non-coherent path, past L1. Never for what a kernel has written.
// Volatile, because loads stand where latency is hidden: far ahead of their use.
JLLM_DEVICE Uint4 load_weights(const void* at) {
  Uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(at));
  return v;
}
JLLM_DEVICE Uint2 load_weights8(const void* at) {
  Uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];"
               : "=r"(v.x), "=r"(v.y)
               : "l"(at));
  return v;
}
JLLM_DEVICE unsigned load_weights4(const void* at) {
  unsigned v;
  asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(v) : "l"(at));
  return v;
}
JLLM_DEVICE unsigned short load_weights2(const void* at) {
  unsigned short v;
  asm volatile("ld.global.nc.u16 %0, [%1];" : "=h"(v) : "l"(at));
  return v;
}
JLLM_DEVICE unsigned load_weights1(const void* at) {
  unsigned v;
  asm volatile("ld.global.nc.u8 %0, [%1];" : "=r"(v) : "l"(at));
  return v;
}

JLLM_DEVICE void prefetch_l2(const void* at) { asm volatile("prefetch.global.L2 [%0];" ::"l"(at)); }

// Past L1: for data that other blocks of the same launch have written, or an earlier kernel that
// this one may overlap.
JLLM_DEVICE float load_shared_across_blocks(const float* at) {
  float v;
  asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(v) : "l"(at) : "memory");
  return v;
}
JLLM_DEVICE Float4 load_shared_across_blocks(const Float4* at) {
  Float4 v;
  asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(at)
               : "memory");
  return v;
}

JLLM_DEVICE Uint4 load_shared_across_blocks(const Uint4* at) {
  Uint4 v;
  asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(at)
               : "memory");
  return v;
}
JLLM_DEVICE Uint2 load_shared_across_blocks(const Uint2* at) {
  Uint2 v;
  asm volatile("ld.global.cg.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(at) : "memory");
  return v;
}
JLLM_DEVICE unsigned load_shared_across_blocks(const unsigned* at) {
  unsigned v;
  asm volatile("ld.global.cg.u32 %0, [%1];" : "=r"(v) : "l"(at) : "memory");
  return v;
}
JLLM_DEVICE unsigned short load_shared_across_blocks(const unsigned short* at) {
  unsigned short v;
  asm volatile("ld.global.cg.u16 %0, [%1];" : "=h"(v) : "l"(at) : "memory");
  return v;
}

// Takes one of `count` tickets, which are then all there again; returns whether it was the last.
// What the block has written before the barrier before is seen by whoever takes a later ticket.
JLLM_DEVICE bool take_ticket(unsigned* tickets, unsigned count) {
  unsigned taken;
  asm volatile("atom.inc.acq_rel.gpu.global.u32 %0, [%1], %2;"
               : "=r"(taken)
               : "l"(tickets), "r"(count - 1)
               : "memory");
  return taken == count - 1;
}

// Publishes `value` to the host after everything that this thread has written.
JLLM_DEVICE void store_release_system(unsigned* at, unsigned value) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}

// --- Overlap with the kernel before (PROGRAMMATIC = 1, sm_90 and later) ---
// Such a kernel may start while its predecessor still runs. It lets its own successor start at
// once, loads weights and other constants, and calls wait_for_inputs() before it reads anything
// that a kernel has written, writes anything, or ends: in every block, so that a kernel's end
// implies that of all before it.
#ifndef PROGRAMMATIC
#define PROGRAMMATIC 0
#endif

JLLM_DEVICE void release_successor() {
#if PROGRAMMATIC
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
JLLM_DEVICE void wait_for_inputs() {
#if PROGRAMMATIC
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

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

// --- Fragments and products of tensor cores, m16n8k16 ---

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
