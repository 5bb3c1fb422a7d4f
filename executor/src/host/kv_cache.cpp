#include "executor/src/host/kv_cache.h"

#include <cmath>
#include <cstring>

#include "executor/src/host/half.h"
#include "schema/kv_layout.h"

namespace jllm::host {
namespace {

// The element of largest magnitude, of two such the negative one; NaN where there is one. With the
// sign behind the magnitude, bits compare as such.
float extreme_of(const float* group) {
  uint32_t top = 0;
  for (unsigned i = 0; i < kKvGroup; ++i) {
    const uint32_t bits = bits_from_float(group[i]);
    const uint32_t key = bits << 1 | bits >> 31;
    top = key > top ? key : top;
  }
  return float_from_bits(top >> 1 | top << 31);
}

// What to multiply with to count in units of a stored scale; 0 where the scale is of no use.
float inverse_of(uint16_t scale) {
  const float unit = f16_to_f32(scale);
  return unit != 0 && std::isfinite(unit) ? 1.0f / unit : 0.0f;
}

// round(value * inverse), at least `low` and at most `high`; zero without an inverse, whatever the
// value.
int quantise(float value, float inverse, float low, float high) {
  if (inverse == 0) return 0;
  const float steps = value * inverse;
  return static_cast<int>(std::nearbyint(steps < low ? low : steps > high ? high : steps));
}

uint16_t store_q8_0(const float* group, int8_t* quants) {
  const uint16_t scale = f32_to_f16(std::fabs(extreme_of(group)) / 127.0f);
  const float inverse = inverse_of(scale);
  for (unsigned i = 0; i < kKvGroup; ++i) {
    quants[i] = static_cast<int8_t>(quantise(group[i], inverse, -127, 127));
  }
  return scale;
}

uint16_t store_q4_0(const float* group, uint8_t* nibbles) {
  const uint16_t scale = f32_to_f16(extreme_of(group) * -0.125f);
  const float inverse = inverse_of(scale);
  for (unsigned i = 0; i < kKvGroup; i += 2) {
    const int low = quantise(group[i], inverse, -8, 7) + 8;
    const int high = quantise(group[i + 1], inverse, -8, 7) + 8;
    nibbles[i / 2] = static_cast<uint8_t>(low | high << 4);
  }
  return scale;
}

}  // namespace

void rotate_row(const float* in, float* out, uint64_t head_dim, uint64_t rotation) {
  if (out != in) std::memcpy(out, in, head_dim * sizeof(float));
  for (uint64_t step = 1; step < rotation; step *= 2) {
    for (uint64_t i = 0; i < head_dim; ++i) {
      if ((i & step) != 0) continue;
      const float a = out[i], b = out[i + step];
      out[i] = a + b;
      out[i + step] = a - b;
    }
  }
  const float factor = 1.0f / std::sqrt(static_cast<float>(rotation));
  for (uint64_t i = 0; i < head_dim; ++i) out[i] *= factor;
}

void store_kv_row(unsigned type, void* cache, uint64_t rows, uint64_t row, const float* in,
                  uint64_t head_dim, uint64_t rotation) {
  const KvLayout layout = kv_layout(type, rows, head_dim);
  auto* const values = static_cast<uint8_t*>(cache) + row * layout.row;
  if (type == kKvF32) {
    std::memcpy(values, in, layout.row);
    return;
  }
  if (type == kKvF16) {
    auto* const halves = reinterpret_cast<uint16_t*>(values);
    for (uint64_t i = 0; i < head_dim; ++i) halves[i] = f32_to_f16(in[i]);
    return;
  }
  auto* const scales = reinterpret_cast<uint16_t*>(static_cast<uint8_t*>(cache) + layout.scales +
                                                   row * layout.scale_row);
  // Block by block: blocks are whole groups, and no larger than the buffer.
  float block[kMaxKvRotation];
  const uint64_t step = rotation != 0 ? rotation : kKvGroup;
  for (uint64_t start = 0; start < head_dim; start += step) {
    const float* from = in + start;
    if (rotation != 0) {
      rotate_row(from, block, rotation, rotation);
      from = block;
    }
    for (uint64_t i = 0; i < step; i += kKvGroup) {
      const uint64_t element = start + i;
      scales[element / kKvGroup] =
          type == kKvQ8_0 ? store_q8_0(from + i, reinterpret_cast<int8_t*>(values) + element)
                          : store_q4_0(from + i, values + element / 2);
    }
  }
}

}  // namespace jllm::host
