// Prefixes in files: they come back as they were, whatever else is in such a file is refused by
// name, and there is a whole one or none whenever the program is killed.
#include "tools/plan_file/prefix_file.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/kill_at.h"
#include "tests/support/running_plan.h"
#include "tests/tools/plan_file/plans.h"
#include "tools/jllm/prefix_cache.h"

namespace jllm {
namespace {

using test::Tokens;
using tool::OpenPlan;
using tool::PrefixFileHeader;
using tool::PrefixReport;
using tool::Session;
using Bytes = std::vector<uint8_t>;

class PrefixFile : public testing::Test {
 protected:
  static const Tokens& prefix() {
    static const Tokens tokens = test::random_tokens(9, 512, 3);
    return tokens;
  }
  static const std::string& plan_path() {
    static const test::TempDir dir;
    static const std::string path = [] {
      test::make_plan_file(dir.file("a.jllm"), {});
      return dir.file("a.jllm");
    }();
    return path;
  }

  std::string path() const { return dir_.file("prefix"); }
  Executor& executor() { return session_.executor(); }
  uint64_t plan_hash() const { return plan_.view().prefix().plan_hash; }
  PrefixReport keep(const Tokens& tokens = prefix()) {
    session_.check(executor().rewind(0));
    return tool::keep_prefix(path(), plan_, session_, tokens);
  }
  Tokens go_on() {
    Tokens tokens;
    for (int i = 0; i < 12; ++i) {
      const Result<SampledToken> token = executor().generate();
      session_.check(token.error());
      tokens.push_back(token.value().id);
    }
    return tokens;
  }
  std::string refusal_of(const Bytes& bytes) {
    MemorySource file(bytes.data(), bytes.size());
    return tool::read_prefix(file, plan_hash(), executor(), prefix());
  }
  Bytes file() const { return test::read_file(path()); }

  test::TempDir dir_;
  OpenPlan plan_{plan_path()};
  Session session_{plan_, test::RunningPlan::one_thread()};
};

TEST_F(PrefixFile, IsWrittenFirstAndReadThen) {
  const PrefixReport first = keep();
  EXPECT_FALSE(first.from_file);
  EXPECT_EQ(first.tokens, 9u);
  EXPECT_EQ(first.refusal + first.not_written, "");
  EXPECT_EQ(first.file_bytes, file().size());
  const Tokens expected = go_on();
  const Bytes bytes = file();
  const PrefixReport next = keep();
  EXPECT_TRUE(next.from_file);
  EXPECT_EQ(next.refusal, "");
  EXPECT_EQ(next.file_bytes, bytes.size());
  EXPECT_EQ(executor().count(), 9u);
  EXPECT_EQ(go_on(), expected);
  EXPECT_EQ(file(), bytes);
  EXPECT_EQ(dir_.entries(), std::vector<std::string>{"prefix"});
}

TEST_F(PrefixFile, OfOneTokenHasNoCaches) {
  EXPECT_FALSE(keep({7}).from_file);
  EXPECT_EQ(file().size(), sizeof(PrefixFileHeader) + 4 + 8);
  EXPECT_TRUE(keep({7}).from_file);
  EXPECT_EQ(executor().count(), 1u);
  EXPECT_EQ(keep({}).tokens, 0u);
}

TEST_F(PrefixFile, WithOtherTokensIsReplaced) {
  keep();
  Tokens other = prefix();
  other.back() ^= 1;
  EXPECT_EQ(keep(other).refusal, path() + " holds other tokens");
  EXPECT_TRUE(keep(other).from_file);
  other.pop_back();
  EXPECT_EQ(keep(other).refusal, path() + " holds 9 tokens, not these 8");
  EXPECT_TRUE(keep(other).from_file);
}

TEST_F(PrefixFile, OfAnotherPlanIsRefused) {
  test::make_plan_file(dir_.file("b.jllm"), {false, 64, 1});  // other weights, the same shapes
  OpenPlan other(dir_.file("b.jllm"));
  Session session(other, test::RunningPlan::one_thread());
  keep();
  const Bytes bytes = file();
  const PrefixReport report = tool::keep_prefix(path(), other, session, prefix());
  EXPECT_FALSE(report.from_file);
  EXPECT_EQ(report.refusal, path() + " is of another plan");
  EXPECT_EQ(report.file_bytes, bytes.size());
  EXPECT_NE(file(), bytes);
}

TEST_F(PrefixFile, WithAnyByteChangedIsRefused) {
  keep();
  const Tokens expected = go_on();
  const Bytes whole = file();
  const size_t tokens = sizeof(PrefixFileHeader), caches = tokens + prefix().size() * 4;
  ASSERT_GT(whole.size(), caches + 1000);
  const std::string damaged = "is damaged: its hash is not what it says";
  for (size_t i = 0; i < whole.size(); ++i) {
    Bytes bytes = whole;
    bytes[i] ^= static_cast<uint8_t>(1u << i % 8);
    PrefixFileHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    const std::string expected_words =
        i >= caches                               ? damaged
        : i >= tokens                             ? "holds other tokens"
        : i < offsetof(PrefixFileHeader, version) ? "is no prefix file"
        : i < offsetof(PrefixFileHeader, file_size)
            ? "has version " + std::to_string(header.version) + " of the format, not 1"
        : i < offsetof(PrefixFileHeader, plan_hash)
            ? "has " + std::to_string(whole.size()) + " bytes and says that it has " +
                  std::to_string(header.file_size)
        : i < offsetof(PrefixFileHeader, program)     ? "is of another plan"
        : i < offsetof(PrefixFileHeader, token_count) ? "was made by another version of jllm"
        : i < offsetof(PrefixFileHeader, reserved)
            ? "holds " + std::to_string(header.token_count) + " tokens, not these 9"
            : "has sizes that are not the plan's";
    ASSERT_EQ(refusal_of(bytes), expected_words) << "byte " << i;
    ASSERT_NE(executor().count(), 9u) << "byte " << i;
  }
  EXPECT_EQ(refusal_of(whole), "");
  EXPECT_EQ(go_on(), expected);
}

TEST_F(PrefixFile, OfAnyOtherLengthIsRefused) {
  keep();
  const Bytes whole = file();
  for (size_t size = 0; size <= whole.size() + 1; ++size) {
    Bytes bytes = whole;
    bytes.resize(size);
    const std::string words =
        size < sizeof(PrefixFileHeader) ? "is cut off: it has " + std::to_string(size) + " bytes"
        : size == whole.size()          ? ""
                               : "has " + std::to_string(size) + " bytes and says that it has " +
                                     std::to_string(whole.size());
    ASSERT_EQ(refusal_of(bytes), words);
    // One that says so itself.
    if (size < sizeof(PrefixFileHeader) || size == whole.size()) continue;
    const uint64_t says = size;
    std::memcpy(&bytes[offsetof(PrefixFileHeader, file_size)], &says, sizeof says);
    ASSERT_EQ(refusal_of(bytes), "has sizes that are not the plan's");
  }
}

// Reads well until its last bytes, then fails.
class FailingSource final : public PlanSource {
 public:
  FailingSource(const Bytes& bytes, uint64_t good) : bytes_(bytes), good_(good) {}
  uint64_t size() const override { return bytes_.size(); }
  Error read(uint64_t offset, uint64_t size, void* dst) override {
    if (offset + size > good_) return Error::kReadFailed;
    std::memcpy(dst, bytes_.data() + offset, size);
    return Error::kOk;
  }

 private:
  const Bytes& bytes_;
  uint64_t good_;
};

TEST_F(PrefixFile, ThatCannotBeReadIsRefused) {
  keep();
  const Bytes whole = file();
  const uint64_t tokens = sizeof(PrefixFileHeader), caches = tokens + prefix().size() * 4;
  for (const uint64_t good : {tokens - 1, caches - 1, caches + 1, whole.size() - 1}) {
    FailingSource source(whole, good);
    EXPECT_EQ(tool::read_prefix(source, plan_hash(), executor(), prefix()),
              "cannot be read, or has changed meanwhile")
        << good;
  }
}

TEST_F(PrefixFile, PlacesThatCannotBeUsedAreWarnings) {
  const auto keep_at = [&](const std::string& path) {
    session_.check(executor().rewind(0));
    const PrefixReport report = tool::keep_prefix(path, plan_, session_, prefix());
    EXPECT_EQ(executor().count(), 9u);
    EXPECT_FALSE(report.from_file);
    EXPECT_EQ(report.file_bytes, 0u);
    return report;
  };
  keep();
  const Tokens expected = go_on();
  const PrefixReport nowhere = keep_at(dir_.file("none/prefix"));
  EXPECT_EQ(nowhere.refusal, "");
  EXPECT_EQ(nowhere.not_written,
            dir_.file("none/prefix") + ": cannot create: No such file or directory");
  EXPECT_EQ(go_on(), expected);
  const PrefixReport folder = keep_at(dir_.path());
  EXPECT_EQ(folder.refusal, dir_.path() + ": not a regular file");
  EXPECT_NE(folder.not_written, "");
  EXPECT_EQ(go_on(), expected);
}

TEST_F(PrefixFile, MoreTokensThanTheContextIsAnError) {
  test::expect_refusal(test::outcome_of([&] { keep(Tokens(65, 1)); }), tool::kUsage,
                       "what conversations begin with has 65 tokens, the plan's context takes 64");
}

// In place of a file of other tokens: at every moment that one or the new one is there, whole.
TEST_F(PrefixFile, KilledAtEverySystemCall) {
  keep();
  const Bytes wanted = file();
  Tokens others = prefix();
  others[0] ^= 1;
  keep(others);
  const Bytes old = file();
  int kills = 0;
  bool seen_old = false, seen_new = false;
  for (int kill_at = 1;; ++kill_at) {
    test::write_file(path(), old.data(), old.size());
    const std::optional<int> calls = test::run_and_kill(kill_at, [&] { keep(); });
    if (!calls) GTEST_SKIP() << "ptrace is not allowed here";
    const Bytes found = file();
    EXPECT_TRUE(found == old || found == wanted) << "killed at " << kill_at;
    (found == old ? seen_old : seen_new) = true;
    EXPECT_EQ(keep().from_file, found == wanted) << "killed at " << kill_at;
    EXPECT_EQ(file(), wanted);
    EXPECT_EQ(dir_.entries(), std::vector<std::string>{"prefix"}) << "killed at " << kill_at;
    if (*calls >= 0) break;
    ++kills;
  }
  EXPECT_GT(kills, 20);
  EXPECT_TRUE(seen_old);
  EXPECT_TRUE(seen_new);
  RecordProperty("kills", kills);
}

}  // namespace
}  // namespace jllm
