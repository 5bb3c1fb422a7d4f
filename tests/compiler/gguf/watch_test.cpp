// Files that change while they are mapped: an error that says so, and no signal.
#include "compiler/gguf/watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <csignal>
#include <functional>

#include "compiler/gguf/mapping.h"
#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm::gguf {
namespace {

constexpr uint64_t kSize = 1 << 20;
constexpr char kAdvice[] = "; let whatever writes it come to an end and try again";

// "" where nothing has changed; otherwise the message of an error with code kFailed.
std::string message_of(llvm::Error error) {
  if (!error) return "";
  const auto [code, text] = take_error(std::move(error));
  EXPECT_EQ(code, ExitCode::kFailed);
  return text;
}

uint64_t sum_of(const Mapping& mapping) {
  uint64_t sum = 0;
  for (const uint8_t byte : mapping.bytes()) sum += byte;
  return sum;
}

class Watch : public ::testing::Test {
 protected:
  Watch() : path_(folder_.write("a.gguf", std::string(kSize, '\1'))) {}
  void cut(uint64_t size) const { std::filesystem::resize_file(path_, size); }

  TempFolder folder_;
  std::string path_;
};

TEST_F(Watch, NothingHasChanged) {
  const Mapping mapping = value_of(Mapping::open(path_));
  EXPECT_EQ(sum_of(mapping), kSize);
  EXPECT_EQ(message_of(check_sources()), "");
  EXPECT_EQ(message_of(changed_source_or(llvm::Error::success())), "");
  EXPECT_EQ(message_of(changed_source_or(fail(ExitCode::kFailed, "other"))), "other");
}

TEST_F(Watch, EveryChangeIsNamed) {
  const std::string other = folder_.write("other", std::string(kSize, '\2'));
  const struct {
    const char* what;
    std::function<void()> change;
    std::string error;
  } cases[] = {
      {"cut", [&] { cut(5000); }, "went from 1,048,576 to 5,000 bytes while it was read"},
      {"grown", [&] { cut(kSize + 1); },
       "went from 1,048,576 to 1,048,577 bytes while it was read"},
      {"written over",
       [&] { std::fstream(path_, std::ios::in | std::ios::out | std::ios::binary) << "x"; },
       "was written to while it was read"},
      {"removed", [&] { std::filesystem::remove(path_); }, ""},
      {"replaced by renaming", [&] { std::filesystem::rename(other, path_); }, ""}};
  for (const auto& each : cases) {
    folder_.write("a.gguf", std::string(kSize, '\1'));
    const Mapping mapping = value_of(Mapping::open(path_));
    usleep(20000);  // file times are coarse
    each.change();
    const std::string error = each.error.empty() ? "" : path_ + ": " + each.error + kAdvice;
    EXPECT_EQ(message_of(check_sources()), error) << each.what;
    EXPECT_EQ(message_of(changed_source_or(fail(ExitCode::kFailed, "what came of it"))),
              error.empty() ? "what came of it" : error)
        << each.what;
  }
  EXPECT_EQ(message_of(check_sources()), "");  // of files that nobody reads any more
}

// Nothing was read behind the cut so far, so that this is the first test with zeros.
TEST_F(Watch, WhatWasCutIsZeros) {
  EXPECT_EQ(message_of(cut_source()), "");
  const std::string error =
      path_ + ": went from 1,048,576 to 5,000 bytes while it was read" + kAdvice;
  {
    const Mapping whole = value_of(Mapping::open(folder_.write("b.gguf", std::string(kSize, 1))));
    const Mapping mapping = value_of(Mapping::open(path_));
    cut(5000);
    EXPECT_EQ(sum_of(mapping), 5000u);
    mapping.release(0, kSize);
    EXPECT_EQ(sum_of(mapping), 5000u);
    EXPECT_EQ(message_of(cut_source()), error);
    EXPECT_EQ(sum_of(whole), kSize);
  }
  EXPECT_EQ(message_of(check_sources()), "");
  EXPECT_EQ(message_of(cut_source()), error);  // for the rest of the program
  const Mapping again = value_of(Mapping::open(path_));
  EXPECT_EQ(message_of(check_sources()), "");
  cut(0);
  EXPECT_EQ(sum_of(again), 0u);
}

using WatchDeathTest = Watch;

// Bus errors of other mappings end the program as ever.
TEST_F(WatchDeathTest, OtherBusErrorsAreNotOurs) {
  const Mapping mapping = value_of(Mapping::open(path_));
  const auto read_behind_the_end = [&] {
    const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    const void* const bytes = ::mmap(nullptr, kSize, PROT_READ, MAP_PRIVATE, fd, 0);
    cut(0);
    ::_exit(*static_cast<const volatile uint8_t*>(bytes));
  };
  EXPECT_EXIT(read_behind_the_end(), ::testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace jllm::gguf
