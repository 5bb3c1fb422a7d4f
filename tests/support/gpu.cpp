#include "tests/support/gpu.h"

#include "executor/src/cuda/driver_api.h"

namespace jllm::test {
namespace {

struct Found {
  std::string reason;
  std::string target;
};

Found look() {
  cuda::CudaApi api = {};
  if (const char* reason = cuda::load_cuda_api(&api)) return {reason, ""};
  int count = 0;
  if (api.init(0) != cuda::kSuccess || api.device_get_count(&count) != cuda::kSuccess ||
      count == 0) {
    return {"the CUDA driver finds no device", ""};
  }
  cuda::Device device = 0;
  int major = 0;
  int minor = 0;
  if (api.device_get(&device, 0) != cuda::kSuccess ||
      api.device_get_attribute(&major, cuda::kAttributeComputeCapabilityMajor, device) !=
          cuda::kSuccess ||
      api.device_get_attribute(&minor, cuda::kAttributeComputeCapabilityMinor, device) !=
          cuda::kSuccess) {
    return {"the CUDA driver does not describe its device", ""};
  }
  return {"", "sm_" + std::to_string(major * 10 + minor)};
}

const Found& found() {
  static const Found result = look();
  return result;
}

}  // namespace

const std::string& no_gpu_reason() { return found().reason; }
const std::string& gpu_target() { return found().target; }

}  // namespace jllm::test
