// Files of the programs that take the place of others: whole or not at all, and two writers of one
// name do not meet.
#include "tools/plan_file/replace_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "tests/support/files.h"
#include "tools/plan_file/failure.h"

namespace jllm {
namespace {

using test::TempDir;
using tool::Failure;
using tool::ReplaceFile;
using Names = std::vector<std::string>;

TEST(ReplaceFile, AppearsAtCommitInThePlaceOfAnother) {
  const TempDir dir;
  const std::string path = dir.file("a");
  test::write_text(path, "old");
  {
    ReplaceFile file(path);
    file.append("hello ");
    file.append("world");
    file.sync();
    EXPECT_EQ(test::read_text(file.readable_path()), "hello world");
    EXPECT_EQ(test::read_text(path), "old");
    file.commit();
  }
  EXPECT_EQ(test::read_text(path), "hello world");
  EXPECT_EQ(dir.entries(), (Names{"a"}));
}

TEST(ReplaceFile, NothingIsLeftWithoutCommit) {
  const TempDir dir;
  test::write_text(dir.file("a"), "old");
  { ReplaceFile(dir.file("a")).append("half"); }
  EXPECT_EQ(test::read_text(dir.file("a")), "old");
  EXPECT_EQ(dir.entries(), (Names{"a"}));
}

TEST(ReplaceFile, WhatAKilledProgramLeftIsRemoved) {
  const TempDir dir;
  test::write_text(dir.file("a.tmp.123"), "half");
  test::write_text(dir.file("b.tmp.123"), "of another");
  ReplaceFile(dir.file("a")).commit();
  EXPECT_EQ(dir.entries(), (Names{"a", "b.tmp.123"}));
}

TEST(ReplaceFile, TwoAtOnceInOneProgram) {
  const TempDir dir;
  ReplaceFile first(dir.file("a")), second(dir.file("a"));
  first.append("first");
  second.append("second");
  first.commit();
  EXPECT_EQ(test::read_text(dir.file("a")), "first");
  second.commit();
  EXPECT_EQ(test::read_text(dir.file("a")), "second");
  EXPECT_EQ(dir.entries(), (Names{"a"}));
}

// Under one temporary name they would write into each other's file, or one would lose its own.
TEST(ReplaceFile, ProcessesThatWriteToOneName) {
  constexpr int kWriters = 4, kRounds = 50;
  constexpr size_t kSize = 100000;
  const TempDir dir;
  const std::string path = dir.file("a");
  std::vector<pid_t> writers;
  for (char writer = 'a'; writer < 'a' + kWriters; ++writer) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try {
        for (int round = 0; round < kRounds; ++round) {
          ReplaceFile file(path);
          for (int part = 0; part < 10; ++part) file.append(std::string(kSize / 10, writer));
          file.commit();
          const std::string found = test::read_text(path);
          if (found != std::string(kSize, found.at(0))) _exit(2);
        }
      } catch (const std::exception&) {
        _exit(1);
      }
      _exit(0);
    }
    writers.push_back(child);
  }
  for (const pid_t writer : writers) {
    int status = 0;
    ASSERT_EQ(waitpid(writer, &status, 0), writer);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(dir.entries(), (Names{"a"}));
}

TEST(ReplaceFile, FailuresSayWhatAndWhy) {
  const TempDir dir;
  try {
    ReplaceFile file(dir.file("none/a"));
    ADD_FAILURE();
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.what(), dir.file("none/a") + ": cannot create: No such file or directory");
  }
  try {
    ReplaceFile file(dir.path());  // a folder
    file.append("x");
    file.commit();
    ADD_FAILURE();
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.what(), dir.path() + ": cannot rename the finished file to: Is a directory");
  }
}

}  // namespace
}  // namespace jllm
