// jllm vector, and what the commands that make text say to a plan that makes embeddings.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/e2e/cli/process.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::jllm;
using test::ProcessResult;
using Vectors = std::vector<std::vector<float>>;

class JllmVector : public testing::Test {
 protected:
  JllmVector() {
    write(plan(), true);
    write(text_plan(), false);
  }
  static void write(const std::string& path, bool embeds) {
    CompileOptions options;
    options.plan.embeds = embeds;
    options.plan.context = 64;
    const std::vector<uint8_t> bytes = test::plan_bytes(test::tiny_model(), options);
    test::write_file(path, bytes.data(), bytes.size());
  }
  std::string plan() const { return dir_.file("vectors.jllm"); }
  std::string text_plan() const { return dir_.file("text.jllm"); }
  Vectors vectors(std::vector<std::string> words, const std::string& input = "") const {
    words.insert(words.begin(), {"vector", plan(), "--threads", "1", "--json"});
    test::ProcessOptions options;
    options.input = input;
    const ProcessResult result = jllm(words, options);
    EXPECT_EQ(result.code, 0) << result.err;
    return nlohmann::json::parse(result.out).get<Vectors>();
  }

  test::TempDir dir_;
};

TEST_F(JllmVector, OneVectorForEachText) {
  const Vectors one = vectors({"-p", "Once upon a time"});
  ASSERT_EQ(one.size(), 1u);
  ASSERT_EQ(one[0].size(), 64u);
  double length = 0;
  for (const float value : one[0]) length += double{value} * double{value};
  EXPECT_NEAR(length, 1, 1e-6);
  const Vectors three =
      vectors({"-f", "-", "--lines"}, "Once upon a time\n\nthere\nOnce upon a time");
  ASSERT_EQ(three.size(), 3u);
  EXPECT_EQ(three[0], one[0]);
  EXPECT_NE(three[1], one[0]);
  EXPECT_EQ(three[2], one[0]);
  EXPECT_EQ(vectors({"-f", "-", "--lines"}, "\n").size(), 0u);
  // A whole text has its line breaks.
  EXPECT_NE(vectors({"-f", "-"}, "Once upon a time\n")[0], one[0]);
}

TEST_F(JllmVector, PlainNumbersAreTheSame) {
  const ProcessResult result = jllm({"vector", plan(), "-p", "there", "--threads", "1"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  std::string text = result.out;
  ASSERT_EQ(text.back(), '\n');
  for (char& c : text) c = c == ' ' ? ',' : c;
  EXPECT_EQ(nlohmann::json::parse("[" + text + "]").get<std::vector<float>>(),
            vectors({"-p", "there"})[0]);
}

TEST_F(JllmVector, FewerDimensionsAreScaledAnew) {
  const std::vector<float> whole = vectors({"-p", "there"})[0];
  const std::vector<float> few = vectors({"-p", "there", "--dimensions", "3"})[0];
  ASSERT_EQ(few.size(), 3u);
  const float length = std::sqrt(whole[0] * whole[0] + whole[1] * whole[1] + whole[2] * whole[2]);
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(few[i], whole[i] / length, 1e-6);
  test::expect_failure(jllm({"vector", plan(), "-p", "there", "--dimensions", "65"}), 2,
                       {"--dimensions 65", "have 64"});
}

TEST_F(JllmVector, SaysWhatIsWrong) {
  test::expect_failure(jllm({"vector", plan()}), 2, {"-p TEXT or -f FILE"});
  test::expect_failure(jllm({"vector", text_plan(), "-p", "x"}), 5,
                       {"text.jllm", "makes text", "--embedding last"});
  const std::string words(400, 'z');
  test::expect_failure(jllm({"vector", plan(), "-p", words}), 2,
                       {"takes 1 to 64", "larger --context"});
}

TEST_F(JllmVector, CommandsThatMakeTextSayWhatToDo) {
  const std::vector<std::string> commands[] = {
      {"run", plan(), "-p", "x"},
      {"chat", plan()},
      {"bench", plan()},
      {"bench", plan(), "--slots"},
      {"bench", plan(), "--profile"},
      {"eval", plan(), "--tokens", "/dev/null"},
      {"selftest", plan()},
  };
  for (const std::vector<std::string>& command : commands) {
    SCOPED_TRACE(command[0]);
    test::expect_failure(jllm(command), 5,
                         {"vectors.jllm", "makes embeddings", "jllm vector", "--embedding none"});
  }
  const ProcessResult inspected = test::jllmc({"inspect", plan(), "--verify"});
  EXPECT_EQ(inspected.code, 0) << inspected.err;
  const ProcessResult shown = test::jllmc({"inspect", plan()});
  EXPECT_NE(shown.out.find("makes embeddings"), std::string::npos) << shown.out;
}

}  // namespace
}  // namespace jllm
