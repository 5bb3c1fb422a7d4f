// What the executor needs of a device. Two implementations: `host` (threads) and `cuda` (driver
// API). Addresses are what kernels see; on the host they are ordinary pointers. Every failure
// leaves a line in the Message that the backend was made with.
#pragma once

#include <cstdint>

#include "jllm/executor.h"
#include "schema/plan_view.h"

namespace jllm {

struct Grid {
  uint32_t x, y, z;
};

class Backend {
 public:
  virtual const char* device_name() const = 0;
  // Device memory in use by all processes, and all there is; 0 and 0 where the device keeps no such
  // books.
  virtual Error memory_in_use(uint64_t* used, uint64_t* total) = 0;
  virtual bool shares_host_memory() const = 0;

  // `host_view` receives the address for the CPU (pinned arenas and the host backend), else null.
  virtual Error allocate(fb::ArenaKind kind, uint64_t size, uint64_t* address,
                         void** host_view) = 0;
  // Streams a segment to device memory through a bounded buffer.
  virtual Error load(PlanSource& source, uint64_t offset, uint64_t size, uint64_t address) = 0;
  // Loads the module segment, or finds the host operation; called once per kernel.
  virtual Error find_kernel(const PlanView& view, PlanSource& source, const fb::Kernel& kernel,
                            uint64_t* handle) = 0;

  // One kernel, with its arguments resolved to addresses and immediates.
  virtual Error launch(uint64_t kernel, const fb::Kernel& info, Grid grid, const uint64_t* args,
                       uint32_t arg_count) = 0;
  // Launches between begin and end become a graph. A backend without graphs hands out handle 0.
  virtual Error begin_capture() = 0;
  virtual Error end_capture(uint64_t* graph) = 0;
  virtual Error replay(uint64_t graph) = 0;

  // With ExecutorOptions::time_launches: a mark is passed when the launches in front of it have
  // ended. Indices are below mark_count().
  virtual Error mark(uint32_t index) = 0;
  // Time from a mark to the one with the next index; both were passed.
  virtual Error time_between_marks(uint32_t index, float* microseconds) = 0;

  // Start-up is over: from now on nothing may be allocated, loaded or captured.
  virtual void seal() = 0;

  // Small copies in stream order; read() waits.
  virtual Error write(uint64_t address, const void* data, uint64_t size) = 0;
  virtual Error read(uint64_t address, void* data, uint64_t size) = 0;
  virtual Error zero(uint64_t address, uint64_t size) = 0;
  virtual Error copy(uint64_t from, uint64_t to, uint64_t size) = 0;  // which do not overlap
  virtual Error synchronise() = 0;
  // Called over and over while a token is awaited, `turn` counting from 0: yields, and reports a
  // device that has failed. `graph`: the index in the plan of the one that was replayed last.
  // `may_be_late`: the device has more to do behind that token, so that noticing it late costs no
  // time.
  virtual Error poll(uint32_t turn, uint32_t graph, bool may_be_late) = 0;

  virtual void destroy() = 0;  // gives back everything, in any state

 protected:
  ~Backend() = default;
};

// Marks of one graph: before each launch, behind the last, and one more to learn what a mark takes.
inline uint32_t mark_count(const fb::Graph& graph) { return graph.launches()->size() + 2; }
// Of the whole plan; 0 when no times are taken.
inline uint32_t mark_count(const PlanView& view, const ExecutorOptions& options) {
  uint32_t count = 0;
  if (!options.time_launches) return count;
  for (const fb::Graph* graph : *view.plan().graphs()) count += mark_count(*graph);
  return count;
}

}  // namespace jllm
