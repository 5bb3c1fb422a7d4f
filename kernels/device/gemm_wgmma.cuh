// The tensor-core product of gemm.cuh with the instructions of sm_90a: four warps multiply 64 rows
// of weights, in registers, with all tokens of the tile, which are read from where they lie. The
// fragments of one stage are made at a time, before its products: blocks of a multiprocessor fill
// each other's gaps.
#pragma once

#include "kernels/device/gemm.cuh"
#include "kernels/device/wgmma.cuh"

namespace jllm::device {

// kShape has kM = tokens / 16 and kN = 2: a warp's 16 rows are two groups of 8, as in Gemm.
template <unsigned kType, unsigned kLength, bool kFull, bool kPairs, typename Shape>
struct GroupGemm : Gemm<kType, kLength, kFull, kPairs, Shape> {
  using S = Shape;
  using Base = Gemm<kType, kLength, kFull, kPairs, Shape>;
  using typename Base::Copies;
  using typename Base::Lane;
  using typename Base::Words;
  static constexpr unsigned kSteps = S::kDepth / 16;
  static_assert(S::kN == 2 && S::kWarpsM == 1 && S::kWarpsK == 1 && S::kWarpsN % 4 == 0);
  static_assert(S::kDepth == 64 && Base::kSlot % 1024 == 0, "a token is 128 bytes of a slot");

  // A fragments of sub-block `sub` of a stage.
  template <unsigned kHalf>
  static JLLM_DEVICE void make(const Words& words, unsigned magic, unsigned (&a)[4]) {
    unsigned b[2][2];
#pragma unroll
    for (unsigned n = 0; n < 2; ++n) {
      Base::W::template make<kHalf>(words.quants[n], words.entries[n], magic, b[n]);
    }
    a[0] = b[0][0], a[1] = b[1][0], a[2] = b[0][1], a[3] = b[1][1];
  }

  // As Gemm::run(); sums and what is fetched are those of rows `row` and `row` + 8 of the tile.
  template <typename Fetch, typename Store>
  static JLLM_DEVICE void run(const GemmTask& task, const Fetch& fetch, const Store& store) {
    Copies copies(task);
    if (!Base::begin(task, &copies)) return;

    const Lane at(task.shared);
    const unsigned magic = in_register(kMagic), address = shared_address(task.shared);
    float acc[S::kTokens / 2] = {};
    unsigned a[kSteps][4];
    Words words[S::kSubs];
    wait_for_copies<S::kStages - 2>();
    Base::make_table(task.shared, 0, 0, 0);
    publish_to_products();
    __syncthreads();
    const auto load_words = [&](unsigned slot, unsigned table) {
      repeat<S::kSubs>(
          [&](auto sub) { words[sub.value].template load<sub.value>(at, slot, table); });
    };
    load_words(0, 0);

    unsigned slot = 0, last = Base::kRing - Base::kSlot, table = 0;
    const unsigned end = in_register(Base::kStageCount);
#pragma unroll 1
    for (unsigned stage = 0; stage < end; ++stage) {
#pragma unroll
      for (unsigned sub = 0; sub < S::kSubs; ++sub) {
        make<0>(words[sub], magic, a[2 * sub]);
        make<1>(words[sub], magic, a[2 * sub + 1]);
      }
      // Made here and not between the products, which would have to wait for each other.
#pragma unroll
      for (unsigned i = 0; i < 4 * kSteps; ++i) a[i / 4][i % 4] = in_register(a[i / 4][i % 4]);
      start_products();
#pragma unroll
      for (unsigned step = 0; step < kSteps; ++step) {
        multiply_group(acc, a[step], group_operand(address + slot + step * 32));
      }
      end_products();
      const unsigned next = slot + Base::kSlot == Base::kRing ? 0 : slot + Base::kSlot;
      const unsigned next_table = Base::kTable - table;
      const unsigned size = stage + S::kStages - 1 < end ? 16 : 0;
      copies.copy_weights(last, size);
      copies.copy_tokens(last, size);
      end_copies();
      wait_for_copies<S::kStages - 2>();
      Base::make_table(task.shared, next, next_table, (stage + 1) * S::kDepth);
      publish_to_products();
      wait_for_products();
      __syncthreads();
      load_words(next, next_table);  // behind the last stage: anything
      last = slot, slot = next, table = next_table;
    }

    wait_for_copies<0>();  // of nothing, but no thread ends before its copies
    const unsigned lane = threadIdx.x % kWarp, row = at.warp_row + lane / 4;
    constexpr unsigned kTogether = 16;  // tokens of a lane
#pragma unroll
    for (unsigned first = 0; first < S::kTokens / 4; first += kTogether) {
      const auto local_of = [&](unsigned i) { return (first + i) / 2 * 8 + lane % 4 * 2 + i % 2; };
      float added[kTogether][2];
#pragma unroll
      for (unsigned i = 0; i < kTogether; ++i) {
        const unsigned token = task.first_token + local_of(i);
        if (token < task.tokens) fetch(token, row, added[i]);
      }
#pragma unroll
      for (unsigned i = 0; i < kTogether; ++i) {
        const unsigned token = task.first_token + local_of(i);
        if (token >= task.tokens) continue;
        const unsigned sum = (first + i) / 2 * 4 + i % 2;
        store(token, row, Base::factors_of(task)[local_of(i)], acc[sum], acc[sum + 2], added[i]);
      }
    }
  }
};

}  // namespace jllm::device
