// The reader on good files: every value type, both versions, alignment, types of other programs.
#include "compiler/gguf/file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "compiler/gguf/type_table.h"
#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm::gguf {
namespace {

RawFile every_value_type() {
  RawFile raw_file;
  raw_file.values = {
      raw_value("u8", ValueType::kU8, raw(uint8_t{200})),
      raw_value("i8", ValueType::kI8, raw(int8_t{-5})),
      raw_value("u16", ValueType::kU16, raw(uint16_t{60000})),
      raw_value("i16", ValueType::kI16, raw(int16_t{300})),
      raw_value("u32", ValueType::kU32, raw(uint32_t{4000000000})),
      raw_value("i32", ValueType::kI32, raw(int32_t{-70000})),
      raw_value("f32", ValueType::kF32, raw(0.5f)),
      raw_value("bool", ValueType::kBool, raw(uint8_t{1})),
      raw_value("string", ValueType::kString, raw_string("héllo")),
      raw_value("u64", ValueType::kU64, raw(UINT64_MAX)),
      raw_value("i64", ValueType::kI64, raw(int64_t{1} << 40)),
      raw_value("f64", ValueType::kF64, raw(1e-300)),
      raw_value(
          "strings", ValueType::kArray,
          raw_array(ValueType::kString, 3, raw_string("a") + raw_string("") + raw_string("ccc"))),
      raw_value("i32s", ValueType::kArray,
                raw_array(ValueType::kI32, 2, raw(int32_t{7}) + raw(int32_t{9}))),
      raw_value("negatives", ValueType::kArray,
                raw_array(ValueType::kI32, 2, raw(int32_t{7}) + raw(int32_t{-9}))),
      raw_value("bools", ValueType::kArray,
                raw_array(ValueType::kBool, 2, raw(uint8_t{0}) + raw(uint8_t{1}))),
      raw_value("f32s", ValueType::kArray, raw_array(ValueType::kF32, 2, raw(1.5f) + raw(-2.0f))),
      raw_value("empty", ValueType::kArray, raw_array(ValueType::kU8, 0, "")),
  };
  return raw_file;
}

TEST(File, ReadsEveryValueType) {
  TempFolder folder;
  const File file = value_of(File::open(folder.write("a.gguf", every_value_type().bytes())));
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.alignment(), 32u);
  EXPECT_EQ(file.file_bytes(), every_value_type().bytes().size());
  EXPECT_EQ(file.keys().size(), 18u);
  EXPECT_EQ(file.keys()[2], "u16");

  EXPECT_EQ(value_of(file.get_u64("u8")), 200u);
  EXPECT_EQ(value_of(file.get_u64("u16")), 60000u);
  EXPECT_EQ(value_of(file.get_u64("i16")), 300u);
  EXPECT_EQ(value_of(file.get_u64("u32")), 4000000000u);
  EXPECT_EQ(value_of(file.get_u64("u64")), UINT64_MAX);
  EXPECT_EQ(value_of(file.get_u64("i64")), uint64_t{1} << 40);
  EXPECT_EQ(value_of(file.get_f64("i8")), -5.0);
  EXPECT_EQ(value_of(file.get_f64("i32")), -70000.0);
  EXPECT_EQ(value_of(file.get_f64("f32")), 0.5);
  EXPECT_EQ(value_of(file.get_f64("f64")), 1e-300);
  EXPECT_EQ(value_of(file.get_f64("u16")), 60000.0);
  EXPECT_TRUE(value_of(file.get_bool("bool")));
  EXPECT_EQ(value_of(file.get_string("string")), "héllo");
  EXPECT_EQ(value_of(file.get_string_array("strings")),
            (std::vector<llvm::StringRef>{"a", "", "ccc"}));
  EXPECT_EQ(value_of(file.get_u64_array("i32s")), (std::vector<uint64_t>{7, 9}));
  EXPECT_EQ(value_of(file.get_u64_array("bools")), (std::vector<uint64_t>{0, 1}));
  EXPECT_EQ(value_of(file.get_f64_array("f32s")), (std::vector<double>{1.5, -2.0}));
  EXPECT_EQ(value_of(file.get_f64_array("negatives")), (std::vector<double>{7, -9}));
  EXPECT_TRUE(value_of(file.get_u64_array("empty")).empty());

  EXPECT_EQ(file.value_type("f64"), ValueType::kF64);
  EXPECT_EQ(file.value_type("absent"), std::nullopt);
  EXPECT_EQ(file.array_shape("strings"), std::pair(ValueType::kString, uint64_t{3}));
  EXPECT_EQ(file.array_shape("string"), std::nullopt);
}

TEST(File, NamesTheKeyOfAMissingOrUnfitValue) {
  TempFolder folder;
  const File file = value_of(File::open(folder.write("a.gguf", every_value_type().bytes())));
  EXPECT_EQ(error_of(file.get_u64("llama.block_count")),
            "key llama.block_count is missing; is the file a complete language model?");
  EXPECT_EQ(error_of(file.get_u64("string")),
            "key string has type string where an integer is expected; the file is damaged or "
            "unusual");
  EXPECT_EQ(error_of(file.get_u64("i32")), "key i32 is -70000, but must not be negative");
  EXPECT_EQ(error_of(file.get_string("strings")),
            "key strings has type array of string where a string is expected; the file is damaged "
            "or unusual");
  // CVE-like: arrays that were cast without a look at their element type.
  EXPECT_EQ(error_of(file.get_f64_array("strings")),
            "key strings has type array of string where an array of numbers is expected; the file "
            "is damaged or unusual");
  EXPECT_EQ(error_of(file.get_u64_array("f32s")),
            "key f32s has type array of f32 where an array of integers is expected; the file is "
            "damaged or unusual");
  EXPECT_EQ(error_of(file.get_string_array("u32")),
            "key u32 has type u32 where an array of strings is expected; the file is damaged or "
            "unusual");
  EXPECT_EQ(error_of(file.get_u64_array("negatives")),
            "element 1 of key negatives is -9, but must not be negative");
  EXPECT_EQ(error_of(file.get_bool("u8")),
            "key u8 has type u8 where a bool is expected; the file is damaged or unusual");
  EXPECT_EQ(error_of(file.get_f64("bool")),
            "key bool has type bool where a number is expected; the file is damaged or unusual");
}

TEST(File, DefaultsStandInForAbsentValuesOnly) {
  TempFolder folder;
  const File file = value_of(File::open(folder.write("a.gguf", every_value_type().bytes())));
  EXPECT_EQ(value_of(file.get_u64_or("absent", 3)), 3u);
  EXPECT_EQ(value_of(file.get_f64_or("absent", 2.5)), 2.5);
  EXPECT_TRUE(value_of(file.get_bool_or("absent", true)));
  EXPECT_EQ(value_of(file.get_string_or("absent", "none")), "none");
  EXPECT_EQ(value_of(file.get_u64_or("u8", 3)), 200u);
  EXPECT_NE(error_of(file.get_u64_or("string", 3)), "");
}

TEST(File, ReadsVersionTwo) {
  TempFolder folder;
  RawFile raw_file = every_value_type();
  raw_file.version = 2;
  const File file = value_of(File::open(folder.write("a.gguf", raw_file.bytes())));
  EXPECT_EQ(file.version(), 2u);
  EXPECT_EQ(value_of(file.get_u64("u8")), 200u);
}

TEST(File, FindsTensorsAndTheirBytes) {
  TempFolder folder;
  RawFile raw_file;
  raw_file.tensors = {{"b", {4, 2}, 0, 32}, {"a", {2}, 0, 0}};
  raw_file.data = raw(1.0f) + raw(2.0f) + std::string(24, '\0') + std::string(32, 'x');
  const File file = value_of(File::open(folder.write("a.gguf", raw_file.bytes())));
  ASSERT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(file.tensors()[0].name, "b");
  const TensorInfo* a = file.find_tensor("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->shape, std::vector<uint64_t>{2});
  EXPECT_EQ(a->byte_size, 8u);
  float values[2];
  std::memcpy(values, file.data(*a).data(), sizeof(values));
  EXPECT_EQ(values[1], 2.0f);
  file.release(*a);
  std::memcpy(values, file.data(*a).data(), sizeof(values));
  EXPECT_EQ(values[1], 2.0f) << "released pages are read again";
  EXPECT_EQ(file.find_tensor("b")->elements(), 8u);
  EXPECT_EQ(file.find_tensor("c"), nullptr);
}

TEST(File, HonoursTheAlignmentKey) {
  TempFolder folder;
  for (uint32_t alignment : {1u, 8u, 64u, 4096u, 65536u}) {
    RawFile raw_file;
    raw_file.values = {raw_value("general.alignment", ValueType::kU32, raw(alignment))};
    raw_file.tensors = {{"a", {1}, 0, 0}};
    raw_file.alignment = alignment;
    raw_file.data = raw(42.0f);
    const File file = value_of(File::open(folder.write("a.gguf", raw_file.bytes())));
    EXPECT_EQ(file.alignment(), alignment);
    EXPECT_EQ(file.tensors()[0].offset % alignment, 0u);
    EXPECT_EQ(file.data(file.tensors()[0])[3], 0x42);
  }
}

// Types that jllm does not compute with are no damage: the model builder refuses them by name.
TEST(File, KeepsTensorsOfOtherTypes) {
  TempFolder folder;
  RawFile raw_file;
  raw_file.tensors = {{"q5_k", {256}, 13, 0},
                      {"alien", {7}, 99, 192},
                      {"f32", {2}, 0, 224},
                      {"q2_0", {128}, 42, 256}};
  raw_file.data = std::string(256 + 34, 'x');
  const File file = value_of(File::open(folder.write("a.gguf", raw_file.bytes())));
  EXPECT_EQ(file.tensors()[0].byte_size, 176u);
  EXPECT_EQ(file.tensors()[1].byte_size, 0u);
  EXPECT_EQ(file.tensors()[1].type_id, 99u);
  EXPECT_TRUE(file.data(file.tensors()[1]).empty());
  EXPECT_EQ(file.tensors()[3].byte_size, 0u);
}

TEST(File, KeepsAForksLayoutUnderAKnownId) {
  TempFolder folder;
  RawFile raw_file;
  raw_file.tensors = {{"small", {256}, 19, 0}, {"next", {2}, 0, 32}};
  raw_file.data = std::string(32 + 8 + 256, 'x');
  const File file = value_of(File::open(folder.write("a.gguf", raw_file.bytes())));
  EXPECT_EQ(file.tensors()[0].byte_size, 0u);
}

TEST(File, NamesEveryType) {
  EXPECT_EQ(type_name(0), "f32");
  EXPECT_EQ(type_name(4), "q4_2");
  EXPECT_EQ(type_name(13), "q5_k");
  EXPECT_EQ(type_name(23), "iq4_xs");
  EXPECT_EQ(type_name(30), "bf16");
  EXPECT_EQ(type_name(35), "tq2_0");
  EXPECT_EQ(type_name(39), "mxfp4");
  EXPECT_EQ(type_name(42), "q2_0");
  EXPECT_EQ(type_name(43), "type 43");
  EXPECT_EQ(type_name(99), "type 99");
  for (uint32_t id = 0; id < 64; ++id) {
    const auto type = static_cast<WeightType>(id);
    if (block_shape(type).elements == 0) continue;
    EXPECT_EQ(type_name(id), weight_type_name(type));
  }
}

TEST(File, SaysWhyItCannotRead) {
  TempFolder folder;
  EXPECT_EQ(open_error(folder.file("absent.gguf")),
            std::pair(ExitCode::kFailed, std::string("cannot open: No such file or directory")));
  EXPECT_EQ(open_error(folder.file("")).second, "is not a regular file; name a .gguf file");
}

}  // namespace
}  // namespace jllm::gguf
