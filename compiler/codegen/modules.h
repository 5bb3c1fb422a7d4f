// Compiles every kernel specialisation of a schedule to machine code, in parallel and through a
// cache.
#pragma once

#include <llvm/Support/Error.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "compiler/codegen/nvrtc.h"
#include "compiler/select/schedule.h"

namespace jllm::codegen {

struct ModuleOptions {
  uint32_t arch = 0;  // 87 for sm_87
  bool ptx = false;   // intermediate code instead, which drivers compile for newer devices: tests
  std::string cache_dir;                                    // empty: no cache
  unsigned threads = 0;                                     // 0: one per CPU
  std::function<void(size_t done, size_t total)> progress;  // called from one thread at a time
};

// One cubin (or PTX text) per kernel, in the schedule's order.
llvm::Expected<std::vector<std::vector<uint8_t>>> compile_modules(const select::Schedule& schedule,
                                                                  const Nvrtc& nvrtc,
                                                                  const ModuleOptions& options);

// What NVRTC is given for one of them.
CompileRequest kernel_request(const select::KernelSpec& kernel, uint32_t arch);

// $XDG_CACHE_HOME/jllm or ~/.cache/jllm; empty when neither is known.
std::string default_cache_dir();

}  // namespace jllm::codegen
