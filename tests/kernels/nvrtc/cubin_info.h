// Reads from a cubin (an ELF file) what the assembler notes about a kernel.
#pragma once

#include <cstdint>
#include <vector>

namespace jllm {

// Bytes of local memory per thread (spills and stack) of the cubin's kernel; -1 when it is not
// noted.
int frame_bytes(const std::vector<uint8_t>& cubin);

}  // namespace jllm
