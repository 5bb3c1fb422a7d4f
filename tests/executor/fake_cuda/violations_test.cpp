// Proof that the checks of kernels can fail: kernels that are wrong on purpose, each beside one
// that is right.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include "tests/executor/fake_cuda/kernel_bench.h"

namespace jllm {
namespace {

using test::fake_cuda;
using test::KernelBench;

constexpr cuda::Status kLaunchFailed = 719;

struct Case {
  const char* name;
  const char* words;  // of the report; empty: nothing is wrong
  const char* body;   // arguments: unsigned* out of 64 words
  unsigned blocks = 1, threads = 64;
};
void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }

const Case kCases[] = {
    {"BarrierBetween", "", R"(
  __shared__ unsigned values[64];
  values[threadIdx.x] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = values[63 - threadIdx.x];)"},
    {"NoBarrierBetween", "race: reads shared memory", R"(
  __shared__ unsigned values[64];
  values[threadIdx.x] = threadIdx.x;
  if (threadIdx.x >= 32) out[threadIdx.x] = values[63 - threadIdx.x];)"},
    {"NoBarrierBeforeTheNextRound", "race: writes shared memory", R"(
  __shared__ unsigned values[64];
  for (unsigned i = 0; i < 2; ++i) {
    values[threadIdx.x] = threadIdx.x + i;
    __syncthreads();
    out[threadIdx.x] = values[63 - threadIdx.x];
  })"},
    {"WarpsInStep", "", R"(
  __shared__ unsigned values[64];
  values[threadIdx.x] = threadIdx.x;
  __syncwarp();
  out[threadIdx.x] = values[threadIdx.x ^ 1];)"},
    {"WarpsNotInStep", "race: reads shared memory", R"(
  __shared__ unsigned values[64];
  values[threadIdx.x] = threadIdx.x;
  if (threadIdx.x % 2) out[threadIdx.x] = values[threadIdx.x ^ 1];)"},
    {"AShuffleIsNoBarrierOfMemory", "race: reads shared memory", R"(
  __shared__ unsigned values[64];
  values[threadIdx.x] = __shfl_xor_sync(kAllLanes, threadIdx.x, 1);
  out[threadIdx.x] = values[threadIdx.x ^ 1];)"},
    {"SumsByAtomics", "", R"(
  __shared__ unsigned sum;
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  atomicAdd(&sum, 1u);
  __syncthreads();
  out[threadIdx.x] = sum;)"},
    {"SumsWithoutAtomics", "race: ", R"(
  __shared__ unsigned sum;
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  sum += 1;
  __syncthreads();
  out[threadIdx.x] = sum;)"},
    {"AllWriteTheSame", "", R"(
  __shared__ unsigned value;
  value = 7;
  __syncthreads();
  out[threadIdx.x] = value;)"},
    {"TheyWriteDifferently", "race: writes shared memory", R"(
  __shared__ unsigned value;
  value = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = value;)"},
    {"SharedMemoryThatNobodyWrote", "reads shared memory that the block has not written", R"(
  __shared__ unsigned values[64];
  if (threadIdx.x > 0) values[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];)"},
    {"ACopyNotWaitedFor", "race: reads shared memory", R"(
  JLLM_DYNAMIC_SHARED(Uint4, memory);
  memory[threadIdx.x] = {};
  __syncthreads();
  copy_async<16>(shared_address(memory + threadIdx.x), out, 16);
  end_copies();
  __syncthreads();
  const unsigned value = memory[63 - threadIdx.x].x;
  wait_for_copies<0>();
  __syncthreads();
  out[threadIdx.x] = value;)"},
    {"CopiesUnderWayAtTheEnd", "a thread ends with copies under way", R"(
  JLLM_DYNAMIC_SHARED(Uint4, memory);
  copy_async<16>(shared_address(memory + threadIdx.x), out, 16);)"},
    {"BlocksApart", "", R"(
  out[threadIdx.x + blockDim.x * blockIdx.x] = 1;)",
     2, 32},
    {"BlocksAtOnePlace", "race: writes global memory", R"(
  out[threadIdx.x] = blockIdx.x;)",
     2, 32},
    {"ATicketBetweenBlocks", "", R"(
  __shared__ bool last;
  if (threadIdx.x < 8) out[8 * blockIdx.x + threadIdx.x] = 1;
  __syncthreads();
  if (threadIdx.x == 0) last = take_ticket(out + 32, gridDim.x);
  __syncthreads();
  if (last && threadIdx.x < 16) out[48 + threadIdx.x] = load_shared_across_blocks(out + threadIdx.x);)",
     2, 32},
    {"ATicketTakenTooSoon", "race: reads global memory", R"(
  __shared__ bool last;
  if (threadIdx.x == 0) last = take_ticket(out + 32, gridDim.x);
  __syncthreads();
  if (threadIdx.x < 8) out[8 * blockIdx.x + threadIdx.x] = 1;
  __syncthreads();
  if (last && threadIdx.x < 16) out[48 + threadIdx.x] = load_shared_across_blocks(out + threadIdx.x);)",
     2, 32},
    {"BehindTheBuffer", "reads 4 bytes at", R"(
  if (threadIdx.x == 0) out[0] = out[64];)"},
    {"FarFromAnyBuffer", "writes 4 bytes at", R"(
  static volatile unsigned elsewhere[4];
  if (threadIdx.x == 0) elsewhere[0] = 1;)"},
    {"HalfABarrier", "divergent: of 64 threads 32 wait at a barrier of the block", R"(
  if (threadIdx.x < 32) __syncthreads();
  out[threadIdx.x] = 1;)"},
    {"HalfAWarp", "divergent: of 64 threads 0 wait at a barrier of the block, 32 for lanes", R"(
  if (threadIdx.x % 2) out[threadIdx.x] = __shfl_xor_sync(kAllLanes, threadIdx.x, 2);)"},
    {"DifferentWaits", "lanes of one warp wait for different things", R"(
  if (threadIdx.x % 2) {
    __syncwarp();
  } else {
    out[threadIdx.x] = __shfl_sync(kAllLanes, 1, 0);
  })"},
    {"ALaneThatTakesNoPart", "shuffles from lane 3, which takes no part", R"(
  if (threadIdx.x < 2) out[threadIdx.x] = __shfl_sync(3u, threadIdx.x, 3);)"},
    {"NotInItsOwnMask", "a thread is not in the mask that it gives", R"(
  if (threadIdx.x == 5) __syncwarp(0xfu);)"},
    {"BeyondDynamicSharedMemory", "beyond the 1024 bytes of dynamic shared memory", R"(
  JLLM_DYNAMIC_SHARED(Uint4, memory);
  copy_async<16>(shared_address(memory) + 1024, out, 16);
  end_copies();
  wait_for_copies<0>();)"},
};

class Violations : public testing::TestWithParam<Case> {};

TEST_P(Violations, AreFoundInAnyOrder) {
  JLLM_NEEDS_FAKE_CUDA();
  const Case& c = GetParam();
  KernelBench bench;
  const cuda::Function kernel = bench.build(
      "extern \"C\" __global__ void JLLM_KERNEL(unsigned* out) {" + std::string(c.body) + "}",
      "race");
  const cuda::DevicePtr out = bench.memory(64 * 4);
  fake_cuda()->collect_violations(1);
  for (const uint64_t seed : {0u, 1u, 2u}) {
    fake_cuda()->set_seed(seed);
    const cuda::Status status = bench.launch(kernel, c.blocks, c.threads, {out}, 1024);
    const std::string report = fake_cuda()->take_violations();
    if (c.words[0] == 0) {
      EXPECT_EQ(report, "");
      EXPECT_EQ(status, cuda::kSuccess);
    } else {
      EXPECT_NE(report.find(c.words), std::string::npos) << report;
      EXPECT_EQ(status, kLaunchFailed);
    }
  }
  fake_cuda()->set_seed(0);
  fake_cuda()->collect_violations(0);
}

INSTANTIATE_TEST_SUITE_P(All, Violations, testing::ValuesIn(kCases),
                         [](const auto& c) { return c.param.name; });

// Kernels built for AddressSanitizer and UBSan; each of these ends the process.
const Case kAddressCases[] = {
    {"BehindTheBuffer", "AddressSanitizer: use-after-poison", "out[64] = out[0];"},
    {"BeforeTheBuffer", "AddressSanitizer: use-after-poison", "out[0] = *(out - 1);"},
    {"BehindSharedMemory", "AddressSanitizer: global-buffer-overflow", R"(
  __shared__ unsigned values[64];
  unsigned* volatile at = values;
  at[threadIdx.x + out[0]] = 1;
  out[1] = values[5];)"},
    {"BehindAnArray", "index 64 out of bounds for type", R"(
  __shared__ unsigned values[64];
  values[threadIdx.x + out[0]] = 1;
  out[1] = values[5];)"},
    {"BehindDynamicSharedMemory", "AddressSanitizer: use-after-poison", R"(
  JLLM_DYNAMIC_SHARED(Uint4, memory);
  memory[threadIdx.x + out[0]] = {};)"},
    {"NotAligned", "misaligned address", R"(
  out[0] = load_weights((const Bytes*)out + 4 * out[0]).x;)"},
    {"Overflow", "signed integer overflow", R"(
  int big = 0x7fffffff - 1;
  out[0] = (unsigned)(big + (int)out[0]);)"},
};

class AddressChecks : public testing::TestWithParam<Case> {};

TEST_P(AddressChecks, EndTheProcess) {
  JLLM_NEEDS_FAKE_CUDA();
  if (dlsym(RTLD_DEFAULT, "__asan_init") == nullptr) {
    GTEST_SKIP() << "this process has no AddressSanitizer: see FakeCuda.AddressChecks";
  }
  const Case& c = GetParam();
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto run = [&c](unsigned threads) {
    KernelBench bench;
    const cuda::Function kernel = bench.build(
        "extern \"C\" __global__ void JLLM_KERNEL(unsigned* out) {" + std::string(c.body) + "}",
        "address");
    const cuda::DevicePtr out = bench.upload(std::vector<unsigned>(64, 33));
    bench.launch(kernel, 1, threads, {out}, 1024);
  };
  EXPECT_DEATH(run(64), c.words);
}

INSTANTIATE_TEST_SUITE_P(All, AddressChecks, testing::ValuesIn(kAddressCases),
                         [](const auto& c) { return c.param.name; });

// Without calls in front of accesses, guard zones tell what was written beside a buffer.
TEST(GuardZones, TellWhatWasWrittenBesideABuffer) {
  JLLM_NEEDS_FAKE_CUDA();
  fake_cuda()->collect_violations(1);
  {
    KernelBench bench;
    const cuda::Function kernel =
        bench.build("extern \"C\" __global__ void JLLM_KERNEL(unsigned* out) { out[out[0]] = 7; }");
    CUDA_OK(bench.launch(kernel, 1, 1, {bench.upload(std::vector<unsigned>{4, 0, 0, 0})}));
  }
  EXPECT_NE(fake_cuda()->take_violations().find("written beside an allocation of 16 bytes"),
            std::string::npos);
  fake_cuda()->collect_violations(0);
}

// And by default a violation ends the process with a line on stderr.
TEST(Violations, EndTheProcess) {
  JLLM_NEEDS_FAKE_CUDA();
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        KernelBench bench;
        bench.api.mem_free(12345);
      },
      "fake CUDA: cuMemFree_v2: nothing is allocated at 3039");
}

}  // namespace
}  // namespace jllm
