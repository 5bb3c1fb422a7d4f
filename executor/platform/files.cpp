#include "executor/platform/files.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace jllm::platform {

namespace fs = std::filesystem;

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back()))) line.pop_back();
  return line;
}

std::string whole_file(const std::string& path) {
  constexpr size_t kMost = 1 << 20;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  char part[4096];
  while (text.size() < kMost && (file.read(part, sizeof part), file.gcount() > 0)) {
    text.append(part, static_cast<size_t>(file.gcount()));
  }
  return text;
}

std::optional<int64_t> number_in(const std::string& path) {
  const std::string line = first_line(path);
  char* end = nullptr;
  errno = 0;
  const long long value = std::strtoll(line.c_str(), &end, 10);
  if (line.empty() || *end != 0 || errno != 0) return std::nullopt;
  return value;
}

std::vector<std::string> names_in(const std::string& folder, const std::string& prefix) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.rfind(prefix, 0) == 0) names.push_back(name);
  }
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  });
  return names;
}

}  // namespace jllm::platform
