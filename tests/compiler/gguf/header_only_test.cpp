// Files that end before their tensors do: refused, unless opened for their header alone.
#include <gtest/gtest.h>

#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm::gguf {
namespace {

// Two tensors of 8 floats; the data section has 64 bytes.
std::string two_tensors() {
  RawFile raw_file;
  raw_file.values = {raw_value("general.name", ValueType::kString, raw_string("two"))};
  raw_file.tensors = {{"a", {8}, 0, 0}, {"b", {4, 2}, 0, 32}};
  raw_file.data = std::string(32, 'a') + std::string(32, 'b');
  return raw_file.bytes();
}

constexpr OpenOptions kHeaderOnly = {true};

TEST(HeaderOnly, TakesAFileThatEndsBeforeItsTensors) {
  TempFolder folder;
  const std::string whole = two_tensors();
  for (const size_t missing : {1, 32, 33, 64}) {
    const std::string path = folder.write("a.gguf", whole.substr(0, whole.size() - missing));
    EXPECT_EQ(open_error(path).first, ExitCode::kInvalidFile) << missing;
    const File file = value_of(File::open(path, kHeaderOnly));
    ASSERT_EQ(file.tensors().size(), 2u);
    EXPECT_EQ(file.find_tensor("b")->byte_size, 32u);
    EXPECT_EQ(value_of(file.get_string("general.name")), "two");
    EXPECT_EQ(file.has_data(*file.find_tensor("a")), missing <= 32) << missing;
    EXPECT_FALSE(file.has_data(*file.find_tensor("b")));
  }
}

TEST(HeaderOnly, AWholeFileHasItsData) {
  TempFolder folder;
  const File file = value_of(File::open(folder.write("a.gguf", two_tensors()), kHeaderOnly));
  ASSERT_TRUE(file.has_data(*file.find_tensor("b")));
  EXPECT_EQ(file.data(*file.find_tensor("b"))[0], 'b');
}

TEST(HeaderOnly, TheHeaderItselfMustBeWhole) {
  TempFolder folder;
  const std::string whole = two_tensors();
  const size_t header = whole.size() - 64;
  for (size_t size = 0; size + 32 < header; ++size) {
    auto file = File::open(folder.write("a.gguf", whole.substr(0, size)), kHeaderOnly);
    ASSERT_FALSE(static_cast<bool>(file)) << size;
    EXPECT_EQ(take_error(file.takeError()).first, ExitCode::kInvalidFile);
  }
}

TEST(HeaderOnly, OtherDamageIsStillRefused) {
  TempFolder folder;
  RawFile raw_file;
  raw_file.tensors = {{"a", {8}, 0, 0}, {"b", {8}, 0, 0}};
  const std::string path = folder.write("a.gguf", raw_file.bytes());
  EXPECT_EQ(error_of(File::open(path, kHeaderOnly)),
            "tensors a and b overlap; the file is damaged");
}

}  // namespace
}  // namespace jllm::gguf
