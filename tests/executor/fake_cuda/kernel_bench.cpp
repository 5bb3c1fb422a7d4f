#include "tests/executor/fake_cuda/kernel_bench.h"

#include <cstdlib>

#include "compiler/codegen/nvrtc.h"
#include "kernels/catalogue.h"

namespace jllm::test {

KernelBench::KernelBench() {
  cuda::Device device = 0;
  cuda::Context context = nullptr;
  EXPECT_EQ(cuda::load_cuda_api(&api), nullptr);
  EXPECT_EQ(api.init(0), cuda::kSuccess);
  EXPECT_EQ(api.device_get(&device, 0), cuda::kSuccess);
  EXPECT_EQ(api.primary_ctx_retain(&context, device), cuda::kSuccess);
  EXPECT_EQ(api.ctx_set_current(context), cuda::kSuccess);
  EXPECT_EQ(api.stream_create(&stream, cuda::kStreamNonBlocking), cuda::kSuccess);
}

KernelBench::~KernelBench() {
  for (const cuda::Module module : modules_) api.module_unload(module);
  for (const cuda::DevicePtr memory : memory_) api.mem_free(memory);
  api.stream_destroy(stream);
  api.primary_ctx_release(0);
}

cuda::Function KernelBench::build(const std::string& source, const std::string& check) {
  setenv("JLLM_FAKE_CUDA_CHECK", check.c_str(), 1);
  llvm::Expected<Nvrtc> nvrtc = Nvrtc::open({"", 0, 87});
  if (!nvrtc) {
    ADD_FAILURE() << take_error(nvrtc.takeError()).second;
    return nullptr;
  }
  CompileRequest request;
  request.name = "kernels/device/test.cu";
  request.source = "#include \"kernels/device/mma.cuh\"\nusing namespace jllm::device;\n" + source;
  for (const kernels::Source& header : kernels::all_headers()) {
    request.headers.emplace_back(header.name, header.text);
  }
  request.options = {"-DJLLM_KERNEL=test"};
  request.arch = 87;
  llvm::Expected<std::vector<uint8_t>> image = nvrtc->compile_cubin(request);
  if (!image) {
    ADD_FAILURE() << take_error(image.takeError()).second;
    return nullptr;
  }
  cuda::Module module = nullptr;
  cuda::Function kernel = nullptr;
  EXPECT_EQ(api.module_load_data(&module, image->data()), cuda::kSuccess);
  modules_.push_back(module);
  EXPECT_EQ(api.module_get_function(&kernel, module, "test"), cuda::kSuccess);
  unsetenv("JLLM_FAKE_CUDA_CHECK");
  return kernel;
}

cuda::DevicePtr KernelBench::memory(uint64_t bytes, int fill) {
  cuda::DevicePtr at = 0;
  EXPECT_EQ(api.mem_alloc(&at, bytes), cuda::kSuccess);
  EXPECT_EQ(api.memset_d8_async(at, static_cast<unsigned char>(fill), bytes, stream),
            cuda::kSuccess);
  memory_.push_back(at);
  return at;
}

cuda::Status KernelBench::launch(cuda::Function kernel, unsigned blocks, unsigned threads,
                                 const std::vector<uint64_t>& arguments, unsigned shared_bytes) {
  std::vector<void*> pointers;
  for (const uint64_t& argument : arguments) pointers.push_back(const_cast<uint64_t*>(&argument));
  const cuda::Status status = api.launch_kernel(kernel, blocks, 1, 1, threads, 1, 1, shared_bytes,
                                                stream, pointers.data(), nullptr);
  return status != cuda::kSuccess ? status : api.stream_synchronize(stream);
}

}  // namespace jllm::test
