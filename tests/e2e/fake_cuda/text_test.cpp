// The whole line by the two programs, without a GPU: GGUF, jllmc, plan, capture, replay, text. The
// text of a model that people trained is that of the host target.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/e2e/cli/process.h"
#include "tests/support/fake_cuda.h"

namespace jllm::test {
namespace {

struct Source {
  std::string path, prompt;
};

class FakeCudaText : public testing::Test {
 protected:
  void SetUp() override { JLLM_NEEDS_FAKE_CUDA(); }

  std::string compile(const Source& source, const std::string& target, const std::string& kv) {
    const std::string plan = dir_.file(target + kv + ".jllm");
    const ProcessResult result =
        jllmc({"compile", source.path, "-o", plan, "--target", target, "--kv", kv, "--context",
               "128", "--prefill-chunk", "16", "--speculate", "2"});
    EXPECT_EQ(result.code, 0) << result.err;
    return plan;
  }
  static std::string text(const std::string& plan, const Source& source,
                          const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"run", plan, "-p", source.prompt, "-n", "24", "-t", "0"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProcessResult result = jllm(arguments);
    EXPECT_EQ(result.code, 0) << result.err;
    return result.out;
  }
  void expect_same_text(const Source& source, const std::vector<std::string>& caches) {
    for (const std::string& kv : caches) {
      SCOPED_TRACE(kv);
      const std::string expected = text(compile(source, "host", kv), source);
      const std::string plan = compile(source, kFakeTarget, kv);
      EXPECT_GT(expected.size(), 40u);
      EXPECT_EQ(text(plan, source), expected);
      EXPECT_EQ(text(plan, source, {"--eager", "--speculate", "off"}), expected);
    }
  }

  TempDir dir_;
};

TEST_F(FakeCudaText, OfTheBundledModelIsTheHosts) {
  expect_same_text({JLLM_MODELS_DIR "/tiny-workshop-5m.q4_k_m.gguf",
                    "The little robot opened the door and saw a"},
                   {"f16", "q8_0"});
}

TEST_F(FakeCudaText, OfStories260KIsTheHosts) {
  const char* data = std::getenv("JLLM_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "set JLLM_TEST_DATA: models/stories260K.gguf";
  expect_same_text(
      {std::string(data) + "/models/stories260K.gguf", "Once upon a time, there was a"},
      {"f16", "f32"});  // its heads are too short for quantised rows
}

}  // namespace
}  // namespace jllm::test
