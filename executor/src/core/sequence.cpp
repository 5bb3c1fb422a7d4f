// A sequence: its tokens go in, its tokens come out, and the step state on the device follows.
#include <cstddef>
#include <cstring>

#include "executor/src/core/backend.h"
#include "jllm/executor.h"

namespace jllm {
namespace {

// Field numbers of StepState, in 32-bit words.
constexpr uint32_t word_of(uint64_t byte_offset) { return static_cast<uint32_t>(byte_offset / 4); }

}  // namespace

Error Executor::write_state(uint32_t first_field, const uint32_t* values, uint32_t n) {
  const fb::Bindings& bindings = *view_.plan().bindings();
  return backend_->write(
      address(bindings.state_arena(), bindings.step_state() + first_field * uint64_t{4}), values,
      n * uint64_t{4});
}

Error Executor::set_sampling(const Sampling& sampling) {
  if (!(sampling.temperature >= 0) || !(sampling.repeat_penalty > 0) || !(sampling.top_p > 0) ||
      !(sampling.min_p >= 0 && sampling.min_p <= 1)) {
    message_.format("temperature and min-p must be at least 0, top-p and repeat penalty above 0");
    return Error::kBadArgument;
  }
  StepState state = {};
  state.seed_low = static_cast<uint32_t>(sampling.seed);
  state.seed_high = static_cast<uint32_t>(sampling.seed >> 32);
  state.temperature = sampling.temperature;
  state.top_p = sampling.top_p;
  state.min_p = sampling.min_p;
  state.repeat_penalty = sampling.repeat_penalty;
  state.top_k = sampling.top_k;
  state.repeat_last_n = sampling.repeat_last_n;
  uint32_t words[sizeof(StepState) / 4];
  memcpy(words, &state, sizeof state);
  constexpr uint32_t kFirst = word_of(offsetof(StepState, seed_low));
  constexpr uint32_t kLast = word_of(offsetof(StepState, repeat_last_n));
  const Error error = write_state(kFirst, words + kFirst, kLast - kFirst + 1);
  if (error != Error::kOk) return error;
  const uint32_t ignore_end = sampling.ignore_end ? 1 : 0;
  return write_state(word_of(offsetof(StepState, ignore_end)), &ignore_end, 1);
}

Error Executor::set_sequence(uint32_t position, uint32_t count, StepDone done) {
  static_assert(offsetof(StepState, position) == 0 && offsetof(StepState, count) == 4, "fields");
  const uint32_t sequence[2] = {position, count};
  const uint32_t state = done;
  sequence_->count = count;
  sequence_->done = done;
  const Error error = write_state(0, sequence, 2);
  return error == Error::kOk ? write_state(word_of(offsetof(StepState, done)), &state, 1) : error;
}

Error Executor::drain() {
  while (in_flight() > 0) {
    const Result<SampledToken> token = next();
    if (!token.ok()) return token.error();
  }
  return Error::kOk;
}

Error Executor::rewind(uint32_t count) {
  Error error = drain();
  if (error != Error::kOk) return error;
  if (count > sequence_->count) {
    message_.format("cannot rewind to %u tokens: the sequence has %u", count, sequence_->count);
    return Error::kBadArgument;
  }
  sequence_->lookup.reset();
  // The last kept token counts as not consumed, so that a following step has one to consume.
  sequence_->head_next = sequence_->forced = false;
  const uint32_t consumed = count > 0 ? count - 1 : 0;
  if (consumed > sequence_->count - sequence_->pending) error = consume_pending();
  if (error != Error::kOk) return error;
  sequence_->pending = 0;
  if (is_out_of_reach(consumed)) {
    error = set_sequence(0, consumed, kRunning);
    sequence_->pending = consumed;
    if (error == Error::kOk) error = consume_pending();
    if (error != Error::kOk) return error;
  }
  return set_sequence(consumed, count, kRunning);
}

// Whether a layer has forgotten what it needs to go on behind the first `consumed` tokens: it keeps
// the last positions only (Model.rewind_reach), counted from the furthest that was ever written.
bool Executor::is_out_of_reach(uint32_t consumed) {
  const uint32_t reach = view_.plan().model()->rewind_reach();
  if (sequence_->written < sequence_->count + kMaxDraft)
    sequence_->written = sequence_->count + kMaxDraft;  // with drafts that failed
  const bool lost = reach != 0 && consumed > 0 && sequence_->written - consumed > reach;
  if (lost || consumed == 0) sequence_->written = consumed;  // everything is written anew
  return lost;
}

Error Executor::append(const uint32_t* tokens, uint32_t n) {
  const Error error = drain();
  if (error != Error::kOk) return error;
  if (n > context() - sequence_->count) {
    message_.format("%u more tokens do not fit: %u of %u positions of the context are taken", n,
                    sequence_->count, context());
    return Error::kContextFull;
  }
  for (uint32_t i = 0; i < n; ++i) {
    if (tokens[i] >= vocab_size()) {
      message_.format("token id %u is not in the vocabulary of %u", tokens[i], vocab_size());
      return Error::kBadArgument;
    }
  }
  if (n == 0) return Error::kOk;
  remember(tokens, n);
  const fb::Bindings& bindings = *view_.plan().bindings();
  return backend_->write(
      address(bindings.state_arena(), bindings.tokens() + uint64_t{sequence_->count} * 4), tokens,
      n * uint64_t{4});
}

// Puts tokens behind the known ones; the caller counts them.
void Executor::remember(const uint32_t* tokens, uint32_t n) {
  if (sequence_->history != nullptr)
    memcpy(sequence_->history + sequence_->count, tokens, n * sizeof(uint32_t));
}

Error Executor::prefill(const uint32_t* tokens, uint32_t n) {
  const Error error = begin(tokens, n);
  return error == Error::kOk ? consume_pending() : error;
}

Error Executor::begin(const uint32_t* tokens, uint32_t n) {
  if (n == 0) return Error::kOk;
  Error error = append(tokens, n);
  if (error != Error::kOk) return error;
  // Consumed so far: all but what is pending; all, when the head graph is due; else all but the
  // last.
  const uint32_t left = sequence_->pending > 0                          ? sequence_->pending
                        : sequence_->head_next || sequence_->count == 0 ? 0
                                                                        : 1;
  error = set_sequence(sequence_->count - left, sequence_->count + n, kRunning);
  if (error != Error::kOk) return error;
  sequence_->begun = left + n;
  sequence_->forced = false;
  sequence_->head_next = sequence_->begun > 1;  // a single token is left to the decode graph
  sequence_->pending = sequence_->head_next ? sequence_->begun : 0;
  sequence_->sampling_graph = decode_graph_;
  return Error::kOk;
}

Error Executor::consume_pending() {
  Error error = Error::kOk;
  while (error == Error::kOk && sequence_->pending > 0) error = consume_some();
  return error;
}

// Runs the next of the pending tokens through a prefill graph: the smallest that takes all that are
// left, else the largest.
Error Executor::consume_some() {
  const auto* graphs = view_.plan().graphs();
  int64_t best = -1;
  for (uint32_t i = 0; i < graphs->size(); ++i) {
    if (graphs->Get(i)->kind() != fb::GraphKind::Prefill) continue;
    const uint32_t rows = graphs->Get(i)->rows();
    const uint32_t best_rows = best < 0 ? 0 : graphs->Get(static_cast<uint32_t>(best))->rows();
    const bool better = best < 0 || (best_rows < sequence_->pending
                                         ? rows > best_rows
                                         : rows >= sequence_->pending && rows < best_rows);
    if (better) best = i;
  }
  if (best < 0) {
    message_.format("the plan has no prefill graph");
    return Error::kPlanInvalid;
  }
  const Error error = replay(static_cast<uint32_t>(best));
  const uint32_t rows = graphs->Get(static_cast<uint32_t>(best))->rows();
  sequence_->pending -= rows < sequence_->pending ? rows : sequence_->pending;
  return error;
}

Result<Progress> Executor::step() {
  Progress progress;
  if (sequence_->pending > 0) {
    Error error = consume_some();
    if (error == Error::kOk) error = backend_->synchronise();
    if (error != Error::kOk) return error;
    progress.event = Progress::kPrompt;
    progress.consumed = sequence_->begun - sequence_->pending;
    progress.total = sequence_->begun;
    return progress;
  }
  if (sequence_->done != kRunning) return progress;
  const Result<SampledToken> token = generate();
  if (!token.ok()) return token.error();
  progress.event = Progress::kToken;
  progress.token = token.value();
  return progress;
}

Error Executor::check_makes(bool embeddings) {
  if (embeddings == makes_embeddings(view_.plan())) return Error::kOk;
  message_.format("the plan makes %s: compile with --embedding %s",
                  embeddings ? "text" : "embeddings", embeddings ? "last" : "none");
  return Error::kBadArgument;
}

Error Executor::embedding(float* out, uint32_t count) {
  Error error = check_makes(true);
  if (error != Error::kOk) return error;
  const fb::Bindings& bindings = *view_.plan().bindings();
  const uint32_t length = bindings.embedding();
  if (sequence_->count == 0 || count != length) {
    message_.format("no prompt, or not %u floats", length);
    return Error::kBadArgument;
  }
  // A single token was left (begin()), and so was the last that is kept (rewind()).
  if (!sequence_->head_next) sequence_->pending = 1;
  sequence_->head_next = true;
  error = consume_pending();
  if (error == Error::kOk) error = replay(head_graph_);
  if (error != Error::kOk) return error;
  return backend_->read(address(bindings.logits_arena(), bindings.logits()), out,
                        length * uint64_t{4});
}

// Whether one more token can be asked for, with all before it consumed.
Error Executor::prepare_token() {
  if (sequence_->count == 0 || sequence_->done != kRunning) {
    message_.format(sequence_->count == 0 ? "there is no prompt: call prefill() first"
                                          : "the sequence has ended; prefill() or rewind() first");
    return Error::kNothingToDo;
  }
  // The head graph goes on from rows that a prefill graph left: behind a forced token the last one
  // is computed again.
  const Error error = sequence_->forced ? rewind(sequence_->count) : consume_pending();
  if (error != Error::kOk) return error;
  // A draft may turn out to be as many tokens as it has guesses, and one more.
  if (in_flight() + (sequence_->verifying ? sequence_->draft->count : 0) >= kRingSlots) {
    message_.format("%u tokens are in flight already", kRingSlots);
    return Error::kBadArgument;
  }
  return Error::kOk;
}

Error Executor::enqueue() {
  const Error error = prepare_token();
  return error == Error::kOk ? sample(sequence_->head_next ? head_graph_ : decode_graph_) : error;
}

// Replays a graph whose first token is then in flight.
Error Executor::sample(uint32_t graph) {
  Error error = check_makes(false);
  if (error == Error::kOk) error = replay(graph);
  if (error != Error::kOk) return error;
  sequence_->head_next = false;
  expect_token(graph, 0);
  return Error::kOk;
}

// The last replay, of this graph, samples behind the sequence, in this row of its logits.
void Executor::expect_token(uint32_t graph, uint32_t row) {
  sequence_->head_next = false;
  sequence_->sampling_graph = graph;
  sequence_->logits_row = row;
  sequence_->logits_replay = replays_;
  ++sequence_->enqueued;
}

uint32_t Executor::most_drafted() const {
  uint32_t most = 0;
  for (const fb::Graph* graph : *view_.plan().graphs()) {
    const uint32_t drafted = graph->rows() - 1;
    if (graph->kind() == fb::GraphKind::Verify && drafted > most) most = drafted;
  }
  return most;
}

Result<uint32_t> Executor::enqueue_draft(const uint32_t* guesses, uint32_t n) {
  if (in_flight() > 0) {
    message_.format("%u tokens are in flight: a draft would not continue the sequence",
                    in_flight());
    return Error::kBadArgument;
  }
  if (n > 0 && sequence_->masked) {
    message_.format("a draft is not verified against a token mask: set_mask(nullptr) first");
    return Error::kBadArgument;
  }
  for (uint32_t i = 0; i < n; ++i) {
    if (guesses[i] >= vocab_size()) {
      message_.format("drafted token id %u is not in the vocabulary of %u", guesses[i],
                      vocab_size());
      return Error::kBadArgument;
    }
  }
  // The last token is not consumed yet, or else the head graph makes the next one.
  const uint32_t room = sequence_->head_next ? 0 : context() - sequence_->count;
  const uint32_t most = most_drafted();
  if (n > most) n = most;
  if (n > room) n = room;
  if (n == 0 || sequence_->count == 0 || sequence_->done != kRunning) {
    const Error error = enqueue();
    if (error != Error::kOk) return error;
    return 0u;
  }
  const auto* graphs = view_.plan().graphs();
  uint32_t best = 0, best_rows = UINT32_MAX;  // the smallest that takes them all
  for (uint32_t i = 0; i < graphs->size(); ++i) {
    const fb::Graph& graph = *graphs->Get(i);
    if (graph.kind() != fb::GraphKind::Verify || graph.rows() < n + 1) continue;
    if (graph.rows() < best_rows) best = i, best_rows = graph.rows();
  }
  sequence_->draft->count = n;
  memcpy(sequence_->draft->tokens, guesses, n * sizeof(uint32_t));
  const Error error = sample(best);
  if (error != Error::kOk) return error;
  sequence_->verifying = true;
  return n;
}

Result<SampledToken> Executor::generate(uint32_t wanted) {
  if (in_flight() > 0) return next();
  uint32_t guesses[kMaxDraft];
  uint32_t most = sequence_->history == nullptr || wanted == 0 ? 0 : wanted - 1;
  if (most > speculation_) most = speculation_;
  if (sequence_->masked) most = 0;
  if (most > kMaxDraft) most = kMaxDraft;
  const uint32_t found =
      sequence_->lookup.draft(sequence_->history, sequence_->count, most, guesses);
  const Result<uint32_t> drafted = enqueue_draft(guesses, found);
  if (!drafted.ok()) return drafted.error();
  const Result<SampledToken> token = next();
  if (!token.ok()) return token.error();
  const uint32_t accepted = in_flight();  // each token behind the first had been guessed
  if (drafted.value() > 0) sequence_->lookup.learn(drafted.value(), accepted);
  speculation_counts_.steps += 1;
  speculation_counts_.drafts += drafted.value() > 0 ? 1 : 0;
  speculation_counts_.drafted += drafted.value();
  speculation_counts_.accepted += accepted;
  return token;
}

Result<SampledToken> Executor::next() {
  if (in_flight() == 0) {
    message_.format("no token was asked for");
    return Error::kNothingToDo;
  }
  if (sequence_->done != kRunning) {  // replays behind the end change nothing and write no slot
    const Error error = backend_->synchronise();
    sequence_->received = sequence_->enqueued;
    if (error != Error::kOk) return error;
    return SampledToken{0, sequence_->done};
  }
  return wait_for_slot();
}

Result<SampledToken> Executor::wait_for_slot() {
  const RingSlot* slot = &sequence_->ring[sequence_->sampled % kRingSlots];
  for (uint32_t turn = 0;
       __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE) != sequence_->sampled + 1; ++turn) {
    const Error error = backend_->poll(turn, sequence_->sampling_graph, in_flight() > 1);
    if (error != Error::kOk) return error;
  }
  if (sequence_->verifying) {  // the device has said how many tokens there are
    sequence_->verifying = false;
    if (sequence_->draft->sampled < 1 || sequence_->draft->sampled > sequence_->draft->count + 1) {
      message_.format("%u guesses were verified, and %u tokens came of it", sequence_->draft->count,
                      sequence_->draft->sampled);
      return Error::kPlanInvalid;
    }
    sequence_->enqueued += sequence_->draft->sampled - 1;
  }
  ++sequence_->sampled;
  ++sequence_->received;
  const SampledToken token = {slot->token, static_cast<StepDone>(slot->done)};
  sequence_->done = token.done;
  if (sequence_->done == kBadLogits) {
    message_.format("the model produced no usable logits at position %u", sequence_->count);
    return Error::kBadLogits;
  }
  if (sequence_->count < context()) {  // else it has no place
    remember(&token.id, 1);
    ++sequence_->count;
  }
  return token;
}

Error Executor::discard_step() {
  const Error error = sample(decode_graph_);
  if (error != Error::kOk) return error;
  const uint32_t count = sequence_->count;
  const Result<SampledToken> sampled = next();
  if (!sampled.ok()) return sampled.error();
  sequence_->head_next = true;
  return set_sequence(count, count, kRunning);
}

Error Executor::force(uint32_t token) {
  // A pending token comes first: the token that its step samples lands where ours will stand.
  Error error = check_makes(false);
  if (error == Error::kOk) error = drain();
  if (error == Error::kOk) error = consume_pending();
  if (error == Error::kOk && sequence_->count > 0 && !sequence_->head_next) error = discard_step();
  if (error == Error::kOk) error = append(&token, 1);
  if (error == Error::kOk) error = set_sequence(sequence_->count, sequence_->count + 1, kRunning);
  if (error == Error::kOk) error = discard_step();
  sequence_->forced = error == Error::kOk;
  return error;
}

Error Executor::read_logits(float* out) {
  const Error refused = check_makes(false);
  if (refused != Error::kOk) return refused;
  const fb::Bindings& bindings = *view_.plan().bindings();
  const fb::Graph& graph = *view_.plan().graphs()->Get(sequence_->sampling_graph);
  const uint64_t row = uint64_t{vocab_size()} * 4;
  uint64_t logits = address(bindings.logits_arena(), bindings.logits());
  const bool shared = graph.kind() == fb::GraphKind::Verify || graph.kind() == fb::GraphKind::Batch;
  if (shared && sequence_->logits_replay != replays_) {
    message_.format("the logits are gone: something else was computed since");
    return Error::kNothingToDo;
  }
  if (graph.kind() == fb::GraphKind::Batch) {
    logits = address(graph.logits_arena(), graph.logits()) + sequence_->logits_row * row;
  }
  if (graph.kind() == fb::GraphKind::Verify) {
    const Error error = backend_->synchronise();  // then sequence_->draft has the answer
    if (error != Error::kOk) return error;
    if (sequence_->draft->sampled < 1 || sequence_->draft->sampled > graph.rows()) {
      message_.format("the last draft was not verified: there are no logits");
      return Error::kNothingToDo;
    }
    logits = address(graph.logits_arena(), graph.logits()) + (sequence_->draft->sampled - 1) * row;
  }
  return backend_->read(logits, out, row);
}

}  // namespace jllm
