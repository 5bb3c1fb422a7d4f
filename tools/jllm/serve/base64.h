// Bytes as letters (RFC 4648, section 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace jllm::serve {

std::string base64(const uint8_t* bytes, size_t size);

}  // namespace jllm::serve
