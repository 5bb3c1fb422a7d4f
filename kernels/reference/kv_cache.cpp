// Quantised KV caches, written from the comments of schema/kv_layout.h and sharing no code with the
// host backend or the kernels. Where the format says f32, this says float.
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>

#include "kernels/reference/reference.h"
#include "schema/kv_layout.h"

namespace jllm::reference {
namespace {

void put_half(std::vector<uint8_t>& bytes, size_t at, uint16_t half) {
  bytes[at] = uint8_t(half);
  bytes[at + 1] = uint8_t(half >> 8);
}

uint16_t half_at(std::span<const uint8_t> bytes, size_t at) {
  return uint16_t(bytes[at] | bytes[at + 1] << 8);
}

// What `scale` is made of: of the largest magnitude for q8_0, of the signed extreme for q4_0.
uint16_t group_scale(unsigned type, Floats group) {
  float highest = 0, lowest = 0;
  for (float x : group) {
    if (!std::isfinite(x)) return f32_to_f16(NAN);
    highest = std::max(highest, x);
    lowest = std::min(lowest, x);
  }
  const float extreme = highest > -lowest ? highest : lowest;
  return f32_to_f16(type == kKvQ8_0 ? std::fabs(extreme) / 127 : extreme / -8);
}

int group_quant(unsigned type, float x, uint16_t scale) {
  const float unit = f16_to_f32(scale);
  if (unit == 0 || !std::isfinite(unit)) return 0;
  const float inverse = 1 / unit;
  const float steps = std::nearbyint(x * inverse);
  const float low = type == kKvQ8_0 ? -127 : -8, high = type == kKvQ8_0 ? 127 : 7;
  return int(std::min(std::max(steps, low), high));
}

}  // namespace

Vector hadamard(Floats in, size_t block) {
  assert(in.size() % block == 0);
  Vector out(in.begin(), in.end());
  for (size_t start = 0; start < in.size(); start += block) {
    for (size_t bit = 1; bit < block; bit *= 2) {
      const Vector before(out.begin() + ptrdiff_t(start), out.begin() + ptrdiff_t(start + block));
      for (size_t i = 0; i < block; ++i) {
        const float other = before[i ^ bit];
        out[start + i] = (i & bit) != 0 ? other - before[i] : before[i] + other;
      }
    }
    for (size_t i = 0; i < block; ++i) out[start + i] *= 1 / std::sqrt(float(block));
  }
  return out;
}

std::vector<uint8_t> kv_encode(unsigned type, Floats values, size_t head_dim) {
  const size_t rows = values.size() / head_dim;
  const KvLayout layout = kv_layout(type, rows, head_dim);
  assert(layout.row != 0 && values.size() % head_dim == 0);
  std::vector<uint8_t> out(layout.bytes);
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == kKvF32) {
      std::memcpy(&out[4 * i], &values[i], 4);
      continue;
    }
    if (type == kKvF16) {
      put_half(out, 2 * i, f32_to_f16(values[i]));
      continue;
    }
    // Groups follow one another in both planes, whatever row they belong to.
    const size_t group = i / kKvGroup;
    const uint16_t scale = group_scale(type, values.subspan(group * kKvGroup, kKvGroup));
    put_half(out, layout.scales + 2 * group, scale);
    const int quant = group_quant(type, values[i], scale);
    if (type == kKvQ8_0) {
      out[i] = uint8_t(quant);
    } else {
      out[i / 2] |= uint8_t((quant + 8) << (i % 2 * 4));
    }
  }
  return out;
}

Vector kv_decode(unsigned type, std::span<const uint8_t> bytes, size_t rows, size_t head_dim) {
  const KvLayout layout = kv_layout(type, rows, head_dim);
  assert(layout.row != 0 && bytes.size() == layout.bytes);
  Vector out(rows * head_dim);
  for (size_t i = 0; i < out.size(); ++i) {
    if (type == kKvF32) {
      std::memcpy(&out[i], &bytes[4 * i], 4);
    } else if (type == kKvF16) {
      out[i] = f16_to_f32(half_at(bytes, 2 * i));
    } else {
      const float scale = f16_to_f32(half_at(bytes, layout.scales + i / kKvGroup * 2));
      const int quant = type == kKvQ8_0 ? int8_t(bytes[i]) : (bytes[i / 2] >> (i % 2 * 4) & 15) - 8;
      out[i] = float(double(scale) * quant);
    }
  }
  return out;
}

}  // namespace jllm::reference
