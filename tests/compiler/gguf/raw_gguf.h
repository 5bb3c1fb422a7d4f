// Building GGUF files field by field, so that tests can also build what no writer would write.
#pragma once

#include <gtest/gtest.h>
#include <llvm/ADT/StringRef.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "compiler/gguf/file.h"
#include "compiler/support/error.h"

namespace jllm::gguf {

// A folder that lives as long as the object.
class TempFolder {
 public:
  TempFolder() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = std::string("jllm-") + test->test_suite_name() + "." + test->name() + "-" +
                       std::to_string(::getpid());
    for (char& c : name) {
      if (c == '/') c = '-';
    }
    path_ = std::filesystem::temp_directory_path() / name;
    std::filesystem::create_directories(path_);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() { std::filesystem::remove_all(path_); }

  std::string file(const std::string& name) const { return path_ / name; }
  std::string write(const std::string& name, const std::string& bytes) const {
    // Some file systems write to disk at once what is written over.
    std::filesystem::remove(file(name));
    std::ofstream(file(name), std::ios::binary) << bytes;
    return file(name);
  }

 private:
  std::filesystem::path path_;
};

template <typename T>
std::string raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

inline std::string raw_string(const std::string& text) { return raw(uint64_t{text.size()}) + text; }

// A metadata value: key, type, encoded value.
inline std::string raw_value(const std::string& key, uint32_t type, const std::string& value) {
  return raw_string(key) + raw(type) + value;
}

inline std::string raw_value(const std::string& key, ValueType type, const std::string& value) {
  return raw_value(key, static_cast<uint32_t>(type), value);
}

inline std::string raw_array(ValueType type, uint64_t count, const std::string& elements) {
  return raw(static_cast<uint32_t>(type)) + raw(count) + elements;
}

struct RawTensor {
  std::string name;
  std::vector<uint64_t> shape;
  uint32_t type = 0;
  uint64_t offset = 0;
};

// Every field of the header can be overridden; data follows at the next multiple of `alignment`.
struct RawFile {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<std::string> values;
  std::vector<RawTensor> tensors;
  std::string data;
  uint64_t alignment = 32;
  int64_t value_count = -1;   // -1: the true count
  int64_t tensor_count = -1;  // -1: the true count

  std::string bytes() const {
    const uint64_t n_tensors = tensor_count < 0 ? tensors.size() : uint64_t(tensor_count);
    const uint64_t n_values = value_count < 0 ? values.size() : uint64_t(value_count);
    std::string out = magic + raw(version) + raw(n_tensors) + raw(n_values);
    for (const std::string& value : values) out += value;
    for (const RawTensor& tensor : tensors) {
      out += raw_string(tensor.name) + raw(static_cast<uint32_t>(tensor.shape.size()));
      for (uint64_t extent : tensor.shape) out += raw(extent);
      out += raw(tensor.type) + raw(tensor.offset);
    }
    if (!data.empty()) out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + data;
  }
};

// Exit code and message of opening `path`; "" when it succeeds. The path itself is cut off.
inline std::pair<ExitCode, std::string> open_error(const std::string& path) {
  llvm::Expected<File> file = File::open(path);
  if (file) return {ExitCode::kDone, ""};
  auto [code, text] = take_error(file.takeError());
  if (text.rfind(path + ": ", 0) == 0) text.erase(0, path.size() + 2);
  return {code, text};
}

// The value of an Expected that must hold one.
template <typename T>
T value_of(llvm::Expected<T> expected) {
  if (expected) return std::move(*expected);
  // Ends the test: there is no value to go on with, and T may have no default.
  throw std::runtime_error(take_error(expected.takeError()).second);
}

// The message of an Expected that must hold an error, without "PATH: ".
template <typename T>
std::string error_of(llvm::Expected<T> expected, ExitCode expected_code = ExitCode::kInvalidFile) {
  if (expected) {
    ADD_FAILURE() << "no error";
    return "";
  }
  auto [code, text] = take_error(expected.takeError());
  EXPECT_EQ(code, expected_code);
  return text.substr(text.find(": ") + 2);
}

}  // namespace jllm::gguf
