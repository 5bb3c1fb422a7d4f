// Several sequences: which one is meant, and one decode step of many. Also the token mask, which is
// a slot's own.
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

}  // namespace jllm
