// Signed plans: what a trusted key lets through, and that one changed byte anywhere, in the plan or
// in its weight file, is enough to be refused.
#include "tools/plan_file/signature.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "schema/weight_file.h"
#include "tests/tools/plan_file/plans.h"
#include "tools/plan_file/sign.h"

namespace jllm {
namespace {

using test::make_plan_file;
using test::outcome_of;
using tool::PlanPaths;

class SignedPlans : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (!tool::can_sign()) GTEST_SKIP() << "built with JLLM_SIGNATURES=OFF";
    make_plan_file(plan(), {GetParam(), 64, 0});
    tool::make_keys(dir_.file("mine"));
    tool::make_keys(dir_.file("other"));
  }

  std::string plan() const { return dir_.file("a.jllm"); }
  std::string key(const std::string& name) const { return dir_.file(name); }
  void sign() const { tool::sign_plan(plan(), key("mine.key"), plan()); }
  PlanPaths trusting(const std::string& keys) const {
    PlanPaths paths(plan());
    paths.trusted_key = key(keys);
    return paths;
  }
  test::Outcome run(const std::string& keys = "mine.pub") const {
    return outcome_of([&] { test::generate(trusting(keys)); });
  }

  test::TempDir dir_;
};

INSTANTIATE_TEST_SUITE_P(, SignedPlans, testing::Bool(), [](const auto& which) {
  return which.param ? std::string("split") : std::string("whole");
});

TEST_P(SignedPlans, RunForThoseWhoTrustTheKey) {
  const std::vector<uint32_t> tokens = test::generate(plan());
  sign();
  EXPECT_EQ(test::generate(trusting("mine.pub")), tokens);
  EXPECT_EQ(test::generate(plan()), tokens);  // and for those who ask for none
  tool::PlanFile(trusting("mine.pub")).verify();
}

TEST_P(SignedPlans, UnsignedIsRefused) {
  test::expect_refusal(run(), tool::kInvalidFile, "not signed");
}

TEST_P(SignedPlans, AnotherKeyIsRefused) {
  sign();
  test::expect_refusal(run("other.pub"), tool::kInvalidFile, "signed with another key");
}

TEST_P(SignedPlans, OneOfSeveralKeysIsEnough) {
  sign();
  test::write_text(key("both.pub"), "# ours\n" + test::read_text(key("other.pub")) + "\n" +
                                        test::read_text(key("mine.pub")));
  EXPECT_EQ(run("both.pub").code, tool::kDone) << run("both.pub").message;
}

TEST_P(SignedPlans, SigningAgainReplacesTheSignature) {
  sign();
  const std::vector<uint8_t> once = test::read_file(plan());
  sign();
  EXPECT_EQ(test::read_file(plan()), once);
  tool::sign_plan(plan(), key("other.key"), plan());
  EXPECT_EQ(test::read_file(plan()).size(), once.size());
  EXPECT_EQ(run("other.pub").code, tool::kDone);
  test::expect_refusal(run(), tool::kInvalidFile, "another key");
}

// A signature of the attacker's own under our key's name.
TEST_P(SignedPlans, AForgedKeyIsRefused) {
  sign();
  std::vector<uint8_t> mine = test::read_file(plan());
  tool::sign_plan(plan(), key("other.key"), plan());
  std::vector<uint8_t> forged = test::read_file(plan());
  const size_t block = forged.size() - kSegmentAlignment;
  std::memcpy(&forged[block + offsetof(SignatureBlock, public_key)],
              &mine[block + offsetof(SignatureBlock, public_key)], 32);
  test::write_file(plan(), forged.data(), forged.size());
  test::expect_refusal(run(), tool::kInvalidFile, "altered");
}

// The first and last byte of every part of the plan, of every gap between parts, and one in the
// middle.
TEST_P(SignedPlans, OneChangedByteAnywhereIsRefused) {
  sign();
  const std::vector<uint8_t> whole = test::read_file(plan());
  PlanPrefix prefix;
  std::memcpy(&prefix, whole.data(), sizeof prefix);
  std::vector<uint64_t> edges = {0,
                                 sizeof prefix,
                                 prefix.plan_offset + prefix.plan_size,
                                 segments_end(prefix),
                                 segments_end(prefix) + sizeof(SignatureBlock),
                                 whole.size()};
  {
    const tool::PlanFile file(plan());
    for (const fb::Segment* segment : *file.view().plan().segments()) {
      if (segment->in_weight_file()) continue;
      edges.push_back(segment->offset());
      edges.push_back(segment->offset() + segment->size());
    }
  }
  std::sort(edges.begin(), edges.end());
  size_t tried = 0;
  for (size_t i = 0; i + 1 < edges.size(); ++i) {
    if (edges[i] == edges[i + 1]) continue;
    for (const uint64_t offset : {edges[i], (edges[i] + edges[i + 1]) / 2, edges[i + 1] - 1}) {
      test::flip(plan(), offset);
      const test::Outcome outcome = run();
      EXPECT_NE(outcome.code, tool::kDone) << "byte " << offset;
      EXPECT_FALSE(outcome.message.empty());
      test::write_file(plan(), whole.data(), whole.size());
      ++tried;
    }
  }
  EXPECT_GE(tried, 18u);
  EXPECT_EQ(run().code, tool::kDone);
}

// Every byte of the signature itself.
TEST_P(SignedPlans, AChangedSignatureIsRefused) {
  sign();
  const std::vector<uint8_t> whole = test::read_file(plan());
  const uint64_t block = whole.size() - kSegmentAlignment;
  for (uint64_t i = 0; i < sizeof(SignatureBlock); ++i) {
    test::flip(plan(), block + i);
    EXPECT_EQ(outcome_of([&] { tool::PlanFile{trusting("mine.pub")}; }).code, tool::kInvalidFile)
        << i;
    test::write_file(plan(), whole.data(), whole.size());
  }
}

TEST_P(SignedPlans, ATruncatedSignatureIsRefused) {
  sign();
  const std::vector<uint8_t> whole = test::read_file(plan());
  for (const uint64_t missing : {uint64_t{1}, kSegmentAlignment - 40, kSegmentAlignment}) {
    test::write_file(plan(), whole.data(), whole.size() - missing);
    test::expect_refusal(run(), tool::kInvalidFile, "bytes long");
  }
  // The whole block taken away, and the prefix told so: it is part of what was signed.
  std::vector<uint8_t> cut(whole.begin(), whole.end() - static_cast<ptrdiff_t>(kSegmentAlignment));
  PlanPrefix prefix;
  std::memcpy(&prefix, cut.data(), sizeof prefix);
  prefix.flags = 0;
  prefix.file_size -= kSegmentAlignment;
  prefix.segments_size -= kSegmentAlignment;
  std::memcpy(cut.data(), &prefix, sizeof prefix);
  test::write_file(plan(), cut.data(), cut.size());
  test::expect_refusal(run(), tool::kInvalidFile, "not signed");
}

TEST_P(SignedPlans, DamagedPlansAreNotSigned) {
  const tool::PlanFile file(plan());
  for (const fb::Segment* segment : *file.view().plan().segments()) {
    test::flip(segment->in_weight_file() ? test::weight_file_in(dir_) : plan(),
               segment->offset() + segment->size() / 2);
  }
  const std::vector<uint8_t> before = test::read_file(plan());
  test::expect_refusal(outcome_of([&] { sign(); }), tool::kInvalidFile, "SHA-256");
  EXPECT_EQ(test::read_file(plan()), before);
}

TEST_P(SignedPlans, KeysAreFilesOfTheirOwn) {
  struct stat info = {};
  ASSERT_EQ(stat(key("mine.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  test::expect_refusal(outcome_of([&] { tool::make_keys(key("mine")); }), tool::kFailed,
                       "never written over");
  sign();
  test::expect_refusal(run("mine.key"), tool::kUsage, "not a file of public keys");
  test::expect_refusal(outcome_of([&] { tool::sign_plan(plan(), key("mine.pub"), plan()); }),
                       tool::kUsage, "not a secret key");
  test::write_text(key("empty.pub"), "# none\n");
  test::expect_refusal(run("empty.pub"), tool::kUsage, "no public key");
  test::expect_refusal(run("missing.pub"), tool::kFailed, "No such file");
}

// A weight file is trusted through the plan that names its hash.
TEST_P(SignedPlans, OneChangedByteOfTheWeightsIsRefused) {
  if (!GetParam()) return;
  sign();
  const std::string weights = test::weight_file_in(dir_);
  const uint64_t size = test::read_file(weights).size();
  for (const uint64_t offset : {uint64_t{0}, uint64_t{6}, uint64_t{40}, uint64_t{64},
                                kWeightFileData - 1, kWeightFileData, size / 2, size - 1}) {
    test::flip(weights, offset);
    EXPECT_NE(run().code, tool::kDone) << "byte " << offset;
    test::flip(weights, offset);
  }
  EXPECT_EQ(run().code, tool::kDone);
}

// Other weights whose header pretends to be the right ones'.
TEST_P(SignedPlans, ForgedWeightsAreRefused) {
  if (!GetParam()) return;
  sign();
  const std::string weights = test::weight_file_in(dir_);
  const std::vector<uint8_t> right = test::read_file(weights);
  const test::TempDir other;
  make_plan_file(other.file("b.jllm"), {true, 64, 1});
  std::vector<uint8_t> forged = test::read_file(test::weight_file_in(other));
  ASSERT_EQ(forged.size(), right.size());
  std::copy_n(right.begin(), kWeightFileData, forged.begin());
  test::write_file(weights, forged.data(), forged.size());
  test::expect_refusal(run(), tool::kInvalidFile, "SHA-256 differs");
  EXPECT_EQ(outcome_of([&] { test::generate(plan()); }).code, tool::kDone);  // who trusts anyone
}

}  // namespace
}  // namespace jllm
