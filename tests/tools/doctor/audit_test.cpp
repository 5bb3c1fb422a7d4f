// jllm doctor on made-up boards of JetPack 5, 6 and 7 and on machines that are none: what it reads,
// what it finds, and how it says so.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <set>
#include <sstream>

#include "compiler/support/error.h"
#include "compiler/target/target.h"
#include "executor/platform/guard.h"
#include "tests/support/files.h"
#include "tests/tools/doctor/fake_board.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/doctor/findings.h"
#include "tools/jllm/doctor/print.h"
#include "tools/jllm/session.h"

namespace jllm::tool {
namespace {

using test::BoardFiles;
using test::fake_board;
using test::FakeBoard;

constexpr const char* kHealthy = "orin-nano-jetpack6";

const Finding* find(const std::vector<Finding>& findings, const std::string& id) {
  for (const Finding& finding : findings) {
    if (finding.id == id) return &finding;
  }
  return nullptr;
}

// With JLLM_NEW_GOLDEN=FOLDER the files are written there instead.
void expect_golden(const std::string& name, const std::string& text) {
  if (const char* folder = std::getenv("JLLM_NEW_GOLDEN")) {
    test::write_text(std::string(folder) + "/" + name, text);
    return;
  }
  EXPECT_EQ(text, test::read_text(std::string(JLLM_DOCTOR_GOLDEN) + "/" + name));
}

// Letters, not bytes.
size_t columns(const std::string& line) {
  return static_cast<size_t>(std::count_if(line.begin(), line.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

void expect_one_screen(const std::string& text) {
  std::istringstream lines(text);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) EXPECT_LE(columns(line), 80u) << line;
  EXPECT_LE(count, 48);
}

class Boards : public testing::TestWithParam<FakeBoard> {};

TEST_P(Boards, TextAndJsonAreAsExpected) {
  const BoardFiles files(GetParam());
  const Machine machine = files.machine();
  const std::vector<Finding> findings = examine(machine);
  const std::string text = doctor_text(machine, findings);
  expect_golden(GetParam().name + std::string(".txt"), text);
  expect_one_screen(text);
  nlohmann::ordered_json json = doctor_json(machine, findings);
  json["jllm"] = "VERSION";
  expect_golden(GetParam().name + std::string(".json"), json.dump(2) + "\n");
}

INSTANTIATE_TEST_SUITE_P(Doctor, Boards, testing::ValuesIn(test::fake_boards()),
                         [](const testing::TestParamInfo<FakeBoard>& board) {
                           std::string name = board.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(DoctorAudit, AHealthyBoardHasNothingToComplainOf) {
  for (const Finding& finding : examine(BoardFiles(fake_board(kHealthy)).machine())) {
    EXPECT_EQ(finding.severity, Severity::kOk) << finding.id << ": " << finding.text;
    EXPECT_EQ(finding.advice, "") << finding.id;
  }
}

// One thing that is wrong with a board that is well otherwise.
struct Fault {
  const char* id;
  Severity severity;
  const char* says;  // in the text
  std::function<void(Machine*)> apply;
};

const std::vector<Fault>& faults() {
  static const std::vector<Fault> faults = {
      {"release", Severity::kProblem, "36.4.7",
       [](Machine* m) {
         m->l4t = {36, 4, 7};
       }},
      {"release", Severity::kProblem, "35.6.3",
       [](Machine* m) {
         m->l4t = {35, 6, 3};
       }},
      {"release", Severity::kProblem, "38.2.2",
       [](Machine* m) {
         m->l4t = {38, 2, 2};
       }},
      {"release", Severity::kNote, "not known", [](Machine* m) { m->l4t = {}; }},
      {"driver", Severity::kProblem, "no driver",
       [](Machine* m) { m->gpu.reset(), m->no_gpu = "no driver"; }},
      {"kernels", Severity::kProblem, "sm_72", [](Machine* m) { m->gpu->compute_capability = 72; }},
      {"firmware", Severity::kWarning, "6300 MiB",
       [](Machine* m) { m->memory.total = uint64_t{6300} << 20; }},
      {"power_mode", Severity::kWarning, "memory at 2133 MHz", [](Machine* m) { m->mode = 0; }},
      {"power_mode", Severity::kNote, "GPU at 918 MHz", [](Machine* m) { m->mode = 1; }},
      {"power_mode", Severity::kWarning, "4 SMs of 8", [](Machine* m) { m->mode = 3; }},
      {"power_mode", Severity::kNote, "not known", [](Machine* m) { m->mode.reset(); }},
      {"sms", Severity::kNote, "4 of 8", [](Machine* m) { m->gpu->sm_count = 4; }},
      {"memory", Severity::kWarning, "1000 MiB",
       [](Machine* m) { m->memory.available = uint64_t{1000} << 20; }},
      {"desktop", Severity::kWarning, "gnome-shell",
       [](Machine* m) { m->desktop = "gnome-shell"; }},
      {"desktop", Severity::kNote, "Xorg",
       [](Machine* m) { m->desktop = "Xorg", m->memory.total = uint64_t{62000} << 20; }},
      {"swap", Severity::kWarning, "512 MiB",
       [](Machine* m) { m->memory.swap_total = m->memory.swap_used = 1u << 29; }},
      {"throttling", Severity::kWarning, "gpu-throttle-alert",
       [](Machine* m) { m->heat.alerts = {"gpu-throttle-alert"}; }},
      {"heat", Severity::kWarning, "90.0", [](Machine* m) { m->heat.zones[0].celsius = 90; }},
      {"over_current", Severity::kWarning, "7 times",
       [](Machine* m) { m->heat.over_current_events = 7; }},
      {"disk_space", Severity::kWarning, "1000 MiB",
       [](Machine* m) { m->disk.free = uint64_t{1000} << 20; }},
      {"disk_space", Severity::kProblem, "Only 100 MiB",
       [](Machine* m) { m->disk.free = uint64_t{100} << 20; }},
      {"storage", Severity::kNote, "SD card", [](Machine* m) { m->disk.kind = "SD card"; }},
      {"storage", Severity::kNote, "overlay", [](Machine* m) { m->disk.kind = "overlay"; }},
      {"page_cache", Severity::kNote, "4000 MiB",
       [](Machine* m) { m->memory.cached = uint64_t{4000} << 20; }},
      {"gpu_memory", Severity::kNote, "300 MiB",
       [](Machine* m) { m->memory.nvmap = uint64_t{300} << 20; }},
      {"zram", Severity::kNote, "zram", [](Machine* m) { m->memory.zram = true; }},
      {"clocks", Severity::kNote, "306 to 1020 MHz",
       [](Machine* m) { m->clocks.gpu_min_mhz = 306; }},
      {"clocks", Severity::kNote, "follow the load",
       [](Machine* m) { m->clocks.cpu_min_mhz = 729.6; }},
      {"super_modes", Severity::kNote, "Super modes", [](Machine* m) { m->is_super = false; }},
      {"container", Severity::kNote, "docker", [](Machine* m) { m->container = "docker"; }},
      {"held_memory", Severity::kNote, "JetPack 7.2",
       [](Machine* m) {
         m->gpu->compute_capability = 110, m->l4t = {38, 4, 0};
       }},
  };
  return faults;
}

TEST(DoctorAudit, EachFaultIsFoundAndOnlyWhereItIs) {
  const BoardFiles files(fake_board(kHealthy));
  const std::vector<Finding> healthy = examine(files.machine());
  for (const Fault& fault : faults()) {
    SCOPED_TRACE(std::string(fault.id) + ": " + fault.says);
    const Finding* before = find(healthy, fault.id);
    if (before != nullptr) {
      EXPECT_EQ(before->severity, Severity::kOk);
    }
    Machine machine = files.machine();
    fault.apply(&machine);
    const std::vector<Finding> findings = examine(machine);
    const Finding* found = find(findings, fault.id);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->severity, fault.severity) << found->text;
    EXPECT_NE(found->text.find(fault.says), std::string::npos) << found->text;
    EXPECT_NE(found->advice, "");
    const std::string text = doctor_text(machine, findings);
    expect_one_screen(text);
    EXPECT_NE(text.find("\n" + std::string(name_of(fault.severity))), std::string::npos) << text;
  }
}

TEST(DoctorAudit, EveryCheckHasAFault) {
  std::set<std::string> tested;
  for (const Fault& fault : faults()) tested.insert(fault.id);
  const std::vector<std::string> ids = check_ids();
  EXPECT_EQ(tested, std::set<std::string>(ids.begin(), ids.end()));
}

TEST(DoctorAudit, DocumentationNamesEveryCheck) {
  const std::string page = test::read_text(JLLM_DOCTOR_PAGE);
  for (const std::string& id : check_ids()) {
    EXPECT_NE(page.find("| `" + id + "` |"), std::string::npos) << id;
  }
}

TEST(DoctorAudit, TheSampleOfTheDocumentationIsWhatIsPrinted) {
  const std::string sample =
      test::read_text(std::string(JLLM_DOCTOR_GOLDEN) + "/orin-nano-jetpack7.txt");
  EXPECT_NE(test::read_text(JLLM_DOCTOR_PAGE).find("\n" + sample + "```"), std::string::npos);
}

// The command itself, on files of the test's own; the driver is this machine's, or none.
class DoctorCommand : public testing::Test {
 protected:
  ~DoctorCommand() override { unsetenv("JLLM_SYSFS_ROOT"); }

  int run(const std::string& root, std::vector<std::string> words) {
    setenv("JLLM_SYSFS_ROOT", root.c_str(), 1);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    testing::internal::CaptureStdout();
    const int code = doctor_command(static_cast<int>(arguments.size()), arguments.data());
    output_ = testing::internal::GetCapturedStdout();
    return code;
  }

  std::string output_;
};

TEST_F(DoctorCommand, ProblemsAreAFailureOnlyWhenAskedFor) {
  const BoardFiles bad(fake_board("orin-nano-jetpack5"));  // its release is
  EXPECT_EQ(run(bad.sysfs().root(), {}), kDone);
  EXPECT_EQ(output_.rfind("machine     NVIDIA Orin Nano Developer Kit\n", 0), 0u) << output_;
  EXPECT_NE(output_.find("\nproblem  L4T 35.6.3 "), std::string::npos) << output_;
  EXPECT_EQ(run(bad.sysfs().root(), {"--strict"}), kFailed);
  const test::TempDir nothing;  // of a machine that is no Jetson
  EXPECT_EQ(run(nothing.path(), {"--strict"}), kDone);
  EXPECT_EQ(output_.find("\nproblem "), std::string::npos) << output_;
}

TEST_F(DoctorCommand, JsonIsOneDocument) {
  const BoardFiles board(fake_board(kHealthy));
  EXPECT_EQ(run(board.sysfs().root(), {"--json", "--path", board.sysfs().root()}), kDone);
  const nlohmann::json document = nlohmann::json::parse(output_);
  EXPECT_EQ(document["format"], 1);
  EXPECT_EQ(document["machine"]["l4t"], "36.4.4");
  EXPECT_EQ(document["machine"]["disk"]["path"], board.sysfs().root());
  EXPECT_GT(document["machine"]["disk"]["size_bytes"], 0);
}

TEST_F(DoctorCommand, AFolderThatIsNotThereIsSaid) {
  try {
    run("", {"--path", "/no/such/folder"});
    ADD_FAILURE() << "was taken";
  } catch (const Failure& failure) {
    testing::internal::GetCapturedStdout();
    EXPECT_EQ(failure.code, kUsage);
    EXPECT_NE(std::string(failure.what()).find("/no/such/folder"), std::string::npos);
  }
}

TEST(DoctorAudit, HeldMemoryIsOfEarlierReleasesOnThor) {
  Machine machine = BoardFiles(fake_board("thor-jetpack7")).machine();
  ASSERT_NE(find(examine(machine), "held_memory"), nullptr);
  EXPECT_EQ(find(examine(machine), "held_memory")->severity, Severity::kNote);
  machine.l4t = {39, 2, 0};
  EXPECT_EQ(find(examine(machine), "held_memory")->severity, Severity::kOk);
}

TEST(DoctorAudit, SuperModesAreOfferedWhereTheReleaseHasThem) {
  Machine machine = BoardFiles(fake_board(kHealthy)).machine();
  machine.is_super = false;
  for (const auto& [release, offered] : {std::pair(L4t{35, 6, 0}, false),
                                         {L4t{35, 6, 1}, true},
                                         {L4t{36, 4, 0}, false},
                                         {L4t{36, 4, 3}, true},
                                         {L4t{39, 2, 0}, true}}) {
    machine.l4t = release;
    EXPECT_EQ(find(examine(machine), "super_modes") != nullptr, offered) << release.text();
  }
}

TEST(DoctorAudit, ThePauseIsTheGuards) {
  const BoardFiles files(fake_board(kHealthy));
  const Machine machine = files.machine();
  const platform::Guard guard(platform::Sysfs(files.sysfs().root()), {});
  const std::string step =
      std::to_string(static_cast<int>(*machine.heat.hottest()->zone.throttles_at - kPausesBelow));
  EXPECT_NE(guard.watched().front().find("backs off at " + step), std::string::npos);
}

TEST(DoctorAudit, AMachineOfWhichNothingIsKnown) {
  const test::TempDir empty;
  Machine machine = read_machine(empty.path(), "/");
  machine.no_gpu = "libcuda.so.1 cannot be opened";
  const std::string text = doctor_text(machine, examine(machine));
  EXPECT_EQ(text,
            "machine     not known\n"
            "GPU         none: libcuda.so.1 cannot be opened\n"
            "\n"
            "note     No CUDA device: libcuda.so.1 cannot be opened\n"
            "         -> Plans for host run here; for others install NVIDIA's driver\n"
            "ok       container\n");
  EXPECT_TRUE(doctor_json(machine, {})["machine"]["l4t"].is_null());
}

TEST(DoctorAudit, AWorkstationIsToldWhatItIs) {
  const test::TempDir dir;
  const auto put = [&](const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(dir.file(path)).parent_path());
    test::write_text(dir.file(path), text);
  };
  put("sys/class/dmi/id/sys_vendor", "Example Corp\n");
  put("sys/class/dmi/id/product_name", "Workstation 7\n");
  put("proc/cpuinfo", "processor\t: 0\nmodel name\t: Example CPU @ 3 GHz\n");
  put("proc/meminfo", "MemTotal: 33554432 kB\nMemAvailable: 30000128 kB\nCached: 20480000 kB\n");
  put("proc/900/comm", "gnome-shell\n");
  put("proc/1/cgroup", "0::/docker/0123\n");
  put("proc/self/mountinfo", "29 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
  put("sys/class/block/sda/queue/rotational", "1\n");
  Machine machine = read_machine(dir.path(), "/home");
  DeviceFacts gpu;
  gpu.name = "Example GPU";
  gpu.compute_capability = 90;
  gpu.sm_count = 132;
  gpu.driver_version = 12040;
  gpu.total_memory = uint64_t{143771} << 20;
  machine.gpu = gpu;
  EXPECT_EQ(doctor_text(machine, examine(machine)),
            "machine     Example Corp Workstation 7\n"
            "CPU         Example CPU @ 3 GHz\n"
            "GPU         Example GPU, sm_90, 132 SMs, 143771 MiB of its own, driver for CUDA\n"
            "            12.4\n"
            "memory      29297 of 32768 MiB available, cache 20000\n"
            "disk        hard disk, sda1, ext4 (/home)\n"
            "\n"
            "note     /home is on a slow disk (hard disk)\n"
            "         -> A model loads as fast as the disk reads: keep plans on NVMe\n"
            "note     In a container (docker): power, clocks and modes may be out of sight\n"
            "         -> docs/doctor.md tells what to mount (JLLM_SYSFS_ROOT)\n"
            "ok       driver, kernels, memory\n");
}

TEST(DoctorAudit, WithoutADriverTheAdviceFitsTheMachine) {
  Machine machine = BoardFiles(fake_board(kHealthy)).machine();
  machine.gpu.reset();
  EXPECT_NE(find(examine(machine), "driver")->advice.find("video,render"), std::string::npos);
  machine.container = "docker";
  EXPECT_NE(find(examine(machine), "driver")->advice.find("--runtime nvidia"), std::string::npos);
  machine.is_jetson = false;
  EXPECT_EQ(find(examine(machine), "driver")->severity, Severity::kNote);
  EXPECT_NE(find(examine(machine), "driver")->advice.find("--gpus all"), std::string::npos);
}

TEST(DoctorAudit, GarbledFilesAreNoHarm) {
  const std::vector<std::string> garbage = {"",
                                            "\n",
                                            "\xff\xfe\x01",
                                            std::string(5000, '9'),
                                            "< POWER_MODEL ID= NAME= >\n",
                                            "a b c d e f - \n",
                                            "# R (release), REVISION: x\n",
                                            "0-\n,,-\n"};
  for (const char* path :
       {"proc/meminfo", "etc/nv_tegra_release", "etc/nvpmodel.conf", "var/lib/nvpmodel/status",
        "proc/self/mountinfo", "proc/device-tree/model", "proc/device-tree/compatible",
        "proc/swaps", "sys/devices/system/cpu/online", "etc/os-release",
        "sys/class/hwmon/hwmon3/oc1_event_cnt"}) {
    const BoardFiles damaged(fake_board(kHealthy));
    for (const std::string& text : garbage) {
      damaged.sysfs().put(path, text);
      const Machine machine = damaged.machine();
      const std::string out = doctor_text(machine, examine(machine));
      EXPECT_EQ(out.rfind("machine     ", 0), 0u);
      EXPECT_EQ(
          std::count_if(out.begin(), out.end(),
                        [](char c) { return c != '\n' && (c == 0x7f || (c >= 0 && c < 0x20)); }),
          0)
          << path;
      EXPECT_NO_THROW(doctor_json(machine, examine(machine))
                          .dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    }
  }
}

TEST(DoctorModules, AreTheCompilersTargets) {
  size_t count = 0;
  const Module* modules = all_modules(&count);
  for (size_t i = 0; i < count; ++i) {
    const Module& module = modules[i];
    llvm::Expected<target::Target> target = target::find(module.target);
    if (!target) {
      ADD_FAILURE() << module.target << ": " << take_error(target.takeError()).second;
      continue;
    }
    EXPECT_EQ(target->compute_capability, module.compute_capability) << module.target;
    if (module.visible_mib > 0) {
      EXPECT_EQ(target->visible_bytes >> 20, module.visible_mib) << module.target;
    }
  }
}

TEST(DoctorModules, AreFoundByPartAndMemory) {
  EXPECT_STREQ(find_module("p3767-0005", 7618)->target, "orin-nano-8gb");
  EXPECT_STREQ(find_module("p3767-0000", 15657)->target, "orin-nx-16gb");
  EXPECT_STREQ(find_module("p2888-0001", 31000)->target, "agx-xavier-32gb");
  EXPECT_STREQ(find_module("p2888-0001", 15692)->target, "agx-xavier-16gb");
  EXPECT_STREQ(find_module("p3668-0001", 7764)->target, "xavier-nx-8gb");
  EXPECT_EQ(find_module("p9999-0000", 7618), nullptr);
  EXPECT_EQ(find_module("", 7618), nullptr);
}

TEST(DoctorReleases, AreReadAndNamed) {
  const L4t l4t = parse_l4t("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic");
  EXPECT_EQ(l4t.text(), "36.4.3");
  EXPECT_EQ(jetpack_of(l4t), "6.2");
  EXPECT_EQ(jetpack_of({35, 4, 1}), "5.1.2");
  EXPECT_EQ(jetpack_of({36, 9, 9}), "6");
  EXPECT_EQ(jetpack_of({38, 2, 1}), "7.0");
  EXPECT_EQ(jetpack_of({12, 0, 0}), "");
  EXPECT_FALSE(parse_l4t("Ubuntu 22.04").is_known());
  EXPECT_FALSE(parse_l4t("").is_known());
}

TEST(DoctorModes, AreReadFromNvpmodelsFile) {
  const std::vector<PowerMode> modes = parse_power_modes(fake_board(kHealthy).modes);
  ASSERT_EQ(modes.size(), 4u);
  EXPECT_EQ(modes[0].name, "15W");
  EXPECT_EQ(modes[0].gated_tpcs, 4u);
  EXPECT_EQ(modes[0].gpu_mhz, 612);
  EXPECT_EQ(modes[0].memory_mhz, 2133);
  EXPECT_EQ(modes[2].id, 2u);
  EXPECT_FALSE(modes[2].gpu_mhz.has_value());
  EXPECT_FALSE(modes[2].memory_mhz.has_value());
  EXPECT_EQ(modes[3].gated_tpcs, 6u);
}

TEST(DoctorDisks, KindsAreTold) {
  const BoardFiles files(fake_board(kHealthy));
  const auto kind = [&](const std::string& line) {
    files.sysfs().put("proc/self/mountinfo", line + "\n");
    return read_machine(files.sysfs().root(), "/data/models").disk.kind;
  };
  EXPECT_EQ(kind("29 1 259:1 / / rw - ext4 /dev/root rw"), "NVMe");
  EXPECT_EQ(kind("29 1 179:33 / / rw - ext4 /dev/root rw"), "SD card");
  EXPECT_EQ(kind("29 1 179:1 / / rw - ext4 /dev/mmcblk0p1 rw"), "eMMC");
  EXPECT_EQ(kind("29 1 0:50 / / rw - overlay overlay rw,lowerdir=/a"), "overlay");
  EXPECT_EQ(kind("29 1 0:51 / / rw - tmpfs tmpfs rw"), "tmpfs");
  EXPECT_EQ(kind("29 1 254:1 / / rw - ext4 /dev/vda rw"), "virtual disk");
  EXPECT_EQ(kind("29 1 8:1 / / rw - ext4 /dev/sda1 rw"), "SSD");
  // The mount that holds the path, not one that only begins like it.
  EXPECT_EQ(kind("29 1 259:1 / / rw - ext4 /dev/root rw\n"
                 "30 29 0:51 / /data rw - tmpfs tmpfs rw\n"
                 "31 29 0:52 / /data/mod rw - overlay overlay rw"),
            "tmpfs");
}

}  // namespace
}  // namespace jllm::tool
