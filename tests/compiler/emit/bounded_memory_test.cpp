// Compiling takes little memory however large the model is: a model of 300 MB is compiled in a
// child process, which watches its own peak.
#include <gtest/gtest.h>
#include <llvm/Support/raw_ostream.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "compiler/compile.h"
#include "compiler/gguf/file.h"
#include "compiler/synth/synth.h"
#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMegabyte = 1000000;

// A field of /proc/self/status in bytes, 0 when there is none.
uint64_t status_bytes(const std::string& field) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(field + ":", 0) == 0) {
      return std::stoull(line.substr(field.size() + 1)) * 1024;
    }
  }
  return 0;
}

// Compiles in a child process; the growth of its largest resident memory, bytes. -1 on failure.
int64_t peak_growth(const CompileOptions& options) {
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) return -1;
  const pid_t child = fork();
  if (child == 0) {
    // Sets the peak back to what is resident now.
    std::ofstream("/proc/self/clear_refs") << "5";
    const uint64_t before = status_bytes("VmRSS");
    std::string report;
    llvm::raw_string_ostream os(report);
    int64_t growth = -1;
    if (llvm::Error error = compile(options, os)) {
      std::fprintf(stderr, "%s\n", take_error(std::move(error)).second.c_str());
    } else {
      growth = static_cast<int64_t>(status_bytes("VmHWM")) - static_cast<int64_t>(before);
    }
    const bool written = write(pipe_ends[1], &growth, sizeof growth) == sizeof growth;
    _exit(written ? 0 : 1);
  }
  close(pipe_ends[1]);
  int64_t growth = -1;
  if (child < 0 || read(pipe_ends[0], &growth, sizeof growth) != sizeof growth) growth = -1;
  close(pipe_ends[0]);
  int status = 0;
  if (child > 0) waitpid(child, &status, 0);
  return growth;
}

// What is resident at one time: the pages of the largest matrix of the source, mapped, until its
// last row is repacked (35 MB here); pieces of 4 MiB on their way; the tokenizer and the tables.
TEST(BoundedMemory, ALargeModelIsStreamed) {
  if (status_bytes("VmHWM") == 0) GTEST_SKIP() << "/proc/self/status does not tell the peak";
  const gguf::TempFolder folder;
  synth::SynthOptions model;
  model.like = "tinyllama";
  model.type = "q8_0";
  model.layers = 12;
  model.embedding = 1024;
  model.ffn = 5632;
  model.heads = 16;
  CompileOptions options;
  options.input = folder.file("m.gguf");
  options.output = folder.file("m.jllm");
  llvm::Error error = synth::synthesise(model, options.input);
  if (error) FAIL() << take_error(std::move(error)).second;
  const uint64_t size = fs::file_size(options.input);
  ASSERT_GT(size, 300 * kMegabyte);
  uint64_t largest = 0;
  {
    const gguf::File file = gguf::value_of(gguf::File::open(options.input));
    for (const gguf::TensorInfo& t : file.tensors()) largest = std::max(largest, t.byte_size);
  }
  const int64_t growth = peak_growth(options);
  ASSERT_GE(growth, 0);
  RecordProperty("growth", std::to_string(growth));
  EXPECT_GE(static_cast<uint64_t>(growth), largest / 2) << "the measurement does not measure";
  EXPECT_LT(static_cast<uint64_t>(growth), largest + 64 * kMegabyte);
  EXPECT_LT(static_cast<uint64_t>(growth), 200 * kMegabyte);
  EXPECT_GT(fs::file_size(options.output), 300 * kMegabyte);
}

}  // namespace
}  // namespace jllm
