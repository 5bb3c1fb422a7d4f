// Several tokens, tensor cores: out = in W^T (+ residual), for up to three matrices that read the
// same half image, or activation(in Wg^T) * (in Wu^T) of two. Grid (token tiles, row tiles of all
// matrices), fixed. With EXPERTS the image's rows are slots in the order of expert_lists, whose
// tiles say which expert's matrix multiplies them.
#include "kernels/device/gemm_wgmma.cuh"

using namespace jllm;
using namespace jllm::device;

// Matrices in one launch; types and rows of the second and third.
#ifndef MATRICES
#define MATRICES 1
#endif
#ifndef TYPE_1
#define TYPE_1 TYPE
#define N_1 N
#endif
#ifndef TYPE_2
#define TYPE_2 TYPE
#define N_2 N
#endif
#ifndef RESIDUAL
#define RESIDUAL 0
#endif
#ifndef EXPERTS
#define EXPERTS 0
#endif
// With ACTIVATION the two matrices are gate and up, of one type and size.
#ifdef ACTIVATION
constexpr bool kGated = true;
constexpr unsigned kActivation = ACTIVATION;
#else
constexpr bool kGated = false;
constexpr unsigned kActivation = kSilu;
#endif

static_assert(!RESIDUAL || MATRICES == 1, "a residual belongs to one matrix");

// With WGMMA tiles are made for the instructions of sm_90a; PTX for a later device cannot have them
// and takes the others.
#ifndef WGMMA
#define WGMMA 0
#endif
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
constexpr bool kGroups = WGMMA;
#else
constexpr bool kGroups = false;
#endif

using Shape =
    TileShape<TILE_M, TILE_N, WARPS_M, WARPS_N, WARPS_K, DEPTH / 32, STAGES, WGMMA ? 1024 : 128>;
constexpr unsigned kStep = kGated ? Shape::kRows / 2 : Shape::kRows;  // rows of a matrix per tile
constexpr unsigned tiles_of(unsigned n) { return (n + kStep - 1) / kStep; }
constexpr bool kFull =
    N % kStep == 0 && (MATRICES < 2 || N_1 % kStep == 0) && (MATRICES < 3 || N_2 % kStep == 0);

// value * sigmoid-like factor with the fast exponential and division: good to 2^-20, far below
// what the halves of the product lose.
JLLM_DEVICE float activate_fast(float value) {
  constexpr float kTwiceRoot = 1.59576912f;  // 2 sqrt(2 / pi)
  const float u =
      kActivation == kGelu ? kTwiceRoot * value * (1.0f + 0.044715f * value * value) : value;
  return __fdividef(value, 1.0f + exp2_approx(-kLog2E * u));
}

struct Output {
  float* rows;            // [T][n]
  const float* residual;  // [T][n]; with RESIDUAL
  unsigned n;
  const unsigned* sources = nullptr;  // with EXPERTS: where the rows belong

  JLLM_DEVICE unsigned long long at(unsigned token, unsigned row) const {
    return (unsigned long long)(EXPERTS ? sources[token] : token) * n + row;
  }
  // What is to be added to the product.
  JLLM_DEVICE void fetch(unsigned token, unsigned row, float* added) const {
    if (RESIDUAL && (kFull || row < n))
      *added = load_shared_across_blocks(residual + at(token, row));
  }
  JLLM_DEVICE void fetch_pair(unsigned token, unsigned row, float (&added)[2]) const {
    if constexpr (RESIDUAL && kFull) {
      const Uint2 pair = load_shared_across_blocks((const Uint2*)(residual + at(token, row)));
      added[0] = bits_to_float(pair.x), added[1] = bits_to_float(pair.y);
    } else {
      fetch(token, row, &added[0]);
      fetch(token, row + 1, &added[1]);
    }
  }
  JLLM_DEVICE void put(unsigned token, unsigned row, float value, float added) const {
    if (!kFull && row >= n) return;
    rows[at(token, row)] = RESIDUAL ? value + added : value;
  }
  JLLM_DEVICE void put_pair(unsigned token, unsigned row, const float (&values)[2],
                            const float (&added)[2]) const {
    if constexpr (kFull) {
      *(Uint2*)(rows + at(token, row)) = {
          float_to_bits(RESIDUAL ? values[0] + added[0] : values[0]),
          float_to_bits(RESIDUAL ? values[1] + added[1] : values[1])};
    } else {
      put(token, row, values[0], added[0]);
      put(token, row + 1, values[1], added[1]);
    }
  }
};

template <bool kOfGroups, unsigned kType>
struct ProductOf {
  using type = Gemm<kType, K, kFull, kGated, Shape>;
};
template <unsigned kType>
struct ProductOf<true, kType> {
  using type = GroupGemm<kType, K, kFull, kGated, Shape>;
};

template <unsigned kType>
JLLM_DEVICE void multiply_tile(const GemmTask& task, const Output& out) {
  using Product = typename ProductOf<kGroups, kType>::type;
  static_assert(Product::kSharedBytes <= SHARED, "gemm_shape() of the catalogue");
  const auto row_of = [&](unsigned row) { return task.first_row + Product::local_row(row); };
  if constexpr (kGroups) {
    Product::run(
        task,
        [&](unsigned token, unsigned row, float(&added)[2]) {
          out.fetch(token, row_of(row), &added[0]);
          out.fetch(token, row_of(row + 8), &added[1]);
        },
        [&](unsigned token, unsigned row, float factor, float first, float second,
            const float(&added)[2]) {
          first *= factor, second *= factor;
          if constexpr (kGated) {
            out.put(token, row_of(row), activate_fast(first) * second, 0.0f);
          } else {
            out.put(token, row_of(row), first, added[0]);
            out.put(token, row_of(row + 8), second, added[1]);
          }
        });
  } else {
    using Sums = float[Shape::kN][2];
    Product::run(
        task,
        [&](unsigned token, unsigned row, unsigned column, Sums& added) {
#pragma unroll
          for (unsigned n = 0; n < Shape::kN; ++n) {
            out.fetch_pair(token, row_of(row + 8 * n) + column, added[n]);
          }
        },
        [&](unsigned token, unsigned row, unsigned column, float factor, const Sums& sums,
            const Sums& added) {
#pragma unroll
          for (unsigned n = 0; n < Shape::kN; n += kGated ? 2 : 1) {
            float values[2];
#pragma unroll
            for (unsigned i = 0; i < 2; ++i) {
              values[i] = sums[n][i] * factor;
              if (kGated) {
                values[i] = activate_fast(values[i]) * (sums[n + kGated][i] * factor);
              }
            }
            out.put_pair(token, row_of(row + 8 * n) + column, values, added[n]);
          }
        });
  }
}

extern "C" __global__ __launch_bounds__(Shape::kThreads, BLOCKS) void JLLM_KERNEL(
    const StepState* state,
    const Bytes* image,  // of [T][K]
#if EXPERTS
    const unsigned* sources,  // of the image's rows
    const unsigned* tiles,    // [gridDim.x][3]
#endif
    const Bytes* weight,  // [N] rows of K; with ACTIVATION those of the gate
#if MATRICES > 1
    const Bytes* weight_1,  // [N_1] rows of K; with ACTIVATION [N]
#endif
#if MATRICES > 2
    const Bytes* weight_2,  // [N_2] rows of K
#endif
#if RESIDUAL
    const float* residual,  // [T][N]
#endif
    float* out,  // [T][N]; may be residual
#if MATRICES > 1 && !defined(ACTIVATION)
    float* out_1,  // [T][N_1]
#endif
#if MATRICES > 2
    float* out_2,  // [T][N_2]
#endif
    unsigned rows) {
  JLLM_DYNAMIC_SHARED(__align__(1024) Float4, shared);
  const float* const factors = (const float*)(image + image_factors<K>(rows));
#if EXPERTS
  const unsigned* const own_tile = tiles + 3 * blockIdx.x;
  const unsigned long long matrix = row_layout(TYPE, K).stride * N * own_tile[0];
  const unsigned first_token = own_tile[1], tokens = own_tile[2];
  if (first_token >= tokens) return;
  weight += matrix;
#ifdef ACTIVATION
  weight_1 += matrix;
#endif
#else
  const unsigned tokens = compute_rows(state, rows), first_token = blockIdx.x * Shape::kTokens;
#endif
  GemmTask task = {image, factors, {weight, weight}, N, 0, tokens, first_token, (Bytes*)shared};
  Output to = {out, nullptr, N};
#if EXPERTS
  to.sources = sources;
#endif
#if RESIDUAL
  to.residual = residual;
#endif
  unsigned tile = blockIdx.y, type = TYPE;
#ifdef ACTIVATION
  task.weights[1] = weight_1;
#else
#if MATRICES > 1
  if (tile >= tiles_of(N)) {
    tile -= tiles_of(N);
    task.weights[0] = weight_1;
    task.rows = N_1;
    to = {out_1, nullptr, N_1};
    type = TYPE_1;
#if MATRICES > 2
    if (tile >= tiles_of(N_1)) {
      tile -= tiles_of(N_1);
      task.weights[0] = weight_2;
      task.rows = N_2;
      to = {out_2, nullptr, N_2};
      type = TYPE_2;
    }
#endif
  }
#endif
#endif
  task.first_row = tile * kStep;
  if (type == TYPE) return multiply_tile<TYPE>(task, to);
  if constexpr (TYPE_1 != TYPE) {
    if (type == TYPE_1) return multiply_tile<TYPE_1>(task, to);
  }
  if constexpr (TYPE_2 != TYPE && TYPE_2 != TYPE_1) {
    multiply_tile<TYPE_2>(task, to);
  }
}
