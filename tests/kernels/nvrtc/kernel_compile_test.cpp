// Compiles kernels x types x representative shapes with NVRTC for Orin (sm_87) and Hopper (sm_90),
// and checks that the matrix-vector kernels keep their loads in registers. Needs no GPU. All cases
// of both take a core a quarter of an hour: without JLLM_LONG_TESTS (CMake) it is a sample of each
// kernel's. JLLM_KERNEL_CASES=TEXT takes all whose kernel and macros hold the text.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "compiler/codegen/nvrtc.h"
#include "kernels/attention_shapes.h"
#include "kernels/catalogue.h"
#include "tests/kernels/kernel_cases.h"
#include "tests/kernels/nvrtc/cubin_info.h"

namespace jllm::kernels {
namespace {

// A handful of bytes outside the inner loop costs nothing; a spilled batch of loads is hundreds.
constexpr int kFrameLimit = 32;

std::string check(const Nvrtc& nvrtc, const KernelCase& test, unsigned arch) {
  const Source* source = find_source(test.kernel);
  if (source == nullptr) return "no such kernel";
  CompileRequest request;
  request.name = std::string(source->name);
  request.source = std::string(source->text);
  for (const Source& header : all_headers()) request.headers.emplace_back(header.name, header.text);
  request.options = compile_options();
  request.options.push_back("-DJLLM_KERNEL=" + test.kernel);
  for (const std::string& define : test.defines) request.options.push_back("-D" + define);
  request.arch = arch;
  llvm::Expected<std::vector<uint8_t>> cubin = nvrtc.compile_cubin(request);
  if (!cubin) return take_error(cubin.takeError()).second;
  const int frame = frame_bytes(*cubin);
  if (frame < 0) return "the cubin notes no frame size";
  if (test.must_not_spill && frame > kFrameLimit)
    return "spills " + std::to_string(frame) + " bytes";
  return "";
}

std::vector<KernelCase> chosen_cases(unsigned arch) {
  std::vector<KernelCase> cases = all_kernel_cases();
  // Fewer for sm_90, for which the tests on a GPU compile what they run.
  // Primes, so that the loops which make the cases do not keep step with them.
  const size_t every = JLLM_LONG_TESTS ? 1 : arch == 90 ? 13 : 5;
  std::map<std::string, size_t> seen;  // of each kernel
  const char* const wanted = std::getenv("JLLM_KERNEL_CASES");
  std::erase_if(cases, [&](const KernelCase& test) {
    const std::string label = test.label();
    if (wanted != nullptr) return label.find(wanted) == std::string::npos;
    return seen[test.kernel]++ % every != 0;
  });
  return cases;
}

class KernelCompile : public testing::TestWithParam<unsigned> {};

TEST_P(KernelCompile, KernelsTypesAndShapes) {
  const unsigned arch = GetParam();
  llvm::Expected<Nvrtc> nvrtc = Nvrtc::open({"", 0, arch});
  if (!nvrtc) GTEST_SKIP() << take_error(nvrtc.takeError()).second;
  const std::vector<KernelCase> cases = chosen_cases(arch);
  ASSERT_FALSE(cases.empty());
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::vector<std::string> problems;
  const auto work = [&] {
    for (size_t i = next++; i < cases.size(); i = next++) {
      const std::string problem = check(*nvrtc, cases[i], arch);
      if (problem.empty()) continue;
      const std::lock_guard<std::mutex> lock(mutex);
      problems.push_back(cases[i].label() + ": " + problem);
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < std::thread::hardware_concurrency(); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  std::sort(problems.begin(), problems.end());
  for (const std::string& problem : problems) ADD_FAILURE() << problem;
}

INSTANTIATE_TEST_SUITE_P(Archs, KernelCompile, testing::Values(87u, 90u),
                         [](const auto& test) { return "sm_" + std::to_string(test.param); });

TEST(KernelCatalogue, EveryKernelHasCases) {
  std::set<std::string> tested;
  for (const KernelCase& test : all_kernel_cases()) tested.insert(test.kernel);
  for (std::string_view name : kernel_names()) {
    EXPECT_EQ(tested.count(std::string(name)), 1u) << name << " is in no case of kernel_cases.h";
  }
  EXPECT_EQ(kernel_names().size(), tested.size());
}

TEST(KernelCatalogue, FindsSourcesAndHeaders) {
  ASSERT_NE(find_source("qkv"), nullptr);
  EXPECT_EQ(find_source("qkv")->name, "kernels/device/qkv.cu");
  EXPECT_EQ(find_source("qkv.cu"), find_source("qkv"));
  EXPECT_EQ(find_source("common.cuh"), nullptr);
  EXPECT_EQ(find_source(""), nullptr);
  std::set<std::string_view> names;
  for (const Source& header : all_headers()) names.insert(header.name);
  EXPECT_EQ(names.count("kernels/device/common.cuh"), 1u);
  EXPECT_EQ(names.count("schema/step_state.h"), 1u);
}

TEST(KernelCatalogue, LaunchShapes) {
  constexpr Activations kQ8 = Activations::kInt8, kQ8R = Activations::kInt8Pair;
  EXPECT_EQ(image_bytes(kQ8, 2048), 2u * (1024 + 64) + 12 * 64);
  EXPECT_EQ(image_bytes(kQ8R, 2048), 4u * (1024 + 64) + 12 * 64);
  EXPECT_EQ(decode_attention(32, 8, 64, 132).splits, 32u);
  EXPECT_EQ(decode_attention(32, 8, 64, 8).splits, 2u);
  EXPECT_EQ(decode_attention(32, 8, 64, 8).partial_bytes(), 8u * 2 * 4 * (64 + 2) * 4);
  EXPECT_EQ(decode_attention(32, 8, 64, 8).ticket_bytes(), 8u * 4);
  EXPECT_EQ(decode_attention(64, 64, 64, 4).splits, 1u);
  const DecodeAttention tokens = decode_attention(32, 8, 128, 8, 4);  // 16 rows per KV head
  EXPECT_EQ(tokens.shape().grid_x, 16u);
  EXPECT_EQ(tokens.partial_bytes(), 16u * 2 * 8 * (128 + 2) * 4);
  EXPECT_EQ(matmul_shape(65, 65, 64).grid_x, 2u);
  EXPECT_EQ(matmul_shape(65, 65, 64).grid_y, 2u);
  EXPECT_EQ(matmul_tile(512, 2048, 132), 64u);
  EXPECT_EQ(matmul_tile(512, 128, 132), 16u);
}

TEST(KernelCatalogue, AttentionTiles) {
  const auto chosen = [](uint32_t rows, uint32_t sm_count) {
    const AttentionProblem problem = {rows, 32, 8, 64, kKvF16, kKvF16};
    return std::pair(attention_tile(problem, sm_count), problem);
  };
  // Many query vectors: warps of two fragments each. Few: the warps of a block share them.
  const auto [many, long_prompt] = chosen(512, 8);
  EXPECT_EQ(many.split, 1u);
  EXPECT_EQ(many.vectors(), 128u);
  const LaunchShape shape = attention_shape(many, long_prompt);
  EXPECT_EQ(shape.block, 128u);
  EXPECT_EQ(shape.grid_x, 8u);
  EXPECT_EQ(shape.grid_y, 512u * 4 / 128);
  EXPECT_EQ(shape.shared_bytes, 2u * many.stages * many.tile * (64 + 8) * 2);  // keys, values
  const auto [few, short_prompt] = chosen(16, 132);
  EXPECT_EQ(few.split, 4u);
  EXPECT_EQ(attention_shape(few, short_prompt).grid_y, 16u * 4 / few.vectors());
  for (const unsigned head_dim : {8u, 64u, 128u, 192u, 256u}) {
    for (const unsigned type : {kKvF32, kKvF16, kKvQ8_0, kKvQ4_0}) {
      for (const uint32_t rows : {1u, 64u, 512u}) {
        const AttentionProblem problem = {rows, 8, 2, head_dim, type, type};
        for (const uint32_t sms : {1u, 8u, 132u}) {
          const AttentionTile tile = attention_tile(problem, sms);
          EXPECT_LE(attention_shape(tile, problem).shared_bytes, 99u * 1024)
              << head_dim << " type " << type << " rows " << rows << " on " << sms;
        }
      }
    }
  }
}

TEST(KernelCatalogue, GemmTiles) {
  // Many rows: large tiles. Few: tiles that give every multiprocessor something to do, and for a
  // short prompt those of few tokens.
  const auto tile = [](uint32_t rows, uint64_t n, uint32_t sm_count) {
    return gemm_tile({rows, 2048, {kRowQ4_K}, {n}}, sm_count, 87);
  };
  EXPECT_EQ(tile(512, 28672, 132).tokens() * tile(512, 28672, 132).rows(), 128u * 128);
  EXPECT_EQ(tile(512, 2048, 132).tokens() * tile(512, 2048, 132).rows(), 64u * 128);
  EXPECT_EQ(tile(512, 2048, 8).tokens(), 128u);
  EXPECT_EQ(tile(16, 2048, 132).tokens(), 32u);
  // Compute capability 9.0 has larger ones.
  const GemmTile wide = gemm_tile({512, 4096, {kRowQ4_K}, {28672}}, 132, 90);
  EXPECT_TRUE(wide.wgmma);
  EXPECT_EQ(wide.tokens() * wide.rows(), 256u * 128);
  const GemmProblem mixed = {130, 2048, {kRowQ4_K, kRowQ4_K, kRowQ6_K}, {256, 100, 40}};
  const GemmTile& large = gemm_tiles()[0];
  const LaunchShape shape = gemm_shape(large, mixed);
  EXPECT_EQ(shape.grid_x, 2u);
  EXPECT_EQ(shape.grid_y, 4u);
  // The largest type decides: 128 tokens and rows of 64 along k, in three slots, two tables, and
  // the tokens' factors.
  const uint64_t slot = 128 * 128 + 2 * (128 * 16 + 64) + 128 * (16 + 8);
  EXPECT_EQ(shape.shared_bytes, 3 * slot + 2 * 4 * 128 * 4 + 128 * 4);
  EXPECT_FALSE(has_gemm(kRowF32));
  EXPECT_EQ(half_image_bytes(3, 172), 3u * (2 * 176 + 4));
}

TEST(Nvrtc, NamesWhatItRefused) {
  llvm::Expected<Nvrtc> nvrtc = Nvrtc::open({"/nonexistent/libnvrtc.so.12", 12, 87});
  ASSERT_FALSE(bool(nvrtc));
  const auto [code, message] = take_error(nvrtc.takeError());
  EXPECT_EQ(code, ExitCode::kFailed);
  EXPECT_NE(message.find("/nonexistent/libnvrtc.so.12"), std::string::npos) << message;
  EXPECT_NE(message.find("tools/get_nvrtc.sh"), std::string::npos) << message;
  EXPECT_NE(message.find("sm_87"), std::string::npos) << message;
}

TEST(Nvrtc, HonoursTheDriversMajorVersion) {
  llvm::Expected<Nvrtc> any = Nvrtc::open({"", 0, 87});
  if (!any) GTEST_SKIP() << take_error(any.takeError()).second;
  llvm::Expected<Nvrtc> old = Nvrtc::open({any->path(), any->version().major - 1, 87});
  ASSERT_FALSE(bool(old));
  const std::string message = take_error(old.takeError()).second;
  EXPECT_NE(message.find("newer than the target's driver"), std::string::npos) << message;
}

TEST(Nvrtc, ErrorCarriesTheWholeLogAndOutputIsReproducible) {
  llvm::Expected<Nvrtc> nvrtc = Nvrtc::open({"", 0, 87});
  if (!nvrtc) GTEST_SKIP() << take_error(nvrtc.takeError()).second;
  CompileRequest request;
  request.name = "broken.cu";
  request.source = "extern \"C\" __global__ void broken() { undeclared_thing(); }\n";
  request.arch = 87;
  llvm::Expected<std::vector<uint8_t>> cubin = nvrtc->compile_cubin(request);
  ASSERT_FALSE(bool(cubin));
  const std::string message = take_error(cubin.takeError()).second;
  EXPECT_NE(message.find("broken.cu(1)"), std::string::npos) << message;
  EXPECT_NE(message.find("undeclared_thing"), std::string::npos) << message;
  EXPECT_NE(message.find("--gpu-architecture=sm_87"), std::string::npos) << message;

  request.source = "extern \"C\" __global__ void fine(float* x) { x[threadIdx.x] = 1.0f; }\n";
  llvm::Expected<std::vector<uint8_t>> first = nvrtc->compile_cubin(request);
  llvm::Expected<std::vector<uint8_t>> second = nvrtc->compile_cubin(request);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(*first, *second);
  llvm::Expected<std::string> ptx = nvrtc->compile_ptx(request);
  ASSERT_TRUE(bool(ptx));
  EXPECT_NE(ptx->find(".visible .entry fine"), std::string::npos);
}

}  // namespace
}  // namespace jllm::kernels
