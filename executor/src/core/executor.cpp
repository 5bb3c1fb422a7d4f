// Start-up: the caller's block is carved, arenas are taken, weights and kernels loaded, graphs made
// and replayed. What a sequence does with them is sequence.cpp.
#include "jllm/executor.h"

#include <cinttypes>
#include <cstring>
#include <new>

#include "executor/src/core/backend.h"
#include "executor/src/core/backends.h"
#include "executor/src/core/bump_allocator.h"
#include "schema/weight_file.h"

namespace jllm {
namespace {

struct Blocks {
  void* executor;
  void* backend;
  uint64_t* arenas;
  uint64_t* kernels;
  uint64_t* graphs;
  void* sequences;
  uint32_t* history;  // [slots][context]
};

bool has_verify_graphs(const PlanView& view) {
  for (const fb::Graph* graph : *view.plan().graphs()) {
    if (graph->kind() == fb::GraphKind::Verify) return true;
  }
  return false;
}

// `sequence_bytes`: of what the executor knows of a slot.
Blocks carve(BumpAllocator& bump, const PlanView& view, const ExecutorOptions& options,
             uint64_t sequence_bytes) {
  const fb::Plan& plan = view.plan();
  Blocks blocks = {};
  blocks.executor = bump.take(sizeof(Executor));
  blocks.backend = bump.take(backend_bytes(view, options));
  blocks.arenas = bump.take_array<uint64_t>(plan.arenas()->size());
  blocks.kernels = bump.take_array<uint64_t>(plan.kernels()->size());
  const uint64_t slots = plan.slots();
  blocks.graphs = bump.take_array<uint64_t>(plan.graphs()->size() + slots);
  blocks.sequences = bump.take(slots * sequence_bytes);
  if (has_verify_graphs(view)) {
    blocks.history = bump.take_array<uint32_t>(slots * plan.model()->context());
  }
  return blocks;
}

}  // namespace

uint64_t Executor::required_bytes(const PlanView& view, const ExecutorOptions& options) {
  BumpAllocator bump(nullptr, 0);
  carve(bump, view, options, sizeof(Sequence));
  return bump.used();
}

uint64_t Executor::arena_bytes(const PlanView& view) { return arena_block_bytes(view); }

Result<Executor*> Executor::create(const PlanView& view, PlanSource& source, void* memory,
                                   uint64_t memory_size, const ExecutorOptions& options,
                                   Message* message) {
  BumpAllocator bump(memory, memory_size);
  const Blocks blocks = carve(bump, view, options, sizeof(Sequence));
  if (!bump.fits() || reinterpret_cast<uintptr_t>(memory) % 64 != 0) {
    message->format("the executor needs a 64-byte aligned block of %" PRIu64 " bytes, got %" PRIu64,
                    bump.used(), memory_size);
    return Error::kHostMemoryTooSmall;
  }
  auto* self = new (blocks.executor) Executor(view, options);
  self->arenas_ = blocks.arenas;
  self->kernels_ = blocks.kernels;
  self->graphs_ = blocks.graphs;
  const uint32_t slots = view.plan().slots();
  memset(blocks.graphs, 0, (view.plan().graphs()->size() + slots) * sizeof(uint64_t));
  self->sequences_ = self->sequence_ = static_cast<Sequence*>(blocks.sequences);
  for (uint32_t i = 0; i < slots; ++i) {
    auto* const sequence = new (&self->sequences_[i]) Sequence();
    if (blocks.history != nullptr)
      sequence->history = blocks.history + i * uint64_t{self->context()};
  }
  const Result<Backend*> backend = create_backend(view, options, blocks.backend, &self->message_);
  Error error = backend.error();
  if (backend.ok()) {
    self->backend_ = backend.value();
    error = self->start(source);
  }
  if (error == Error::kOk) return self;
  *message = self->message_;
  self->destroy();
  return error;
}

void Executor::destroy() {
  if (backend_ != nullptr) backend_->destroy();
  backend_ = nullptr;
}

const char* Executor::device_name() const { return backend_->device_name(); }
uint32_t Executor::context() const { return view_.plan().model()->context(); }
uint32_t Executor::vocab_size() const { return view_.plan().model()->vocab_size(); }
uint32_t Executor::slots() const { return view_.plan().slots(); }

uint64_t Executor::address(uint32_t arena, uint64_t offset) const {
  return address(arena, offset, selected());
}

uint64_t Executor::address(uint32_t arena, uint64_t offset, uint32_t slot) const {
  const fb::Arena& info = *view_.plan().arenas()->Get(arena);
  return arenas_[arena] + (is_per_slot(info.kind()) ? slot * info.size() : 0) + offset;
}

Error Executor::start(PlanSource& source) {
  device_memory_.is_host_memory = backend_->shares_host_memory();
  Error error = check_weights();
  if (error == Error::kOk) error = mark_memory(&device_memory_.context);
  if (error == Error::kOk) error = allocate_arenas();
  if (error == Error::kOk) error = load_segments(source);
  if (error == Error::kOk) error = mark_memory(&device_memory_.arenas);
  if (error != Error::kOk) return error;
  const fb::Plan& plan = view_.plan();
  for (uint32_t i = 0; i < plan.kernels()->size(); ++i) {
    error = backend_->find_kernel(view_, source, *plan.kernels()->Get(i), &kernels_[i]);
    if (error != Error::kOk) return error;
  }
  error = mark_memory(&device_memory_.code);
  if (error == Error::kOk) error = initialise_state();
  if (error == Error::kOk) error = prepare_graphs();
  if (error == Error::kOk) error = mark_memory(&device_memory_.graphs);
  if (error == Error::kOk) backend_->seal();
  return error;
}

Error Executor::mark_memory(uint64_t* used) {
  return backend_->memory_in_use(used, &device_memory_.total);
}

Error Executor::allocate_arenas() {
  const fb::Plan& plan = view_.plan();
  for (uint32_t i = 0; i < plan.arenas()->size(); ++i) {
    const fb::Arena& arena = *plan.arenas()->Get(i);
    void* host_view = nullptr;
    const uint64_t size = allocation_bytes(plan, arena);
    const Error error = backend_->allocate(arena.kind(), size, &arenas_[i], &host_view);
    if (error != Error::kOk) return error;
    switch (arena.kind()) {
      case fb::ArenaKind::Weights:
        memory_use_.weights += size;
        break;
      case fb::ArenaKind::Kv:
        memory_use_.kv += size;
        break;
      case fb::ArenaKind::Scratch:
        memory_use_.scratch += size;
        break;
      case fb::ArenaKind::State:
        memory_use_.state += size;
        break;
      case fb::ArenaKind::HostPinned:
        memory_use_.pinned += size;
        break;
    }
    const fb::Bindings& bindings = *plan.bindings();
    for (uint32_t slot = 0; slot < slots(); ++slot) {
      Sequence& sequence = sequences_[slot];
      auto* const bytes = static_cast<uint8_t*>(host_view) + slot * arena.size();
      if (i == bindings.ring_arena()) {
        sequence.ring = reinterpret_cast<RingSlot*>(bytes + bindings.ring());
      }
      if (sequence.history != nullptr && i == bindings.draft_arena()) {
        sequence.draft = reinterpret_cast<Draft*>(bytes + bindings.draft());
      }
    }
  }
  return Error::kOk;
}

// A split plan comes with its own weight file, and no other does with any.
Error Executor::check_weights() {
  PlanSource* const weights = options_.weights;
  const fb::WeightFile* wanted = view_.plan().weight_file();
  if (wanted == nullptr && weights == nullptr) return Error::kOk;
  if (weights == nullptr) {
    message_.format("the plan's weights are in a file of their own, which is needed too: %.100s",
                    wanted->name()->c_str());
    return Error::kBadArgument;
  }
  uint8_t header[sizeof(WeightFileHeader)] = {};
  const uint64_t size = weights->size() < sizeof header ? weights->size() : sizeof header;
  if (weights->read(0, size, header) != Error::kOk) {
    message_.format("cannot read the weight file's first %" PRIu64 " bytes", size);
    return Error::kReadFailed;
  }
  return check_weight_file(view_, header, size, weights->size(), &message_);
}

Error Executor::load_segments(PlanSource& source) {
  for (const fb::Segment* segment : *view_.plan().segments()) {
    if (segment->kind() != fb::SegmentKind::Weights) continue;
    PlanSource& from = segment->in_weight_file() ? *options_.weights : source;
    const Error error = backend_->load(from, segment->offset(), segment->size(),
                                       address(segment->dest_arena(), segment->dest_offset()));
    if (error != Error::kOk) return error;
  }
  return Error::kOk;
}

Error Executor::initialise_state() {
  const fb::Bindings& bindings = *view_.plan().bindings();
  // Tickets and token histories must start from zero; so does every ring slot.
  for (uint32_t i = 0; i < view_.plan().arenas()->size(); ++i) {
    const fb::Arena& arena = *view_.plan().arenas()->Get(i);
    if (arena.kind() != fb::ArenaKind::State) continue;
    const Error error = backend_->zero(arenas_[i], allocation_bytes(view_.plan(), arena));
    if (error != Error::kOk) return error;
  }
  StepState state = {};
  state.context = context();
  state.top_p = 1.0f;
  state.repeat_penalty = 1.0f;
  const auto* end_tokens = view_.plan().end_tokens();
  state.end_token_count = end_tokens->size();
  for (uint32_t i = 0; i < end_tokens->size(); ++i) state.end_tokens[i] = end_tokens->Get(i);
  for (uint32_t slot = 0; slot < slots(); ++slot) {
    memset(static_cast<void*>(sequences_[slot].ring), 0, kRingSlots * sizeof(RingSlot));
    if (sequences_[slot].draft != nullptr) *sequences_[slot].draft = {};
    const Error error = backend_->write(
        address(bindings.state_arena(), bindings.step_state(), slot), &state, sizeof state);
    if (error != Error::kOk) return error;
  }
  return backend_->synchronise();
}

// A graph holds the places of one slot: all are captured for the first, and for the others the
// decode graph. What else they need is launched kernel by kernel: those launches are fewer than a
// token's, or long enough to hide behind each other.
Error Executor::prepare_graphs() {
  const auto* graphs = view_.plan().graphs();
  for (uint32_t i = 0; i < graphs->size(); ++i) {
    if (graphs->Get(i)->kind() == fb::GraphKind::Decode) decode_graph_ = i;
    if (graphs->Get(i)->kind() == fb::GraphKind::Head) head_graph_ = i;
    const Error error = capture(i);
    if (error != Error::kOk) return error;
  }
  for (uint32_t slot = slots(); slot-- > 0;) {
    sequence_ = &sequences_[slot];
    sequence_->sampling_graph = decode_graph_;
    const Error error = slot > 0 ? capture(decode_graph_) : Error::kOk;
    if (error != Error::kOk) return error;
  }
  return backend_->synchronise();
}

Error Executor::capture(uint32_t graph) {
  if (!options_.graphs || view_.is_host()) return Error::kOk;
  Error error = backend_->begin_capture();
  if (error == Error::kOk) error = launch_graph(graph);
  return error == Error::kOk ? backend_->end_capture(graph_handle(graph)) : error;
}

// Null: the selected slot has no such graph of its own.
uint64_t* Executor::graph_handle(uint32_t graph) const {
  const uint32_t slot = selected();
  if (slot == 0) return &graphs_[graph];
  return graph == decode_graph_ ? &graphs_[view_.plan().graphs()->size() + slot] : nullptr;
}

Error Executor::launch_graph(uint32_t graph) {
  const fb::Plan& plan = view_.plan();
  uint64_t args[32];
  uint32_t mark = options_.time_launches ? first_mark(graph) : 0;
  for (const fb::Launch* launch : *plan.graphs()->Get(graph)->launches()) {
    uint32_t n = 0;
    if (options_.time_launches) {
      const Error error = backend_->mark(mark++);
      if (error != Error::kOk) return error;
    }
    for (const fb::Arg* arg : *launch->args()) {
      const bool pointer = arg->kind() == fb::ArgKind::Pointer;
      args[n++] = pointer ? address(arg->arena(), arg->value()) : arg->value();
    }
    const Grid grid = {launch->grid_x(), launch->grid_y(), launch->grid_z()};
    const Error error = backend_->launch(kernels_[launch->kernel()],
                                         *plan.kernels()->Get(launch->kernel()), grid, args, n);
    if (error != Error::kOk) return error;
  }
  if (!options_.time_launches) return Error::kOk;
  const Error error = backend_->mark(mark);
  return error == Error::kOk ? backend_->mark(mark + 1) : error;
}

uint32_t Executor::first_mark(uint32_t graph) const {
  uint32_t first = 0;
  for (uint32_t i = 0; i < graph; ++i) first += mark_count(*view_.plan().graphs()->Get(i));
  return first;
}

Error Executor::launch_times(uint32_t graph, float* microseconds) {
  if (!options_.time_launches || graph >= view_.plan().graphs()->size()) {
    message_.format("no times are taken of graph %u: see ExecutorOptions::time_launches", graph);
    return Error::kBadArgument;
  }
  Error error = backend_->synchronise();
  const uint32_t first = first_mark(graph);
  const uint32_t count = mark_count(*view_.plan().graphs()->Get(graph)) - 1;
  for (uint32_t i = 0; error == Error::kOk && i < count; ++i) {
    error = backend_->time_between_marks(first + i, &microseconds[i]);
  }
  return error;
}

Error Executor::replay(uint32_t graph) {
  ++replays_;
  const uint64_t* const handle = graph_handle(graph);
  return handle != nullptr && *handle != 0 ? backend_->replay(*handle) : launch_graph(graph);
}

}  // namespace jllm
