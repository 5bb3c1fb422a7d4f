#include "tests/tools/doctor/fake_board.h"

#include <filesystem>
#include <stdexcept>

namespace jllm::test {
namespace {

// In the form of NVIDIA's files, shortened to what differs between modes.
constexpr const char* kSuperModes =
    "# comment\n"
    "< PARAM TYPE=FILE NAME=CPU_ONLINE >\nCORE_0 /sys/devices/system/cpu/cpu0/online\n\n"
    "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\nTPC_POWER_GATING TPC_PG_MASK 240\n"
    "CPU_A78_0 MAX_FREQ 1497600\nGPU MIN_FREQ 0\nGPU MAX_FREQ 612000000\n"
    "EMC MAX_FREQ 2133000000\n\n"
    "< POWER_MODEL ID=1 NAME=25W >\nTPC_POWER_GATING TPC_PG_MASK 240\nGPU MAX_FREQ 918000000\n"
    "EMC MAX_FREQ 3199000000\n\n"
    "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\nTPC_POWER_GATING TPC_PG_MASK 240\nGPU MAX_FREQ -1\n"
    "EMC MAX_FREQ 0\n\n"
    "< POWER_MODEL ID=3 NAME=7W >\nTPC_POWER_GATING TPC_PG_MASK 252\nGPU MAX_FREQ 408000000\n"
    "EMC MAX_FREQ 2133000000\n\n"
    "< PM_CONFIG DEFAULT=1 >\n";

constexpr const char* kPlainModes =
    "< POWER_MODEL ID=0 NAME=15W >\nTPC_POWER_GATING TPC_PG_MASK 240\nGPU MAX_FREQ -1\n"
    "EMC MAX_FREQ 0\n"
    "< POWER_MODEL ID=1 NAME=7W >\nTPC_POWER_GATING TPC_PG_MASK 252\nGPU MAX_FREQ 408000000\n"
    "EMC MAX_FREQ 2133000000\n"
    "< PM_CONFIG DEFAULT=0 >\n";

constexpr const char* kAgxModes =
    "< POWER_MODEL ID=0 NAME=MAXN >\nTPC_POWER_GATING TPC_PG_MASK 0\nGPU MAX_FREQ -1\n"
    "EMC MAX_FREQ 0\n"
    "< POWER_MODEL ID=1 NAME=MODE_15W >\nTPC_POWER_GATING TPC_PG_MASK 248\n"
    "GPU MAX_FREQ 408000000\nEMC MAX_FREQ 2133000000\n"
    "< POWER_MODEL ID=2 NAME=MODE_30W >\nTPC_POWER_GATING TPC_PG_MASK 240\n"
    "GPU MAX_FREQ 612000000\nEMC MAX_FREQ 3199000000\n"
    "< POWER_MODEL ID=3 NAME=MODE_50W >\nTPC_POWER_GATING TPC_PG_MASK 0\n"
    "GPU MAX_FREQ 816000000\nEMC MAX_FREQ 3199000000\n"
    "< PM_CONFIG DEFAULT=2 >\n";

constexpr const char* kThorModes =
    "< POWER_MODEL ID=0 NAME=MAXN >\nGPU MAX_FREQ -1\nEMC MAX_FREQ 0\n"
    "< POWER_MODEL ID=1 NAME=120W >\nGPU MAX_FREQ 1386000000\nEMC MAX_FREQ 0\n"
    "< PM_CONFIG DEFAULT=1 >\n";

constexpr const char* kTidyMemory =
    "MemTotal:        7801016 kB\nMemFree:         5113220 kB\nMemAvailable:    6600704 kB\n"
    "Buffers:           44280 kB\nCached:           812040 kB\nSwapCached:            0 kB\n"
    "SwapTotal:             0 kB\nSwapFree:              0 kB\nNvMapMemFree:          0 kB\n"
    "NvMapMemUsed:      20480 kB\nCmaTotal:         262144 kB\n";

constexpr const char* kShortMemory =
    "MemTotal:        7519428 kB\nMemFree:          113220 kB\nMemAvailable:    1500160 kB\n"
    "Buffers:           44280 kB\nCached:          3212040 kB\n"
    "SwapTotal:       3759712 kB\nSwapFree:        2711136 kB\nNvMapMemUsed:    1048576 kB\n";

constexpr const char* kAgxMemory =
    "MemTotal:       64349184 kB\nMemFree:        50000000 kB\nMemAvailable:   60000256 kB\n"
    "Buffers:           44280 kB\nCached:          9212040 kB\nNvMapMemUsed:          0 kB\n";

constexpr const char* kThorMemory =
    "MemTotal:      128790092 kB\nMemFree:       100000000 kB\nMemAvailable:  120000512 kB\n"
    "Buffers:           44280 kB\nCached:         5212040 kB\n";

constexpr const char* kNvmeRoot =
    "24 1 0:22 / /proc rw,relatime shared:12 - proc proc rw\n"
    "29 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
    "61 29 179:33 / /home/stick rw,relatime shared:30 - vfat /dev/mmcblk1p1 rw\n";

constexpr const char* kCardRoot = "29 1 179:33 / / rw,relatime shared:1 - ext4 /dev/mmcblk1p1 rw\n";

const FakeLayout& layout_of(const std::string& name) {
  for (const FakeLayout& layout : jetpack_layouts()) {
    if (layout.name == name) return layout;
  }
  throw std::runtime_error("no layout " + name);
}

FakeLayout layout_of(const FakeBoard& board) {
  FakeLayout layout = layout_of(std::string(board.layout));
  layout.compatible = board.compatible;
  return layout;
}

}  // namespace

const std::vector<FakeBoard>& fake_boards() {
  static const std::vector<FakeBoard> boards = {
      {"orin-nano-jetpack5", "JetPack5Orin", "NVIDIA Orin Nano Developer Kit",
       "nvidia,p3768-0000+p3767-0005|nvidia,p3767-0005|nvidia,tegra234|",
       "# R35 (release), REVISION: 6.3, GCID: 1, BOARD: t186ref, EABI: aarch64",
       "Ubuntu 20.04.6 LTS", "5.10.216-tegra", kPlainModes, 1, 2133000000, kShortMemory, false,
       true, kCardRoot, 4, 87, 11040},
      {"orin-nano-jetpack6", "JetPack6Orin",
       "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
       "nvidia,p3768-0000+p3767-0005-super|nvidia,p3767-0005|nvidia,tegra234|",
       "# R36 (release), REVISION: 4.4, GCID: 1, BOARD: generic, EABI: aarch64",
       "Ubuntu 22.04.5 LTS", "5.15.148-tegra", kSuperModes, 2, 0, kTidyMemory, true, false,
       kNvmeRoot, 8, 87, 12060},
      {"orin-nano-jetpack7", "JetPack7Orin",
       "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
       "nvidia,p3768-0000+p3767-0005-super|nvidia,p3767-0005|nvidia,tegra234|",
       "# R39 (release), REVISION: 2.0, GCID: 1, BOARD: generic, EABI: aarch64",
       "Ubuntu 24.04.2 LTS", "6.8.12-tegra", kSuperModes, 0, 2133000000, kTidyMemory, false, false,
       kNvmeRoot, 8, 87, 13020},
      {"thor-jetpack7", "JetPack7Thor", "NVIDIA Jetson AGX Thor Developer Kit",
       "nvidia,p4071-0000+p3834-0008|nvidia,p3834-0008|nvidia,tegra264|",
       "# R38 (release), REVISION: 2.1, GCID: 1, BOARD: generic, EABI: aarch64",
       "Ubuntu 24.04.2 LTS", "6.8.12-tegra", kThorModes, 1, 0, kThorMemory, false, false, kNvmeRoot,
       20, 110, 13000},
      {"agx-orin-jetpack6", "JetPack6AgxOrin", "NVIDIA Jetson AGX Orin Developer Kit",
       "nvidia,p3737-0000+p3701-0005|nvidia,p3701-0005|nvidia,tegra234|",
       "# R36 (release), REVISION: 5.0, GCID: 1, BOARD: generic, EABI: aarch64",
       "Ubuntu 22.04.5 LTS", "5.15.185-tegra", kAgxModes, 2, 3199000000, kAgxMemory, false, false,
       kNvmeRoot, 8, 87, 12060}};
  return boards;
}

const FakeBoard& fake_board(const std::string& name) {
  for (const FakeBoard& board : fake_boards()) {
    if (board.name == name) return board;
  }
  throw std::runtime_error("no board " + name);
}

BoardFiles::BoardFiles(const FakeBoard& board) : board_(board), sysfs_(layout_of(board)) {
  namespace fs = std::filesystem;
  const auto put = [this](const std::string& path, const std::string& line) {
    sysfs_.put(path, line + "\n");
  };
  sysfs_.put("proc/device-tree/model", std::string(board.model) + '\0');
  put("etc/nv_tegra_release", board.release);
  put("etc/os-release", "NAME=\"Ubuntu\"\nPRETTY_NAME=\"" + std::string(board.os) + "\"");
  put("proc/sys/kernel/osrelease", board.kernel);
  sysfs_.put("proc/meminfo", board.meminfo);
  sysfs_.put("etc/nvpmodel.conf", board.modes);
  put("var/lib/nvpmodel/status", "pmode:000" + std::to_string(board.mode) + " fmode:quiet");
  const bool is_jetpack5 = std::string(board.layout) == "JetPack5Orin";
  put(is_jetpack5 ? "sys/kernel/nvpmodel_emc_cap/emc_iso_cap" : "sys/kernel/nvpmodel_clk_cap/emc",
      std::to_string(board.memory_cap_hz));
  const std::string gpu = layout_of(board).gpu_folder;
  put(gpu + "/min_freq", board.pinned ? "1020000000" : "306000000");
  const std::string cpu = "sys/devices/system/cpu/";
  put(cpu + "online", board.untidy ? "0-3" : "0-5");
  put(cpu + "present", "0-5");
  put(cpu + "cpu0/cpufreq/scaling_min_freq", board.pinned ? "1728000" : "729600");
  put(cpu + "cpu0/cpufreq/scaling_max_freq", "1728000");
  put("proc/1/comm", "systemd");
  put("proc/1/cgroup", "0::/init.scope");
  put("sys/class/hwmon/hwmon3/name", "soctherm_oc");
  put("sys/class/hwmon/hwmon3/oc1_event_cnt", board.untidy ? "3" : "0");
  put("sys/class/hwmon/hwmon3/oc3_event_cnt", board.untidy ? "2" : "0");
  put("proc/swaps", "Filename\tType\tSize\tUsed\tPriority");
  if (board.untidy) {
    put("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0 partition 626616 0 5");
    put("proc/871/comm", "Xorg");
    sysfs_.set_device("GPU-throttle-alert", "1");
  }
  put("proc/self/mountinfo", board.mountinfo);
  fs::create_directories(sysfs_.root() + "/sys/dev/block");
  const auto disk = [&](const std::string& number, const std::string& name) {
    fs::create_symlink("../../devices/disks/" + name, sysfs_.root() + "/sys/dev/block/" + number);
  };
  disk("259:1", "nvme0n1p1");
  disk("179:33", "mmcblk1p1");
  put("sys/class/block/mmcblk1/device/type", "SD");
}

tool::Machine BoardFiles::machine() const {
  tool::Machine m = tool::read_machine(sysfs_.root(), "/home/models");
  m.disk.size = uint64_t{228} << 30;
  m.disk.free = uint64_t{board_.untidy ? 1u : 83u} << 30;
  tool::DeviceFacts gpu;
  gpu.name = board_.capability == 87 ? "Orin" : "NVIDIA Thor";
  gpu.compute_capability = board_.capability;
  gpu.sm_count = board_.sm_count;
  gpu.driver_version = board_.cuda;
  gpu.integrated = true;
  gpu.total_memory = m.memory.total;
  m.gpu = gpu;
  return m;
}

}  // namespace jllm::test
