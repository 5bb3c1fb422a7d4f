// The CUDA language as tests/support/simt has it: number formats, warps, barriers, asynchronous
// copies, fragments and products, each against what PTX's manual says of it.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "tests/executor/fake_cuda/kernel_bench.h"

namespace jllm {
namespace {

using test::KernelBench;

class Language : public testing::TestWithParam<uint64_t> {
 protected:
  void SetUp() override {
    JLLM_NEEDS_FAKE_CUDA();
    test::fake_cuda()->set_seed(GetParam());
  }
  void TearDown() override {
    if (test::fake_cuda() != nullptr) test::fake_cuda()->set_seed(0);
  }
};

// The value of a half, from its definition.
double half_value(unsigned bits) {
  const int exponent = static_cast<int>(bits >> 10 & 31);
  const double mantissa = bits & 1023;
  const double value = exponent == 0    ? std::ldexp(mantissa, -24)
                       : exponent == 31 ? (mantissa > 0 ? std::nan("") : INFINITY)
                                        : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -value : value;
}

TEST_P(Language, HalvesAreRoundedToTheNearestEven) {
  KernelBench bench;
  const cuda::Function kernel = bench.build(R"(
extern "C" __global__ void JLLM_KERNEL(const float* in, unsigned* out, float* back) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = floats_to_half2(in[i], -in[i]);
  back[i] = half_to_float((unsigned short)i);
})");
  // Every half, and every middle of two that follow each other, which goes to the even one.
  std::vector<float> in(65536);
  std::vector<unsigned> expected(65536);
  for (unsigned i = 0; i < 32768; ++i) {
    const bool finite = i < 0x7c00;
    const double next = i + 1 < 0x7c00 ? half_value(i + 1) : 65536.0;
    in[2 * i] = static_cast<float>(half_value(i));
    in[2 * i + 1] = finite ? static_cast<float>((half_value(i) + next) / 2) : 1e9f;
    expected[2 * i] = i <= 0x7c00 ? i : 0x7fff;
    expected[2 * i + 1] = finite ? i + i % 2 : 0x7c00;
  }
  const auto out = bench.memory(65536 * 4), back = bench.memory(65536 * 4);
  CUDA_OK(bench.launch(kernel, 256, 256, {bench.upload(in), out, back}));
  const auto bits = bench.read<unsigned>(out, 65536);
  const auto values = bench.read<float>(back, 65536);
  for (unsigned i = 0; i < 65536; ++i) {
    ASSERT_EQ(bits[i] & 0xffff, expected[i]) << in[i];
    const unsigned negative = expected[i] == 0x7fff ? 0x7fff : expected[i] | 0x8000;
    ASSERT_EQ(bits[i] >> 16, negative) << in[i];
    const double value = half_value(i);
    if (value == value) {
      ASSERT_EQ(values[i], static_cast<float>(value)) << i;
    } else {
      ASSERT_NE(values[i], values[i]) << i;
    }
  }
}

TEST_P(Language, PairsOfHalvesAreRoundedOnce) {
  KernelBench bench;
  const cuda::Function kernel = bench.build(R"(
extern "C" __global__ void JLLM_KERNEL(const unsigned* in, unsigned* out) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = half2_fma(in[3 * i], in[3 * i + 1], in[3 * i + 2]);
})");
  constexpr unsigned kCount = 16384;
  std::mt19937 random(7);
  std::vector<unsigned> in(3 * kCount);
  for (unsigned& bits : in) bits = static_cast<unsigned>(random());
  // 1024.5 + 2^-24: rounded to double and then to half it would be 1024, the even one.
  in[0] = 0x6400, in[1] = 0x3c00, in[2] = 0x3800;                  // 1024 * 1 + 0.5
  in[3] = 0x0001 | 0x3c00u << 16, in[4] = 0x3c00, in[5] = 0x6401;  // 2^-24 + 1025
  const auto out = bench.memory(kCount * 4);
  CUDA_OK(bench.launch(kernel, kCount / 256, 256, {bench.upload(in), out}));
  const auto bits = bench.read<unsigned>(out, kCount);
  for (unsigned i = 0; i < kCount; ++i) {
    for (const unsigned shift : {0u, 16u}) {
      const auto operand = [&](unsigned j) { return half_value(in[3 * i + j] >> shift & 0xffff); };
      // Products of halves and their sums with halves have fewer than 64 + 11 bits: exact.
      const long double exact =
          static_cast<long double>(operand(0)) * static_cast<long double>(operand(1)) +
          static_cast<long double>(operand(2));
      const unsigned found = bits[i] >> shift & 0xffff;
      if (exact != exact) {
        ASSERT_NE(half_value(found), half_value(found));
        continue;
      }
      const long double size = std::fabs(exact);
      if (size >= 65520) {
        ASSERT_EQ(found & 0x7fff, 0x7c00u);
        continue;
      }
      // No neighbour is closer, and of two as close the even one is taken.
      const unsigned magnitude = found & 0x7fff;
      const auto distance = [&](unsigned other) {
        return std::fabs(static_cast<long double>(other < 0x7c00 ? half_value(other) : 65536.0) -
                         size);
      };
      for (const unsigned other : {magnitude + 1, magnitude - 1}) {
        if (other == ~0u) continue;
        const bool closer = distance(other) < distance(magnitude);
        const bool tie = distance(other) == distance(magnitude) && magnitude % 2 == 1;
        ASSERT_FALSE(closer || tie) << static_cast<double>(exact) << " " << found;
      }
    }
  }
}

TEST_P(Language, LanesExchangeAndVote) {
  KernelBench bench;
  const cuda::Function kernel = bench.build(R"(
extern "C" __global__ void JLLM_KERNEL(unsigned* out) {
  const unsigned lane = threadIdx.x % 32, value = 100 * (threadIdx.x / 32) + lane;
  unsigned* to = out + 8 * threadIdx.x;
  to[0] = __shfl_sync(kAllLanes, value, 5);
  to[1] = __shfl_xor_sync(kAllLanes, value, 16);
  to[2] = __shfl_up_sync(kAllLanes, value, 3);
  to[3] = __shfl_down_sync(kAllLanes, value, 3);
  to[4] = __ballot_sync(kAllLanes, lane % 3 == 0);
  to[5] = __match_any_sync(kAllLanes, lane / 8);
  to[6] = 0;
  if (lane < 8) to[6] = __shfl_sync(0xffu, value, 7);  // half of them at one thing, half at another
  if (lane >= 8) to[6] = __ballot_sync(0xffffff00u, 1);
  to[7] = (unsigned)__syncthreads_count(threadIdx.x < 40);
})");
  const auto out = bench.memory(64 * 32);
  CUDA_OK(bench.launch(kernel, 1, 64, {out}));
  const auto found = bench.read<unsigned>(out, 64 * 8);
  for (unsigned i = 0; i < 64; ++i) {
    const unsigned lane = i % 32, first = i / 32 * 100;
    const unsigned* at = &found[8 * i];
    EXPECT_EQ(at[0], first + 5);
    EXPECT_EQ(at[1], first + (lane ^ 16));
    EXPECT_EQ(at[2], first + (lane >= 3 ? lane - 3 : lane));
    EXPECT_EQ(at[3], first + (lane + 3 < 32 ? lane + 3 : lane));
    EXPECT_EQ(at[4], 0x49249249u);
    EXPECT_EQ(at[5], 0xffu << lane / 8 * 8);
    EXPECT_EQ(at[6], lane < 8 ? first + 7 : 0xffffff00u);
    EXPECT_EQ(at[7], 40u);
  }
}

TEST_P(Language, BytesAreMultipliedAndPermuted) {
  KernelBench bench;
  const cuda::Function kernel = bench.build(R"(
#include "kernels/device/products.cuh"
extern "C" __global__ void JLLM_KERNEL(unsigned* out) {
  out[0] = (unsigned)__dp4a((int)0x807f01ffu, (int)0x7f800203u, 10);
  out[1] = (unsigned)dot4_unsigned(0x807f01ffu, 0x7f800203u, 10);
  out[2] = __byte_perm(0x33221100u, 0x77665544u, 0x5140u);
  out[3] = __byte_perm(0x332211f0u, 0x77665544u, 0x0008u);
})");
  const auto out = bench.memory(16);
  CUDA_OK(bench.launch(kernel, 1, 1, {out}));
  const auto found = bench.read<unsigned>(out, 4);
  EXPECT_EQ(static_cast<int>(found[0]), -128 * 127 + 127 * -128 + 1 * 2 + -1 * 3 + 10);
  EXPECT_EQ(static_cast<int>(found[1]), 128 * 127 + 127 * -128 + 1 * 2 + 255 * 3 + 10);
  EXPECT_EQ(found[2], 0x55114400u);
  EXPECT_EQ(found[3], 0xf0f0f0ffu);
}

// A[16][16] B[16][8], loaded with ldmatrix from rows in shared memory.
TEST_P(Language, FragmentsHaveThePlacesOfPtx) {
  KernelBench bench;
  const cuda::Function kernel = bench.build(R"(
extern "C" __global__ void JLLM_KERNEL(const unsigned short* in_a, const unsigned short* in_b,
                                       float* out, unsigned* transposed) {
  __shared__ __align__(16) unsigned short a[16 * 16], b[16 * 16];
  for (unsigned i = threadIdx.x; i < 256; i += 32) a[i] = in_a[i], b[i] = in_b[i];
  __syncwarp();
  unsigned fa[4], fb[4], ft[4];
  load_a(a, 16, fa);
  load_b_pair(b, 16, fb);
  load_transposed_matrices_at(shared_address(a + threadIdx.x % 16 * 16 + threadIdx.x / 16 * 8), ft);
  for (unsigned i = 0; i < 4; ++i) transposed[4 * threadIdx.x + i] = ft[i];
  float c[2][4] = {};
  mma_f16(fa, fb[0], fb[1], c[0]);
  mma_f16(fa, fb[2], fb[3], c[1]);
  for (unsigned half = 0; half < 2; ++half) {
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = threadIdx.x / 4 + i / 2 * 8;
      out[16 * row + 8 * half + threadIdx.x % 4 * 2 + i % 2] = c[half][i];
    }
  }
})");
  std::mt19937 random(3);
  std::vector<uint16_t> a(256), b(256);
  for (uint16_t& v : a) v = static_cast<uint16_t>(0x3000 + random() % 0x1800);
  for (uint16_t& v : b) v = static_cast<uint16_t>(0xb000 + random() % 0x1800);
  const auto out = bench.memory(1024), transposed = bench.memory(512);
  CUDA_OK(bench.launch(kernel, 1, 32, {bench.upload(a), bench.upload(b), out, transposed}));
  const auto product = bench.read<float>(out, 256);
  for (unsigned row = 0; row < 16; ++row) {
    for (unsigned column = 0; column < 16; ++column) {
      double sum = 0;  // b holds a column of B per row
      for (unsigned k = 0; k < 16; ++k) {
        sum += half_value(a[16 * row + k]) * half_value(b[16 * column + k]);
      }
      EXPECT_EQ(product[16 * row + column], static_cast<float>(sum)) << row << ", " << column;
    }
  }
  // Lane 4g + t has of matrix m, transposed, elements (2t, g) and (2t + 1, g).
  const auto words = bench.read<unsigned>(transposed, 128);
  for (unsigned lane = 0; lane < 32; ++lane) {
    for (unsigned m = 0; m < 4; ++m) {
      const unsigned row = m % 2 * 8 + lane % 4 * 2, column = m / 2 * 8 + lane / 4;
      const unsigned expected = a[16 * row + column] | unsigned{a[16 * (row + 1) + column]} << 16;
      EXPECT_EQ(words[4 * lane + m], expected) << lane << ", " << m;
    }
  }
}

// What is copied is there behind the wait, and no sooner.
TEST_P(Language, CopiesArriveAtTheWait) {
  KernelBench bench;
  const cuda::Function kernel = bench.build(R"(
extern "C" __global__ void JLLM_KERNEL(const unsigned* in, unsigned* out) {
  JLLM_DYNAMIC_SHARED(Uint4, memory);
  const Uint4* mine = memory + threadIdx.x;
  memory[threadIdx.x] = {1, 1, 1, 1};
  copy_async<16>(shared_address(mine), in + 4 * threadIdx.x, 16);
  end_copies();
  copy_async<16>(shared_address(mine + 32), in + 4 * threadIdx.x, 0);
  end_copies();
  out[threadIdx.x] = mine->y;
  wait_for_copies<1>();
  out[32 + threadIdx.x] = mine->y;
  wait_for_copies<0>();
  out[64 + threadIdx.x] = mine[32].y;
})");
  std::vector<unsigned> in(128);
  for (unsigned i = 0; i < 128; ++i) in[i] = i + 1000;
  const auto out = bench.memory(96 * 4);
  CUDA_OK(bench.launch(kernel, 1, 32, {bench.upload(in), out}, 1024));
  const auto found = bench.read<unsigned>(out, 96);
  for (unsigned i = 0; i < 32; ++i) {
    EXPECT_EQ(found[i], 1u);
    EXPECT_EQ(found[32 + i], 4 * i + 1001);
    EXPECT_EQ(found[64 + i], 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Orders, Language, testing::Values(0, 1, 2),
                         [](const auto& c) { return "Seed" + std::to_string(c.param); });

}  // namespace
}  // namespace jllm
