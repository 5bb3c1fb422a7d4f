// Vectors as plans that make embeddings write them, for those who read them: scaled to the length
// 1, in digits.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace jllm::tool {

// Keeps the first `dimensions` values (0: all) and scales them to the length 1. False where they
// have none: zeros, or no numbers.
bool normalise(std::vector<float>* vector, uint32_t dimensions);

// As few digits as bring the same values back, with `separator` between two.
void append_numbers(const std::vector<float>& vector, char separator, std::string* text);

}  // namespace jllm::tool
