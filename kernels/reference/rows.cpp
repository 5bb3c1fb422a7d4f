// Number formats and rows of quantised weights, written from the comments of schema/row_layout.h
// and sharing no code with the repacker or the kernels, so that they can check each other.
#include <bit>
#include <cassert>
#include <cmath>

#include "kernels/reference/reference.h"
#include "schema/row_layout.h"

namespace jllm::reference {
namespace {

uint32_t load(std::span<const uint8_t> bytes, size_t offset, size_t count) {
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) value |= uint32_t(bytes[offset + i]) << (8 * i);
  return value;
}

double half_at(std::span<const uint8_t> bytes, size_t offset) {
  return f16_to_f32(uint16_t(load(bytes, offset, 2)));
}

// Weight w of a nibble plane: 16 bytes per 32 weights, the first 16 in the low halves.
unsigned nibble(std::span<const uint8_t> bytes, size_t w) {
  const uint8_t byte = bytes[w / 32 * 16 + w % 16];
  return w % 32 < 16 ? byte & 15 : byte >> 4;
}

// `width` bits from bit `position` of a little-endian bit string.
unsigned bits(std::span<const uint8_t> bytes, size_t position, unsigned width) {
  unsigned value = 0;
  for (unsigned i = 0; i < width; ++i) {
    const size_t bit = position + i;
    value |= unsigned(bytes[bit / 8] >> (bit % 8) & 1) << i;
  }
  return value;
}

// Weight w with its fifth bit.
unsigned five_bits(std::span<const uint8_t> row, const RowLayout& layout, size_t w) {
  return nibble(row, w) | (load(row, layout.high + w / 32 * 4, 4) >> (w % 32) & 1) << 4;
}

double affine(std::span<const uint8_t> row, const RowLayout& layout, size_t w, unsigned quant) {
  const size_t factors = layout.scales + w / 32 * 4;
  return half_at(row, factors) * quant + half_at(row, factors + 2);
}

// q4_k and q5_k.
double headed(std::span<const uint8_t> row, const RowLayout& layout, size_t w, unsigned quant) {
  const size_t header = layout.scales + w / 256 * 16, sub_block = w % 256 / 32;
  const auto packed = row.subspan(header + 4, 12);
  const unsigned scale = bits(packed, 6 * sub_block, 6),
                 minimum = bits(packed, 48 + 6 * sub_block, 6);
  return half_at(row, header) * scale * quant - half_at(row, header + 2) * minimum;
}

double q6_k(std::span<const uint8_t> row, const RowLayout& layout, size_t w) {
  const uint8_t pairs = row[layout.high + w / 32 * 8 + w % 8];
  const unsigned quant = nibble(row, w) | unsigned(pairs >> (w % 32 / 8 * 2) & 3) << 4;
  const double scale = int8_t(row[layout.scales + w / 16]);
  return half_at(row, layout.super + w / 256 * 2) * scale * (int(quant) - 32);
}

// Weight w of a plane of pairs that begins at `plane`, a sub-block every `step` bytes.
unsigned pair(std::span<const uint8_t> row, size_t plane, size_t step, size_t w) {
  return row[plane + w / 32 * step + w % 8] >> (w % 32 / 8 * 2) & 3;
}

double q2_k(std::span<const uint8_t> row, const RowLayout& layout, size_t w) {
  const uint8_t factors = row[layout.scales + w / 16];
  const size_t halves = layout.super + w / 256 * 4;
  return half_at(row, halves) * (factors & 15) * pair(row, 0, 8, w) -
         half_at(row, halves + 2) * (factors >> 4);
}

double q3_k(std::span<const uint8_t> row, const RowLayout& layout, size_t w) {
  const unsigned high = load(row, w / 32 * 12 + 8, 4) >> (w % 32) & 1;
  const double scale = int8_t(row[layout.scales + w / 16]);
  return half_at(row, layout.super + w / 256 * 2) * scale *
         (int(pair(row, 0, 12, w) + 4 * high) - 4);
}

// Of iq4_nl and iq4_xs.
double curve(unsigned nibble) {
  constexpr int kValues[] = {-127, -104, -83, -65, -49, -35, -22, -10,
                             1,    13,   25,  38,  53,  69,  89,  113};
  return kValues[nibble];
}

double iq4_xs(std::span<const uint8_t> row, const RowLayout& layout, size_t w) {
  const size_t header = layout.scales + w / 256 * 8, sub_block = w % 256 / 32;
  const unsigned high = load(row, header + 2, 2) >> (2 * sub_block) & 3,
                 low = load(row, header + 4, 4) >> (4 * sub_block) & 15;
  return half_at(row, header) * (int(high << 4 | low) - 32) * curve(nibble(row, w));
}

// 2^(exponent - 128) times the doubled value of a float of sign, two bits of exponent and one of
// mantissa.
double mxfp4(std::span<const uint8_t> row, const RowLayout& layout, size_t w) {
  const unsigned bits = nibble(row, w), exponent = bits >> 1 & 3, mantissa = bits & 1;
  const double doubled = exponent == 0 ? mantissa : std::ldexp(2 + mantissa, int(exponent) - 1);
  return std::ldexp(bits & 8 ? 0 - doubled : doubled, int(row[layout.scales + w / 32]) - 128);
}

double value_at(unsigned type, std::span<const uint8_t> row, const RowLayout& layout, size_t w) {
  switch (type) {
    case kRowF32:
      return std::bit_cast<float>(load(row, 4 * w, 4));
    case kRowF16:
      return half_at(row, 2 * w);
    case kRowBF16:
      return bf16_to_f32(uint16_t(load(row, 2 * w, 2)));
    case kRowQ8_0:
      return half_at(row, layout.scales + w / 32 * 2) * int8_t(row[w]);
    case kRowQ4_0:
      return half_at(row, layout.scales + w / 32 * 2) * (int(nibble(row, w)) - 8);
    case kRowQ5_0:
      return half_at(row, layout.scales + w / 32 * 2) * (int(five_bits(row, layout, w)) - 16);
    case kRowQ4_1:
      return affine(row, layout, w, nibble(row, w));
    case kRowQ5_1:
      return affine(row, layout, w, five_bits(row, layout, w));
    case kRowQ4_K:
      return headed(row, layout, w, nibble(row, w));
    case kRowQ5_K:
      return headed(row, layout, w, five_bits(row, layout, w));
    case kRowQ6_K:
      return q6_k(row, layout, w);
    case kRowQ2_K:
      return q2_k(row, layout, w);
    case kRowQ3_K:
      return q3_k(row, layout, w);
    case kRowIQ4_NL:
      return half_at(row, layout.scales + w / 32 * 2) * curve(nibble(row, w));
    case kRowIQ4_XS:
      return iq4_xs(row, layout, w);
    case kRowMXFP4:
      return mxfp4(row, layout, w);
    case kRowTQ2_0:
      return half_at(row, layout.scales + w / 256 * 2) * (int(pair(row, 0, 8, w)) - 1);
    case kRowQ2_0:
      return half_at(row, layout.scales + w / 64 * 2) * (int(pair(row, 0, 8, w)) - 1);
    case kRowQ1_0:
      return half_at(row, layout.scales + w / 128 * 2) * (row[w / 8] >> (w % 8) & 1 ? 1 : -1);
    default:
      assert(!"unknown weight type");
      return 0;
  }
}

}  // namespace

float f16_to_f32(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const float sign = bits >> 15 ? -1.f : 1.f;
  if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(float(mantissa), -24);
  return sign * std::ldexp(float(mantissa + 1024), exponent - 25);
}

uint16_t f32_to_f16(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return sign | 0x7e00;
  const double magnitude = std::fabs(double(value));
  if (magnitude >= 65520) return sign | 0x7c00;  // halfway to the value after the largest: infinity
  const int exponent = magnitude < std::ldexp(1.0, -14) ? -14 : std::ilogb(magnitude);
  // In units of the last mantissa bit; a carry out of the mantissa moves to the next exponent.
  const auto units = uint16_t(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  return uint16_t(sign | (((exponent + 14) << 10) + units));
}

float bf16_to_f32(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

uint16_t f32_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

Vector dequantise_row(unsigned type, std::span<const uint8_t> bytes, size_t k) {
  const RowLayout layout = row_layout(type, k);
  assert(layout.stride != 0 && bytes.size() >= layout.stride);
  Vector out(k);
  for (size_t w = 0; w < k; ++w) out[w] = float(value_at(type, bytes, layout, w));
  return out;
}

}  // namespace jllm::reference
