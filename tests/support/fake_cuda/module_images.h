// From what cuModuleLoadData() is given to a library of the host: an image of the fake NVRTC names
// its source itself; for a cubin the debug segment of its plan does (fake_cuda_add_sources()).
#pragma once

#include <memory>
#include <string>

#include "tests/support/fake_cuda/books.h"

namespace jllm::fake {

// Null with an empty `problem`: no code for this device.
std::unique_ptr<LoadedModule> load_image(const void* image, uint32_t capability,
                                         std::string* problem);
const Kernel* find_function(LoadedModule& module, const std::string& name);
uint32_t most_shared();  // bytes per block of the device

}  // namespace jllm::fake
