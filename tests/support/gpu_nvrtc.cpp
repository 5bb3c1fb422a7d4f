#include "compiler/codegen/nvrtc.h"
#include "tests/support/gpu.h"

namespace jllm::test {

std::string no_nvrtc_reason(unsigned compute_capability) {
  NvrtcSearchOptions options;
  options.arch = compute_capability;
  llvm::Expected<Nvrtc> nvrtc = Nvrtc::open(options);
  return nvrtc ? "" : take_error(nvrtc.takeError()).second;
}

}  // namespace jllm::test
