// The small files of /proc, /sys and /etc: read whole, and without a value when they are absent,
// unreadable or hold something else than they should.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace jllm::platform {

// Without the white space at its end; empty when it cannot be read.
std::string first_line(const std::string& path);
// The whole file, of a mebibyte at most; empty when it cannot be read.
std::string whole_file(const std::string& path);
// A file with one whole number and nothing else.
std::optional<int64_t> number_in(const std::string& path);
// Names in a folder that begin with `prefix`; those that end in numbers in the numbers' order.
std::vector<std::string> names_in(const std::string& folder, const std::string& prefix);

}  // namespace jllm::platform
