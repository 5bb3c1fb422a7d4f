#include "tools/jllm/doctor/modules.h"

#include <cstdio>
#include <iterator>
#include <tuple>

namespace jllm::tool {
namespace {

// Those with the same part number from the largest memory to the smallest.
constexpr Module kModules[] = {
    {"p3448", 0, "jetson-nano-4gb", "Jetson Nano 4GB", 53, 1, 3957, 1600},
    {"p3310", 0, "tx2-8gb", "Jetson TX2 8GB", 62, 2, 7842, 1866},
    {"p3668", 14000, "xavier-nx-16gb", "Jetson Xavier NX 16GB", 72, 6, 0, 1866},
    {"p3668", 0, "xavier-nx-8gb", "Jetson Xavier NX 8GB", 72, 6, 7764, 1866},
    {"p2888", 56000, "agx-xavier-64gb", "Jetson AGX Xavier 64GB", 72, 8, 0, 2133},
    {"p2888", 28000, "agx-xavier-32gb", "Jetson AGX Xavier 32GB", 72, 8, 0, 2133},
    {"p2888", 0, "agx-xavier-16gb", "Jetson AGX Xavier 16GB", 72, 8, 15692, 2133},
    {"p3767-0000", 0, "orin-nx-16gb", "Jetson Orin NX 16GB", 87, 8, 15657, 3199},
    {"p3767-0001", 0, "orin-nx-8gb", "Jetson Orin NX 8GB", 87, 8, 7618, 3199},
    {"p3767-0003", 0, "orin-nano-8gb", "Jetson Orin Nano 8GB", 87, 8, 7618, 3199},
    {"p3767-0005", 0, "orin-nano-8gb", "Jetson Orin Nano 8GB", 87, 8, 7618, 3199},
    {"p3767-0004", 0, "orin-nano-4gb", "Jetson Orin Nano 4GB", 87, 4, 3400, 3199},
    {"p3701-0004", 0, "agx-orin-32gb", "Jetson AGX Orin 32GB", 87, 14, 29696, 3199},
    {"p3701-0008", 0, "agx-orin-industrial", "Jetson AGX Orin Industrial", 87, 16, 0, 3199},
    {"p3701-0000", 0, "agx-orin-64gb", "Jetson AGX Orin 64GB", 87, 16, 62841, 3199},
    {"p3701-0005", 0, "agx-orin-64gb", "Jetson AGX Orin 64GB", 87, 16, 62841, 3199},
    {"p3834-0000", 0, "thor-t4000", "Jetson Thor T4000", 110, 12, 0, 0},
    {"p3834-0008", 0, "thor-t5000", "Jetson Thor T5000", 110, 20, 125492, 0},
};

struct Release {
  L4t l4t;
  const char* jetpack;
};

constexpr Release kReleases[] = {
    {{32, 6, 1}, "4.6"},   {{32, 7, 1}, "4.6.1"}, {{32, 7, 6}, "4.6.6"}, {{35, 1, 0}, "5.0.2"},
    {{35, 2, 1}, "5.1"},   {{35, 3, 1}, "5.1.1"}, {{35, 4, 1}, "5.1.2"}, {{35, 5, 0}, "5.1.3"},
    {{35, 6, 0}, "5.1.4"}, {{35, 6, 1}, "5.1.5"}, {{35, 6, 2}, "5.1.5"}, {{35, 6, 4}, "5.1.6"},
    {{36, 3, 0}, "6.0"},   {{36, 4, 0}, "6.1"},   {{36, 4, 3}, "6.2"},   {{36, 4, 4}, "6.2.1"},
    {{36, 5, 0}, "6.2.2"}, {{36, 5, 2}, "6.2.3"}, {{38, 4, 0}, "7.1"},   {{39, 2, 0}, "7.2"},
    {{39, 2, 1}, "7.2.1"},
};

// A security fix of theirs refuses allocations although memory is free.
constexpr BadRelease kBad[] = {
    {{35, 6, 3}, "L4T 35.6.4 (JetPack 5.1.6)"},
    {{36, 4, 7}, "L4T 36.5.0 (JetPack 6.2.2)"},
    {{38, 2, 2}, "a later release of JetPack 7"},
};

std::tuple<unsigned, unsigned, unsigned> key(const L4t& l) { return {l.major, l.minor, l.patch}; }

}  // namespace

const Module* find_module(const std::string& part, uint64_t total_mib) {
  for (const Module& module : kModules) {
    if (part.rfind(module.part, 0) == 0 && total_mib >= module.least_mib) return &module;
  }
  return nullptr;
}

const Module* all_modules(size_t* count) {
  *count = std::size(kModules);
  return kModules;
}

bool L4t::is_before(const L4t& other) const { return key(*this) < key(other); }

std::string L4t::text() const {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

L4t parse_l4t(const std::string& text) {
  L4t l;
  if (std::sscanf(text.c_str(), "# R%u (release), REVISION: %u.%u", &l.major, &l.minor, &l.patch) !=
      3) {
    return {};
  }
  return l;
}

std::string jetpack_of(const L4t& l) {
  for (const Release& release : kReleases) {
    if (key(release.l4t) == key(l)) return release.jetpack;
  }
  if (l.major == 38 && l.minor == 2) return "7.0";
  switch (l.major) {
    case 32:
      return "4";
    case 35:
      return "5";
    case 36:
      return "6";
    case 38:
    case 39:
      return "7";
    default:
      return "";
  }
}

const BadRelease* find_bad(const L4t& l) {
  for (const BadRelease& bad : kBad) {
    if (key(bad.release) == key(l)) return &bad;
  }
  return nullptr;
}

}  // namespace jllm::tool
