// One small file with every length cut and every byte of its header changed: the exact error of
// each. JLLM_NEW_GOLDEN=tests/golden/gguf_bytes.txt build/tests/gguf_test
// --gtest_filter='DamageTables.*' writes the table of bytes anew; read what has changed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <sstream>

#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm::gguf {
namespace {

constexpr size_t kDataBytes = 76;

RawFile small_model() {
  RawFile file;
  file.values = {
      raw_value("general.architecture", ValueType::kString, raw_string("llama")),
      raw_value("general.alignment", ValueType::kU32, raw(uint32_t{32})),
      raw_value("tokens", ValueType::kArray,
                raw_array(ValueType::kString, 2, raw_string("a") + raw_string("bc"))),
      raw_value("scores", ValueType::kArray, raw_array(ValueType::kF32, 2, raw(1.f) + raw(2.f))),
  };
  file.tensors = {{"a", {32, 2}, 2, 0}, {"b", {3}, 0, 64}};
  file.data = std::string(kDataBytes, 'x');
  return file;
}

// Reads all that a file offers, as a sanitizer's bait.
uint64_t touch_everything(const File& file) {
  uint64_t sum = 0;
  for (const TensorInfo& tensor : file.tensors()) {
    for (uint8_t byte : file.data(tensor)) sum += byte;
  }
  for (const std::string& key : file.keys()) {
    llvm::consumeError(file.get_u64(key).takeError());
    llvm::consumeError(file.get_f64(key).takeError());
    if (auto text = file.get_string(key)) {
      for (char c : *text) sum += static_cast<uint8_t>(c);
    } else {
      llvm::consumeError(text.takeError());
    }
    if (auto texts = file.get_string_array(key)) {
      for (llvm::StringRef text : *texts) sum += text.size();
    } else {
      llvm::consumeError(texts.takeError());
    }
    llvm::consumeError(file.get_u64_array(key).takeError());
    llvm::consumeError(file.get_f64_array(key).takeError());
  }
  return sum;
}

struct Cut {
  size_t from;       // the first size with this error
  std::string text;  // SIZE: of the file; LEFT: behind the first; MISSING: up to 364
};

std::string claims(const char* what) {
  return std::string("claims ") + what + ", more than its SIZE bytes can hold; the file is damaged";
}

std::string ends(const char* where, size_t at) {
  return std::string("the file ends inside ") + where + ", at byte " + std::to_string(at) +
         "; is the download complete?";
}

std::string short_array(const char* key) {
  return std::string("key ") + key +
         " claims an array of 2 elements, but only LEFT bytes are left; is the download complete?";
}

std::string no_gguf(const char* start) {
  return std::string("is not a GGUF file: it starts with '") + start + "' instead of 'GGUF'";
}

std::string beyond(const char* tensor) {
  return std::string("tensor ") + tensor +
         " lies beyond the end of the file: needs MISSING bytes more; is the download complete?";
}

// By what ends where: the header's 24 bytes, four metadata values, two tensors, their data.
std::vector<Cut> cuts() {
  return {
      {0, "is empty; is the download complete?"},
      {1, no_gguf("G")},
      {2, no_gguf("GG")},
      {3, no_gguf("GGU")},
      {4, ends("the header", 4)},
      {8, ends("the header", 8)},
      {16, ends("the header", 16)},
      {24, claims("4 metadata values")},  // of 14 bytes at least
      {80, claims("2 tensors")},          // of 33
      {90, ends("the key of metadata value 1", 69)},
      {94, ends("key general.alignment", 94)},
      {98, ends("key general.alignment", 98)},
      {102, ends("the key of metadata value 2", 102)},
      {116, ends("key tokens", 116)},
      {120, ends("key tokens", 120)},
      {124, ends("key tokens", 124)},
      {132, short_array("tokens")},  // strings take 8 bytes at least
      {148, ends("element 1 of key tokens", 141)},
      {151, ends("the key of metadata value 3", 151)},
      {165, ends("key scores", 165)},
      {169, ends("key scores", 169)},
      {173, ends("key scores", 173)},
      {181, short_array("scores")},
      {189, ends("the name of tensor 0", 189)},
      {198, ends("tensor a", 198)},
      {202, ends("tensor a", 202)},
      {210, ends("tensor a", 210)},
      {218, ends("tensor a", 218)},
      {222, ends("tensor a", 222)},
      {230, ends("the name of tensor 1", 230)},
      {239, ends("tensor b", 239)},
      {243, ends("tensor b", 243)},
      {251, ends("tensor b", 251)},
      {255, ends("tensor b", 255)},
      {263, beyond("a")},
      {324, beyond("b")},
  };
}

std::string replaced(std::string text, const std::string& word, size_t number) {
  const size_t at = text.find(word);
  return at == std::string::npos ? text : text.replace(at, word.size(), std::to_string(number));
}

TEST(DamageTables, EveryLength) {
  TempFolder folder;
  const std::string whole = small_model().bytes();
  EXPECT_EQ(open_error(folder.write("whole.gguf", whole)).second, "");
  const std::vector<Cut> table = cuts();
  for (size_t size = 0; size < whole.size(); ++size) {
    const Cut& cut = *std::prev(
        std::find_if(table.begin(), table.end(), [&](const Cut& c) { return c.from > size; }));
    // Tensor a's data ends 324 bytes into the file, where the room for b begins.
    const size_t end = cut.from == 263 ? 324 : whole.size();
    std::string expected = replaced(cut.text, "SIZE", size);
    expected = replaced(replaced(expected, "LEFT", size - cut.from), "MISSING", end - size);
    const auto [code, text] = open_error(folder.write("a.gguf", whole.substr(0, size)));
    EXPECT_EQ(text, expected) << size << " bytes";
    EXPECT_EQ(code, ExitCode::kInvalidFile) << size << " bytes";
  }
}

// "OFFSET VALUE... | error", or "opens": what a byte makes of the file when it is changed to these.
std::string table_of_bytes() {
  const TempFolder folder;
  const std::string whole = small_model().bytes();
  std::ostringstream table;
  for (size_t i = 0; i < whole.size() - kDataBytes; ++i) {
    std::map<std::string, std::string> values;  // by error
    for (const char* value : {"00", "01", "7f", "80", "ff"}) {
      std::string bytes = whole;
      bytes[i] = static_cast<char>(std::stoi(value, nullptr, 16));
      const std::string path = folder.write("a.gguf", bytes);
      const auto [code, text] = open_error(path);
      EXPECT_EQ(code, text.empty() ? ExitCode::kDone : ExitCode::kInvalidFile) << text;
      if (text.empty()) touch_everything(value_of(File::open(path)));
      values[text.empty() ? "opens" : text] += std::string(" ") + value;
    }
    for (const auto& [text, list] : values) table << i << list << " | " << text << "\n";
  }
  return table.str();
}

std::vector<std::string> lines_of(std::istream& in) {
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(DamageTables, EveryByte) {
  const std::string table = table_of_bytes();
  if (const char* path = std::getenv("JLLM_NEW_GOLDEN")) {
    std::ofstream(path) << table;
    GTEST_SKIP() << path << " was written";
  }
  std::istringstream found(table);
  std::ifstream golden(JLLM_GOLDEN_BYTES);
  const std::vector<std::string> expected = lines_of(golden), lines = lines_of(found);
  ASSERT_EQ(lines.size(), expected.size());
  for (size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(lines[i], expected[i]);
}

TEST(DamageTables, NoRandomMutationCrashes) {
  TempFolder folder;
  const std::string whole = small_model().bytes();
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = whole;
    for (int change = 0; change < 1 + round % 4; ++change) {
      bytes[8 + random() % (bytes.size() - 8)] = static_cast<char>(random());
    }
    llvm::Expected<File> file = File::open(folder.write("a.gguf", bytes));
    if (file) {
      touch_everything(*file);
    } else {
      EXPECT_EQ(take_error(file.takeError()).first, ExitCode::kInvalidFile);
    }
  }
}

}  // namespace
}  // namespace jllm::gguf
