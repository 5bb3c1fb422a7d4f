// The Jetson modules by part number, and the releases of their system: what jllm doctor compares a
// machine with.
#pragma once

#include <cstdint>
#include <string>

namespace jllm::tool {

struct Module {
  const char* part;    // "p3767-0003"; a prefix of the part number where memory tells the rest
  uint64_t least_mib;  // of memory that the system sees
  const char* target;  // as jllmc compile --target takes it
  const char* name;
  uint32_t compute_capability;  // 87 for 8.7
  uint32_t sm_count;            // in the power mode that has most
  uint32_t visible_mib;         // of the memory, with its own firmware; 0: not known
  double memory_mhz;            // in the power mode that has most; 0: not known
};

// By the part number in /proc/device-tree/compatible, and by memory where modules of several sizes
// have the same; null: not known.
const Module* find_module(const std::string& part, uint64_t total_mib);
// As they were sold, first to last; `count` is set.
const Module* all_modules(size_t* count);

// A release of Jetson Linux.
struct L4t {
  unsigned major = 0, minor = 0, patch = 0;  // 36.4.3; all 0: not known

  bool is_known() const { return major > 0; }
  bool is_before(const L4t& other) const;
  std::string text() const;
};

// From /etc/nv_tegra_release: "# R36 (release), REVISION: 4.3, ...".
L4t parse_l4t(const std::string& text);
// "6.2" for 36.4.3; only "6" where the release is not in the table; empty where not even that.
std::string jetpack_of(const L4t& release);

// Why not to use a release, and what to use instead.
struct BadRelease {
  L4t release;
  const char* instead;
};
// Null for the others.
const BadRelease* find_bad(const L4t& release);

}  // namespace jllm::tool
