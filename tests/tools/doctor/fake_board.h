// Whole boards for jllm doctor: a fake /proc and /sys with what NVIDIA's systems have beside them
// (release, power modes, swap, disks), and the driver's answers. Healthy ones and others.
#pragma once

#include <string>
#include <vector>

#include "tests/platform/fake_sysfs.h"
#include "tools/jllm/doctor/machine.h"

namespace jllm::test {

struct FakeBoard {
  const char* name;    // of the board, and of its golden files
  const char* layout;  // of jetpack_layouts()
  const char* model;   // /proc/device-tree/model
  const char* compatible;
  const char* release;  // /etc/nv_tegra_release
  const char* os;       // PRETTY_NAME
  const char* kernel;
  const char* modes;  // /etc/nvpmodel.conf
  int mode;
  long long memory_cap_hz;  // 0: none
  const char* meminfo;
  bool pinned;  // as jetson_clocks leaves the clocks
  bool untidy;  // a desktop, zram, over-currents, a throttled GPU
  const char* mountinfo;
  // The driver.
  uint32_t sm_count, capability, cuda;
};

const std::vector<FakeBoard>& fake_boards();
const FakeBoard& fake_board(const std::string& name);

// The files of a board; keep it as long as its machine is read.
class BoardFiles {
 public:
  explicit BoardFiles(const FakeBoard& board);
  const FakeSysfs& sysfs() const { return sysfs_; }
  // As jllm doctor fills it, the disk's sizes and the driver's answers included.
  tool::Machine machine() const;

 private:
  const FakeBoard board_;
  FakeSysfs sysfs_;
};

}  // namespace jllm::test
