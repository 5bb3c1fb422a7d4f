#include "tools/jllm/serve/base64.h"

#include <string_view>

namespace jllm::serve {

std::string base64(const uint8_t* bytes, size_t size) {
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < size; i += 3) {
    uint32_t three = 0;
    for (size_t k = 0; k < 3; ++k) three = three << 8 | (i + k < size ? bytes[i + k] : 0u);
    for (size_t k = 0; k < 4; ++k) {
      text += i + k <= size ? kLetters[three >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

}  // namespace jllm::serve
