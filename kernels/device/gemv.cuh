// Matrix times one vector, the body of the decode kernels. A block stages the vector once in shared
// memory (activations.cuh). Its kGemvWarps warps form teams of kSplit; a team owns kRows rows of a
// tile at a time and shares out their units. The first loads of a warp need no input and are under
// way before the inputs are awaited. Of the macros only SPLIT changes results: it is the order in
// which a row's products are added.
#pragma once

#include "kernels/device/products.cuh"

// How the vector is read (activations.cuh).
#ifndef ACTIVATIONS
#define ACTIVATIONS 0
#endif
// Threads of a block, and how many such blocks a multiprocessor is to hold.
#ifndef THREADS
#define THREADS 512
#endif
#ifndef BLOCKS
#define BLOCKS 2
#endif
// Rows that a team takes at a time (1, 2 or 4), warps of a team.
#ifndef ROWS
#define ROWS 2
#endif
#ifndef SPLIT
#define SPLIT 1
#endif
// Units that a lane loads before it uses the first, of all its rows; 0: what suits the type.
#ifndef IN_FLIGHT
#define IN_FLIGHT 0
#endif
// Whether `in` is a byte image, made by the kernel before.
#ifndef IN_IMAGE
#define IN_IMAGE 0
#endif

namespace jllm::device {

constexpr unsigned kGemvThreads = THREADS;
constexpr unsigned kGemvWarps = kGemvThreads / kWarp;

// Rows that a team works on: row r starts at base + r * step.
struct Rows {
  const Bytes* base;
  unsigned step;
};

// Rows first .. of a matrix; those beyond its end repeat earlier ones.
template <unsigned kType, unsigned kLength, unsigned kRowCount, unsigned kRows>
JLLM_DEVICE Rows rows_from(const Bytes* weight, unsigned first) {
  static_assert(kRows <= 2 || kRowCount % kRows == 0, "more than two rows are there or not");
  constexpr unsigned long long kStride = row_layout(kType, kLength).stride;
  static_assert(kStride < 0xffffffffull, "a step has 32 bits");
  constexpr bool kWhole = kRowCount % kRows == 0;
  if (first >= kRowCount) first = kRowCount - (kWhole ? kRows : 1);
  return {weight + first * kStride, kWhole || first + 1 < kRowCount ? (unsigned)kStride : 0u};
}

// The row, of a team's kRows, whose sum a lane holds; one lane of each speaks for it.
template <unsigned kRows>
JLLM_DEVICE unsigned row_of_lane() {
  return threadIdx.x % kWarp / (kWarp / kRows);
}
template <unsigned kRows>
JLLM_DEVICE bool lane_speaks() {
  return threadIdx.x % (kWarp / kRows) == 0;
}

// Dot products of kRows rows of kLength weights with the staged vector, by one of kSplit warps.
template <unsigned kMode, unsigned kType, unsigned kLength, unsigned kRows, unsigned kSplit = 1>
class Dot {
  using W = Weight<kType>;
  using P = Product<kMode, kLength, kType>;
  static constexpr unsigned kUnits = units_of<kType>(kLength);
  static constexpr unsigned kAllSteps = (kUnits + kWarp - 1) / kWarp;
  static constexpr unsigned kSteps = (kAllSteps + kSplit - 1) / kSplit;  // of this warp
  static constexpr unsigned kInFlight = IN_FLIGHT != 0 ? IN_FLIGHT : W::kInFlight;
  static constexpr unsigned kWanted = kInFlight > kRows ? kInFlight / kRows : 1;
  static constexpr unsigned kBatch = kWanted < kSteps ? kWanted : kSteps;
  static constexpr unsigned kWhole = kSteps / kBatch;  // full batches
  static constexpr unsigned kRest = kSteps % kBatch;
  static constexpr bool kEven = kUnits % (kWarp * kSplit) == 0;

 public:
  // `part` is the warp's number in its team.
  JLLM_DEVICE explicit Dot(unsigned part) : first_(part * kSteps * kWarp + threadIdx.x % kWarp) {}

  // Starts the loads of the first batch.
  JLLM_DEVICE void begin(const Rows& rows) { load<kBatch>(rows, 0); }

  // Finishes what begin() has started. Returns this warp's share of the result of row
  // `row_of_lane()`.
  JLLM_DEVICE float finish(const Rows& rows, const Bytes* image) {
    float out[kRows] = {};
    use<kBatch>(image, 0, out);
#pragma unroll 1
    for (unsigned batch = 1; batch < kWhole; ++batch) {
      load<kBatch>(rows, batch * kBatch);
      use<kBatch>(image, batch * kBatch, out);
    }
    if constexpr (kRest != 0) {
      load<kRest>(rows, kWhole * kBatch);
      use<kRest>(image, kWhole * kBatch, out);
    }
    return row_sum(out);
  }

 private:
  template <unsigned kCount>
  JLLM_DEVICE void load(const Rows& rows, unsigned step) {
#pragma unroll
    for (unsigned b = 0; b < kCount; ++b) {
      const unsigned unit = (step + b) * kWarp + first_;
#pragma unroll
      for (unsigned r = 0; r < kRows; ++r) {
        raw_[b][r] = kEven || unit < kUnits ? W::load(rows.base + r * rows.step, unit, kLength)
                                            : typename W::Raw{};
      }
    }
  }
  template <unsigned kCount>
  JLLM_DEVICE void use(const Bytes* image, unsigned step, float (&out)[kRows]) {
#pragma unroll
    for (unsigned b = 0; b < kCount; ++b) {
      const unsigned unit = (step + b) * kWarp + first_;
      if (!kEven && unit >= kUnits) continue;
      P::multiply(raw_[b], P::read(image, unit), out);
    }
  }

  // Adds up over the lanes: while there are several rows, each half of those that still add up the
  // same ones goes on with half of them. A row's sum has the same bits for every kRows.
  static JLLM_DEVICE float row_sum(float (&out)[kRows]) {
    unsigned step = kWarp / 2;
#pragma unroll
    for (unsigned half = kRows / 2; half > 0; half /= 2, step /= 2) {
      const bool upper = (threadIdx.x & step) != 0;
#pragma unroll
      for (unsigned i = 0; i < half; ++i) {
        const float mine = upper ? out[half + i] : out[i], other = upper ? out[i] : out[half + i];
        out[i] = mine + __shfl_xor_sync(kAllLanes, other, step);
      }
    }
#pragma unroll
    for (; step > 0; step /= 2) {
      out[0] += __shfl_xor_sync(kAllLanes, out[0], step);
    }
    return out[0];
  }

  unsigned first_;  // this lane's first unit
  typename W::Raw raw_[kBatch][kRows];
};

// A warp's place: tiles of kTileRows go round the blocks, which balances the multiprocessors.
template <unsigned kRows, unsigned kSplit>
struct Team {
  static constexpr unsigned kTeams = kGemvWarps / kSplit;
  static constexpr unsigned kTileRows = kTeams * kRows;
  unsigned part = threadIdx.x / kWarp % kSplit;  // in the team
  unsigned team = threadIdx.x / kWarp / kSplit;

  JLLM_DEVICE unsigned first_row(unsigned tile) const { return tile * kTileRows + team * kRows; }
  static constexpr unsigned tiles(unsigned rows) { return (rows + kTileRows - 1) / kTileRows; }
};

// Adds the shares of a team's warps, in order. The whole block calls it, with alternating `turn`;
// the sums are good in warps with part 0.
template <unsigned kRows, unsigned kSplit>
struct TeamSums {
  float shares[2][kGemvWarps][kRows];

  JLLM_DEVICE float add(unsigned turn, float sum) {
    const unsigned warp = threadIdx.x / kWarp, row = row_of_lane<kRows>();
    float(&shelf)[kGemvWarps][kRows] = shares[turn % 2];
    if (lane_speaks<kRows>()) shelf[warp][row] = sum;
    __syncthreads();
    if (warp % kSplit == 0) {
#pragma unroll
      for (unsigned other = 1; other < kSplit; ++other) sum += shelf[warp + other][row];
    }
    return sum;
  }
};
template <unsigned kRows>
struct TeamSums<kRows, 1> {
  JLLM_DEVICE float add(unsigned, float sum) { return sum; }
};

// One matrix of `kRowCount` rows: prepare() between the first loads and their use makes the image,
// store(row, sum) takes each result, from one lane.
template <unsigned kMode, unsigned kType, unsigned kLength, unsigned kRowCount, unsigned kRows,
          unsigned kSplit, typename Prepare, typename Store>
JLLM_DEVICE void multiply_rows(const Bytes* weight, const Bytes* image, const Prepare& prepare,
                               const Store& store) {
  using Place = Team<kRows, kSplit>;
  constexpr unsigned kTiles = Place::tiles(kRowCount);
  __shared__ TeamSums<kRows, kSplit> team_sums;
  const Place place;
  Dot<kMode, kType, kLength, kRows, kSplit> dot(place.part);
  unsigned tile = blockIdx.x;
  Rows rows = rows_from<kType, kLength, kRowCount, kRows>(weight, place.first_row(tile));
  dot.begin(rows);
  prepare();
  for (unsigned turn = 0; tile < kTiles; ++turn) {
    float sum = dot.finish(rows, image);
    const unsigned row = place.first_row(tile) + row_of_lane<kRows>();
    tile += gridDim.x;
    if (tile < kTiles) {
      rows = rows_from<kType, kLength, kRowCount, kRows>(weight, place.first_row(tile));
      dot.begin(rows);
    }
    sum = team_sums.add(turn, sum);
    if (place.part == 0 && lane_speaks<kRows>() && row < kRowCount) store(row, sum);
  }
}

}  // namespace jllm::device
