// What the processor can do, and the choice of a set of functions by it.
#pragma once

#include <atomic>

namespace jllm::host {

constexpr bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2();    // with FMA and F16C
bool has_avx512();  // with AVX2; F, BW, VL and DQ
bool has_avx_vnni();
bool has_avx512_vnni();
#elif defined(__aarch64__)
bool has_dotprod();
#endif

// The first set that the processor supports; the last is supported everywhere. Whoever comes first
// chooses, and all choose the same. (A local static would need the C++ runtime.)
template <typename Set, unsigned count>
const Set& chosen_set(const Set (&sets)[count], std::atomic<const Set*>& chosen) {
  const Set* set = chosen.load(std::memory_order_relaxed);
  if (set != nullptr) return *set;
  set = sets;
  while (!set->supported()) ++set;
  chosen.store(set, std::memory_order_relaxed);
  return *set;
}

}  // namespace jllm::host
