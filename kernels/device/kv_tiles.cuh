// TILE consecutive positions of a cache on their way through shared memory to the tensor cores, as
// f16. Copies are asynchronous and ahead of the products: rows of f16 land where they are read, in
// STAGES buffers in turn; quants, one tile ahead, land beside the tile and are converted when their
// turn has come. Rows of f32 become the sum of two f16 and are not copied ahead.
#pragma once

#include "kernels/device/kv_fragments.cuh"

namespace jllm::device {

constexpr unsigned kTileThreads = WARPS * kWarp;
constexpr unsigned kTileDim = round_up(HEAD_DIM, 16);  // a product's inner dimension is 16
// Halves from row to row: an odd multiple of 16 bytes, so that eight rows lie in different banks.
constexpr unsigned kTileStride = kTileDim + 8;

template <unsigned kType>
class KvTile {
 public:
  // Terms that make up a value.
  static constexpr unsigned kTerms = kType == kKvF32 ? 2 : 1;
  static constexpr bool kConverted = kType != kKvF16;

 private:
  using Cache = KvCache<kType, (unsigned long long)KV_HEADS * CONTEXT, HEAD_DIM>;
  static_assert(STAGES == 2 || (STAGES > 2 && !kConverted), "one tile in use, others under way");
  static constexpr unsigned kPlanes = kConverted ? kTerms : STAGES;
  static constexpr unsigned kPlaneBytes = TILE * kTileStride * 2;
  // What a thread copies or converts at a time: 16 bytes, of f32 32.
  static constexpr unsigned kSpan = kType == kKvQ4_0 ? 32 : kType == kKvQ8_0 ? 16 : 8;
  static constexpr unsigned kRowSpans = HEAD_DIM / kSpan;
  static constexpr unsigned kSpans = TILE * kRowSpans;
  static constexpr unsigned kTurns = (kSpans + kTileThreads - 1) / kTileThreads;
  static constexpr unsigned kQuantBytes = Cache::kQuantised ? kSpans * 16 : 0;

 public:
  static constexpr unsigned kBytes = kPlanes * kPlaneBytes + kQuantBytes;

  // `memory` has kBytes; first_row is the head's in the cache.
  JLLM_DEVICE KvTile(Bytes* memory, const Bytes* cache, unsigned long long first_row)
      : memory_(memory), cache_(cache), first_row_(first_row) {}

  // Zeros in the columns behind a row's end, which the inner dimension of products reaches.
  JLLM_DEVICE void clear_padding() {
    if constexpr (kTileDim != HEAD_DIM) {
      for (unsigned row = threadIdx.x; row < kPlanes * TILE; row += kTileThreads) {
        *(Uint4*)(memory_ + (row * kTileStride + HEAD_DIM) * 2) = {0, 0, 0, 0};
      }
    }
  }

  // Starts copies of positions first .. first + TILE - 1; zeros from `end` on.
  JLLM_DEVICE void start(unsigned first, unsigned end, unsigned buffer) {
    if constexpr (kType != kKvF32) {
      for_each_span([&](unsigned turn, unsigned span, unsigned row, unsigned column) {
        const bool inside = first + row < end;
        const unsigned long long cache_row = first_row_ + first + row;
        const Bytes* const from = cache_ + cache_row * Cache::kLayout.row + column * 16;
        if constexpr (kConverted) {
          copy_async<16>(shared_address(quants() + span * 16), from, inside ? 16 : 0);
          const Bytes* const scales = cache_ + Cache::kLayout.scales;
          const auto* const row_scales =
              (const unsigned short*)(scales + cache_row * Cache::kLayout.scale_row);
          scales_[turn] = 0;
          if (inside) {
            scales_[turn] = load_shared_across_blocks(row_scales + column * kSpan / kKvGroup);
          }
        } else {
          Bytes* const to = memory_ + buffer * kPlaneBytes + offset(row, column);
          copy_async<16>(shared_address(to), from, inside ? 16 : 0);
        }
      });
    }
  }

  // What the same thread has started, once it has arrived; the tile is complete behind a barrier.
  JLLM_DEVICE void convert(unsigned first, unsigned end) {
    if constexpr (kConverted) {
      for_each_span([&](unsigned turn, unsigned span, unsigned row, unsigned column) {
        Bytes* const to = memory_ + offset(row, column);
        if constexpr (kType == kKvF32) {
          Piece piece;
          piece.clear();
          const Bytes* const from = cache_ + (first_row_ + first + row) * Cache::kLayout.row;
          if (first + row < end) piece.load(from + column * Piece::kBytes);
          *(Uint4*)to = pairs<0>(piece);
          *(Uint4*)(to + kPlaneBytes) = pairs<1>(piece);
        } else {
          const Uint4 quants_of_span = *(const Uint4*)(quants() + span * 16);
          const unsigned words[4] = {quants_of_span.x, quants_of_span.y, quants_of_span.z,
                                     quants_of_span.w};
          const unsigned scale = twice(scales_[turn]);
#pragma unroll
          for (unsigned i = 0; i < kSpan / 8; ++i) {
            Piece piece;
#pragma unroll
            for (unsigned w = 0; w < Piece::kWords; ++w)
              piece.words[w] = words[i * Piece::kWords + w];
            const Uint4 unscaled = pairs<0>(piece);
            *(Uint4*)(to + i * 16) = {half2_mul(unscaled.x, scale), half2_mul(unscaled.y, scale),
                                      half2_mul(unscaled.z, scale), half2_mul(unscaled.w, scale)};
          }
        }
      });
    }
  }

  // The tile's shared address; `buffer` is that of start().
  JLLM_DEVICE unsigned address(unsigned buffer, unsigned part) const {
    return shared_address(memory_) + (kConverted ? part : buffer) * kPlaneBytes;
  }

 private:
  using Piece = KvPiece<kType, 8>;

  template <unsigned kPart>
  static JLLM_DEVICE Uint4 pairs(const Piece& piece) {
    return {piece.template pair<kPart>(0), piece.template pair<kPart>(1),
            piece.template pair<kPart>(2), piece.template pair<kPart>(3)};
  }
  static JLLM_DEVICE unsigned offset(unsigned row, unsigned column) {
    return (row * kTileStride + column * kSpan) * 2;
  }
  JLLM_DEVICE Bytes* quants() const { return memory_ + kPlanes * kPlaneBytes; }

  // visit(turn, span, row, column) for this thread's share.
  template <typename Visit>
  JLLM_DEVICE void for_each_span(const Visit& visit) {
#pragma unroll
    for (unsigned turn = 0; turn < kTurns; ++turn) {
      const unsigned span = turn * kTileThreads + threadIdx.x;
      if (kSpans % kTileThreads != 0 && span >= kSpans) break;
      visit(turn, span, span / kRowSpans, span % kRowSpans);
    }
  }

  Bytes* memory_;
  const Bytes* cache_;
  unsigned long long first_row_;
  unsigned short scales_[kTurns];
};

}  // namespace jllm::device
