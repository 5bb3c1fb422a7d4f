// The CUDA language for kernels that a host compiler builds: what a kernel source sees instead of
// NVRTC's built-ins. The functions simt_* are in the fake driver (tests/support/fake_cuda), which
// runs the threads. docs/fake-cuda.md explains the whole.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>
#include <utility>

struct uint3 {
  unsigned x, y, z;
};
using dim3 = uint3;

#pragma GCC visibility push(default)
extern "C" {

// --- What the runtime shows of the thread that runs ---

struct SimtThread {
  uint3 index;
  unsigned lane, warp;
};
struct SimtBlock {
  uint3 index, size, grid;
};
extern SimtThread* simt_current;
extern SimtBlock simt_block;

// --- What a kernel asks of the runtime ---

enum SimtCollective : unsigned {
  kSimtSync,
  kSimtShuffle,     // SimtValue: `source` may be a lane that is not there: then the own value
  kSimtBallot,      // SimtValue
  kSimtMatch,       // SimtValue
  kSimtMatrices,    // SimtMatrices
  kSimtProductF16,  // SimtProduct
  kSimtProductBf16,
  kSimtGroupProduct,  // SimtGroupProduct: a warp's part of a product of four warps
};
struct SimtValue {
  uint64_t value;
  unsigned source;
  uint64_t result;
};
struct SimtMatrices {
  const void* row;  // of 16 bytes
  bool transposed;
  unsigned* out;  // [4]
};
struct SimtProduct {
  const unsigned* a;  // [4]
  unsigned b[2];
  float* c;  // [4]
};
struct SimtGroupProduct {
  const unsigned* a;  // [4]
  unsigned b;         // of shared memory
  unsigned tokens;
  float* d;  // [tokens / 2]
};

// Waits for every lane of `mask`; the last one to come computes everybody's result.
void simt_warp(SimtCollective kind, unsigned mask, void* arguments);
// Waits for every thread of the block. Returns how many of them gave a `value` other than 0.
unsigned simt_barrier(unsigned value);
void* simt_dynamic_shared(void);
unsigned simt_shared_address(const void* at);
void* simt_shared_pointer(unsigned address, unsigned bytes);
void simt_copy_async(unsigned to, const void* from, unsigned bytes, unsigned size);
void simt_end_copies(void);
void simt_wait_for_copies(unsigned pending);
uint64_t simt_atomic_add(void* at, uint64_t value, unsigned bytes);
unsigned simt_atomic_increment(unsigned* at, unsigned last);

// --- What the runtime asks of a kernel's library: its one exported object ---

struct SimtKernel {
  const char* name;
  void (*call)(void** arguments);
  unsigned argument_count;
  const unsigned* argument_bytes;
  const bool* argument_is_pointer;
  unsigned most_threads;               // of __launch_bounds__, 0 without
  unsigned char *shared, *shared_end;  // static shared memory
};

}  // extern "C"
#pragma GCC visibility pop

#define threadIdx (simt_current->index)
#define blockIdx (simt_block.index)
#define blockDim (simt_block.size)
#define gridDim (simt_block.grid)

#define __device__
#define __global__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
// One block runs at a time: its shared variables are static ones, in a section of their own.
#define __shared__ static __attribute__((section("simt_shared")))

#define JLLM_DYNAMIC_SHARED(type, name) SIMT_DYNAMIC_SHARED(type, name)
#define SIMT_DYNAMIC_SHARED(type, name) \
  std::remove_reference_t<decltype(*(type*)nullptr)>* const name = (type*)simt_dynamic_shared()

// --- Bits ---

inline float __uint_as_float(unsigned bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  memcpy(&bits, &value, 4);
  return bits;
}
inline float __int_as_float(int bits) { return __uint_as_float((unsigned)bits); }
inline int __popc(unsigned value) { return __builtin_popcount(value); }

// Selector bits 0..2 of each digit choose one of eight bytes; bit 3 repeats its sign.
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
  const uint64_t bytes = (uint64_t)high << 32 | low;
  unsigned out = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned digit = selector >> 4 * i & 15;
    unsigned byte = (unsigned)(bytes >> 8 * (digit & 7)) & 0xff;
    if (digit & 8) byte = byte & 0x80 ? 0xff : 0;
    out |= byte << 8 * i;
  }
  return out;
}
inline int __dp4a(int a, int b, int c) {
  unsigned sum = (unsigned)c;
  for (unsigned i = 0; i < 4; ++i) sum += (unsigned)((int8_t)(a >> 8 * i) * (int8_t)(b >> 8 * i));
  return (int)sum;
}

// --- Arithmetic ---

inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdividef(float a, float b) { return a / b; }
// To nearest even; what does not fit is the nearest that does, NaN is 0.
inline int __float2int_rn(float value) {
  if (value != value) return 0;
  if (value >= 2147483648.0f) return 2147483647;
  return value < -2147483648.0f ? -2147483647 - 1 : (int)__builtin_rintf(value);
}
inline int __double2int_rn(double value) {
  if (value != value) return 0;
  if (value >= 2147483647.0) return 2147483647;
  return value <= -2147483648.0 ? -2147483647 - 1 : (int)__builtin_rint(value);
}
template <class A, class B>
inline std::common_type_t<A, B> min(A a, B b) {
  return b < a ? b : a;
}
template <class A, class B>
inline std::common_type_t<A, B> max(A a, B b) {
  return a < b ? b : a;
}

// --- Warps and blocks ---

inline void __syncthreads() { simt_barrier(0); }
inline int __syncthreads_count(int value) { return (int)simt_barrier(value != 0); }
inline int __syncthreads_or(int value) { return simt_barrier(value != 0) != 0; }
inline void __syncwarp(unsigned mask = 0xffffffffu) { simt_warp(kSimtSync, mask, nullptr); }

template <class T>
inline T simt_shuffle(unsigned mask, T value, unsigned source) {
  static_assert(sizeof(T) <= 8);
  SimtValue mine = {0, source, 0};
  memcpy(&mine.value, &value, sizeof value);
  simt_warp(kSimtShuffle, mask, &mine);
  memcpy(&value, &mine.result, sizeof value);
  return value;
}
constexpr unsigned kSimtOwnLane = ~0u;

template <class T>
inline T __shfl_sync(unsigned mask, T value, int source) {
  return simt_shuffle(mask, value, (unsigned)source % 32);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int bits) {
  return simt_shuffle(mask, value, (simt_current->lane ^ (unsigned)bits) % 32);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned by) {
  const unsigned lane = simt_current->lane;
  return simt_shuffle(mask, value, lane >= by ? lane - by : kSimtOwnLane);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned by) {
  const unsigned source = simt_current->lane + by;
  return simt_shuffle(mask, value, source < 32 ? source : kSimtOwnLane);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  SimtValue mine = {(uint64_t)(predicate != 0), 0, 0};
  simt_warp(kSimtBallot, mask, &mine);
  return (unsigned)mine.result;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) == mask;
}
inline unsigned __match_any_sync(unsigned mask, unsigned value) {
  SimtValue mine = {value, 0, 0};
  simt_warp(kSimtMatch, mask, &mine);
  return (unsigned)mine.result;
}

template <class T>
inline T atomicAdd(T* at, T value) {
  static_assert(std::is_integral_v<T>, "sums of floats would depend on the order");
  return (T)simt_atomic_add(at, (uint64_t)value, sizeof(T));
}

// --- The exported object ---

#define SIMT_TEXT(word) SIMT_TEXT_OF(word)
#define SIMT_TEXT_OF(word) #word

template <class... A>
struct SimtSignature {
  static constexpr unsigned count = sizeof...(A);
  static constexpr unsigned bytes[sizeof...(A) + 1] = {sizeof(A)..., 0};
  static constexpr bool is_pointer[sizeof...(A) + 1] = {std::is_pointer_v<A>..., false};
};
template <class... A>
constexpr SimtSignature<A...> simt_signature(void (*)(A...)) {
  return {};
}
// Arguments lie in memory of the driver, which is none that a kernel may touch.
template <class... A, size_t... I>
__attribute__((no_sanitize_thread)) inline void simt_call(void (*kernel)(A...), void** arguments,
                                                          std::index_sequence<I...>) {
  kernel(*(A*)arguments[I]...);
}
template <class... A>
inline void simt_call(void (*kernel)(A...), void** arguments) {
  simt_call(kernel, arguments, std::index_sequence_for<A...>());
}
