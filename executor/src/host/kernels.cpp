// Chooses the instruction set once, from what the processor reports.
#include "executor/src/host/kernels.h"

#include "executor/src/host/cpu_features.h"

namespace jllm::host {
namespace {

constexpr KernelSet kSets[] = {
#if defined(JLLM_HOST_ONLY)  // HostBackend refuses processors without it
    {"only", always, &JLLM_HOST_ONLY::kKernels},
#else
#if defined(__x86_64__)
    {"avx512", has_avx512, &avx512::kKernels},
    {"avx2", has_avx2, &avx2::kKernels},
#endif
    {"portable", always, &portable::kKernels},
#endif
};

}  // namespace

const Kernels& kernels() {
  static std::atomic<const KernelSet*> chosen{nullptr};
  return *chosen_set(kSets, chosen).kernels;
}

const KernelSet* kernel_sets(unsigned* count) {
  *count = sizeof(kSets) / sizeof(kSets[0]);
  return kSets;
}

}  // namespace jllm::host
