// The weight types as a lane sees them. Weight<type> knows one unit: what a lane takes from one row
// with one 16-byte load of quants (and the scales that go with them).
//   kUnit                      weights per unit: 32 (4 to 6 bits), 16 (8 bits) or 8; divides 32
//   kInFlight                  units that a lane loads before it uses the first
//   load(row, unit, length)    the registers of a unit; `length` is the row's K, a multiple of the
//                              block
//   values<c>(raw, v)          eight weights without scale, exactly: v[0..3] are weights
//                              first(c) .. + 3, v[4..7] are weights second(c) .. + 3 of the unit
//   scale(raw, half)           factor of weights 0..15 (half 0) and 16..31 (half 1) of the
//                              sub-block
//   minimum(raw, half)         what is subtracted from each scaled weight, where kHasMinimum
// weight = scale * value - minimum. For products of integers, units of 32 weights also have
//   kNibbles                   the integers are the nibbles of raw.quants; of others
//                              bytes(raw, low, high): weights 0..15 and 16..31 as bytes, signed
//                              with kSigned
//   kOffset                    what is to be taken off these integers
//   kTwoScales                 scale (and minimum) differ between the halves
//   lowered(raw, dot, sum)     scale * dot - minimum * sum, where kHasMinimum
//   super(raw), signed_scale(raw, half)   the factors of scale, where kTwoScales without minima
#pragma once

#include "kernels/device/plain_weights.cuh"
#include "kernels/device/plane_weights.cuh"

namespace jllm::device {

// Units of a row of `length` weights: the last may be part padding, which holds zeros.
template <unsigned kType>
constexpr unsigned units_of(unsigned length) {
  return (length + Weight<kType>::kUnit - 1) / Weight<kType>::kUnit;
}

// Calls step(constant c) for c = 0 .. kUnit / 8 - 1, so that chunk numbers stay compile-time
// constants.
template <unsigned kChunk>
struct Chunk {
  static constexpr unsigned value = kChunk;
};
template <unsigned kCount, unsigned kChunk = 0, typename Step>
JLLM_DEVICE void for_chunks(const Step& step) {
  if constexpr (kChunk < kCount) {
    step(Chunk<kChunk>());
    for_chunks<kCount, kChunk + 1>(step);
  }
}

}  // namespace jllm::device
