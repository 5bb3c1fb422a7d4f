// Tensor-core matrix product of many tokens: tiles of kTokens x kRows, k in stages that a ring of
// asynchronous copies keeps ahead of the products. Activations come as a half image and are only
// copied. Weights lie in shared memory as they are stored; each warp makes its fragments of halves
// from there (tile_weights.cuh), between products, so that a weight is converted once per kM * 16
// tokens. Scales pass through a table, which the thread that copied them makes a stage ahead.
#pragma once

#include "kernels/device/half_image.cuh"
#include "kernels/device/tile_weights.cuh"

namespace jllm::device {

// A warp computes 16 * kM tokens x 8 * kN rows; the block's warps stand kWarpsM (tokens) x kWarpsN
// (rows) x kWarpsK: the last share the sub-blocks of a stage and add up at the end, in order.
template <unsigned kM_, unsigned kN_, unsigned kWarpsM_, unsigned kWarpsN_, unsigned kWarpsK_,
          unsigned kSubs_, unsigned kStages_, unsigned kSlotUnit_ = 128>
struct TileShape {
  static constexpr unsigned kM = kM_, kN = kN_, kWarpsM = kWarpsM_, kWarpsN = kWarpsN_,
                            kWarpsK = kWarpsK_;
  static constexpr unsigned kSubs = kSubs_, kStages = kStages_;  // sub-blocks of 32 per stage
  static constexpr unsigned kSlotUnit = kSlotUnit_;  // slots of the ring are multiples of it
  static constexpr unsigned kTokens = 16 * kM * kWarpsM, kRows = 8 * kN * kWarpsN;
  static constexpr unsigned kTeam = kWarp * kWarpsM * kWarpsN, kThreads = kTeam * kWarpsK;
  static constexpr unsigned kDepth = 32 * kSubs;
  static_assert(kN % 2 == 0 && kSubs % kWarpsK == 0 && kStages >= 3);
};

// What a block multiplies.
struct GemmTask {
  const Bytes* image;
  const float* factors;     // of the image's tokens
  const Bytes* weights[2];  // the second with kPairs
  unsigned rows;            // of each matrix
  unsigned first_row;       // of each matrix
  unsigned tokens, first_token;
  Bytes* shared;
};

// kFull: no tile reaches over the end of a matrix. kPairs: groups of 8 rows of a tile are taken
// from two matrices in turn.
template <unsigned kType, unsigned kLength, bool kFull, bool kPairs, typename Shape>
struct Gemm {
  using S = Shape;
  using W = TileWeight<kType>;
  static constexpr RowLayout kLayout = row_layout(kType, kLength);
  static constexpr unsigned kStride = (unsigned)kLayout.stride;
  static constexpr bool kWhole = kLength % S::kDepth == 0;
  static constexpr unsigned kOwn = S::kSubs / S::kWarpsK;  // sub-blocks of a stage per warp
  static constexpr unsigned kHalves = image_length(kLength);
  static constexpr unsigned kStageCount = (kLength + S::kDepth - 1) / S::kDepth;

  // A slot of the ring: tokens, quants in planes of 16-byte pieces, further bits, scales. Behind
  // the ring two tables of scales.
  static constexpr unsigned kPieces = W::kMain * S::kSubs / 16;  // of a row
  static constexpr unsigned kPlane = S::kRows * 16 + 64;         // neighbours in different banks
  static constexpr unsigned kSubPlanes = W::kMain / 16;
  static constexpr unsigned kSideBytes = W::kSide * S::kSubs;  // of a row
  static constexpr unsigned kScaleBytes = W::template kScaleBytes<S::kSubs>;
  static constexpr unsigned kMainAt = S::kTokens * S::kDepth * 2;
  static constexpr unsigned kSideAt = kMainAt + kPieces * kPlane;
  static constexpr unsigned kScalesAt = kSideAt + S::kRows * kSideBytes;
  static constexpr unsigned kSlot = round_up(kScalesAt + S::kRows * kScaleBytes, S::kSlotUnit);
  static constexpr unsigned kRing = S::kStages * kSlot;
  static constexpr unsigned kEntries = W::kScales * S::kSubs;  // of a row
  static constexpr unsigned kTable = kEntries * S::kRows * 4;
  static constexpr unsigned kFactorsAt = kRing + 2 * kTable;  // of the tile's tokens
  static constexpr unsigned kSharedBytes = kFactorsAt + S::kTokens * 4;
  static_assert((S::kWarpsK - 1) * S::kN * S::kTeam * 16 <= kRing, "room for sums");

  // Row `row` of a tile within its matrix.
  static JLLM_DEVICE constexpr unsigned local_row(unsigned row) {
    return kPairs ? row / 16 * 8 + row % 8 : row;
  }
  static JLLM_DEVICE const Bytes* row_of(const GemmTask& task, unsigned row) {
    const Bytes* matrix = kPairs && row / 8 % 2 != 0 ? task.weights[1] : task.weights[0];
    return matrix + (unsigned long long)(task.first_row + local_row(row)) * kStride;
  }

  // Where a thread stands in the copies. Rows behind a matrix, tokens behind the last and what lies
  // behind the end of k become zeros.
  struct Copies {
    static constexpr unsigned kChunks = S::kDepth / 8;  // of a token
    static constexpr unsigned kTokenTurns = S::kTokens * kChunks / S::kThreads;
    static constexpr unsigned kTokenStep = S::kThreads / kChunks;
    static constexpr unsigned kMainTurns = S::kRows * kPieces / S::kThreads;
    static constexpr unsigned kMainStep = kPieces == 0 ? 16 : S::kThreads / kPieces;
    static constexpr unsigned kRowTurns = (S::kRows + S::kThreads - 1) / S::kThreads;
    static_assert(kTokenTurns * S::kThreads == S::kTokens * kChunks && kTokenStep % 8 == 0);
    static_assert(kMainTurns * S::kThreads == S::kRows * kPieces);
    static_assert(!kPairs || kMainStep % 16 == 0);

    const GemmTask& task;
    const Bytes *token_from, *main_from, *row_from;
    unsigned token_to, main_to, side_to, scales_to;
    unsigned token_first = 0, weight_first = 0;  // along k, of the next stage

    static JLLM_DEVICE unsigned token() { return threadIdx.x / kChunks; }
    static JLLM_DEVICE unsigned chunk() { return threadIdx.x % kChunks; }
    static JLLM_DEVICE unsigned main_row() { return threadIdx.x / (kPieces == 0 ? 1 : kPieces); }
    static JLLM_DEVICE unsigned piece() { return threadIdx.x % (kPieces == 0 ? 1 : kPieces); }

    JLLM_DEVICE explicit Copies(const GemmTask& t) : task(t) {
      const unsigned to = shared_address(task.shared);
      token_from = task.image +
                   ((unsigned long long)(task.first_token + token()) * kHalves + chunk() * 8) * 2;
      token_to = to + token() * (S::kDepth * 2) + (chunk() ^ token() % 8) * 16;
      main_from = row_of(task, main_row()) + piece() * 16;
      main_to = to + kMainAt + piece() * kPlane + main_row() * 16;
      row_from = row_of(task, threadIdx.x);
      side_to = to + kSideAt + threadIdx.x * kSideBytes;
      scales_to = to + kScalesAt + threadIdx.x * kScaleBytes;
    }
    // Both start the copy of their next stage into `slot`: size 16, or 0 for zeros.
    JLLM_DEVICE void copy_tokens(unsigned slot, unsigned size) {
      if (!kWhole && token_first + chunk() * 8 >= kHalves) size = 0;
      repeat<kTokenTurns>([&](auto turn) {
        constexpr unsigned kStep = turn.value * kTokenStep;
        copy_async<16, kStep * S::kDepth * 2, kStep * kHalves * 2>(
            token_to + slot, token_from,
            task.first_token + token() + kStep < task.tokens ? size : 0);
      });
      token_from += S::kDepth * 2;
      token_first += S::kDepth;
    }
    JLLM_DEVICE void copy_weights(unsigned slot, unsigned size) {
      if constexpr (kPieces != 0) {
        constexpr unsigned kWeights = 512 / W::kMain;  // of a piece
        const bool in_k = kWhole || weight_first + piece() * kWeights < kLength;
        repeat<kMainTurns>([&](auto turn) {
          constexpr unsigned kStep = turn.value * kMainStep;
          copy_async<16, kStep * 16, local_row(kStep) * kStride>(
              main_to + slot, main_from, in_k ? size_of(main_row() + kStep, size) : 0);
        });
        main_from += S::kSubs * W::kMain;
      }
      if constexpr (kSideBytes + kScaleBytes != 0) {
        repeat<kRowTurns>([&](auto turn) {
          constexpr unsigned kStep = turn.value * S::kThreads;
          if (S::kRows % S::kThreads != 0 && threadIdx.x + kStep >= S::kRows) return;
          const unsigned row_size = size_of(threadIdx.x + kStep, size);
          const Bytes* from = row_from + local_row(kStep) * kStride;
          if constexpr (kSideBytes != 0) {
            constexpr unsigned kBytes = kSideBytes % 16 == 0 ? 16 : 8;
            repeat<kSideBytes / kBytes>([&](auto i) {
              constexpr unsigned kAt = i.value * kBytes;
              const bool in_k = kWhole || weight_first + kAt / W::kSide * 32 < kLength;
              copy_async<kBytes, kStep * kSideBytes + kAt, kAt>(
                  side_to + slot, from + kLayout.high + weight_first / 32 * W::kSide,
                  in_k ? row_size * kBytes / 16 : 0);
            });
          }
          if constexpr (kScaleBytes != 0) {
            W::template copy_scales<S::kSubs, kLength>(
                from, weight_first, scales_to + slot + kStep * kScaleBytes, row_size);
          }
        });
      }
      weight_first += S::kDepth;
    }
    JLLM_DEVICE unsigned size_of(unsigned row, unsigned size) const {
      return kFull || task.first_row + local_row(row) < task.rows ? size : 0;
    }
  };

  // A lane's view of the slots and of the tables.
  struct Lane {
    unsigned warp_token, warp_row, warp_k;
    unsigned tokens_at[kOwn][2];  // addresses in slot 0: of each sub-block and half
    const Bytes *main, *side, *table;

    JLLM_DEVICE explicit Lane(Bytes* shared) {
      const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, g = lane / 4;
      warp_row = warp % S::kWarpsN * (8 * S::kN);
      warp_token = warp / S::kWarpsN % S::kWarpsM * (16 * S::kM);
      warp_k = warp / (S::kWarpsN * S::kWarpsM);
#pragma unroll
      for (unsigned own = 0; own < kOwn; ++own) {
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
          const unsigned chunk = 4 * (own * S::kWarpsK + warp_k) + 2 * half + lane / 16;
          tokens_at[own][half] = shared_address(shared) +
                                 (warp_token + lane % 16) * (S::kDepth * 2) +
                                 (chunk ^ lane % 8) * 16;
        }
      }
      main = shared + kMainAt + warp_k * kSubPlanes * kPlane + (warp_row + g) * 16;
      side = shared + kSideAt + (warp_row + g) * kSideBytes + warp_k * W::kSide;
      table = shared + kRing + (warp_k * W::kScales * S::kRows + warp_row + 2 * g) * 4;
    }
  };

  struct Words {
    unsigned quants[S::kN][W::kWords];
    unsigned entries[S::kN][W::kScales == 0 ? 1 : W::kScales];

    template <unsigned kSub>  // before the warp's own offset
    JLLM_DEVICE void load(const Lane& at, unsigned slot, unsigned table) {
#pragma unroll
      for (unsigned n = 0; n < S::kN; ++n) {
        W::template load<kPlane>(at.main + slot + kSub * kSubPlanes * kPlane + n * 128,
                                 at.side + slot + kSub * W::kSide + n * 8 * kSideBytes,
                                 threadIdx.x % 4, quants[n]);
      }
      repeat<W::kScales>([&](auto i) {
#pragma unroll
        for (unsigned n = 0; n < S::kN; n += 2) {
          constexpr unsigned kAt = (kSub * W::kScales + i.value) * S::kRows * 4;
          const Uint2 two = *(const Uint2*)(at.table + table + kAt + n * 32);
          entries[n][i.value] = two.x, entries[n + 1][i.value] = two.y;
        }
      });
    }
    // The share of the fragments that is made behind product m of kM.
    template <unsigned kHalf>
    JLLM_DEVICE void make(unsigned m, unsigned magic, unsigned (&b)[S::kN][2]) const {
      constexpr unsigned kShare = (S::kN + S::kM - 1) / S::kM;
#pragma unroll
      for (unsigned i = 0; i < kShare; ++i) {
        const unsigned n = m * kShare + i;
        if (n < S::kN) W::template make<kHalf>(quants[n], entries[n], magic, b[n]);
      }
    }
  };

  // Table entries of the rows that this thread has copied the scales of, for the stage that begins
  // at weight `first`. In a table two groups of 8 rows alternate, so that lanes load two at a time.
  static JLLM_DEVICE void make_table(Bytes* shared, unsigned slot, unsigned table, unsigned first) {
    if constexpr (kEntries != 0) {
      repeat<Copies::kRowTurns>([&](auto turn) {
        const unsigned row = threadIdx.x + turn.value * S::kThreads;
        if (S::kRows % S::kThreads != 0 && row >= S::kRows) return;
        const auto raw = W::raw(shared + slot + kScalesAt + row * kScaleBytes, first);
        unsigned* to =
            (unsigned*)(shared + kRing + table) + row / 16 * 16 + row % 8 * 2 + row / 8 % 2;
        unsigned made[kEntries];
#pragma unroll
        for (unsigned i = 0; i < kEntries; ++i) made[i] = W::entry(raw, i);
#pragma unroll
        for (unsigned i = 0; i < kEntries; ++i) to[i * S::kRows] = made[i];
      });
    }
  }

  // Calls between(m) behind the products of 16 tokens.
  template <typename Between>
  static JLLM_DEVICE void multiply(unsigned tokens, const unsigned (&b)[S::kN][2],
                                   float (&acc)[S::kM][S::kN][4], const Between& between) {
    unsigned a[2][4];
    load_matrices_at(tokens, a[0]);
#pragma unroll
    for (unsigned m = 0; m < S::kM; ++m) {
      if (m + 1 < S::kM) {
        load_matrices_at(tokens + (m + 1) * 16 * S::kDepth * 2, a[(m + 1) % 2]);
      }
#pragma unroll
      for (unsigned n = 0; n < S::kN; ++n) mma_f16(a[m % 2], b[n][0], b[n][1], acc[m][n]);
      between(m);
    }
  }

  // Adds up what the warps of one tile have: those of 16 tokens end in warp m % kWarpsK.
  static JLLM_DEVICE void add_up(unsigned warp_k, Bytes* shared, float (&acc)[S::kM][S::kN][4]) {
    Float4* const shelf = (Float4*)shared + threadIdx.x % S::kTeam;
#pragma unroll
    for (unsigned m = 0; m < S::kM; ++m) {
      const unsigned owner = m % S::kWarpsK;
      __syncthreads();
      if (warp_k != owner) {
        const unsigned place = warp_k < owner ? warp_k : warp_k - 1;
#pragma unroll
        for (unsigned n = 0; n < S::kN; ++n) {
          shelf[(place * S::kN + n) * S::kTeam] = {acc[m][n][0], acc[m][n][1], acc[m][n][2],
                                                   acc[m][n][3]};
        }
      }
      __syncthreads();
      if (warp_k != owner) continue;
#pragma unroll
      for (unsigned k = 0; k + 1 < S::kWarpsK; ++k) {
#pragma unroll
        for (unsigned n = 0; n < S::kN; ++n) {
          const Float4 v = shelf[(k * S::kN + n) * S::kTeam];
          acc[m][n][0] += v.x, acc[m][n][1] += v.y, acc[m][n][2] += v.z, acc[m][n][3] += v.w;
        }
      }
    }
  }

  // Starts the copies of all stages but one that the ring holds: weights first, while the number of
  // tokens is on its way. Their factors are there behind the next barrier. False: there are none.
  static JLLM_DEVICE bool begin(const GemmTask& task, Copies* copies) {
    repeat<S::kStages - 1>(
        [&](auto i) { copies->copy_weights(i.value * kSlot, i.value < kStageCount ? 16 : 0); });
    if (task.first_token >= task.tokens) {
      wait_for_copies<0>();
      return false;
    }
    repeat<S::kStages - 1>([&](auto i) {
      copies->copy_tokens(i.value * kSlot, i.value < kStageCount ? 16 : 0);
      end_copies();
    });
    for (unsigned i = threadIdx.x; i < S::kTokens && task.first_token + i < task.tokens;
         i += S::kThreads) {
      factors_of(task)[i] =
          load_shared_across_blocks(task.factors + task.first_token + i) * (1.0f / W::kFactor);
    }
    return true;
  }
  static JLLM_DEVICE float* factors_of(const GemmTask& task) {
    return (float*)(task.shared + kFactorsAt);
  }

  // Multiplies a tile. In the end a lane calls, for some of its tokens at a time,
  // fetch(token, row, column, added) for each and then
  // store(token, row, column, factor, sums, added): [n][i] belong to row row + 8 n + column + i of
  // the tile, and sums are to be multiplied by the factor. Fetches stand together because no load
  // may move past a store: so their way from memory is waited for once.
  template <typename Fetch, typename Store>
  static JLLM_DEVICE void run(const GemmTask& task, const Fetch& fetch, const Store& store) {
    Copies copies(task);
    if (!begin(task, &copies)) return;

    const Lane at(task.shared);
    const unsigned magic = in_register(kMagic);
    float acc[S::kM][S::kN][4] = {};
    Words words;
    unsigned low[S::kN][2], high[S::kN][2];
    wait_for_copies<S::kStages - 2>();
    make_table(task.shared, 0, 0, 0);
    __syncthreads();
    words.template load<0>(at, 0, 0);
#pragma unroll
    for (unsigned m = 0; m < S::kM; ++m) words.template make<0>(m, magic, low);

    // Each half's fragments are made during the products of the half before. The barrier stands
    // between the halves of a warp's last sub-block: from there on the next stage is visible, and
    // the slot of the last one is free.
    unsigned slot = 0, last = kRing - kSlot, table = 0;
    const unsigned end = in_register(kStageCount);  // unrolled stages would not fit the caches
#pragma unroll 1
    for (unsigned stage = 0; stage < end; ++stage) {
      const unsigned next = slot + kSlot == kRing ? 0 : slot + kSlot;
      const unsigned next_table = kTable - table;
      wait_for_copies<S::kStages - 3>();
      repeat<kOwn>([&](auto own) {
        multiply(at.tokens_at[own.value][0] + slot, low, acc, [&](unsigned m) {
          words.template make<1>(m, magic, high);
          if (own.value == 0 && m == (S::kM - 1) / 2) {
            make_table(task.shared, next, next_table, (stage + 1) * S::kDepth);
          }
        });
        if constexpr (own.value + 1 < kOwn) {
          words.template load<(own.value + 1) * S::kWarpsK>(at, slot, table);
        } else {
          __syncthreads();
          words.template load<0>(at, next, next_table);  // behind the last stage: anything
          const unsigned size = stage + S::kStages - 1 < end ? 16 : 0;
          copies.copy_weights(last, size);
          copies.copy_tokens(last, size);
          end_copies();
        }
        multiply(at.tokens_at[own.value][1] + slot, high, acc,
                 [&](unsigned m) { words.template make<0>(m, magic, low); });
      });
      last = slot, slot = next, table = next_table;
    }

    wait_for_copies<0>();  // of nothing, but no thread ends before its copies
    if constexpr (S::kWarpsK > 1) add_up(at.warp_k, task.shared, acc);
    const unsigned lane = threadIdx.x % kWarp;
#pragma unroll
    for (unsigned m = 0; m < S::kM; ++m) {
      if (S::kWarpsK > 1 && at.warp_k != m % S::kWarpsK) continue;
      const unsigned local = at.warp_token + 16 * m + lane / 4;
      float added[2][S::kN][2];
#pragma unroll
      for (unsigned half = 0; half < 2; ++half) {
        const unsigned token = task.first_token + local + 8 * half;
        if (token < task.tokens) fetch(token, at.warp_row, lane % 4 * 2, added[half]);
      }
#pragma unroll
      for (unsigned half = 0; half < 2; ++half) {
        const unsigned token = task.first_token + local + 8 * half;
        if (token >= task.tokens) continue;
        float sums[S::kN][2];
#pragma unroll
        for (unsigned n = 0; n < S::kN; ++n) {
          sums[n][0] = acc[m][n][2 * half], sums[n][1] = acc[m][n][2 * half + 1];
        }
        store(token, at.warp_row, lane % 4 * 2, factors_of(task)[local + 8 * half], sums,
              added[half]);
      }
    }
  }
};

}  // namespace jllm::device
