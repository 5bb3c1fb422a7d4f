// The schedule: which kernel runs each node, with which constants, grid and arguments. What follows
// it (layout, code, file) no longer knows operations, only launches and tensors.
#pragma once

#include <llvm/Support/Error.h>
#include <llvm/Support/raw_ostream.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compiler/ir/graph.h"
#include "compiler/target/target.h"
#include "compiler/tuning/table.h"

namespace jllm::select {

// How a matrix-vector kernel came to its shape.
struct GemvChoice {
  kernels::GemvProblem problem;
  kernels::GemvVariant variant;
  bool measured = false;  // by a tuning table, not by the cost model
};

// One specialised kernel. On the host `name` is an operation of the host backend and the rest is
// empty.
struct KernelSpec {
  std::string name;                  // symbol in its module: "qkv_2"
  std::string source;                // device kernel: "qkv" for kernels/device/qkv.cu
  std::vector<std::string> defines;  // "K=2048", in a fixed order
  uint32_t block = 1;                // threads
  uint32_t shared_bytes = 0;         // dynamic shared memory
  bool programmatic = false;         // may overlap with the kernel before: macro PROGRAMMATIC
  std::optional<GemvChoice> gemv;    // of those that have variants
};

struct Argument {
  // kStride: bytes between a tensor of one slot and that of the next.
  enum class Kind : uint8_t { kTensor, kImmediate, kStride };
  Kind kind = Kind::kImmediate;
  ir::TensorId tensor = 0;
  uint64_t immediate = 0;
};

struct Launch {
  uint32_t kernel = 0;
  uint32_t grid[3] = {1, 1, 1};
  std::vector<Argument> args;
  std::string label;
};

struct ScheduledGraph {
  ir::GraphKind kind = ir::GraphKind::kDecode;
  uint32_t rows = 1;
  std::optional<ir::TensorId> logits;  // as ir::Graph has it
  std::vector<Launch> launches;
};

struct Schedule {
  std::vector<KernelSpec> kernels;  // each distinct specialisation once
  std::vector<ScheduledGraph> graphs;
};

// How matrix-vector kernels with quantised weights read their vector (kernels/device/README.md,
// Numbers).
enum class ActivationMode : uint8_t { kAuto, kF32, kQ8, kQ8R };

const char* activation_mode_name(ActivationMode mode);  // as --activations takes it

struct SelectOptions {
  ActivationMode activations = ActivationMode::kAuto;
  bool overlap = true;  // let kernels start before their predecessors end, where the device can
  // Variants of matrix-vector kernels; empty: the built-in table of the target's class. What no
  // table knows, the cost model decides.
  std::optional<tuning::Table> tuning;

  friend bool operator==(const SelectOptions&, const SelectOptions&) = default;
};

// Chooses kernels for a fused (cuda) or plain (host) program. Adds the tensors that kernels need
// beside the program's own (attention partials, sampler work) to `program`.
llvm::Expected<Schedule> select(ir::Program& program, const target::Target& target,
                                const SelectOptions& options = {});

// Collects launches and kernel specialisations; the two catalogues use it.
class ScheduleBuilder {
 public:
  explicit ScheduleBuilder(ir::Program& program) : program_(program) {}

  void begin_graph(const ir::Graph& graph);
  // Index of the specialisation, adding it when it is new. spec.name is the stem of its symbol;
  // host operations keep it as it is.
  uint32_t kernel(KernelSpec spec);
  void launch(uint32_t kernel, std::vector<Argument> args, const std::string& label,
              uint32_t grid_x = 1, uint32_t grid_y = 1, uint32_t grid_z = 1);
  // Scratch that launches need beside the program's tensors; it lives from the first that takes it
  // to the last.
  Argument scratch(const std::string& name, uint64_t words);
  // A buffer that is zero at start and keeps its contents, shared under its name.
  Argument persistent(const std::string& name, uint64_t words);
  // Stores a weight in panels, for the integer products of the host.
  void store_in_panels(ir::TensorId weight) { program_.tensors[weight].panels = true; }
  Schedule take() { return std::move(schedule_); }

 private:
  ir::Program& program_;
  Schedule schedule_;
};

Argument tensor(ir::TensorId id);
Argument immediate(uint64_t value);
Argument slot_stride(ir::TensorId id);
Argument immediate_f32(float value);  // IEEE-754 bits

// Decides which weights the host keeps in panels; before select_host, which reads it.
void choose_panels(const ir::Program& program, const SelectOptions& options, ScheduleBuilder& out);
llvm::Error select_host(const ir::Program& program, const ir::Graph& graph,
                        const SelectOptions& options, ScheduleBuilder& out);
llvm::Error select_cuda(const ir::Program& program, const ir::Graph& graph,
                        const target::Target& target, const SelectOptions& options,
                        ScheduleBuilder& out);

// One line per launch: kernel, grid, constants.
void dump(const Schedule& schedule, llvm::raw_ostream& os);

}  // namespace jllm::select
