// Variants of the matrix-vector kernels; see gemv_shapes.h. Constants that repeat one of a source
// carry its name.
#include "kernels/gemv_shapes.h"

#include <algorithm>
#include <cmath>

#include "schema/row_layout.h"

namespace jllm::kernels {
namespace {

constexpr uint64_t kWarp = 32;
constexpr uint32_t kSubBlock = 32;       // rows that gate_up hands on as one
constexpr uint32_t kRegisters = 65536;   // of a multiprocessor
constexpr uint32_t kFullThreads = 1024;  // with all registers of a multiprocessor
constexpr uint32_t kOwnRegisters = 32;   // that a lane needs beside its loads
// The same with several tokens, beside their sums: with vectors as integers, as floats.
constexpr uint32_t kOwnRegistersOfSeveral = 70, kOwnRegistersOfFloats = 102;

uint64_t divide_up(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

// What a lane takes of a row at a time (weights.cuh).
struct Unit {
  uint32_t weights;    // kUnit
  uint32_t registers;  // of Raw
  uint32_t in_flight;  // kInFlight
};

Unit unit_of(unsigned type) {
  switch (type) {
    case kRowQ4_0:
    case kRowQ4_1:
      return {32, 5, 4};
    case kRowQ5_0:
    case kRowQ5_1:
      return {32, 6, 4};
    case kRowIQ4_XS:
    case kRowQ5_K:
      return {32, 9, 2};
    case kRowIQ4_NL:  // these six hold less, but take as much as they are unpacked
    case kRowMXFP4:
    case kRowQ2_K:
    case kRowQ3_K:
    case kRowTQ2_0:
    case kRowQ2_0:
    case kRowQ4_K:
    case kRowQ6_K:
      return {32, 8, 4};
    case kRowQ8_0:
      return {16, 5, 4};
    case kRowQ1_0:
      return {32, 2, 8};
    case kRowF32:
      return {8, 8, 2};
    default:
      return {8, 4, 4};
  }
}

// Steps that a warp takes through a row, all its lanes a unit each.
uint64_t steps_of(unsigned type, uint64_t k) {
  return divide_up(divide_up(k, unit_of(type).weights), kWarp);
}
uint64_t most_steps(const GemvProblem& problem) {
  uint64_t most = 1;
  for (const unsigned type : problem.types) most = std::max(most, steps_of(type, problem.k));
  return most;
}

uint32_t own_in_flight(const GemvProblem& problem) {
  uint32_t least = 8;
  for (const unsigned type : problem.types) least = std::min(least, unit_of(type).in_flight);
  return least;
}

// Every split, rows and block that kernels are made for; a device's best is among them.
constexpr uint32_t kRowChoices[] = {1, 2, 4};
constexpr uint32_t kSplitChoices[] = {1, 2, 4, 8};
struct Blocks {
  uint32_t threads, blocks;
};
constexpr Blocks kBlockChoices[] = {{256, 4}, {256, 2}, {384, 2}, {512, 2},
                                    {512, 1}, {768, 1}, {1024, 1}};

template <typename Choices>
bool among(const Choices& choices, uint32_t value) {
  return std::find(std::begin(choices), std::end(choices), value) != std::end(choices);
}

// Rows of gate_up that a block takes at a time.
uint64_t tile_rows(const GemvVariant& v) {
  return std::max(kSubBlock, v.threads / uint32_t{kWarp} * v.rows);
}

// Registers that a lane needs beside its loads.
uint32_t own_registers(const GemvProblem& problem, uint32_t rows) {
  if (problem.tokens == 1) return kOwnRegisters;
  const bool floats = problem.mode == Activations::kExact;
  return (floats ? kOwnRegistersOfFloats : kOwnRegistersOfSeveral) + problem.tokens * rows;
}

// Shared memory that a block of the device may take.
uint64_t most_shared_bytes(uint32_t compute_capability) {
  const bool large = compute_capability == 80 || compute_capability == 87;
  const bool largest = compute_capability >= 90 && compute_capability < 120;
  return (largest ? 227 : large ? 163 : 99) * uint64_t{1024};
}

uint64_t row_groups(const GemvProblem& problem, uint32_t rows) {
  return divide_up(problem.n, rows);
}

}  // namespace

bool has_variants(std::string_view kernel) {
  return kernel == "qkv" || kernel == "matmul_add" || kernel == "gate_up" || kernel == "head";
}

std::string why_illegal(const GemvProblem& problem, const GemvVariant& v) {
  const auto text = [](uint64_t value) { return std::to_string(value); };
  if (std::none_of(
          std::begin(kBlockChoices), std::end(kBlockChoices),
          [&](const Blocks& b) { return b.threads == v.threads && b.blocks >= v.blocks; }) ||
      v.blocks == 0) {
    return text(v.blocks) + " blocks of " + text(v.threads) + " threads are not among the choices";
  }
  if (!among(kRowChoices, v.rows)) return "rows must be 1, 2 or 4";
  if (!among(kSplitChoices, v.split)) return "split must be 1, 2, 4 or 8";
  const uint32_t warps = v.threads / kWarp;
  if (warps % v.split != 0) return "a block has fewer warps than the split";
  if (problem.kernel == "qkv" && v.rows != 2) return "qkv takes the two rows of a rotary pair";
  if (problem.kernel == "gate_up") {
    if (v.split != 1) return "gate_up does not split rows";
    if (tile_rows(v) % (warps * v.rows) != 0 || tile_rows(v) % kSubBlock != 0) {
      return "a block of gate_up takes 32 rows at a time, or a multiple of that";
    }
  }
  if (problem.kernel != "qkv" && v.rows > 2 && problem.n % v.rows != 0) {
    return text(v.rows) + " rows at a time do not divide " + text(problem.n);
  }
  for (const unsigned type : problem.types) {
    const uint64_t steps = steps_of(type, problem.k);
    if (v.split > 1 && divide_up(steps, v.split) * (v.split - 1) >= steps) {
      return "a row of " + text(problem.k) + " is too short for a split of " + text(v.split);
    }
  }
  if (v.in_flight == 0 || v.in_flight % v.rows != 0) {
    return "in_flight must be a multiple of rows";
  }
  uint32_t raw = 0;
  for (const unsigned type : problem.types) raw = std::max(raw, unit_of(type).registers);
  const uint32_t registers = std::min(kRegisters / (v.threads * v.blocks), 255u);
  const uint32_t own = own_registers(problem, v.rows);
  if (v.in_flight > registers || v.in_flight * raw + own > registers) {
    return text(v.in_flight) + " units in flight do not fit in " + text(registers) + " registers";
  }
  return "";
}

std::vector<GemvVariant> in_flight_variants(const GemvProblem& problem,
                                            const GemvVariant& variant) {
  std::vector<GemvVariant> out;
  const uint64_t steps = divide_up(most_steps(problem), variant.split);
  for (const uint32_t batch : {1u, 2u, 3u, 4u, 6u, 8u}) {
    GemvVariant v = variant;
    v.in_flight = batch * v.rows;
    if (batch <= steps && v != variant && why_illegal(problem, v).empty()) out.push_back(v);
  }
  return out;
}

std::vector<GemvVariant> legal_variants(const GemvProblem& problem) {
  std::vector<GemvVariant> out;
  const auto add = [&](GemvVariant v, uint32_t most_in_flight) {
    v.in_flight = v.rows;
    while (v.in_flight + v.rows <= most_in_flight) v.in_flight += v.rows;
    while (v.in_flight > v.rows && !why_illegal(problem, v).empty()) v.in_flight -= v.rows;
    const bool known = std::find(out.begin(), out.end(), v) != out.end();
    if (!known && why_illegal(problem, v).empty()) out.push_back(v);
  };
  for (const Blocks& b : kBlockChoices) {
    for (const uint32_t rows : kRowChoices) {
      for (const uint32_t split : kSplitChoices) {
        const uint32_t own = own_in_flight(problem);
        add({b.threads, b.blocks, rows, split, rows}, own);
        // Where there are registers for it, and rows are long enough.
        const uint64_t steps = divide_up(most_steps(problem), split);
        if (2 * own <= steps * rows) add({b.threads, b.blocks, rows, split, rows}, 2 * own);
      }
    }
  }
  return out;
}

namespace {

// Bytes of a row, on average over the types, and of the heaviest.
struct RowBytes {
  double mean = 0, most = 0;
};
RowBytes row_bytes(const GemvProblem& problem) {
  RowBytes out;
  for (const unsigned type : problem.types) {
    const double bytes = double(row_layout(type, static_cast<unsigned>(problem.k)).stride);
    out.mean += bytes / double(problem.types.size());
    out.most = std::max(out.most, bytes);
  }
  return out;
}

// Where a launch's tiles of rows go.
struct Spread {
  double tile_rows = 0;  // matrix rows of a tile
  double passes = 1;     // of a block over its tile
  double blocks = 0;     // that share a multiprocessor
  double rounds = 0;     // tiles of the busiest block
  double busiest = 0;    // tiles of the busiest multiprocessor, heavy ones counted as more
};

Spread spread(const GemvProblem& problem, const GemvVariant& v, uint32_t sm_count) {
  const uint64_t warps = v.threads / kWarp;
  Spread out;
  uint64_t tiles = 0;
  if (problem.kernel == "gate_up") {
    tiles = divide_up(problem.n, tile_rows(v));
    out.tile_rows = 2.0 * static_cast<double>(tile_rows(v));
    out.passes = out.tile_rows / double(warps * v.rows);
  } else {
    tiles = divide_up(row_groups(problem, v.rows) * v.split, warps);
    out.tile_rows = double(warps / v.split * v.rows);
  }
  const uint64_t grid = std::min(tiles, uint64_t{v.blocks} * sm_count);
  out.blocks = double(std::min<uint64_t>(v.blocks, divide_up(grid, sm_count)));
  out.rounds = double(divide_up(tiles, grid));
  out.busiest = double(divide_up(tiles, sm_count));
  const RowBytes bytes = row_bytes(problem);
  if (problem.kernel == "qkv" && bytes.most > bytes.mean) {
    // The last rows are those of v, usually a sixth, and usually it is they that have more bits.
    const uint64_t used = std::min<uint64_t>(sm_count, grid),
                   heavy = std::max<uint64_t>(tiles / 6, 1);
    std::vector<double> load(used);
    for (uint64_t i = 0; i < tiles; ++i) {
      load[i % grid % used] += i + heavy >= tiles ? bytes.most / bytes.mean : 1.0;
    }
    out.busiest = *std::max_element(load.begin(), load.end());
  }
  return out;
}

}  // namespace

// A launch on a multiprocessor of Hopper at 2 GHz, in microseconds. The constants were fitted to
// 2500 measured variants of 55 launches on 132 and of 21 on 8 multiprocessors; the terms are what
// was seen to matter there. docs/tuning.md says how close it comes.
double cost(const GemvProblem& problem, const GemvVariant& v, uint32_t sm_count) {
  constexpr double kBytesPerUs = 44e3, kLatencyUs = 0.69, kSharpness = 4.7;
  constexpr double kMultiplyUs = 0.009, kReadUs = 0.004;  // 32 weights by each lane of a warp
  constexpr double kStageTurnUs = 0.086;                  // four values of the vector per thread
  constexpr double kRoundUs = 0.05, kBatchUs = 0.022;     // sums of rows, a wait for loads
  constexpr double kSplitUs = 0.12, kFullUs = 0.25;       // a barrier; no room for a successor
  constexpr double kFourRowsUs = 0.04;
  constexpr double kCrowdShare = 0.093, kLoadCrowdShare = 0.0056, kGapShare = 1.5;
  const Spread s = spread(problem, v, sm_count);
  const uint64_t all_steps = most_steps(problem), steps = divide_up(all_steps, v.split);
  const uint64_t batch = std::clamp<uint64_t>(v.in_flight / v.rows, 1, steps);
  const double warps = s.blocks * v.threads / kWarp, row = row_bytes(problem).mean;
  const double in_flight = warps / v.split * v.rows * row *
                           double(std::min(batch * v.split, all_steps)) / double(all_steps);
  // Either limit, rounded off where they meet.
  const double us_per_byte =
      std::pow(std::pow(1 / kBytesPerUs, kSharpness) + std::pow(kLatencyUs / in_flight, kSharpness),
               1 / kSharpness);
  const double rows = s.tile_rows * s.busiest;
  const double memory = rows * row * us_per_byte * (1 + kLoadCrowdShare * (s.blocks - 1));
  // Blocks beside each other disturb each other; few warps with little in flight leave gaps.
  const double compute = rows * double(problem.k) / (32 * kWarp) *
                         (kMultiplyUs + kReadUs / v.rows) * (1 + kCrowdShare * (s.blocks - 1)) *
                         (1 + kGapShare / (warps * double(batch)));
  const double rounds = s.rounds * s.passes;
  return std::max(memory, compute) + kStageTurnUs * double(divide_up(problem.k, 4 * v.threads)) +
         rounds * (kRoundUs + kBatchUs * double(divide_up(steps, batch))) +
         (v.split > 1 ? kSplitUs * s.rounds : 0) + (v.rows == 4 ? kFourRowsUs : 0) +
         (v.threads * v.blocks >= kFullThreads ? kFullUs : 0);
}

GemvVariant choose_variant(const GemvProblem& problem, uint32_t sm_count) {
  // Not those with more in flight than usual: whether that helps, only measurements tell.
  std::vector<GemvVariant> variants = legal_variants(problem);
  const uint32_t own = std::max(own_in_flight(problem), kRowChoices[std::size(kRowChoices) - 1]);
  variants.erase(std::remove_if(variants.begin(), variants.end(),
                                [&](const GemvVariant& v) { return v.in_flight > own; }),
                 variants.end());
  return *std::min_element(variants.begin(), variants.end(),
                           [&](const GemvVariant& a, const GemvVariant& b) {
                             return cost(problem, a, sm_count) < cost(problem, b, sm_count);
                           });
}

GemvVariant with_tokens(const GemvProblem& problem, const GemvVariant& single, uint32_t sm_count) {
  if (problem.tokens == 1) return single;
  GemvVariant variant = single;  // the split decides the bits
  variant.threads = 512, variant.blocks = 1;
  const uint64_t warps = variant.threads / kWarp * uint64_t{sm_count};
  // Rows share their reads of the vectors, which are what there is most of; but half of the warps
  // should have something to do.
  for (const uint32_t rows : kRowChoices) {
    const uint64_t teams = row_groups(problem, rows) * variant.split;
    if (rows > 1 && problem.kernel != "qkv" && 2 * teams < warps) break;
    GemvVariant more = variant;
    more.rows = rows;
    more.in_flight = std::max(own_in_flight(problem) / rows, 1u) * rows;
    while (more.in_flight > rows && !why_illegal(problem, more).empty()) more.in_flight -= rows;
    if (why_illegal(problem, more).empty()) variant = more;
  }
  return variant;
}

uint32_t tokens_per_launch(const GemvProblem& problem, uint32_t compute_capability) {
  constexpr uint64_t kOwnShared = 8192;  // for sums, at most
  const uint64_t of_token = image_bytes(problem.mode, problem.k) + divide_up(problem.k, 32) * 4;
  const uint64_t room = most_shared_bytes(compute_capability) - kOwnShared;
  const uint64_t most = std::max<uint64_t>(room / of_token, 1);
  const uint64_t launches = divide_up(problem.tokens, most);
  return static_cast<uint32_t>(divide_up(problem.tokens, launches));
}

LaunchShape gemv_shape(const GemvProblem& problem, const GemvVariant& variant, uint32_t sm_count) {
  LaunchShape shape;
  shape.block = variant.threads;
  shape.shared_bytes = problem.tokens * image_bytes(problem.mode, problem.k);
  const uint64_t warps = row_groups(problem, variant.rows) * variant.split;
  const uint64_t blocks = problem.kernel == "gate_up" ? divide_up(problem.n, tile_rows(variant))
                                                      : divide_up(warps, variant.threads / kWarp);
  const uint64_t most = std::max<uint64_t>(uint64_t(variant.blocks) * sm_count, 1);
  shape.grid_x = static_cast<uint32_t>(std::clamp<uint64_t>(blocks, 1, most));
  return shape;
}

GemvVariant choose_expert_variant(const GemvProblem& problem, uint32_t slots, uint32_t sm_count) {
  // The slots' rows together, where their number suits a single slot too.
  GemvProblem all = problem;
  all.n *= slots;
  const GemvVariant variant = choose_variant(all, sm_count);
  return why_illegal(problem, variant).empty() ? variant : choose_variant(problem, sm_count);
}

LaunchShape expert_matmul_shape(const GemvProblem& problem, const GemvVariant& variant,
                                uint32_t slots, uint32_t sm_count) {
  const auto share = static_cast<uint32_t>(divide_up(sm_count, std::max(slots, 1u)));
  LaunchShape shape = gemv_shape(problem, variant, share);
  shape.grid_y = slots;
  return shape;
}

std::vector<std::string> gemv_defines(const GemvProblem& problem, const GemvVariant& variant) {
  constexpr GemvVariant kDefault;  // of the sources
  std::vector<std::string> out;
  const auto add = [&](const char* name, uint64_t value, uint64_t by_default) {
    if (value != by_default) out.push_back(define(name, value));
  };
  add("ACTIVATIONS", static_cast<uint64_t>(problem.mode), 0);
  add("TOKENS", problem.tokens, 1);
  add("THREADS", variant.threads, kDefault.threads);
  add("BLOCKS", variant.blocks, kDefault.blocks);
  add("ROWS", variant.rows, kDefault.rows);
  add("SPLIT", variant.split, kDefault.split);
  bool own = true;
  for (const unsigned type : problem.types) own &= variant.in_flight == unit_of(type).in_flight;
  add("IN_FLIGHT", variant.in_flight, own ? variant.in_flight : 0);
  return out;
}

}  // namespace jllm::kernels
