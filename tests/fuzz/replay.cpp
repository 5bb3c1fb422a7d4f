// Runs a fuzz target over files and over all files of folders: what a compiler without libFuzzer
// offers of it. Each input is run whole and, because that costs little, cut off in several places.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "tests/fuzz/fuzz.h"

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_of(const fs::path& path) {
  if (!fs::is_directory(path)) return {path};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

size_t run(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  size_t runs = 0;
  for (size_t eighth = 8; eighth > 0; --eighth, ++runs) {
    LLVMFuzzerTestOneInput(data, bytes.size() * eighth / 8);
  }
  return runs;
}

}  // namespace

int main(int argc, char** argv) {
  size_t files = 0, runs = 0;
  for (int i = 1; i < argc; ++i) {
    for (const fs::path& path : files_of(argv[i])) {
      std::cerr << path.filename().string() << "\n";
      runs += run(path);
      ++files;
    }
  }
  std::cout << files << " inputs, " << runs << " runs\n";
  return files > 0 ? 0 : 1;  // no input at all: looked in the wrong place
}
