// Any bytes as the prefix and tables of a plan, behind a hash that fits.
#include "tests/fuzz/host_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const jllm::fuzz::AlignedCopy head(data, size);
  jllm::fuzz::run_host_plan(head.data(), size);
  return 0;
}
