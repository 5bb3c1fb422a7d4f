// Wrong input to a good plan, and a plan whose numbers are none, from outside: exit codes and
// words.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/e2e/cli/process.h"
#include "tests/support/edited_plan.h"
#include "tests/support/running_plan.h"

namespace jllm {
namespace {

using test::expect_failure;
using test::jllm;
using test::ProcessResult;

class BadInput : public testing::Test {
 protected:
  std::string plan() const { return dir_.file("model.jllm"); }
  void write_plan(const std::vector<uint8_t>& bytes) const {
    test::write_file(plan(), bytes.data(), bytes.size());
  }
  test::TempDir dir_;
};

TEST_F(BadInput, TokenIdsOutsideTheVocabulary) {
  write_plan(test::small_plan());  // 512 tokens
  for (const char* ids : {"1 512", "4294967295", "1 2 99999"}) {
    test::write_text(dir_.file("ids"), ids);
    expect_failure(jllm({"eval", plan(), "--tokens", dir_.file("ids"), "--threads", "1"}), 1,
                   {"is not in the vocabulary of 512"});
  }
}

TEST_F(BadInput, AnEmptyPromptBeginsWithTheBeginToken) {
  write_plan(test::small_plan());
  const ProcessResult result =
      jllm({"run", plan(), "-p", "", "-n", "2", "--threads", "1", "--json"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("\"prompt_tokens\": 1,"), std::string::npos) << result.out;
}

TEST_F(BadInput, APromptLongerThanTheContext) {
  write_plan(test::small_plan());  // 32 positions
  std::string ids = "1";
  for (int i = 0; i < 32; ++i) ids += " 5";
  test::write_text(dir_.file("ids"), ids);
  expect_failure(jllm({"run", plan(), "-p", std::string(400, 'x'), "--threads", "1"}), 2,
                 {"context takes 32", "--context"});
  const ProcessResult result =
      jllm({"eval", plan(), "--tokens", dir_.file("ids"), "--threads", "1"});
  EXPECT_NE(result.code, 0);
  EXPECT_NE(result.err.find("32"), std::string::npos) << result.err;
}

TEST_F(BadInput, LogitsThatAreNoNumbers) {
  std::vector<uint8_t> bytes = test::small_plan();
  const test::PlanInMemory view(bytes);
  const fb::Segment& weights = *view.view().find_segment(fb::SegmentKind::Weights);
  size_t broken = 0;
  for (const fb::Buffer* buffer : *view.view().plan().buffers()) {
    if (buffer->name()->str() != "output_norm.weight") continue;
    std::memset(bytes.data() + weights.offset() - weights.dest_offset() + buffer->offset(), 0xff,
                buffer->size());
    ++broken;
  }
  ASSERT_EQ(broken, 1u);
  write_plan(bytes);
  for (const char* temperature : {"0", "1"}) {
    const ProcessResult result =
        jllm({"run", plan(), "-p", "a", "-n", "3", "-t", temperature, "--threads", "1"});
    EXPECT_EQ(result.code, 1);
    EXPECT_NE(result.err.find("the model produced no usable logits at position"), std::string::npos)
        << result.err;
  }
}

}  // namespace
}  // namespace jllm
