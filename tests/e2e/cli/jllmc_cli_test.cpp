// jllmc from outside: exit codes and key words of its messages, help, reports, interruption. What
// the stages refuse and why is tested with them; here it matters that it reaches the user.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/e2e/cli/process.h"
#include "tests/support/files.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::expect_failure;
using test::jllmc;
using test::ProcessResult;
using test::TempDir;

class Jllmc : public testing::Test {
 protected:
  Jllmc() { test::make_model(test::tiny_model(), model()); }

  std::string model() const { return dir_.file("model.gguf"); }
  std::string plan() const { return dir_.file("model.jllm"); }
  // jllmc compile MODEL -o PLAN and more options.
  ProcessResult compile(std::vector<std::string> more = {}) const {
    std::vector<std::string> words = {"compile", model(), "-o", plan()};
    words.insert(words.end(), more.begin(), more.end());
    return jllmc(words);
  }
  bool has_plan() const { return access(plan().c_str(), F_OK) == 0; }

  TempDir dir_;
};

TEST_F(Jllmc, CompilesSilently) {
  const ProcessResult result = compile();
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "") << "progress belongs on terminals only";
  EXPECT_TRUE(has_plan());
}

TEST_F(Jllmc, MissingFileIsAFailure) {
  const ProcessResult result = jllmc({"compile", dir_.file("none.gguf"), "-o", plan()});
  expect_failure(result, 1, {"jllmc: ", "none.gguf", "No such file or directory"});
}

TEST_F(Jllmc, UsageErrorsAreCode2) {
  expect_failure(jllmc({}), 2, {"which command?", "--help"});
  expect_failure(jllmc({"bake"}), 2, {"bake", "--help"});
  expect_failure(jllmc({"compile", model()}), 2, {"-o PLAN.jllm"});
  expect_failure(jllmc({"compile", "-o", plan()}), 2, {"--help"});
  expect_failure(compile({"--frobnicate"}), 2, {"--frobnicate"});
  expect_failure(compile({"--context", "many"}), 2, {"--context many", "number"});
  expect_failure(compile({"--context", "0"}), 2, {"--context 0"});
  expect_failure(compile({"--context", "100000"}), 2, {"--context 100000", "256 positions"});
  expect_failure(compile({"--speculate", "8"}), 2, {"--speculate 8", "at most 7"});
  expect_failure(compile({"--slots", "9"}), 2, {"--slots 9", "1 to 8"});
  expect_failure(compile({"--slots", "0"}), 2, {"--slots 0", "1 to 8"});
  expect_failure(compile({"--budget", "lots"}), 2, {"--budget lots", "3.5G"});
  expect_failure(compile({"--budget", "-1G"}), 2, {"--budget -1G"});
  expect_failure(compile({"--chat-format", "chatter"}), 2, {"--chat-format chatter", "chatml"});
  expect_failure(compile({"--report", "xml"}), 2, {"--report xml", "json"});
  expect_failure(compile({"--dump-after", "magic"}), 2, {"magic", "memory"});
  expect_failure(jllmc({"synth", "--like", "gpt-9", "-o", plan()}), 2, {"gpt-9", "llama-3.2-1b"});
  EXPECT_FALSE(has_plan());
}

TEST_F(Jllmc, WhatDoesNotFitIsCode3) {
  // There is no NVRTC at that place: nobody gets so far.
  expect_failure(compile({"--target", "sm_87", "--nvrtc", "/nonexistent", "--budget", "100K"}), 3,
                 {"does not fit", "100.0 KiB", "too much"});
  EXPECT_FALSE(has_plan());
}

TEST_F(Jllmc, DamagedFilesAreCode4) {
  std::vector<uint8_t> bytes = test::read_file(model());
  test::write_file(model(), bytes.data(), bytes.size() / 2);
  expect_failure(compile(), 4, {"model.gguf"});
  // Version 1, which lacks 64-bit counts.
  bytes[4] = 1;
  test::write_file(model(), bytes.data(), bytes.size());
  expect_failure(compile(), 4, {"GGUF version 1", "versions 2 and 3", "convert"});
  test::write_text(model(), "This is a text about models, not a model.");
  expect_failure(compile(), 4, {"model.gguf"});
  EXPECT_FALSE(has_plan());
}

TEST_F(Jllmc, TheUnsupportedIsNamedWithCode5) {
  expect_failure(compile({"--target", "toaster"}), 5, {"'toaster'", "orin-nano-8gb", "sm_XX"});
  expect_failure(compile({"--kv", "q3_k"}), 5, {"'q3_k'", "f16"});
  std::vector<uint8_t> bytes = test::read_file(model());
  const std::string key = "general.architecture";
  const auto found = std::search(bytes.begin(), bytes.end(), key.begin(), key.end());
  ASSERT_NE(found, bytes.end());
  const std::string other = "wxyza";  // as long as "llama", behind the value's type and length
  std::copy(other.begin(), other.end(), found + static_cast<ptrdiff_t>(key.size() + 12));
  test::write_file(model(), bytes.data(), bytes.size());
  expect_failure(compile(), 5, {"'wxyza'", "llama"});
  EXPECT_FALSE(has_plan());
}

TEST_F(Jllmc, AFolderThatIsNotThereIsAFailure) {
  const ProcessResult result = jllmc({"compile", model(), "-o", dir_.file("no/plan.jllm")});
  expect_failure(result, 1, {"no/plan.jllm", "cannot create", "No such file or directory"});
}

TEST_F(Jllmc, HelpNamesEveryOption) {
  struct Command {
    const char* name;
    std::vector<const char*> words;
  };
  const Command commands[] = {
      {"compile",
       {"--target",     "--context",    "--kv=",     "--kv-k",     "--kv-v",   "--prefill-chunk",
        "--speculate",  "--slots",      "--budget",  "--reserve",  "--nvrtc",  "--report",
        "--dump-after", "--debug-info", "--no-fuse", "--no-cache", "--tuning", "--chat-format",
        "-o=",          "MODEL.gguf",   "PLAN.jllm"}},
      {"fit", {"--target", "--all", "--context", "--kv=", "--speculate", "--budget", "--json"}},
      {"inspect", {"--json", "--map", "--svg", "--verify"}},
      {"targets", {"--json"}},
      {"tune", {"--target", "--quick", "--newer-device", "--nvrtc", "-o=", "MODEL.gguf"}},
      {"synth", {"--like", "--type", "--layers", "--seed", "-o=", "OUT.gguf"}},
  };
  const ProcessResult general = jllmc({"--help"});
  EXPECT_EQ(general.code, 0);
  EXPECT_NE(general.out.find("3 does not fit"), std::string::npos) << "the exit codes";
  for (const Command& command : commands) {
    EXPECT_NE(general.out.find(command.name), std::string::npos) << command.name;
    const ProcessResult help = jllmc({command.name, "--help"});
    EXPECT_EQ(help.code, 0);
    EXPECT_EQ(help.err, "");
    for (const char* word : command.words) {
      EXPECT_NE(help.out.find(word), std::string::npos) << command.name << " " << word;
    }
  }
}

TEST_F(Jllmc, TuningTablesThatAreNoneAreRefused) {
  const std::string table = dir_.file("table.json");
  expect_failure(compile({"--target", "h200", "--tuning", table}), 1,
                 {"table.json", "No such file"});
  const auto write = [&](const std::string& text) {
    test::write_file(table, text.data(), text.size());
  };
  write("{\"format\": 1}");
  expect_failure(compile({"--target", "h200", "--tuning", table}), 4,
                 {"table.json", "'compute_capability' is missing", "jllmc tune"});
  write(
      "{\"format\": 1, \"compute_capability\": 87, \"sm_count\": 8, \"source\": \"\", "
      "\"entries\": [{\"kernel\": \"head\", \"types\": [\"q6_k\"], "
      "\"activations\": \"q8r\", \"k\": 2048, \"n\": 128256, \"threads\": 512, "
      "\"blocks\": 2, \"rows\": 2, \"split\": 1, \"in_flight\": 4}]}");
  expect_failure(compile({"--target", "h200", "--tuning", table}), 2,
                 {"compute capability 87", "h200", "--tuning none"});
  EXPECT_FALSE(has_plan());
}

TEST_F(Jllmc, ListsItsTargets) {
  const ProcessResult result = jllmc({"targets"});
  EXPECT_EQ(result.code, 0) << result.err;
  for (const char* name : {"host", "orin-nano-8gb", "h200"}) {
    EXPECT_NE(result.out.find(name), std::string::npos) << name;
  }
}

TEST_F(Jllmc, TheJsonReportIsOneDocumentWithStableKeys) {
  const ProcessResult result = compile({"--report", "json", "--context", "64"});
  ASSERT_EQ(result.code, 0) << result.err;
  const nlohmann::json report = nlohmann::json::parse(result.out, nullptr, false);
  ASSERT_TRUE(report.is_object()) << result.out;
  for (const char* key : {"model", "target", "fits", "bytes", "weights_read_per_token",
                          "decode_launches", "plan", "kernels", "speculation"}) {
    EXPECT_TRUE(report.contains(key)) << key;
  }
  ASSERT_TRUE(report.contains("model") && report.contains("bytes"));
  EXPECT_EQ(report["model"].value("architecture", ""), "llama");
  EXPECT_EQ(report["model"].value("context", 0), 64);
  const nlohmann::json& bytes = report["bytes"];
  for (const char* key : {"weights", "kv", "scratch", "state", "pinned", "code",
                          "cuda_context_estimate", "reserve"}) {
    EXPECT_TRUE(bytes.contains(key)) << key;
  }
  int64_t sum = 0;
  for (const auto& [key, value] : bytes.items()) {
    const bool part =
        key != "total" && key != "budget" && key != "file" && key != "scratch_lower_bound";
    if (part) sum += value.get<int64_t>();
  }
  EXPECT_EQ(bytes.value("total", int64_t{0}), sum);
  EXPECT_EQ(bytes.value("file", size_t{0}), test::read_file(plan()).size());
  // Two layers of K and V, two heads of 16, f32.
  EXPECT_EQ(bytes.value("kv", 0), 2 * 2 * 2 * 16 * 64 * 4);
}

TEST_F(Jllmc, TheTextReportShowsTheBudget) {
  const ProcessResult result = compile({"--report", "text"});
  ASSERT_EQ(result.code, 0) << result.err;
  for (const char* word : {"weights", "KV cache", "scratch", "state", "memory", "model.jllm"}) {
    EXPECT_NE(result.out.find(word), std::string::npos) << word;
  }
}

TEST_F(Jllmc, DumpsEveryStageWithoutAPlan) {
  for (const char* stage : {"ir", "passes", "select", "memory"}) {
    const ProcessResult result = jllmc({"compile", model(), "--dump-after", stage});
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_NE(result.out, "") << stage;
  }
  EXPECT_EQ(dir_.entries(), std::vector<std::string>{"model.gguf"});
}

TEST_F(Jllmc, SynthesisesTheSameModelAgain) {
  for (const char* name : {"a.gguf", "b.gguf"}) {
    const ProcessResult result = jllmc({"synth", "--like", "smollm2-135m", "--layers", "1",
                                        "--type", "q4_0", "--seed", "5", "-o", dir_.file(name)});
    ASSERT_EQ(result.code, 0) << result.err;
  }
  EXPECT_EQ(test::read_file(dir_.file("a.gguf")), test::read_file(dir_.file("b.gguf")));
}

// Bytes of the file that a process writes into this folder, which need have no name yet; 0: none.
uint64_t size_of_file_in_work(pid_t pid, const TempDir& dir) {
  namespace fs = std::filesystem;
  std::error_code gone;  // files may be closed at any moment
  const std::string folder = fs::canonical(dir.file("")).string();
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd", gone)) {
    const std::string target = fs::read_symlink(entry.path(), gone).string();
    struct stat info = {};
    if (!gone && target.rfind(folder, 0) == 0 && stat(entry.path().c_str(), &info) == 0) {
      return static_cast<uint64_t>(info.st_size);
    }
  }
  return 0;
}

// Sends a signal while jllmc writes its file into `out`, which must be empty again afterwards. A
// machine with other things to do may let jllmc finish first: that proves nothing, and the next
// attempt follows.
void interrupt_while_writing(const std::vector<std::string>& arguments, const TempDir& out,
                             int signal) {
  for (int attempt = 0; attempt < 10; ++attempt) {
    test::Process process(JLLMC_PROGRAM, arguments);
    // Some bytes are written: the file is open and guarded.
    for (int i = 0;
         i < 60000 && process.runs() && size_of_file_in_work(process.pid(), out) < (1 << 20); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    process.send(signal);
    const ProcessResult result = process.wait();
    if (result.signal == signal) {
      EXPECT_EQ(out.entries(), std::vector<std::string>{});
      return;
    }
    ASSERT_EQ(result.code, 0) << result.err;
    ASSERT_EQ(out.entries().size(), 1u);
    std::filesystem::remove(out.file(out.entries()[0]));
  }
  FAIL() << "jllmc was always faster than its interruption";
}

TEST_F(Jllmc, InterruptionLeavesNothingBehind) {
  // 100 MB of weights, most of them the embedding.
  const ProcessResult made = jllmc({"synth", "--like", "smollm2-135m", "--layers", "1", "--type",
                                    "f32", "-o", dir_.file("large.gguf")});
  ASSERT_EQ(made.code, 0) << made.err;
  for (const int signal : {SIGINT, SIGTERM}) {
    const TempDir out;
    interrupt_while_writing(
        {"synth", "--like", "llama-3.1-8b", "--type", "f32", "-o", out.file("model.gguf")}, out,
        signal);
    interrupt_while_writing({"compile", dir_.file("large.gguf"), "-o", out.file("plan.jllm")}, out,
                            signal);
  }
}

}  // namespace
}  // namespace jllm
