// Replays a plan. All memory is taken in create(); afterwards neither the host heap nor the
// device's allocator is touched.
//
// Threads: an Executor is used by one thread at a time, whichever, and by no two at once; handing
// it on takes what any other object takes (a mutex, a queue). Any number of Executors may run at
// the same time, and share one PlanView, which never changes. A PlanSource is used by create() only
// and by one create() at a time. The host backend's own threads block every signal.
//
// The life of a sequence: prefill() consumes a prompt, then each enqueue() asks for one more token
// and each next() waits for the oldest one asked for. Enqueueing a few tokens ahead keeps a GPU
// busy. Or generate() does both, and speculates where the plan can: what the text so far suggests
// comes next is computed along and kept where it is what would have been sampled. The tokens are
// the same either way. Or begin() and step(), for loops that must come back in time: a step is one
// replay, of a prefill graph or of a token's.
//
// A plan has room for one sequence or for more: its slots (jllmc compile --slots). Each lives on
// its own; select() says which one calls are about. enqueue_batch() asks for a token of several at
// once, whose weights are then read once.
#pragma once

#include <cstdint>

#include "jllm/plan_source.h"
#include "jllm/prompt_lookup.h"
#include "schema/result.h"
#include "schema/step_state.h"
#include "schema/view.h"

namespace jllm {

class Backend;

struct ExecutorOptions {
  unsigned threads = 0;  // host backend: worker threads, 0 = one per CPU (at most 64)
  int device = 0;        // CUDA: ordinal
  bool graphs = true;    // CUDA: false launches kernel by kernel (debugging)
  // CUDA: also take a device newer than the plan's target. Works only for plans with PTX (tests).
  bool newer_device = false;
  // Takes the time of every launch, for launch_times(). Kernels then run one after the other, with
  // a mark between them: slower than a plain replay.
  bool time_launches = false;
  // Host backend: where the arenas lie, arena_bytes() of them at a multiple of 64; null: mapped
  // from the system. It must outlive the Executor.
  void* arena_memory = nullptr;
  uint64_t arena_memory_size = 0;
  // The weight file of a split plan; used by create() only. Null: the plan holds its weights.
  PlanSource* weights = nullptr;
};

// How the next token is chosen; the fields of StepState with the same names.
struct Sampling {
  float temperature = 0.0f;
  uint32_t top_k = 0;
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repeat_penalty = 1.0f;
  uint32_t repeat_last_n = 64;
  uint64_t seed = 0;
  bool ignore_end = false;
};

struct SampledToken {
  uint32_t id = 0;
  StepDone done = kRunning;  // why the sequence ended with this token, if it did
};

// What a step() did.
struct Progress {
  enum Event : uint32_t {
    kPrompt = 0,  // consumed a part of the prompt
    kToken = 1,   // made a token
    kEnd = 2,     // nothing: the sequence has ended
  };
  Event event = kEnd;
  uint32_t consumed = 0, total = 0;  // kPrompt: tokens of what begin() was given
  SampledToken token;                // kToken
};

// What generate() did since create().
struct SpeculationCounts {
  uint64_t steps = 0;     // replays that sampled
  uint64_t drafts = 0;    // of them, those that verified a draft
  uint64_t drafted = 0;   // tokens
  uint64_t accepted = 0;  // of them
};

// What create() found and took, bytes.
struct MemoryUse {
  uint64_t weights = 0, kv = 0, scratch = 0, state = 0, pinned = 0;
  uint64_t device_total() const { return weights + kv + scratch + state; }
};

// Device memory in use by all processes while create() went on, bytes; what others take or give
// back meanwhile is in it. All 0 on the host, which keeps no such books.
struct DeviceMemoryMarks {
  bool is_host_memory = true;  // one memory for both, as on Jetson
  uint64_t total = 0;          // of the device
  uint64_t context = 0;        // in use when there was a context
  uint64_t arenas = 0;         // when the arenas were allocated and the weights loaded
  uint64_t code = 0;           // when the kernels were loaded
  uint64_t graphs = 0;         // when the graphs were captured: ready
};

class JLLM_EXPORT Executor {
 public:
  // Size of the block that create() needs for its own tables.
  static uint64_t required_bytes(const PlanView& view, const ExecutorOptions& options = {});
  // Size of the block for ExecutorOptions::arena_memory; 0 for plans that are not the host's.
  static uint64_t arena_bytes(const PlanView& view);

  // Checks the device against the plan, allocates the arenas, loads weights and code, captures the
  // graphs. `memory` (64-byte aligned, at least required_bytes()) and `view` must outlive the
  // Executor; `source` is used only here. On failure everything taken is given back and `message`
  // says what to do.
  static Result<Executor*> create(const PlanView& view, PlanSource& source, void* memory,
                                  uint64_t memory_size, const ExecutorOptions& options,
                                  Message* message);
  void destroy();

  uint32_t slots() const;                     // sequences that there is room for
  [[nodiscard]] Error select(uint32_t slot);  // slot 0 at first
  uint32_t selected() const { return static_cast<uint32_t>(sequence_ - sequences_); }

  // Resets the seed's draw counter. Takes effect for tokens enqueued afterwards.
  [[nodiscard]] Error set_sampling(const Sampling& sampling);

  // Bit i % 32 of words[i / 32] allows token i, until the next call; null: all tokens. While there
  // is a mask, generate() drafts nothing, and enqueue_draft() refuses.
  [[nodiscard]] Error set_mask(const uint32_t* words);

  // Keeps the first `count` tokens of the sequence (0 = start afresh); what followed is forgotten.
  // Tokens in flight are waited for and dropped. Costs nothing, but for models with layers that
  // remember the last positions only: back beyond those (Model.rewind_reach), the kept tokens are
  // consumed again.
  [[nodiscard]] Error rewind(uint32_t count);

  // Makes the sequence the first `count` tokens of that in another slot, as if they had been put in
  // here. Nothing is computed, but where layers remember the last positions only, as for rewind().
  // Tokens that are in flight there stay in flight, and count for nothing here.
  [[nodiscard]] Error copy_prefix(uint32_t from_slot, uint32_t count);

  // What the caches have of a sequence's first `count` tokens, as bytes that another Executor of
  // the same plan can go on from, in any slot; 0: nothing, as of a single token, which is consumed
  // again.
  uint64_t prefix_bytes(uint32_t count) const;
  // rewind(count), and then bytes [offset, offset + size) of these.
  [[nodiscard]] Error save_prefix(uint32_t count, uint64_t offset, void* out, uint64_t size);
  // Puts them back in place of the sequence, which is empty until the last byte is there, and then
  // has these tokens. What the bytes are is not checked: prove them before the last ones.
  [[nodiscard]] Error load_prefix(const uint32_t* tokens, uint32_t count, uint64_t offset,
                                  const void* in, uint64_t size);

  // Appends tokens and runs them through the model. kContextFull when they do not fit: nothing is
  // changed.
  [[nodiscard]] Error prefill(const uint32_t* tokens, uint32_t n);

  // As prefill(), but the tokens are only put down: step() consumes them.
  [[nodiscard]] Error begin(const uint32_t* tokens, uint32_t n);
  // One replay, and waits for it: the next part of what begin() put down, or else, as generate()
  // does, a token. Other calls that need the prompt consumed (next(), rewind()) do what is left of
  // it at once.
  Result<Progress> step();

  // Asks for one more token. At most kRingSlots may be in flight.
  [[nodiscard]] Error enqueue();
  // The same for several sequences, all different, in one replay: next() hands out the tokens, with
  // each slot selected. The bits are those of single steps.
  [[nodiscard]] Error enqueue_batch(const uint32_t* slots, uint32_t n);
  // Waits for the oldest token in flight.
  Result<SampledToken> next();

  // Asks for the token behind the sequence and, as long as the guesses hold, for those behind them:
  // next() hands out one token more than there were right guesses, fewer where one ends the
  // sequence. Guesses beyond most_drafted() or the context are left out, all of them where a prompt
  // was just consumed. Nothing may be in flight. Returns how many guesses are verified.
  Result<uint32_t> enqueue_draft(const uint32_t* guesses, uint32_t n);
  // The most that the plan can verify at once; 0: it cannot.
  uint32_t most_drafted() const;

  // The next token. Where nothing is in flight it asks for more, with a draft looked up in the
  // sequence. At most `wanted` tokens are then in the sequence that were not there before: the one
  // returned, and those in flight that the next calls return.
  Result<SampledToken> generate(uint32_t wanted = UINT32_MAX);
  // Tokens that generate() drafts at most (at first as many as the plan can verify); 0: none.
  void set_speculation(uint32_t most) { speculation_ = most; }
  const SpeculationCounts& speculation_counts() const { return speculation_counts_; }

  // Appends one token and computes the logits behind it without keeping a sampled token:
  // evaluation.
  [[nodiscard]] Error force(uint32_t token);

  // Logits of the last token sampled or forced; `out` holds vocab_size floats. Waits for the
  // device. Of no use behind a prefill() until a token is sampled. Those of drafts and batches are
  // there until something else is computed, in any slot.
  [[nodiscard]] Error read_logits(float* out);

  // Of plans that make embeddings (jllmc compile --embedding last), which make nothing else of what
  // was put in: the vector of the sequence, not scaled to a length. `count`: its floats,
  // Bindings.embedding of the plan. Consumes what is left of the tokens, and waits for the
  // device.
  [[nodiscard]] Error embedding(float* out, uint32_t count);

  // With ExecutorOptions::time_launches: how long each launch of the last replay of this graph
  // took, and behind them what the taking of a time itself takes: (launches + 1) floats,
  // microseconds. Waits for the device.
  [[nodiscard]] Error launch_times(uint32_t graph, float* microseconds);

  uint32_t count() const {
    return sequence_->count;
  }  // tokens known: prompt and output, in-flight ones excluded
  uint32_t in_flight() const { return sequence_->enqueued - sequence_->received; }
  uint32_t context() const;
  uint32_t vocab_size() const;
  const MemoryUse& memory_use() const { return memory_use_; }
  const DeviceMemoryMarks& device_memory() const { return device_memory_; }
  // The device that was found, for people; valid while the Executor lives.
  const char* device_name() const;
  // Why the last call failed.
  const char* last_error() const { return message_.text; }

 private:
  // What is known of one slot.
  struct Sequence {
    RingSlot* ring = nullptr;     // host view of the pinned ring
    Draft* draft = nullptr;       // the same of the draft; null: the plan has no verify graphs
    uint32_t* history = nullptr;  // the tokens of the sequence, where the plan has verify graphs
    uint32_t count = 0;
    uint32_t written = 0;   // positions that layers may have seen since they were last written anew
    uint32_t pending = 0;   // at the end of the sequence: for prefill graphs to consume
    uint32_t begun = 0;     // of which `pending` are left
    uint32_t enqueued = 0;  // tokens asked for since create
    uint32_t received = 0;  // tokens handed out (or given up) since create
    uint32_t sampled = 0;   // ring slots read since create
    uint32_t sampling_graph = 0;  // the last to be replayed of those that sample
    uint32_t logits_row = 0;      // of a batch graph: which row was this sequence's
    uint32_t logits_replay = 0;   // number of the replay that left them
    bool verifying = false;       // a draft is in flight whose outcome is not known yet
    bool head_next = false;       // all was consumed: the next token comes from the head graph
    bool forced = false;          // so it was, by force()
    bool masked = false;
    StepDone done = kRunning;
    PromptLookup lookup;
  };
  struct PrefixMove;

  Executor(const PlanView& view, const ExecutorOptions& options) : view_(view), options_(options) {}
  JLLM_LOCAL Error start(PlanSource& source);
  JLLM_LOCAL Error allocate_arenas();
  JLLM_LOCAL Error mark_memory(uint64_t* used);
  JLLM_LOCAL Error check_weights();
  JLLM_LOCAL Error load_segments(PlanSource& source);
  JLLM_LOCAL Error prepare_graphs();
  JLLM_LOCAL Error launch_graph(uint32_t graph);
  JLLM_LOCAL Error capture(uint32_t graph);
  JLLM_LOCAL uint32_t first_mark(uint32_t graph) const;
  JLLM_LOCAL Error check_batch(const uint32_t* slots, uint32_t n);
  JLLM_LOCAL Error launch_batch(const uint32_t* slots, uint32_t n);
  JLLM_LOCAL Error move_prefix(uint32_t count, PrefixMove* move) const;
  JLLM_LOCAL Error move_part(uint32_t count, PrefixMove* move);
  JLLM_LOCAL Error replay(uint32_t graph);
  JLLM_LOCAL Error write_state(uint32_t first_field, const uint32_t* values, uint32_t n);
  JLLM_LOCAL Error initialise_state();
  JLLM_LOCAL Error append(const uint32_t* tokens, uint32_t n);
  JLLM_LOCAL void remember(const uint32_t* tokens, uint32_t n);
  JLLM_LOCAL Error consume_some();
  JLLM_LOCAL Error consume_pending();
  JLLM_LOCAL bool is_out_of_reach(uint32_t consumed);
  JLLM_LOCAL Error check_makes(bool embeddings);
  JLLM_LOCAL Error prepare_token();
  JLLM_LOCAL Error sample(uint32_t graph);
  JLLM_LOCAL void expect_token(uint32_t graph, uint32_t row);
  JLLM_LOCAL Error drain();
  JLLM_LOCAL Error discard_step();
  JLLM_LOCAL Result<SampledToken> wait_for_slot();
  JLLM_LOCAL Error set_sequence(uint32_t position, uint32_t count, StepDone done);
  // In the selected slot's arena, where every slot has one.
  JLLM_LOCAL uint64_t address(uint32_t arena, uint64_t offset) const;
  JLLM_LOCAL uint64_t address(uint32_t arena, uint64_t offset, uint32_t slot) const;
  JLLM_LOCAL uint64_t* graph_handle(uint32_t graph) const;

  PlanView view_;
  ExecutorOptions options_;
  Message message_;
  Backend* backend_ = nullptr;
  uint64_t* arenas_ = nullptr;   // address of each arena as kernels see it
  uint64_t* kernels_ = nullptr;  // backend handle of each kernel
  // Backend handle of each graph, 0: launched eagerly; behind them, of the decode graph of each
  // slot.
  uint64_t* graphs_ = nullptr;
  Sequence* sequences_ = nullptr;  // by slot
  Sequence* sequence_ = nullptr;   // the selected one
  uint32_t decode_graph_ = 0;
  uint32_t head_graph_ = 0;
  uint32_t replays_ = 0;  // since create
  Batch batch_ = {};      // as the device has it
  uint32_t speculation_ = UINT32_MAX;
  SpeculationCounts speculation_counts_;
  MemoryUse memory_use_;
  DeviceMemoryMarks device_memory_;
};

}  // namespace jllm
