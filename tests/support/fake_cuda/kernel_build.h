// Builds kernels with the host compiler: a source, its headers and macros become a library that
// exports a SimtKernel. Files lie in one folder of the build tree, named by what they are made of,
// so that each is built once.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace jllm::fake {

struct KernelSource {
  std::string name;                                          // "kernels/device/qkv.cu"
  std::string text;                                          // of the source
  std::vector<std::pair<std::string, std::string>> headers;  // as #include names them, text
  std::vector<std::string> options;                          // those that begin with -D count
};

// Writes what a host compiler needs; returns the name under which libraries of it are built, empty
// with `problem` set when the folder cannot be written.
std::string write_kernel(const KernelSource& source, std::string* problem);

// The library's path, built unless it is there. Empty when the compiler fails: `log` has its words.
// The environment's JLLM_FAKE_CUDA_CHECK says how: "" plain, "address" for AddressSanitizer and
// UBSan, "race" for the race check.
std::string build_kernel(const std::string& name, std::string* log);
std::string check_in_use();

// The image that the fake NVRTC makes of a kernel, and the fake driver loads.
struct Image {
  static constexpr char kMagic[17] = "jllm fake cubin\n";
  char magic[16];
  unsigned arch;
  char name[64];  // of write_kernel()
};

}  // namespace jllm::fake
