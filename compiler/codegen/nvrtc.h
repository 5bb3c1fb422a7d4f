// NVRTC (NVIDIA's run-time CUDA compiler) behind one small class. The library is found and opened
// at run time, so that jllmc builds and starts without a CUDA toolkit; which version is taken
// depends on the target: a cubin must not be newer than the driver that will load it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "compiler/support/error.h"

namespace jllm {

struct NvrtcVersion {
  int major = 0;
  int minor = 0;
};

struct NvrtcSearchOptions {
  // A library file or a folder that holds one. Given, it is the only place searched; else
  // $JLLM_NVRTC is, when set. With neither, every known place is searched and the newest suitable
  // version is taken.
  std::string explicit_path;
  int max_major = 0;  // newest major version that the target's driver can load (0: any)
  unsigned arch = 0;  // compute capability that must be supported, e.g. 87 (0: any)
};

struct CompileRequest {
  std::string name;                                          // file name in diagnostics
  std::string source;                                        // CUDA C++
  std::vector<std::pair<std::string, std::string>> headers;  // name as written in #include, text
  std::vector<std::string> options;  // passed on in this order, after the architecture
  unsigned arch = 0;                 // compute capability, e.g. 87
};

class Nvrtc {
 public:
  // Finds and opens a library. The error lists every candidate with the reason why it was refused.
  static llvm::Expected<Nvrtc> open(const NvrtcSearchOptions& options);

  const std::string& path() const { return path_; }
  NvrtcVersion version() const { return version_; }
  const std::vector<int>& supported_archs() const { return archs_; }
  bool supports(unsigned arch) const;

  // Machine code for exactly sm_<arch>. Threads may compile at the same time. A failure carries the
  // whole compiler log.
  llvm::Expected<std::vector<uint8_t>> compile_cubin(const CompileRequest& request) const;

  // PTX text for compute_<arch>: for tests that look at the generated code.
  llvm::Expected<std::string> compile_ptx(const CompileRequest& request) const;

 private:
  // The NVRTC entry points that are used; nvrtcResult is an int and nvrtcProgram an opaque pointer.
  using Program = void*;
  struct Api {
    int (*version)(int*, int*);
    int (*num_supported_archs)(int*);
    int (*supported_archs)(int*);
    const char* (*error_string)(int);
    int (*create)(Program*, const char*, const char*, int, const char* const*, const char* const*);
    int (*destroy)(Program*);
    int (*compile)(Program, int, const char* const*);
    int (*log_size)(Program, size_t*);
    int (*log)(Program, char*);
    int (*cubin_size)(Program, size_t*);
    int (*cubin)(Program, char*);
    int (*ptx_size)(Program, size_t*);
    int (*ptx)(Program, char*);
  };

  // Reads entry points, version and architectures of an open library; false with `reason` set when
  // it is no usable NVRTC.
  static bool load(void* library, Nvrtc* out, std::string* reason);
  llvm::Expected<std::vector<uint8_t>> compile(const CompileRequest& request, bool ptx) const;

  std::string path_;
  NvrtcVersion version_;
  std::vector<int> archs_;
  Api api_ = {};
};

}  // namespace jllm
