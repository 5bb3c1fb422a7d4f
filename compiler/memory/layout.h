// The memory layout of a plan: every tensor's arena and offset, to the byte, before anything is
// compiled.
#pragma once

#include <llvm/Support/Error.h>
#include <llvm/Support/raw_ostream.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "compiler/ir/graph.h"
#include "compiler/select/schedule.h"
#include "compiler/target/target.h"

namespace jllm::memory {

// As in the plan (schema/plan.fbs).
enum class ArenaKind : uint8_t { kWeights = 0, kKv = 1, kScratch = 2, kState = 3, kHostPinned = 4 };
const char* arena_name(ArenaKind kind);
// Whether every slot has such an arena of its own.
inline bool is_per_slot(ArenaKind kind) {
  return kind == ArenaKind::kKv || kind == ArenaKind::kState || kind == ArenaKind::kHostPinned;
}

struct Arena {
  ArenaKind kind = ArenaKind::kWeights;
  uint64_t size = 0;
};

constexpr uint64_t kBufferAlignment = 256;

struct Location {
  uint32_t arena = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
  int32_t graph = -1;  // the graph that a scratch buffer belongs to; -1: lives always
  uint32_t first_use = 0, last_use = 0;  // launches of that graph
};

struct Layout {
  std::vector<Arena> arenas;  // caches, state and pinned memory: of one slot
  uint32_t slots = 1;
  std::vector<std::optional<Location>> tensors;  // by tensor id; empty: not used by any launch
  uint64_t scratch_lower_bound = 0;              // largest peak of live bytes over the graphs

  uint64_t total(ArenaKind kind) const;  // of all slots
  uint64_t device_bytes() const;         // everything but pinned host memory
};

// Bytes that a tensor takes in memory on this kind of target.
uint64_t storage_bytes(const ir::Tensor& tensor, bool is_host);

// Lays out all tensors that the schedule uses, and proves the result.
llvm::Expected<Layout> plan_layout(const ir::Program& program, const select::Schedule& schedule,
                                   const target::Target& target);

void dump(const ir::Program& program, const Layout& layout, llvm::raw_ostream& os);

}  // namespace jllm::memory
