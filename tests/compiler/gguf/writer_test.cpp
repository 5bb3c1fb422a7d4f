// What the writer writes, the reader reads; and a failed write leaves nothing behind.
#include "compiler/gguf/writer.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <iterator>

#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm::gguf {
namespace {

size_t files_in(const std::string& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

std::string message(llvm::Error error) { return take_error(std::move(error)).second; }

TEST(Writer, RoundTripsEveryKindOfValue) {
  TempFolder folder;
  Writer writer;
  writer.set_u32("u32", 7);
  writer.set_u64("u64", UINT64_MAX);
  writer.set_f32("f32", 0.25f);
  writer.set_bool("bool", true);
  writer.set_string("string", llvm::StringRef("a\0b", 3));
  writer.set_string_array("strings", {"x", "", "yz"});
  writer.set_f32_array("f32s", {1.0f, -2.0f});
  writer.set_i32_array("i32s", {1, -2});
  const std::string path = folder.file("a.gguf");
  ASSERT_EQ(message(writer.write(path)), "");

  const File file = value_of(File::open(path));
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(value_of(file.get_u64("u32")), 7u);
  EXPECT_EQ(value_of(file.get_u64("u64")), UINT64_MAX);
  EXPECT_EQ(value_of(file.get_f64("f32")), 0.25);
  EXPECT_TRUE(value_of(file.get_bool("bool")));
  EXPECT_EQ(value_of(file.get_string("string")), llvm::StringRef("a\0b", 3));
  EXPECT_EQ(value_of(file.get_string_array("strings")),
            (std::vector<llvm::StringRef>{"x", "", "yz"}));
  EXPECT_EQ(value_of(file.get_f64_array("f32s")), (std::vector<double>{1, -2}));
  EXPECT_EQ(value_of(file.get_f64_array("i32s")), (std::vector<double>{1, -2}));
}

TEST(Writer, RoundTripsTensors) {
  TempFolder folder;
  Writer writer;
  std::vector<uint8_t> blocks(18 * 3);
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<uint8_t>(i);
  writer.add_tensor("first", {32, 3}, WeightType::kQ4_0, blocks);
  writer.add_tensor("second", {2}, WeightType::kF32, [](const Writer::Sink& sink) -> llvm::Error {
    if (llvm::Error error = sink({1, 2, 3})) return error;
    return sink({4, 5, 6, 7, 8});
  });
  const std::string path = folder.file("a.gguf");
  ASSERT_EQ(message(writer.write(path)), "");

  const File file = value_of(File::open(path));
  ASSERT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(file.tensors()[0].shape, (std::vector<uint64_t>{32, 3}));
  EXPECT_EQ(file.tensors()[0].type(), WeightType::kQ4_0);
  EXPECT_EQ(file.data(file.tensors()[0]).vec(), blocks);
  EXPECT_EQ(file.data(*file.find_tensor("second")).vec(),
            (std::vector<uint8_t>{1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(Writer, ReplacesAnOlderFile) {
  TempFolder folder;
  const std::string path = folder.write("a.gguf", "old");
  ASSERT_EQ(message(Writer().write(path)), "");
  EXPECT_EQ(open_error(path).second, "");
  EXPECT_EQ(files_in(folder.file("")), 1u);
}

TEST(Writer, LeavesNothingBehindWhenAProducerFails) {
  TempFolder folder;
  const std::string path = folder.write("a.gguf", "old");
  Writer failing;
  failing.add_tensor("t", {1}, WeightType::kF32,
                     [](const Writer::Sink&) { return fail(ExitCode::kFailed, "no weights"); });
  EXPECT_EQ(message(failing.write(path)), "no weights");
  Writer wrong_size;
  wrong_size.add_tensor("t", {1}, WeightType::kF32, std::vector<uint8_t>(5));
  EXPECT_EQ(message(wrong_size.write(path)), path + ": tensor t gave 5 bytes instead of 4");
  EXPECT_EQ(files_in(folder.file("")), 1u);
  EXPECT_EQ(std::filesystem::file_size(path), 3u);
}

TEST(Writer, SaysWhyItCannotWrite) {
  TempFolder folder;
  const std::string path = folder.file("absent/a.gguf");
  EXPECT_EQ(message(Writer().write(path)), path + ": cannot write: No such file or directory");
  Writer ragged;
  ragged.add_tensor("t", {33}, WeightType::kQ4_0, std::vector<uint8_t>(18));
  EXPECT_EQ(message(ragged.write(path)), path + ": tensor t has no rows of whole q4_0 blocks");
}

// A file size limit stands in for a full disk: both fail in the middle of a write.
TEST(Writer, ReportsAFullDisk) {
  TempFolder folder;
  const std::string path = folder.file("a.gguf");
  Writer writer;
  writer.add_tensor("t", {1 << 20}, WeightType::kF32, std::vector<uint8_t>(4 << 20));
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit = {1 << 20, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const std::string text = message(writer.write(path));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(text, path + ": cannot write: File too large");
  EXPECT_EQ(files_in(folder.file("")), 0u);
}

}  // namespace
}  // namespace jllm::gguf
