// Files for tests: a folder that goes away with its test, whole files as bytes, and the optional
// data folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace jllm::test {

class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  std::vector<std::string> entries() const;  // names, sorted

 private:
  std::string path_;
};

// Fails the test (and returns nothing) when the file cannot be read.
std::vector<uint8_t> read_file(const std::string& path);
std::string read_text(const std::string& path);
void write_file(const std::string& path, const void* data, size_t size);
void write_text(const std::string& path, const std::string& text);

// A file of the folder that JLLM_TEST_DATA names; empty when the variable is not set.
std::string test_data(const std::string& name);

#define JLLM_NEEDS_TEST_DATA() \
  if (jllm::test::test_data("").empty()) GTEST_SKIP() << "JLLM_TEST_DATA is not set"

}  // namespace jllm::test
