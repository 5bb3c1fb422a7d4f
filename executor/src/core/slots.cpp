// Several sequences: which one is meant, one decode step of many, prefixes copied from one to
// another. Also the token mask, which is a slot's own.
#include <cstring>

#include "executor/src/core/backend.h"
#include "jllm/executor.h"
#include "schema/plan_view.h"

namespace jllm {

Error Executor::select(uint32_t slot) {
  if (slot >= slots()) {
    message_.format("the plan has %u slots: there is no slot %u", slots(), slot);
    return Error::kBadArgument;
  }
  sequence_ = &sequences_[slot];
  return Error::kOk;
}

Error Executor::set_mask(const uint32_t* words) {
  constexpr uint64_t kNone = UINT64_MAX;
  const fb::Bindings& bindings = *view_.plan().bindings();
  if (words == nullptr && !sequence_->masked) return Error::kOk;
  if (bindings.mask() == kNone) {
    message_.format("the plan was compiled before there were token masks: compile it again");
    return Error::kBadArgument;
  }
  const uint64_t mask = address(bindings.state_arena(), bindings.mask());
  const TokenMask head = {words != nullptr ? 1u : 0u, {}};
  Error error = Error::kOk;
  if (words != nullptr) {
    error = backend_->write(mask + sizeof head, words, (vocab_size() + uint64_t{31}) / 32 * 4);
  }
  // One mask after the other, token by token, is a write each.
  const bool changes = sequence_->masked != (words != nullptr);
  if (error == Error::kOk && changes) error = backend_->write(mask, &head, sizeof head);
  if (error == Error::kOk) sequence_->masked = words != nullptr;
  return error;
}

// --- Batches ---

Error Executor::enqueue_batch(const uint32_t* slots, uint32_t n) {
  Sequence* const selected = sequence_;
  Error error = check_batch(slots, n);
  if (error == Error::kOk) error = launch_batch(slots, n);
  sequence_ = selected;
  return error;
}

Error Executor::check_batch(const uint32_t* slots, uint32_t n) {
  if (n < 1 || n > this->slots()) {
    message_.format("a batch has 1 to %u sequences, not %u", this->slots(), n);
    return Error::kBadArgument;
  }
  for (uint32_t i = 0; i < n; ++i) {
    for (uint32_t j = 0; j < i; ++j) {
      if (slots[i] != slots[j]) continue;
      message_.format("slot %u is twice in a batch", slots[i]);
      return Error::kBadArgument;
    }
    Error error = select(slots[i]);
    if (error == Error::kOk) error = prepare_token();
    if (error != Error::kOk) return error;
  }
  return Error::kOk;
}

// Sequences whose prompt was just consumed have their token from the head graph; the others share
// the smallest batch graph that takes them all, if there is one.
Error Executor::launch_batch(const uint32_t* slots, uint32_t n) {
  const auto* graphs = view_.plan().graphs();
  Batch batch = {};
  for (uint32_t i = 0; i < n; ++i) {
    sequence_ = &sequences_[slots[i]];
    if (!sequence_->head_next) {
      batch.slots[batch.rows.count++] = slots[i];
      continue;
    }
    const Error error = sample(head_graph_);
    if (error != Error::kOk) return error;
  }
  uint32_t best = 0, best_rows = UINT32_MAX;
  for (uint32_t i = 0; i < graphs->size(); ++i) {
    const fb::Graph& graph = *graphs->Get(i);
    if (graph.kind() != fb::GraphKind::Batch || graph.rows() < batch.rows.count) continue;
    if (graph.rows() < best_rows) best = i, best_rows = graph.rows();
  }
  if (batch.rows.count < 2 || best_rows == UINT32_MAX) {
    for (uint32_t i = 0; i < batch.rows.count; ++i) {
      sequence_ = &sequences_[batch.slots[i]];
      const Error error = sample(decode_graph_);
      if (error != Error::kOk) return error;
    }
    return Error::kOk;
  }
  sequence_ = sequences_;  // a batch counts its strides from slot 0
  const bool same_rows = batch.rows.count == batch_.rows.count &&
                         memcmp(batch.slots, batch_.slots, sizeof batch.slots) == 0;
  if (!same_rows) {
    const fb::Bindings& bindings = *view_.plan().bindings();
    batch_ = batch;
    const Error error =
        backend_->write(address(bindings.state_arena(), bindings.batch()), &batch_, sizeof batch_);
    if (error != Error::kOk) return error;
  }
  const Error error = replay(best);
  for (uint32_t i = 0; error == Error::kOk && i < batch.rows.count; ++i) {
    sequence_ = &sequences_[batch.slots[i]];
    expect_token(best, i);
  }
  return error;
}

// --- Copies ---

Error Executor::copy_prefix(uint32_t from_slot, uint32_t count) {
  Sequence* const to = sequence_;
  const auto* caches = view_.plan().caches();
  Error error = drain();
  if (error == Error::kOk) error = select(from_slot);
  if (error == Error::kOk) error = consume_pending();
  // Its tokens in flight stay there: they lie behind what is copied, and the copies behind them.
  Sequence* const from = sequence_;
  const uint32_t ahead = in_flight();
  sequence_ = to;
  if (error != Error::kOk) return error;
  if (from == to || count > from->count || caches == nullptr) {
    message_.format(caches == nullptr ? "the plan was compiled before prefixes could be copied"
                                      : "slot %u has no %u tokens that slot %u could take",
                    from_slot, count, selected());
    return Error::kBadArgument;
  }
  const fb::Bindings& bindings = *view_.plan().bindings();
  error = backend_->copy(address(bindings.state_arena(), bindings.tokens(), from_slot),
                         address(bindings.state_arena(), bindings.tokens()), count * uint64_t{4});
  for (uint32_t i = 0; error == Error::kOk && i < caches->size(); ++i) {
    error = copy_cache(*caches->Get(i), from_slot, count);
  }
  if (error != Error::kOk) return error;
  if (to->history != nullptr) memcpy(to->history, from->history, count * sizeof(uint32_t));
  to->pending = 0;
  to->count = count;  // as if what followed had been taken back
  const uint32_t furthest = from->count + ahead + kMaxDraft;
  to->written = from->written > furthest ? from->written : furthest;
  return rewind(count);
}

// The rows of the first `count` positions; all of a cache that goes round.
Error Executor::copy_cache(const fb::Cache& cache, uint32_t from_slot, uint32_t count) {
  const uint64_t from = address(cache.arena(), cache.offset(), from_slot);
  const uint64_t to = address(cache.arena(), cache.offset());
  const uint64_t positions = cache.positions();
  const uint64_t rows = positions < context() || count > positions ? positions : count;
  for (uint64_t group = 0; group < cache.groups(); ++group) {
    const uint64_t row = group * positions;
    Error error = backend_->copy(from + row * cache.row_bytes(), to + row * cache.row_bytes(),
                                 rows * cache.row_bytes());
    if (error == Error::kOk && cache.scale_bytes() > 0) {
      const uint64_t scales = cache.scales() + row * cache.scale_bytes();
      error = backend_->copy(from + scales, to + scales, rows * cache.scale_bytes());
    }
    if (error != Error::kOk) return error;
  }
  return Error::kOk;
}

}  // namespace jllm
