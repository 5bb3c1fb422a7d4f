#include "compiler/memory/layout.h"

#include <llvm/Support/FormatVariadic.h>

#include <algorithm>
#include <set>

#include "compiler/memory/placement.h"
#include "compiler/support/error.h"
#include "schema/checked_math.h"
#include "schema/kv_layout.h"
#include "schema/panel_layout.h"
#include "schema/row_layout.h"

namespace jllm::memory {
namespace {

using ir::TensorKind;

ArenaKind arena_of(TensorKind kind) {
  switch (kind) {
    case TensorKind::kWeight:
    case TensorKind::kConstant:
      return ArenaKind::kWeights;
    case TensorKind::kKvCache:
      return ArenaKind::kKv;
    case TensorKind::kActivation:
      return ArenaKind::kScratch;
    case TensorKind::kPersistent:
    case TensorKind::kRecent:
      return ArenaKind::kState;
    case TensorKind::kPinned:
      return ArenaKind::kHostPinned;
  }
  return ArenaKind::kScratch;
}

class LayoutPlanner {
 public:
  LayoutPlanner(const ir::Program& program, const select::Schedule& schedule,
                const target::Target& target)
      : program_(program), schedule_(schedule), target_(target) {
    layout_.tensors.resize(program.tensors.size());
    layout_.slots = program.slots;
  }

  llvm::Expected<Layout> run() {
    collect_uses();
    const ArenaKind linear[] = {ArenaKind::kWeights, ArenaKind::kKv, ArenaKind::kState,
                                ArenaKind::kHostPinned};
    for (const ArenaKind kind : linear) {
      if (llvm::Error error = place_linearly(kind)) return error;
    }
    if (llvm::Error error = place_scratch()) return error;
    if (llvm::Error error = verify_linear()) return error;
    return std::move(layout_);
  }

 private:
  // Launches that touch each tensor. Tensors of the bindings count as used.
  void collect_uses() {
    for (size_t g = 0; g < schedule_.graphs.size(); ++g) {
      const auto& launches = schedule_.graphs[g].launches;
      for (size_t i = 0; i < launches.size(); ++i) {
        for (const select::Argument& arg : launches[i].args) {
          if (arg.kind == select::Argument::Kind::kTensor) use(arg.tensor, g, i);
        }
      }
    }
    const ir::Bindings& b = program_.bindings;
    for (const ir::TensorId id : {b.state, b.tokens, b.ring}) use(id, 0, 0);
    if (!b.embedding) use(b.logits, 0, 0);
  }

  void use(ir::TensorId id, size_t graph, size_t launch) {
    std::optional<Location>& location = layout_.tensors[id];
    if (!location) {
      location.emplace();
      location->size = storage_bytes(program_[id], target_.is_host);
      location->first_use = static_cast<uint32_t>(launch);
      if (program_[id].kind == TensorKind::kActivation)
        location->graph = static_cast<int32_t>(graph);
    }
    location->last_use = std::max(location->last_use, static_cast<uint32_t>(launch));
  }

  // One behind the other, in tensor order; a new arena where the largest safe allocation ends.
  llvm::Error place_linearly(ArenaKind kind) {
    uint32_t arena = new_arena(kind);
    for (ir::TensorId id = 0; id < layout_.tensors.size(); ++id) {
      std::optional<Location>& location = layout_.tensors[id];
      if (!location || arena_of(program_[id].kind) != kind) continue;
      uint64_t end = 0;
      uint64_t& size = layout_.arenas[arena].size;
      if (!checked_align_up(location->size, kBufferAlignment, &end) ||
          !checked_add(size, end, &end)) {
        return fail(ExitCode::kDoesNotFit, "the buffers of the model exceed 64-bit sizes");
      }
      const uint64_t limit = target_.largest_allocation / copies(kind);
      if (target_.largest_allocation != 0 && end > limit && size > 0) {
        arena = new_arena(kind);
        end = align_up(location->size, kBufferAlignment);
      }
      if (llvm::Error error = check_allocation(program_[id].name, end, copies(kind))) return error;
      location->arena = arena;
      location->offset = layout_.arenas[arena].size;
      location->first_use = 0;
      location->last_use = 0;
      layout_.arenas[arena].size = end;
    }
    return llvm::Error::success();
  }

  // Each graph on its own; the graphs share the arena, since only one runs at a time.
  llvm::Error place_scratch() {
    const uint32_t arena = new_arena(ArenaKind::kScratch);
    for (size_t g = 0; g < schedule_.graphs.size(); ++g) {
      std::vector<Interval> intervals;
      std::vector<ir::TensorId> ids;
      for (ir::TensorId id = 0; id < layout_.tensors.size(); ++id) {
        const std::optional<Location>& location = layout_.tensors[id];
        if (!location || location->graph != static_cast<int32_t>(g)) continue;
        intervals.push_back({location->size, location->first_use, location->last_use});
        ids.push_back(id);
      }
      llvm::Expected<Placement> placement = place(intervals, kBufferAlignment);
      if (!placement) return placement.takeError();
      if (llvm::Error error = verify(intervals, *placement, kBufferAlignment)) return error;
      for (size_t i = 0; i < ids.size(); ++i) {
        layout_.tensors[ids[i]]->arena = arena;
        layout_.tensors[ids[i]]->offset = placement->offsets[i];
      }
      layout_.arenas[arena].size = std::max(layout_.arenas[arena].size, placement->size);
      layout_.scratch_lower_bound = std::max(layout_.scratch_lower_bound, placement->lower_bound);
    }
    return check_allocation("the scratch memory", layout_.arenas[arena].size);
  }

  // The slots' arenas are one allocation.
  uint64_t copies(ArenaKind kind) const { return is_per_slot(kind) ? layout_.slots : 1; }

  // What cannot be split must fit one allocation.
  llvm::Error check_allocation(llvm::StringRef what, uint64_t size, uint64_t copies = 1) const {
    const uint64_t limit = target_.largest_allocation;
    if (limit == 0 || size <= limit / copies) return llvm::Error::success();
    const std::string each = copies == 1 ? "" : std::to_string(copies) + " times ";
    return fail(ExitCode::kDoesNotFit,
                "{0} takes {1}{2:N} bytes, but the largest safe allocation on {3} is {4:N}", what,
                each, size, target_.device_name, limit);
  }

  // Independent proof for the arenas whose buffers live always: sorted by place, none reaches the
  // next.
  llvm::Error verify_linear() const {
    std::vector<const Location*> all;
    for (const std::optional<Location>& location : layout_.tensors) {
      if (location && location->graph < 0) all.push_back(&*location);
    }
    std::sort(all.begin(), all.end(), [](const Location* a, const Location* b) {
      return a->arena != b->arena ? a->arena < b->arena : a->offset < b->offset;
    });
    for (size_t i = 0; i < all.size(); ++i) {
      const bool inside =
          range_inside(all[i]->offset, all[i]->size, layout_.arenas[all[i]->arena].size) &&
          all[i]->offset % kBufferAlignment == 0;
      const bool clear = i == 0 || all[i - 1]->arena != all[i]->arena ||
                         all[i - 1]->offset + all[i - 1]->size <= all[i]->offset;
      if (!inside || !clear) return fail(ExitCode::kFailed, "internal: the layout overlaps itself");
    }
    return llvm::Error::success();
  }

  uint32_t new_arena(ArenaKind kind) {
    layout_.arenas.push_back({kind, 0});
    return static_cast<uint32_t>(layout_.arenas.size() - 1);
  }

  const ir::Program& program_;
  const select::Schedule& schedule_;
  const target::Target& target_;
  Layout layout_;
};

}  // namespace

const char* arena_name(ArenaKind kind) {
  switch (kind) {
    case ArenaKind::kWeights:
      return "weights";
    case ArenaKind::kKv:
      return "kv cache";
    case ArenaKind::kScratch:
      return "scratch";
    case ArenaKind::kState:
      return "state";
    case ArenaKind::kHostPinned:
      return "pinned host";
  }
  return "?";
}

uint64_t Layout::total(ArenaKind kind) const {
  uint64_t sum = 0;
  for (const Arena& arena : arenas) sum += arena.kind == kind ? arena.size : 0;
  return is_per_slot(kind) ? sum * slots : sum;
}

uint64_t Layout::device_bytes() const {
  uint64_t sum = 0;
  for (const Arena& arena : arenas) sum += arena.kind == ArenaKind::kHostPinned ? 0 : arena.size;
  return sum;
}

uint64_t storage_bytes(const ir::Tensor& tensor, bool is_host) {
  if (tensor.kind == TensorKind::kKvCache) {
    return kv_layout(static_cast<unsigned>(tensor.type), tensor.rows, tensor.cols).bytes;
  }
  if (tensor.kind == TensorKind::kWeight && !is_host) {
    return row_layout(static_cast<unsigned>(tensor.type), tensor.cols).stride * tensor.rows;
  }
  // Experts in panels have whole ones (select::choose_panels).
  if (tensor.panels) return panel_count(tensor.rows) * panel_bytes(tensor.type, tensor.cols);
  const BlockShape block = block_shape(tensor.type);
  return tensor.elements() / block.elements * block.bytes;
}

llvm::Expected<Layout> plan_layout(const ir::Program& program, const select::Schedule& schedule,
                                   const target::Target& target) {
  return LayoutPlanner(program, schedule, target).run();
}

void dump(const ir::Program& program, const Layout& layout, llvm::raw_ostream& os) {
  for (size_t i = 0; i < layout.arenas.size(); ++i) {
    os << llvm::formatv("arena {0} {1} {2}\n", i, arena_name(layout.arenas[i].kind),
                        layout.arenas[i].size);
  }
  for (ir::TensorId id = 0; id < layout.tensors.size(); ++id) {
    const std::optional<Location>& l = layout.tensors[id];
    if (!l) continue;
    os << llvm::formatv("  {0,-40} arena={1} offset={2} size={3} graph={4} live={5}..{6}\n",
                        program[id].name, l->arena, l->offset, l->size, l->graph, l->first_use,
                        l->last_use);
  }
}

}  // namespace jllm::memory
