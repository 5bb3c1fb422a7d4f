// OutputFile: the path appears whole at commit() or not at all, and nothing is left behind.
#include "compiler/support/output_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iterator>

#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm {
namespace {

namespace fs = std::filesystem;

std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Names in the folder.
std::vector<std::string> listing(const gguf::TempFolder& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder.file(""))) {
    names.push_back(entry.path().filename());
  }
  return names;
}

void expect_ok(llvm::Error error) {
  if (error) ADD_FAILURE() << take_error(std::move(error)).second;
}

std::string text_of(llvm::Error error) {
  if (!error) return "";
  const auto [code, text] = take_error(std::move(error));
  EXPECT_EQ(code, ExitCode::kFailed);
  return text;
}

TEST(OutputFile, AppearsAtCommit) {
  const gguf::TempFolder folder;
  const std::string path = folder.file("plan");
  {
    OutputFile file = gguf::value_of(OutputFile::create(path));
    expect_ok(file.write("hello ", 6));
    expect_ok(file.write("world", 5));
    EXPECT_EQ(file.size(), 11u);
    EXPECT_FALSE(fs::exists(path));
    expect_ok(file.commit());
    EXPECT_EQ(contents(path), "hello world");
  }
  EXPECT_EQ(listing(folder), (std::vector<std::string>{"plan"}));
}

TEST(OutputFile, LeavesNothingWithoutCommit) {
  const gguf::TempFolder folder;
  {
    OutputFile file = gguf::value_of(OutputFile::create(folder.file("plan")));
    expect_ok(file.write("half", 4));
  }
  EXPECT_TRUE(listing(folder).empty());
}

TEST(OutputFile, AnOldFileStaysUntilCommit) {
  const gguf::TempFolder folder;
  const std::string path = folder.write("plan", "old");
  {
    OutputFile file = gguf::value_of(OutputFile::create(path));
    expect_ok(file.write("new", 3));
    EXPECT_EQ(contents(path), "old");
  }
  EXPECT_EQ(contents(path), "old");
  OutputFile file = gguf::value_of(OutputFile::create(path));
  expect_ok(file.write("new", 3));
  // A reader that has the old file open keeps it: the name changes hands at once.
  std::ifstream reader(path, std::ios::binary);
  expect_ok(file.commit());
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(reader), {}), "old");
  EXPECT_EQ(contents(path), "new");
}

TEST(OutputFile, WritingInTheMiddleDoesNotMoveTheEnd) {
  const gguf::TempFolder folder;
  OutputFile file = gguf::value_of(OutputFile::create(folder.file("plan")));
  expect_ok(file.write("????body", 8));
  expect_ok(file.write_at(0, "head", 4));
  expect_ok(file.write("tail", 4));
  EXPECT_EQ(file.size(), 12u);
  expect_ok(file.commit());
  EXPECT_EQ(contents(folder.file("plan")), "headbodytail");
}

TEST(OutputFile, MovingKeepsOneOwner) {
  const gguf::TempFolder folder;
  OutputFile first = gguf::value_of(OutputFile::create(folder.file("plan")));
  expect_ok(first.write("a", 1));
  {
    OutputFile second(std::move(first));
    expect_ok(second.write("b", 1));
    expect_ok(second.commit());
  }
  EXPECT_EQ(contents(folder.file("plan")), "ab");
}

TEST(OutputFile, AFolderThatDoesNotExistIsNamed) {
  const gguf::TempFolder folder;
  llvm::Expected<OutputFile> file = OutputFile::create(folder.file("no/such/plan"));
  ASSERT_FALSE(file);
  const std::string text = text_of(file.takeError());
  EXPECT_NE(text.find("no/such/plan: cannot create: No such file or directory"), std::string::npos)
      << text;
}

TEST(OutputFile, AFailedRenameRemovesTheTemporaryFile) {
  const gguf::TempFolder folder;
  const std::string path = folder.file("plan");
  OutputFile file = gguf::value_of(OutputFile::create(path));
  expect_ok(file.write("x", 1));
  fs::create_directory(path);  // a folder in the way
  const std::string text = text_of(file.commit());
  EXPECT_NE(text.find("cannot rename the finished file to"), std::string::npos) << text;
  EXPECT_EQ(listing(folder), (std::vector<std::string>{"plan"}));
}

TEST(OutputFile, AFailedWriteSaysWhyAndRemovesTheTemporaryFile) {
  const gguf::TempFolder folder;
  // A full disk in small: the kernel refuses to let the file grow beyond the limit.
  rlimit old = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit small = {4096, old.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  {
    OutputFile file = gguf::value_of(OutputFile::create(folder.file("plan")));
    const std::string page(4096, 'x');
    EXPECT_EQ(text_of(file.write(page.data(), page.size())), "");
    const std::string text = text_of(file.write(page.data(), page.size()));
    EXPECT_NE(text.find("plan: cannot write: File too large"), std::string::npos) << text;
    EXPECT_EQ(file.size(), 4096u);
  }
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(listing(folder).empty());
}

// What a killed program left goes; what another one is writing, and what only looks alike, stays.
TEST(OutputFile, LeftoversOfKilledProgramsAreRemoved) {
  const gguf::TempFolder folder;
  folder.write("plan.tmp.999999", "half a plan");
  folder.write("plan.tmp.txt", "a user's");
  folder.write("other.tmp.999999", "another target's");
  const int writing = ::open(folder.write("plan.tmp.4", "in work").c_str(), O_RDWR);
  ASSERT_EQ(::flock(writing, LOCK_EX | LOCK_NB), 0);
  OutputFile file = gguf::value_of(OutputFile::create(folder.file("plan")));
  expect_ok(file.write("x", 1));
  expect_ok(file.commit());
  ::close(writing);
  std::vector<std::string> names = listing(folder);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names,
            (std::vector<std::string>{"other.tmp.999999", "plan", "plan.tmp.4", "plan.tmp.txt"}));
}

TEST(OutputFile, APathWithoutAFolderIsTheCurrentOne) {
  const gguf::TempFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.file(""));
  OutputFile file = gguf::value_of(OutputFile::create("plan"));
  expect_ok(file.write("x", 1));
  expect_ok(file.commit());
  fs::current_path(before);
  EXPECT_EQ(contents(folder.file("plan")), "x");
}

}  // namespace
}  // namespace jllm
