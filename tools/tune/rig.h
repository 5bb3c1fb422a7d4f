// A model on the GPU at hand, for measurements: weights are uploaded once, then decode graphs of
// different plans of that model are captured, replayed and timed over them.
#pragma once

#include <llvm/Support/Error.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "compiler/plan.h"
#include "executor/src/cuda/driver_api.h"

namespace jllm::tune {

// The device, as far as measurements depend on it.
struct DeviceFacts {
  std::string name;
  uint32_t compute_capability = 0;
  uint32_t sm_count = 0;
  uint32_t driver_major = 0;  // newest CUDA major version that it loads
};

class Rig {
 public:
  Rig() = default;
  ~Rig();
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  // kDevice where there is no usable GPU.
  llvm::Error open();
  const DeviceFacts& facts() const { return facts_; }

  // Allocates what a plan needs, and scratch with some room for variants of it, and uploads the
  // weights. Once; every later plan is one of the same model and options.
  llvm::Error load(const PlannedModel& planned,
                   const std::function<void(uint64_t done, uint64_t total)>& progress);

  // Loads the code of a kernel, unless that was done: cubin, or PTX text with its zero.
  bool has(const select::KernelSpec& kernel) const;
  llvm::Error add(const select::KernelSpec& kernel, const std::vector<uint8_t>& code);

  // Captures the plan's decode graph; its kernels were added. Valid until release().
  llvm::Expected<cuda::GraphExec> capture(const PlannedModel& planned);
  void release(cuda::GraphExec graph);

  // Microseconds per token of a new sequence of `tokens` tokens.
  llvm::Expected<double> time(cuda::GraphExec graph, uint32_t tokens);
  // Logits behind a few fixed tokens.
  llvm::Expected<std::vector<float>> logits(cuda::GraphExec graph);

 private:
  llvm::Error check(cuda::Status status, const char* call) const;
  llvm::Error launch_all(const PlannedModel& planned);
  llvm::Error launch(const select::KernelSpec& kernel, const select::Launch& launch,
                     const memory::Layout& layout);
  llvm::Error write(cuda::DevicePtr to, const void* from, uint64_t bytes);
  llvm::Error upload(const PlannedModel& planned, uint32_t arena,
                     const std::function<void(uint64_t)>& progress);
  llvm::Error start_sequence(uint32_t position);
  cuda::DevicePtr address(const memory::Location& location) const {
    return arenas_[location.arena] + location.offset;
  }

  cuda::CudaApi api_ = {};
  cuda::Device device_ = 0;
  cuda::Context context_ = nullptr;
  cuda::Stream stream_ = nullptr;
  cuda::Event start_ = nullptr, end_ = nullptr;
  DeviceFacts facts_;
  bool overlap_ = false;  // the driver captures programmatic launches into graphs
  std::vector<cuda::DevicePtr> arenas_;
  std::vector<uint64_t> sizes_;
  std::map<std::string, cuda::Function> functions_;
  std::vector<cuda::Module> modules_;
  memory::Location state_, tokens_, logits_;
  uint32_t sequence_length_ = 0, vocab_size_ = 0;
};

}  // namespace jllm::tune
