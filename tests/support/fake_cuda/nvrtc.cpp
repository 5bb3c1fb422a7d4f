// libnvrtc.so as far as jllmc uses it: "compiles" by building the kernel with the host compiler, so
// that a plan for any device can be made and executed without NVIDIA's compiler. The version is one
// that no real NVRTC has.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "tests/support/fake_cuda/kernel_build.h"

namespace {

struct Program {
  jllm::fake::KernelSource source;
  std::string log;
  jllm::fake::Image image = {};
};

constexpr int kArchs[] = {53, 62, 70, 72, 75, 80, 86, 87, 89, 90, 101, 110, 120};
constexpr int kCompilation = 6;  // NVRTC_ERROR_COMPILATION

}  // namespace

#define FAKE_NVRTC extern "C" __attribute__((visibility("default"))) int

FAKE_NVRTC nvrtcVersion(int* major, int* minor) {
  *major = 12;
  *minor = 99;
  return 0;
}
FAKE_NVRTC nvrtcGetNumSupportedArchs(int* count) {
  *count = static_cast<int>(sizeof kArchs / sizeof kArchs[0]);
  return 0;
}
FAKE_NVRTC nvrtcGetSupportedArchs(int* archs) {
  std::memcpy(archs, kArchs, sizeof kArchs);
  return 0;
}
extern "C" __attribute__((visibility("default"))) const char* nvrtcGetErrorString(int error) {
  return error == kCompilation ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR";
}
FAKE_NVRTC nvrtcCreateProgram(Program** out, const char* text, const char* name, int count,
                              const char* const* headers, const char* const* header_names) {
  *out = new Program;
  (*out)->source.name = name;
  (*out)->source.text = text;
  for (int i = 0; i < count; ++i) (*out)->source.headers.emplace_back(header_names[i], headers[i]);
  return 0;
}
FAKE_NVRTC nvrtcDestroyProgram(Program** program) {
  delete *program;
  *program = nullptr;
  return 0;
}
FAKE_NVRTC nvrtcCompileProgram(Program* program, int count, const char* const* options) {
  for (int i = 0; i < count; ++i) {
    program->source.options.emplace_back(options[i]);
    char features = 0;
    std::sscanf(options[i], "--gpu-architecture=sm_%u%c", &program->image.arch, &features);
    if (features == 'a') {
      const std::string arch = std::to_string(program->image.arch);
      program->source.options.push_back("-D__CUDA_ARCH_FEAT_SM" + arch + "_ALL");
    }
  }
  const std::string name = jllm::fake::write_kernel(program->source, &program->log);
  if (name.empty() || jllm::fake::build_kernel(name, &program->log).empty()) return kCompilation;
  std::memcpy(program->image.magic, jllm::fake::Image::kMagic, sizeof program->image.magic);
  std::snprintf(program->image.name, sizeof program->image.name, "%s", name.c_str());
  return 0;
}
FAKE_NVRTC nvrtcGetProgramLogSize(Program* program, size_t* bytes) {
  *bytes = program->log.size() + 1;
  return 0;
}
FAKE_NVRTC nvrtcGetProgramLog(Program* program, char* log) {
  std::memcpy(log, program->log.c_str(), program->log.size() + 1);
  return 0;
}
FAKE_NVRTC nvrtcGetCUBINSize(Program* program, size_t* bytes) {
  *bytes = sizeof program->image;
  return 0;
}
FAKE_NVRTC nvrtcGetCUBIN(Program* program, char* image) {
  std::memcpy(image, &program->image, sizeof program->image);
  return 0;
}
FAKE_NVRTC nvrtcGetPTXSize(Program* program, size_t* bytes) {
  return nvrtcGetCUBINSize(program, bytes);
}
FAKE_NVRTC nvrtcGetPTX(Program* program, char* image) { return nvrtcGetCUBIN(program, image); }
