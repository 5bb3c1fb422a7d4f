// Where plans come from: files and memory give the same bytes, and failing reads are errors with a
// reason.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <functional>

#include "tests/executor/core/plans.h"
#include "tests/support/files.h"

namespace jllm {
namespace {

using test::host_plan;
using test::host_plan_bytes;
using test::RunningPlan;
using test::TempDir;
using test::Tokens;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

TEST(FileSource, ReadsAnyRange) {
  const TempDir dir;
  const std::vector<uint8_t>& bytes = host_plan_bytes();
  test::write_file(dir.file("a.jllm"), bytes.data(), bytes.size());
  FileSource source;
  Message message;
  ASSERT_EQ(source.open(dir.file("a.jllm").c_str(), &message), Error::kOk) << message.text;
  EXPECT_EQ(source.size(), bytes.size());
  for (const auto& [offset, size] : {std::pair<size_t, size_t>{0, 64},
                                     {1, 1},
                                     {4095, 2},
                                     {0, 0},
                                     {bytes.size(), 0},
                                     {0, bytes.size()}}) {
    std::vector<uint8_t> part(size);
    ASSERT_EQ(source.read(offset, size, part.data()), Error::kOk) << offset;
    EXPECT_TRUE(
        std::equal(part.begin(), part.end(), bytes.begin() + static_cast<ptrdiff_t>(offset)));
  }
}

TEST(FileSource, ReadingBehindTheEndFails) {
  const TempDir dir;
  test::write_text(dir.file("short"), "12345");
  FileSource source;
  Message message;
  ASSERT_EQ(source.open(dir.file("short").c_str(), &message), Error::kOk);
  char buffer[8];
  EXPECT_EQ(source.read(0, 6, buffer), Error::kReadFailed);
  EXPECT_EQ(source.read(5, 1, buffer), Error::kReadFailed);
  EXPECT_EQ(source.read(0, 5, buffer), Error::kOk);
}

TEST(FileSource, NamesPathAndReason) {
  const TempDir dir;
  Message message;
  FileSource missing;
  EXPECT_EQ(missing.open(dir.file("none").c_str(), &message), Error::kReadFailed);
  EXPECT_EQ(std::string(message.text), dir.file("none") + ": No such file or directory");
  FileSource folder;
  EXPECT_EQ(folder.open(dir.path().c_str(), &message), Error::kReadFailed);
  EXPECT_EQ(std::string(message.text), dir.path() + ": not a regular file");
}

// What happens to a file while it is open, and whether it can be read on.
TEST(FileSource, NoticesThatItsFileHasChanged) {
  const TempDir dir;
  const std::string path = dir.file("plan"), other = dir.file("other");
  const struct {
    const char* what;
    std::function<void()> change;
    bool readable;
  } cases[] = {
      {"nothing", [] {}, true},
      {"written over with as many bytes", [&] { test::write_text(path, "abcdefgh"); }, false},
      {"cut off", [&] { ASSERT_EQ(truncate(path.c_str(), 4), 0); }, false},
      {"grown", [&] { test::write_text(path, "123456789"); }, false},
      {"removed", [&] { unlink(path.c_str()); }, true},
      {"replaced by renaming",
       [&] {
         test::write_text(other, "new");
         ASSERT_EQ(rename(other.c_str(), path.c_str()), 0);
       },
       true}};
  for (const auto& each : cases) {
    test::write_text(path, "12345678");
    FileSource source;
    Message message;
    ASSERT_EQ(source.open(path.c_str(), &message), Error::kOk);
    usleep(20000);  // file times are coarse
    each.change();
    char read[8] = {};
    EXPECT_EQ(source.read(0, 8, read), each.readable ? Error::kOk : Error::kReadFailed)
        << each.what;
    if (!each.readable) continue;
    EXPECT_EQ(std::string(read, 8), "12345678") << each.what;
  }
}

// Weights are read once: what happens to the file afterwards is nothing to a running executor.
TEST(FileSource, ARunningExecutorNeedsItsFileNoMore) {
  const TempDir dir;
  test::write_file(dir.file("a.jllm"), host_plan_bytes().data(), host_plan_bytes().size());
  FileSource source;
  Message message;
  ASSERT_EQ(source.open(dir.file("a.jllm").c_str(), &message), Error::kOk) << message.text;
  const uint64_t size = Executor::required_bytes(host_plan().view());
  const std::unique_ptr<void, Free> block(std::aligned_alloc(64, (size + 63) / 64 * 64));
  Result<Executor*> created = Executor::create(host_plan().view(), source, block.get(), size,
                                               RunningPlan::one_thread(), &message);
  ASSERT_TRUE(created.ok()) << message.text;
  ASSERT_EQ(truncate(dir.file("a.jllm").c_str(), 0), 0);
  Executor& executor = *created.value();
  const Tokens prompt = {1, 50, 99};
  ASSERT_EQ(executor.prefill(prompt.data(), 3), Error::kOk);
  Tokens tokens;
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(executor.enqueue(), Error::kOk);
    tokens.push_back(executor.next().value().id);
  }
  executor.destroy();
  RunningPlan run(host_plan());
  run.prefill(prompt);
  EXPECT_EQ(run.generate(10), tokens);
}

TEST(MemorySource, RefusesRangesOutside) {
  const uint8_t data[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  MemorySource source(data, 8);
  uint8_t out[8] = {};
  EXPECT_EQ(source.read(6, 2, out), Error::kOk);
  EXPECT_EQ(out[1], 8);
  EXPECT_EQ(source.read(8, 0, out), Error::kOk);
  EXPECT_EQ(source.read(7, 2, out), Error::kReadFailed);
  EXPECT_EQ(source.read(9, 0, out), Error::kReadFailed);
  EXPECT_EQ(source.read(UINT64_MAX, 2, out), Error::kReadFailed);
}

TEST(Sources, FileAndMemoryRunTheSame) {
  const TempDir dir;
  test::write_file(dir.file("a.jllm"), host_plan_bytes().data(), host_plan_bytes().size());
  FileSource source;
  Message message;
  ASSERT_EQ(source.open(dir.file("a.jllm").c_str(), &message), Error::kOk) << message.text;
  const uint64_t size = Executor::required_bytes(host_plan().view());
  const std::unique_ptr<void, Free> block(std::aligned_alloc(64, (size + 63) / 64 * 64));
  Result<Executor*> created = Executor::create(host_plan().view(), source, block.get(), size,
                                               RunningPlan::one_thread(), &message);
  ASSERT_TRUE(created.ok()) << message.text;
  Executor& executor = *created.value();
  const Tokens prompt = {1, 50, 99};
  ASSERT_EQ(executor.prefill(prompt.data(), 3), Error::kOk);
  Tokens from_file;
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(executor.enqueue(), Error::kOk);
    from_file.push_back(executor.next().value().id);
  }
  executor.destroy();
  RunningPlan run(host_plan());
  run.prefill(prompt);
  EXPECT_EQ(run.generate(10), from_file);
}

// Fails once `left` bytes have been read.
class FailingSource final : public PlanSource {
 public:
  FailingSource(const MemorySource& whole, uint64_t left) : whole_(whole), left_(left) {}
  uint64_t size() const override { return whole_.size(); }
  Error read(uint64_t offset, uint64_t size, void* dst) override {
    if (size > left_) return Error::kReadFailed;
    left_ -= size;
    return whole_.read(offset, size, dst);
  }

 private:
  MemorySource whole_;
  uint64_t left_;
};

TEST(Sources, AFailingReadOfTheWeightsIsAnError) {
  const uint64_t weights = host_plan().view().arena_bytes(fb::ArenaKind::Weights);
  const uint64_t size = Executor::required_bytes(host_plan().view());
  const std::unique_ptr<void, Free> block(std::aligned_alloc(64, (size + 63) / 64 * 64));
  for (const uint64_t readable : {uint64_t{0}, weights - 1}) {
    FailingSource source(host_plan().source(), readable);
    Message message;
    const Result<Executor*> created = Executor::create(host_plan().view(), source, block.get(),
                                                       size, RunningPlan::one_thread(), &message);
    EXPECT_EQ(created.error(), Error::kReadFailed) << readable;
    EXPECT_NE(std::string(message.text).find("cannot read"), std::string::npos) << message.text;
  }
}

}  // namespace
}  // namespace jllm
