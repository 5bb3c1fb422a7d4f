#include "tools/jllm/embedding_vector.h"

#include <charconv>
#include <cmath>

namespace jllm::tool {

bool normalise(std::vector<float>* vector, uint32_t dimensions) {
  if (dimensions > 0 && dimensions < vector->size()) vector->resize(dimensions);
  double sum = 0;
  for (const float value : *vector) sum += double{value} * double{value};
  if (!(sum > 0) || !std::isfinite(sum)) return false;
  const double scale = 1 / std::sqrt(sum);
  for (float& value : *vector) value = static_cast<float>(double{value} * scale);
  return true;
}

void append_numbers(const std::vector<float>& vector, char separator, std::string* text) {
  for (size_t i = 0; i < vector.size(); ++i) {
    if (i > 0) *text += separator;
    char digits[32];
    const std::to_chars_result end = std::to_chars(digits, digits + sizeof digits, vector[i]);
    text->append(digits, end.ptr);
  }
}

}  // namespace jllm::tool
