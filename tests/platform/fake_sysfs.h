// A /proc and /sys in a folder, as JetPack releases lay them out: paths and names by release, from
// tables; what a test changes while it runs it writes anew.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/files.h"

namespace jllm::test {

struct FakeZone {
  const char* type;
  const char* temp;  // as the file reads; null: the read fails (no file)
  int passive;       // milli-degrees; 0: no such trip point
  int critical;
};

struct FakeDevice {
  const char* type;
  const char* cur_state;
};

struct FakeRail {
  const char* label;
  int millivolts, milliamperes;
};

struct FakePowerChip {
  const char* name;  // "ina3221", "ina238"; "ina3221x" is a device of industrial I/O
  std::vector<FakeRail> rails;
};

struct FakeLayout {
  const char* name;
  const char* compatible;  // with '|' for NUL
  std::vector<FakeZone> zones;
  std::vector<FakeDevice> devices;
  const char* gpu_folder;  // below the root: where cur_freq and max_freq are
  bool gpu_in_class;       // also seen in /sys/class/devfreq
  std::vector<FakePowerChip> power = {};
};

// Orin on 5, 6 and 7, Thor on 7, and the Nano of JetPack 4; Orin Nanos but for the last, an AGX.
const std::vector<FakeLayout>& jetpack_layouts();

// For INSTANTIATE_TEST_SUITE_P.
inline std::string layout_name(const testing::TestParamInfo<FakeLayout>& layout) {
  return layout.param.name;
}

class FakeSysfs {
 public:
  explicit FakeSysfs(const FakeLayout& layout);
  const std::string& root() const { return dir_.path(); }

  void put(const std::string& path, const std::string& text) const;  // below the root
  void set_available_mib(uint64_t mib) const;
  void set_zone(const std::string& type, const std::string& temp) const;
  void set_device(const std::string& type, const std::string& state) const;
  // Of the rail with this label, in an INA3221.
  void set_milliamperes(const std::string& label, const std::string& current) const;

 private:
  std::string power_folder(size_t chip) const;
  void put_power(size_t chip, const std::string& folder) const;

  TempDir dir_;
  const FakeLayout layout_;
};

}  // namespace jllm::test
