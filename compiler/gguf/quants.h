// Encoding and decoding of the supported weight types, in GGUF's own block layout.
// Formulas: the GGUF type table (block layouts of Q4_0 ... Q6_K).
#pragma once

#include <cstdint>

#include "schema/weight_type.h"

namespace jllm::gguf {

float f16_to_f32(uint16_t bits);
uint16_t f32_to_f16(float value);  // round to nearest even
float bf16_to_f32(uint16_t bits);
uint16_t f32_to_bf16(float value);  // round to nearest even

// Decodes `count` elements (a multiple of the type's block) of `type` from `blocks` into `out`.
void dequantise(WeightType type, const uint8_t* blocks, float* out, uint64_t count);

// Encodes `count` elements (a multiple of the type's block) into `blocks`: F16, BF16 by rounding,
// the quantised types by minimising the block's squared error over a small search of scales. With
// `importance`, `count` factors above 0 on those squares, the search is wider.
void quantise(WeightType type, const float* in, uint8_t* blocks, uint64_t count,
              const float* importance = nullptr);

}  // namespace jllm::gguf
