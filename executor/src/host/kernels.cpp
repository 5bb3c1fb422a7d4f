// Chooses the instruction set once, from what the processor reports.
#include "executor/src/host/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <atomic>

namespace jllm::host {
namespace {

bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2() {
  // F16C has a flag of its own, which not every compiler's __builtin_cpu_supports knows.
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool f16c = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
  return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

constexpr KernelSet kSets[] = {
#if defined(__x86_64__)
    {"avx512", has_avx512, &avx512::kKernels},
    {"avx2", has_avx2, &avx2::kKernels},
#endif
    {"portable", always, &portable::kKernels},
};

const Kernels& choose() {
  for (const KernelSet& set : kSets) {
    if (set.supported()) return *set.kernels;
  }
  return portable::kKernels;
}

}  // namespace

const Kernels& kernels() {
  // Whoever comes first chooses; all choose the same. (A local static would need the C++ runtime.)
  static std::atomic<const Kernels*> chosen{nullptr};
  const Kernels* set = chosen.load(std::memory_order_relaxed);
  if (set == nullptr) {
    set = &choose();
    chosen.store(set, std::memory_order_relaxed);
  }
  return *set;
}

const KernelSet* kernel_sets(unsigned* count) {
  *count = sizeof(kSets) / sizeof(kSets[0]);
  return kSets;
}

}  // namespace jllm::host
