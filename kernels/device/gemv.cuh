// Matrix times one vector, or the vectors of TOKENS that follow each other: the body of the decode
// kernels. A block stages the vectors once in shared memory (activations.cuh). Its kGemvWarps warps
// form teams of kSplit; a team owns kRows rows of a tile at a time and shares out their units. The
// first loads of a warp need no input and are under way before the inputs are awaited. Of the
// macros only SPLIT changes results: it is the order in which a row's products are added.
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
// Tokens of a launch, at most 8, and how many there are before them.
#ifndef TOKENS
#define TOKENS 1
#endif
#ifndef FIRST_TOKEN
#define FIRST_TOKEN 0
#endif
// Units that a lane loads before it uses the first, of all its rows; 0: what suits the type.
#ifndef IN_FLIGHT
#define IN_FLIGHT 0
#endif
// Whether `in` holds byte images, made by the kernel before.
#ifndef IN_IMAGE
#define IN_IMAGE 0
#endif

namespace jllm::device {

constexpr unsigned kGemvThreads = THREADS;
constexpr unsigned kGemvWarps = kGemvThreads / kWarp;
constexpr unsigned kTokens = TOKENS, kFirstToken = FIRST_TOKEN;
constexpr unsigned kTokenSlots = kTokens <= 1 ? 1 : kTokens <= 2 ? 2 : kTokens <= 4 ? 4 : 8;
static_assert(kTokens <= 8);
template <unsigned kLength>
using Norm = NormPart<kGemvThreads, kLength, kTokens>;

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

// The sums of a team: of kRows rows for each token. A few lanes hold the same one; one of them
// speaks for it.
template <unsigned kRows>
struct Sums {
  static constexpr unsigned kCount = kTokenSlots * kRows;
  static constexpr unsigned kLanes = kWarp / kCount;  // that hold the same

  static JLLM_DEVICE unsigned of_lane() { return threadIdx.x % kWarp / kLanes; }
  static JLLM_DEVICE unsigned row() { return of_lane() % kRows; }
  static JLLM_DEVICE unsigned token() { return of_lane() / kRows; }
  static JLLM_DEVICE bool lane_speaks() {
    return threadIdx.x % kLanes == 0 && (kTokens == kTokenSlots || token() < kTokens);
  }
};

// Dot products of kRows rows of kLength weights with the staged vectors, by one of kSplit warps.
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
  static constexpr unsigned kStride = image_stride<kMode, kLength>();

 public:
  // `part` is the warp's number in its team.
  JLLM_DEVICE explicit Dot(unsigned part) : first_(part * kSteps * kWarp + threadIdx.x % kWarp) {}

  // Starts the loads of the first batch.
  JLLM_DEVICE void begin(const Rows& rows) { load<kBatch>(rows, 0); }

  // Finishes what begin() has started. Returns this warp's share of the sum that is the lane's.
  JLLM_DEVICE float finish(const Rows& rows, const Bytes* image) {
    float out[kTokenSlots][kRows] = {};
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
    return lane_sum(out);
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
  JLLM_DEVICE void use(const Bytes* image, unsigned step, float (&out)[kTokenSlots][kRows]) {
#pragma unroll
    for (unsigned b = 0; b < kCount; ++b) {
      const unsigned unit = (step + b) * kWarp + first_;
      if (!kEven && unit >= kUnits) continue;
#pragma unroll
      for (unsigned t = 0; t < kTokens; ++t) {
        P::multiply(raw_[b], P::read(image + t * kStride, unit), out[t]);
      }
    }
  }

  // Adds up over the lanes: while there are several sums, each half of the lanes that still add up
  // the same ones goes on with half of them. A sum has the same bits for every kRows and kTokens.
  static JLLM_DEVICE float lane_sum(float (&out)[kTokenSlots][kRows]) {
    const auto at = [&](unsigned i) -> float& { return out[i / kRows][i % kRows]; };
    unsigned step = kWarp / 2;
#pragma unroll
    for (unsigned half = Sums<kRows>::kCount / 2; half > 0; half /= 2, step /= 2) {
      const bool upper = (threadIdx.x & step) != 0;
#pragma unroll
      for (unsigned i = 0; i < half; ++i) {
        const float mine = upper ? at(half + i) : at(i), other = upper ? at(i) : at(half + i);
        at(i) = mine + __shfl_xor_sync(kAllLanes, other, step);
      }
    }
#pragma unroll
    for (; step > 0; step /= 2) {
      at(0) += __shfl_xor_sync(kAllLanes, at(0), step);
    }
    return at(0);
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
  float shares[2][kGemvWarps][Sums<kRows>::kCount];

  JLLM_DEVICE float add(unsigned turn, float sum) {
    const unsigned warp = threadIdx.x / kWarp, mine = Sums<kRows>::of_lane();
    float(&shelf)[kGemvWarps][Sums<kRows>::kCount] = shares[turn % 2];
    if (Sums<kRows>::lane_speaks()) shelf[warp][mine] = sum;
    __syncthreads();
    if (warp % kSplit == 0) {
#pragma unroll
      for (unsigned other = 1; other < kSplit; ++other) sum += shelf[warp + other][mine];
    }
    return sum;
  }
};
template <unsigned kRows>
struct TeamSums<kRows, 1> {
  JLLM_DEVICE float add(unsigned, float sum) { return sum; }
};

// One matrix of `kRowCount` rows: prepare() between the first loads and their use makes the image,
// store(token, row, sum) takes each result, from one lane.
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
    const unsigned row = place.first_row(tile) + Sums<kRows>::row();
    tile += gridDim.x;
    if (tile < kTiles) {
      rows = rows_from<kType, kLength, kRowCount, kRows>(weight, place.first_row(tile));
      dot.begin(rows);
    }
    sum = team_sums.add(turn, sum);
    if (place.part == 0 && Sums<kRows>::lane_speaks() && row < kRowCount) {
      store(Sums<kRows>::token(), row, sum);
    }
  }
}

}  // namespace jllm::device
