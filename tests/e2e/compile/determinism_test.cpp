// The same inputs give the same bytes: no clock, no path, no address and no order of threads may
// show.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "tests/support/gpu.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::TempDir;

class Determinism : public testing::Test {
 protected:
  Determinism() { test::make_model(test::tiny_model(), dir_.file("model.gguf")); }

  CompileOptions options(const std::string& target) const {
    CompileOptions options;
    options.input = dir_.file("model.gguf");
    options.output = dir_.file("model.jllm");
    options.target = target;
    options.plan.context = 64;
    options.plan.prefill_chunk = 16;
    return options;
  }

  std::vector<uint8_t> compile_to(const std::string& name, CompileOptions options) const {
    options.output = dir_.file(name);
    test::make_plan(options);
    return test::read_file(options.output);
  }

  TempDir dir_;
};

TEST_F(Determinism, HostPlansAreTheSameBytes) {
  const std::vector<uint8_t> first = compile_to("a.jllm", options("host"));
  EXPECT_EQ(compile_to("b.jllm", options("host")), first);
  // Over an existing plan.
  EXPECT_EQ(compile_to("a.jllm", options("host")), first);
}

TEST_F(Determinism, FoldersDoNotShow) {
  const std::vector<uint8_t> first = compile_to("a.jllm", options("host"));
  const TempDir elsewhere;
  std::filesystem::create_directories(elsewhere.file("deep/down"));
  CompileOptions moved = options("host");
  moved.input = elsewhere.file("deep/down/model.gguf");
  std::filesystem::copy_file(dir_.file("model.gguf"), moved.input);
  EXPECT_EQ(compile_to("b.jllm", moved), first);
}

TEST_F(Determinism, OptionsAndWeightsShow) {
  const std::vector<uint8_t> first = compile_to("a.jllm", options("host"));
  CompileOptions longer = options("host");
  longer.plan.context = 65;
  EXPECT_NE(compile_to("b.jllm", longer), first);
  CompileOptions half = options("host");
  half.plan.kv_k = WeightType::kF16;
  EXPECT_NE(compile_to("b.jllm", half), first);
  CompileOptions chunk = options("host");
  chunk.plan.prefill_chunk = 32;
  EXPECT_NE(compile_to("b.jllm", chunk), first);
  synth::SynthOptions other = test::tiny_model();
  other.seed += 1;
  test::make_model(other, dir_.file("model.gguf"));
  EXPECT_NE(compile_to("b.jllm", options("host")), first);
}

// Sets an environment variable while it lives.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    const char* old = std::getenv(name);
    had_ = old != nullptr;
    if (had_) old_ = old;
    setenv(name, value.c_str(), 1);
  }
  ~Environment() {
    if (had_) {
      setenv(name_, old_.c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  bool had_ = false;
  std::string old_;
};

class CudaDeterminism : public Determinism, public testing::WithParamInterface<unsigned> {};

TEST_P(CudaDeterminism, PlansAreTheSameBytesWithAndWithoutACache) {
  const std::string reason = test::no_nvrtc_reason(GetParam());
  if (!reason.empty()) GTEST_SKIP() << reason;
  const TempDir cache;
  const Environment environment("XDG_CACHE_HOME", cache.path());
  CompileOptions plain = options("sm_" + std::to_string(GetParam()));
  plain.use_cache = false;
  const std::vector<uint8_t> first = compile_to("a.jllm", plain);
  EXPECT_TRUE(cache.entries().empty()) << "the cache was written without being asked for";
  EXPECT_EQ(compile_to("b.jllm", plain), first) << "compiled again";
  CompileOptions cached = plain;
  cached.use_cache = true;
  EXPECT_EQ(compile_to("c.jllm", cached), first) << "into an empty cache";
  EXPECT_FALSE(cache.entries().empty());
  EXPECT_EQ(compile_to("d.jllm", cached), first) << "from the cache";
}

INSTANTIATE_TEST_SUITE_P(All, CudaDeterminism, testing::Values(87u, 90u),
                         [](const auto& test) { return "Sm" + std::to_string(test.param); });

TEST_F(Determinism, CudaPlansDifferByChip) {
  for (const unsigned arch : {87u, 90u}) {
    const std::string reason = test::no_nvrtc_reason(arch);
    if (!reason.empty()) GTEST_SKIP() << reason;
  }
  const TempDir cache;
  const Environment environment("XDG_CACHE_HOME", cache.path());
  // A cache that both share must not mix them up.
  const std::vector<uint8_t> orin = compile_to("a.jllm", options("sm_87"));
  EXPECT_NE(compile_to("b.jllm", options("sm_90")), orin);
  EXPECT_EQ(compile_to("c.jllm", options("sm_87")), orin);
}

}  // namespace
}  // namespace jllm
