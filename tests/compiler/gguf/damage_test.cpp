// The reader on bad files: every kind of damage has its own message, and none crashes.
#include <gtest/gtest.h>

#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm::gguf {
namespace {

struct Case {
  std::string name;
  std::string bytes;
  std::string error;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::string with_tensor(RawTensor tensor, const std::string& data = std::string(32, 'x')) {
  RawFile file;
  file.tensors = {std::move(tensor)};
  file.data = data;
  return file.bytes();
}

std::string with_tensors(std::vector<RawTensor> tensors, size_t data_bytes) {
  RawFile file;
  file.tensors = std::move(tensors);
  file.data = std::string(data_bytes, 'x');
  return file.bytes();
}

std::string with_value(const std::string& value) {
  RawFile file;
  file.values = {value};
  return file.bytes();
}

std::string with_version(uint32_t version) {
  RawFile file;
  file.version = version;
  return file.bytes();
}

std::string with_counts(int64_t values, int64_t tensors) {
  RawFile file;
  file.value_count = values;
  file.tensor_count = tensors;
  return file.bytes();
}

std::vector<Case> header_cases() {
  return {
      {"Empty", "", "is empty; is the download complete?"},
      {"Short", "GG", "is not a GGUF file: it starts with 'GG' instead of 'GGUF'"},
      {"Magic",
       "\x7f"
       "ELF....",
       "is not a GGUF file: it starts with '\\7FELF' instead of 'GGUF'"},
      {"Ggml", "tjgg....", "is in a format from before GGUF; convert the model again"},
      {"LfsPointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
       "is a Git LFS pointer, not the model; fetch it with 'git lfs pull'"},
      {"WebPage", "<!DOCTYPE html><html>", "is a web page, not a model; download the file itself"},
      {"VersionZero", with_version(0), "has GGUF version 0; jllm reads versions 2 and 3"},
      {"VersionOne", with_version(1),
       "has GGUF version 1, which has not been written since 2023; jllm reads versions 2 and 3: "
       "convert the model again"},
      {"VersionFour", with_version(4), "has GGUF version 4; jllm reads versions 2 and 3"},
      {"BigEndian", with_version(3u << 24),
       "is a big-endian GGUF file; jllm reads little-endian files: convert it with "
       "gguf_convert_endian.py from the gguf Python package"},
      // CVE-2024-21802, CVE-2024-23496 and their kin: counts used before they were checked.
      {"ValueCount", with_counts(INT64_MAX, 0),
       "claims 9,223,372,036,854,775,807 metadata values, more than its 24 bytes can hold; the "
       "file is damaged"},
      {"TensorCount", with_counts(0, INT64_MAX),
       "claims 9,223,372,036,854,775,807 tensors, more than its 24 bytes can hold; the file is "
       "damaged"},
      {"OneTensorTooMany", with_counts(0, 1),
       "claims 1 tensors, more than its 24 bytes can hold; the file is damaged"},
  };
}

std::vector<Case> metadata_cases() {
  const std::string huge_key = raw(UINT64_MAX) + std::string(20, 'k');
  RawFile twice;
  twice.values = {raw_value("k", ValueType::kU8, "a"), raw_value("l", ValueType::kU8, "a"),
                  raw_value("k", ValueType::kU8, "b")};
  const std::string alignment = "general.alignment";
  return {
      {"KeyLength", with_value(huge_key),
       "the file ends inside the key of metadata value 0, at byte 24; is the download complete?"},
      {"EmptyKey", with_value(raw_value("", ValueType::kU64, raw(uint64_t{0}))),
       "metadata value 0 has an empty key"},
      {"LongKey", with_value(raw_value(std::string(65536, 'k'), ValueType::kU8, "a")),
       "the key of metadata value 0 has 65,536 bytes; the format allows 65,535"},
      {"DuplicateKey", twice.bytes(), "key k appears twice; the file is damaged"},
      {"ValueType", with_value(raw_value("k", 13, "abcd")),
       "key k has the unknown value type 13; the file is damaged or newer than jllm"},
      {"Bool", with_value(raw_value("k", ValueType::kBool, "\x02")),
       "key k is a bool with the value 2; the file is damaged"},
      {"StringLength", with_value(raw_value("k", ValueType::kString, raw(UINT64_MAX - 8) + "abc")),
       "the file ends inside key k, at byte 37; is the download complete?"},
      {"ArrayCount",
       with_value(raw_value("k", ValueType::kArray, raw_array(ValueType::kU64, 1ull << 61, ""))),
       "key k claims an array of 2,305,843,009,213,693,952 elements, but only 0 bytes are left; "
       "is the download complete?"},
      {"StringArrayCount",
       with_value(raw_value("k", ValueType::kArray,
                            raw_array(ValueType::kString, 3, std::string(16, '\0')))),
       "key k claims an array of 3 elements, but only 16 bytes are left; is the download "
       "complete?"},
      {"StringInArray",
       with_value(raw_value("k", ValueType::kArray,
                            raw_array(ValueType::kString, 2, raw_string("a") + raw(uint64_t{9})))),
       "the file ends inside element 1 of key k, at byte 58; is the download complete?"},
      {"ElementType",
       with_value(raw_value("k", ValueType::kArray, raw(uint32_t{77}) + raw(uint64_t{0}))),
       "key k is an array of the unknown value type 77; the file is damaged or newer than jllm"},
      {"NestedArray",
       with_value(raw_value("k", ValueType::kArray, raw_array(ValueType::kArray, 0, ""))),
       "key k is an array of arrays, which GGUF readers do not take"},
      {"AlignmentZero", with_value(raw_value(alignment, ValueType::kU32, raw(uint32_t{0}))),
       "key general.alignment is 0; it must be a power of two up to 65,536"},
      {"AlignmentOdd", with_value(raw_value(alignment, ValueType::kU32, raw(uint32_t{48}))),
       "key general.alignment is 48; it must be a power of two up to 65,536"},
      {"AlignmentHuge", with_value(raw_value(alignment, ValueType::kU32, raw(uint32_t{1} << 30))),
       "key general.alignment is 1,073,741,824; it must be a power of two up to 65,536"},
      {"AlignmentType", with_value(raw_value(alignment, ValueType::kString, raw_string("32"))),
       "key general.alignment has type string instead of u32; the file is damaged"},
  };
}

std::vector<Case> tensor_cases() {
  const std::string long_name(128, 'n');
  RawFile truncated_info;
  truncated_info.tensors = {{"t", {4}, 1, 0}};
  std::string cut = truncated_info.bytes();
  // The same bytes with one dimension more: the offset is missing.
  cut[24 + 9] = 2;
  return {
      {"EmptyName", with_tensor({"", {4}, 0, 0}), "tensor 0 has an empty name"},
      {"LongName", with_tensor({long_name, {4}, 0, 0}),
       "the name of tensor 0 has 128 bytes; jllm reads at most 127"},
      {"NoDimensions", with_tensor({"t", {}, 0, 0}),
       "tensor t has 0 dimensions; a tensor has 1 to 4"},
      {"FiveDimensions", with_tensor({"t", {1, 1, 1, 1, 1}, 0, 0}),
       "tensor t has 5 dimensions; a tensor has 1 to 4"},
      {"InfoEnds", cut, "the file ends inside tensor t, at byte 57; is the download complete?"},
      // ggml c2cdd2b2: an extent of 0 became a division by zero.
      {"EmptyDimension", with_tensor({"t", {4, 0}, 0, 0}), "tensor t has an empty dimension 1"},
      // CVE-2026-33298: the product of the extents wraps around.
      {"ElementCount", with_tensor({"t", {1ull << 32, 1ull << 32}, 0, 0}),
       "tensor t has more elements than 64 bits can address; the file is damaged"},
      {"NegativeDimension", with_tensor({"t", {UINT64_MAX}, 0, 0}),
       "tensor t has more elements than 64 bits can address; the file is damaged"},
      {"ByteCount", with_tensor({"t", {1ull << 62}, 0, 0}),
       "tensor t has more bytes than 64 bits can address; the file is damaged"},
      {"PartOfABlock", with_tensor({"t", {48}, 2, 0}),
       "tensor t has rows of 48 elements, which the blocks of 32 (q4_0) do not divide"},
      {"Misaligned", with_tensor({"t", {4}, 0, 16}),
       "tensor t starts at offset 16, which is not a multiple of the alignment 32"},
      // CVE-2026-7482: bytes beyond the file read as weights.
      {"BeyondTheEnd", with_tensor({"blk.3.ffn_up.weight", {309}, 0, 0}),
       "tensor blk.3.ffn_up.weight lies beyond the end of the file: needs 1,204 bytes more; is "
       "the download complete?"},
      {"OffsetBeyondTheEnd", with_tensor({"t", {4}, 0, 1 << 20}),
       "tensor t lies beyond the end of the file: needs 1,048,560 bytes more; is the download "
       "complete?"},
      // CVE-2025-53630: offset + size wraps around.
      {"OffsetWraps", with_tensor({"t", {4}, 0, UINT64_MAX - 31}),
       "tensor t ends beyond 64 bits; the file is damaged"},
      {"SizeWraps", with_tensor({"t", {1ull << 61}, 0, 1ull << 63}),
       "tensor t ends beyond 64 bits; the file is damaged"},
      {"Overlap", with_tensors({{"b", {8}, 0, 32}, {"a", {9}, 0, 0}}, 64),
       "tensors a and b overlap; the file is damaged"},
      {"SamePlace", with_tensors({{"a", {8}, 0, 0}, {"b", {8}, 0, 0}}, 64),
       "tensors a and b overlap; the file is damaged"},
      {"SamePlaceOtherType", with_tensors({{"a", {8}, 99, 0}, {"b", {8}, 99, 0}}, 64),
       "tensors a and b overlap; the file is damaged"},
      {"OtherTypeBeyondTheEnd", with_tensor({"t", {8}, 99, 32}),
       "tensor t lies beyond the end of the file: needs 1 bytes more; is the download complete?"},
      {"DuplicateName", with_tensors({{"a", {8}, 0, 0}, {"b", {8}, 0, 32}, {"a", {8}, 0, 64}}, 96),
       "tensor a appears twice; the file is damaged"},
      {"UnprintableName", with_tensors({{"\x1b[2J", {9}, 0, 0}}, 32),
       "tensor \\1B[2J lies beyond the end of the file: needs 4 bytes more; is the download "
       "complete?"},
  };
}

class Damage : public ::testing::TestWithParam<Case> {};

TEST_P(Damage, IsNamed) {
  TempFolder folder;
  const auto [code, text] = open_error(folder.write("a.gguf", GetParam().bytes));
  EXPECT_EQ(text, GetParam().error);
  EXPECT_EQ(code, ExitCode::kInvalidFile);
}

std::string case_name(const ::testing::TestParamInfo<Case>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Header, Damage, ::testing::ValuesIn(header_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Metadata, Damage, ::testing::ValuesIn(metadata_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Tensor, Damage, ::testing::ValuesIn(tensor_cases()), case_name);

}  // namespace
}  // namespace jllm::gguf
