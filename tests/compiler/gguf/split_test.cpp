// Models in several files.
#include <gtest/gtest.h>

#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm::gguf {
namespace {

RawFile part(uint16_t number, uint16_t count, const std::string& tensor, int32_t total) {
  RawFile raw_file;
  raw_file.values = {
      raw_value("split.no", ValueType::kU16, raw(number)),
      raw_value("split.count", ValueType::kU16, raw(count)),
      raw_value("split.tensors.count", ValueType::kI32, raw(total)),
  };
  raw_file.tensors = {{tensor, {1}, 0, 0}};
  raw_file.data = raw(float(number) + 1);
  return raw_file;
}

class Split : public ::testing::Test {
 protected:
  void SetUp() override {
    write(1, part(0, 3, "a", 3));
    write(2, part(1, 3, "b", 3));
    write(3, part(2, 3, "c", 3));
  }
  std::string name(int number) { return "m-0000" + std::to_string(number) + "-of-00003.gguf"; }
  void write(int number, const RawFile& file) { folder_.write(name(number), file.bytes()); }
  std::pair<ExitCode, std::string> error(int number = 1) {
    return open_error(folder_.file(name(number)));
  }

  TempFolder folder_;
};

TEST_F(Split, PutsThePartsTogether) {
  const File file = value_of(File::open(folder_.file(name(1))));
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.file_bytes(), 3 * part(0, 3, "a", 3).bytes().size());
  const TensorInfo* c = file.find_tensor("c");
  ASSERT_NE(c, nullptr);
  EXPECT_EQ(c->part, 2u);
  EXPECT_EQ(file.data(*c)[2], 0x40);  // the high bytes of 3.0f
}

TEST_F(Split, WantsTheFirstPart) {
  EXPECT_EQ(error(2), std::pair(ExitCode::kInvalidFile,
                                "is part 2 of 3 of a split model; open the first part, " +
                                    folder_.file(name(1))));
}

TEST_F(Split, WantsEveryPart) {
  std::filesystem::remove(folder_.file(name(3)));
  const auto [code, text] = error();
  EXPECT_EQ(code, ExitCode::kFailed);
  EXPECT_EQ(text, folder_.file(name(3)) + ": cannot open: No such file or directory");
}

TEST_F(Split, WantsTheOriginalNames) {
  const std::string path = folder_.write("model.gguf", part(0, 3, "a", 3).bytes());
  EXPECT_EQ(open_error(path).second,
            "is part 1 of 3 of a split model, so its name must end in -00001-of-00003.gguf; give "
            "the parts their original names");
}

TEST_F(Split, RefusesAPartOfAnotherModel) {
  write(2, part(2, 3, "b", 3));
  EXPECT_EQ(error().second,
            folder_.file(name(2)) + ": does not say that it is part 2 of 3; fetch the parts again");
}

TEST_F(Split, RefusesATensorThatTwoPartsHold) {
  write(3, part(2, 3, "a", 3));
  EXPECT_EQ(error().second, "tensor a appears twice; the file is damaged");
}

TEST_F(Split, RefusesAWrongTotal) {
  write(1, part(0, 3, "a", 4));
  EXPECT_EQ(error().second, "the 3 parts hold 3 tensors instead of 4; fetch the parts again");
}

TEST_F(Split, ReportsTheDamagedPart) {
  folder_.write(name(2), "GGUX");
  EXPECT_EQ(error().second, folder_.file(name(2)) +
                                ": is not a GGUF file: it starts with 'GGUX' instead of 'GGUF'");
}

}  // namespace
}  // namespace jllm::gguf
