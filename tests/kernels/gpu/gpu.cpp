// The driver and NVRTC behind the GPU tests.
#include "tests/kernels/gpu/gpu.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>

#include "compiler/codegen/nvrtc.h"

namespace jllm::test {
namespace {

struct Device {
  std::string reason;  // why it cannot be used
  cuda::CudaApi api = {};
  std::optional<Nvrtc> nvrtc;
  unsigned arch = 0;
  uint32_t sm_count = 0;
  cuda::Stream stream = nullptr;
  std::map<std::string, cuda::Function> functions;  // by kernel and macros
};

void require(const Device& device, cuda::Status status, const char* what) {
  if (status == cuda::kSuccess) return;
  const char* name = "unknown";
  device.api.get_error_name(status, &name);
  std::fprintf(stderr, "%s failed: %s\n", what, name);
  std::abort();
}

Device* make_device() {
  auto* device = new Device;  // lives as long as the process
  if (const char* reason = cuda::load_cuda_api(&device->api)) {
    device->reason = reason;
    return device;
  }
  const cuda::CudaApi& api = device->api;
  int count = 0;
  if (api.init(0) != cuda::kSuccess || api.device_get_count(&count) != cuda::kSuccess ||
      count == 0) {
    device->reason = "no CUDA device";
    return device;
  }
  cuda::Device ordinal = 0;
  cuda::Context context = nullptr;
  int major = 0, minor = 0, multiprocessors = 0, driver = 0;
  require(*device, api.device_get(&ordinal, 0), "cuDeviceGet");
  require(*device, api.primary_ctx_retain(&context, ordinal), "cuDevicePrimaryCtxRetain");
  require(*device, api.ctx_set_current(context), "cuCtxSetCurrent");
  api.device_get_attribute(&major, cuda::kAttributeComputeCapabilityMajor, ordinal);
  api.device_get_attribute(&minor, cuda::kAttributeComputeCapabilityMinor, ordinal);
  api.device_get_attribute(&multiprocessors, cuda::kAttributeMultiprocessorCount, ordinal);
  api.driver_get_version(&driver);
  require(*device, api.stream_create(&device->stream, cuda::kStreamNonBlocking), "cuStreamCreate");
  device->arch = static_cast<unsigned>(10 * major + minor);
  device->sm_count = static_cast<uint32_t>(multiprocessors);
  llvm::Expected<Nvrtc> nvrtc = Nvrtc::open({"", driver / 1000, device->arch});
  if (!nvrtc) {
    device->reason = take_error(nvrtc.takeError()).second;
    return device;
  }
  device->nvrtc = std::move(*nvrtc);
  return device;
}

Device& device() {
  static Device* const the_device = make_device();
  return *the_device;
}

cuda::Function build(const std::string& kernel, const std::vector<std::string>& defines) {
  std::string key = kernel;
  for (const std::string& define : defines) key += " " + define;
  cuda::Function& function = device().functions[key];
  if (function != nullptr) return function;
  const kernels::Source* source = kernels::find_source(kernel);
  if (source == nullptr) {
    ADD_FAILURE() << "no kernel " << kernel;
    return nullptr;
  }
  CompileRequest request;
  request.name = std::string(source->name);
  request.source = std::string(source->text);
  for (const kernels::Source& header : kernels::all_headers()) {
    request.headers.emplace_back(header.name, header.text);
  }
  request.options = kernels::compile_options();
  request.options.push_back("-DJLLM_KERNEL=" + kernel);
  for (const std::string& define : defines) request.options.push_back("-D" + define);
  request.arch = device().arch;
  llvm::Expected<std::vector<uint8_t>> cubin = device().nvrtc->compile_cubin(request);
  if (!cubin) {
    ADD_FAILURE() << take_error(cubin.takeError()).second;
    return nullptr;
  }
  cuda::Module module = nullptr;
  require(device(), device().api.module_load_data(&module, cubin->data()), "cuModuleLoadData");
  require(device(), device().api.module_get_function(&function, module, kernel.c_str()),
          "cuModuleGetFunction");
  return function;
}

}  // namespace

const std::string& no_gpu_reason() { return device().reason; }

uint32_t sm_count() { return device().sm_count; }

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
  const cuda::CudaApi& api = device().api;
  require(device(), api.mem_alloc(&base_, bytes + 2 * kGuard), "cuMemAlloc");
  require(device(), api.memset_d8_async(base_, 0xff, bytes + 2 * kGuard, device().stream),
          "cuMemsetD8Async");
  require(device(), api.stream_synchronize(device().stream), "cuStreamSynchronize");
}

Buffer::~Buffer() { device().api.mem_free(base_); }

void Buffer::write(const void* data, size_t bytes) {
  ASSERT_LE(bytes, bytes_);
  require(device(), device().api.memcpy_htod_async(address(), data, bytes, device().stream),
          "cuMemcpyHtoDAsync");
  require(device(), device().api.stream_synchronize(device().stream), "cuStreamSynchronize");
}

void Buffer::read(void* data) const {
  std::vector<uint8_t> all(bytes_ + 2 * kGuard);
  require(device(), device().api.memcpy_dtoh_async(all.data(), base_, all.size(), device().stream),
          "cuMemcpyDtoHAsync");
  require(device(), device().api.stream_synchronize(device().stream), "cuStreamSynchronize");
  for (size_t i = 0; i < kGuard; ++i) {
    ASSERT_EQ(all[i], 0xff) << "written " << kGuard - i << " bytes before the buffer";
    ASSERT_EQ(all[kGuard + bytes_ + i], 0xff) << "written " << i << " bytes behind the buffer";
  }
  std::memcpy(data, all.data() + kGuard, bytes_);
}

void launch(const std::string& kernel, const std::vector<std::string>& defines,
            const kernels::LaunchShape& shape, const std::vector<Argument>& arguments) {
  const cuda::Function function = build(kernel, defines);
  if (function == nullptr) return;
  const cuda::CudaApi& api = device().api;
  if (shape.shared_bytes > 0) {
    require(device(),
            api.func_set_attribute(function, cuda::kFunctionMaxDynamicSharedSizeBytes,
                                   static_cast<int>(shape.shared_bytes)),
            "cuFuncSetAttribute");
  }
  std::vector<void*> pointers;
  for (const Argument& argument : arguments) {
    pointers.push_back(const_cast<uint64_t*>(&argument.bits));
  }
  require(device(),
          api.launch_kernel(function, shape.grid_x, shape.grid_y, 1, shape.block, 1, 1,
                            static_cast<unsigned>(shape.shared_bytes), device().stream,
                            pointers.data(), nullptr),
          kernel.c_str());
  require(device(), api.stream_synchronize(device().stream), kernel.c_str());
}

}  // namespace jllm::test
