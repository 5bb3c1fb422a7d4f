// Matrix times one vector, the body of the decode kernels. The vector is staged once per block in
// shared memory; a warp owns a few rows at a time and reads the vector once for all of them. Shared
// image: sub-blocks of 32 floats padded to 36, so that 16-byte reads of consecutive lanes fall into
// different banks whatever the unit of the weight type. Float 32 of a sub-block is the sum of
// the 32.
#pragma once

#include "kernels/device/weights.cuh"

namespace jllm::device {

constexpr unsigned kGemvThreads = 512;
constexpr unsigned kGemvWarps = kGemvThreads / kWarp;
constexpr unsigned kPadded = 36;

// Float offset of element `index` in the shared image.
constexpr unsigned padded(unsigned index) { return index / 32 * kPadded + index % 32; }

// Copies in[kLength] to `image`, zeros up to a multiple of 32; with kNorm multiplied by
// norm[kLength]. Returns the sum of in's squares (kNorm; 0 otherwise). Ends with a barrier. kLength
// is a multiple of 4.
template <unsigned kLength, bool kNorm, bool kSums>
JLLM_DEVICE float stage(const float* in, const float* norm, float* image, float* scratch) {
  constexpr unsigned kGroups = round_up(kLength, 32) / 4;
  float squares = 0.0f;
  // Every thread runs every turn: lanes of a sub-block exchange their sums.
  for (unsigned base = 0; base < kGroups; base += kGemvThreads) {
    const unsigned group = base + threadIdx.x;
    Float4 v = {0.0f, 0.0f, 0.0f, 0.0f};
    if (4 * group < kLength) {
      v = ((const Float4*)in)[group];
      if constexpr (kNorm) {
        const Float4 w = ((const Float4*)norm)[group];
        squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
        v.x *= w.x, v.y *= w.y, v.z *= w.z, v.w *= w.w;
      }
    }
    float sum = v.x + v.y + v.z + v.w;
    if constexpr (kSums) {
      sum += __shfl_xor_sync(kAllLanes, sum, 1);
      sum += __shfl_xor_sync(kAllLanes, sum, 2);
      sum += __shfl_xor_sync(kAllLanes, sum, 4);
    }
    if (group < kGroups) {
      *(Float4*)(image + padded(4 * group)) = v;
      if (kSums && group % 8 == 0) image[padded(4 * group) + 32] = sum;
    }
  }
  if constexpr (kNorm) return block_sum(squares, scratch);  // its barrier also covers the image
  __syncthreads();
  return 0.0f;
}

// Dot products of kRows rows of kLength weights with the staged vector: every lane gets the
// results.
template <unsigned kType, unsigned kLength, unsigned kRows>
JLLM_DEVICE void dot_rows(const Bytes* const (&rows)[kRows], const float* image,
                          float (&out)[kRows]) {
  using W = Weight<kType>;
  constexpr unsigned kUnits = units_of<kType>(kLength);
  constexpr unsigned kSteps = (kUnits + kWarp - 1) / kWarp;
  constexpr unsigned kWanted = W::kInFlight > kRows ? W::kInFlight / kRows : 1;
  constexpr unsigned kBatch = kWanted < kSteps ? kWanted : kSteps;
  constexpr bool kEven = kUnits % (kWarp * kBatch) == 0;
  const unsigned lane = threadIdx.x % kWarp;
#pragma unroll
  for (unsigned r = 0; r < kRows; ++r) out[r] = 0.0f;

#pragma unroll 1
  for (unsigned step = 0; step < kSteps; step += kBatch) {
    typename W::Raw raw[kBatch][kRows];
#pragma unroll
    for (unsigned b = 0; b < kBatch; ++b) {
      const unsigned unit = (step + b) * kWarp + lane;
#pragma unroll
      for (unsigned r = 0; r < kRows; ++r) {
        raw[b][r] = kEven || unit < kUnits ? W::load(rows[r], unit, kLength) : typename W::Raw{};
      }
    }
#pragma unroll
    for (unsigned b = 0; b < kBatch; ++b) {
      const unsigned unit = (step + b) * kWarp + lane;
      if (!kEven && unit >= kUnits) continue;
      const float* at = image + padded(unit * W::kUnit);
      float low[kRows] = {}, high[kRows] = {};
      for_chunks<W::kUnit / 8>([&](auto chunk) {
        constexpr unsigned kChunk = decltype(chunk)::value;
        const Float4 a = *(const Float4*)(at + W::first(kChunk));
        const Float4 c = *(const Float4*)(at + W::second(kChunk));
#pragma unroll
        for (unsigned r = 0; r < kRows; ++r) {
          float v[8];
          W::template values<kChunk>(raw[b][r], v);
          low[r] += v[0] * a.x, low[r] += v[1] * a.y, low[r] += v[2] * a.z, low[r] += v[3] * a.w;
          high[r] += v[4] * c.x, high[r] += v[5] * c.y, high[r] += v[6] * c.z,
              high[r] += v[7] * c.w;
        }
      });
#pragma unroll
      for (unsigned r = 0; r < kRows; ++r) {
        if constexpr (W::kTwoScales) {
          out[r] += W::scale(raw[b][r], 0) * low[r] + W::scale(raw[b][r], 1) * high[r];
        } else {
          out[r] += W::scale(raw[b][r], 0) * (low[r] + high[r]);
        }
        if constexpr (W::kHasMinimum) out[r] -= W::minimum(raw[b][r]) * at[32];
      }
    }
  }
#pragma unroll
  for (unsigned r = 0; r < kRows; ++r) out[r] = warp_sum(out[r]);
}

// Calls body(group) for this warp's share of `groups` row groups. Consecutive groups go to
// different blocks, which balances the multiprocessors.
template <typename Body>
JLLM_DEVICE void for_row_groups(unsigned groups, const Body& body) {
  const unsigned warp = threadIdx.x / kWarp;
  for (unsigned group = warp * gridDim.x + blockIdx.x; group < groups;
       group += kGemvWarps * gridDim.x) {
    body(group);
  }
}

// Pointers to rows first .. first + kRows - 1 of a matrix, clamped to its last row.
template <unsigned kType, unsigned kLength, unsigned kRows>
JLLM_DEVICE void row_pointers(const Bytes* weight, unsigned first, unsigned row_count,
                              const Bytes* (&rows)[kRows]) {
  constexpr unsigned long long kStride = row_layout(kType, kLength).stride;
#pragma unroll
  for (unsigned r = 0; r < kRows; ++r) {
    const unsigned row = first + r < row_count ? first + r : row_count - 1;
    rows[r] = weight + row * kStride;
  }
}

}  // namespace jllm::device
