// The beginning of a sequence, as the rows that caches have of it: copied from slot to slot, or
// taken out and put back later, maybe by another program. What a rewind would keep, is kept: the
// last token is consumed again.
#include <cstring>

#include "executor/src/core/backend.h"
#include "jllm/executor.h"
#include "schema/plan_view.h"

namespace jllm {

// Which of a prefix's bytes go where.
struct Executor::PrefixMove {
  uint64_t skip, size;  // so many are passed over, and so many moved behind them
  uint8_t* out;         // they are read, or
  const uint8_t* in;    // written, or else
  uint32_t from_slot;   // copied
  uint64_t rest;        // how many there are behind them
};

Error Executor::copy_prefix(uint32_t from_slot, uint32_t count) {
  Sequence* const to = sequence_;
  Error error = drain();
  if (error == Error::kOk) error = select(from_slot);
  if (error == Error::kOk) error = consume_pending();
  // Its tokens in flight stay there: they lie behind what is copied, and the copies behind them.
  Sequence* const from = sequence_;
  const uint32_t ahead = in_flight();
  sequence_ = to;
  if (error != Error::kOk) return error;
  if (from == to || count > from->count) {
    message_.format("slot %u has no %u tokens that slot %u could take", from_slot, count,
                    selected());
    return Error::kBadArgument;
  }
  PrefixMove move = {0, prefix_bytes(count), nullptr, nullptr, from_slot, 0};
  error = move_part(count, &move);
  const fb::Bindings& bindings = *view_.plan().bindings();
  if (error == Error::kOk) {
    error = backend_->copy(address(bindings.state_arena(), bindings.tokens(), from_slot),
                           address(bindings.state_arena(), bindings.tokens()), count * uint64_t{4});
  }
  if (error != Error::kOk) return error;
  if (to->history != nullptr) memcpy(to->history, from->history, count * sizeof(uint32_t));
  to->pending = 0;
  to->count = count;  // as if what followed had been taken back
  const uint32_t furthest = from->count + ahead + kMaxDraft;
  to->written = from->written > furthest ? from->written : furthest;
  return rewind(count);
}

uint64_t Executor::prefix_bytes(uint32_t count) const {
  PrefixMove move = {};
  (void)move_prefix(count, &move);
  return move.rest;
}

Error Executor::save_prefix(uint32_t count, uint64_t offset, void* out, uint64_t size) {
  const Error error = rewind(count);
  if (error != Error::kOk) return error;
  PrefixMove move = {offset, size, static_cast<uint8_t*>(out), nullptr, 0, 0};
  return move_part(count, &move);
}

Error Executor::load_prefix(const uint32_t* tokens, uint32_t count, uint64_t offset, const void* in,
                            uint64_t size) {
  Error error = rewind(0);
  PrefixMove move = {offset, size, nullptr, static_cast<const uint8_t*>(in), 0, 0};
  if (error == Error::kOk) error = move_part(count, &move);
  if (error != Error::kOk || move.rest > 0) return error;
  error = append(tokens, count);
  if (error != Error::kOk) return error;
  // As if it had gone on as far as it may have before it was saved.
  sequence_->written = count + view_.plan().model()->rewind_reach() - 1;
  sequence_->count = count;
  return rewind(count);
}

// All of the bytes asked for must be there.
Error Executor::move_part(uint32_t count, PrefixMove* move) {
  const bool knows_caches = view_.plan().caches() != nullptr;
  const Error error = move_prefix(count, move);
  if (error != Error::kOk || (knows_caches && (move->skip | move->size) == 0)) return error;
  message_.format(knows_caches ? "the caches have fewer bytes of %u tokens"
                               : "the plan was compiled before prefixes could be copied",
                  count);
  return Error::kBadArgument;
}

// Cache by cache, group by group: rows, then their scales. As many rows as there are consumed
// tokens; of a cache that has gone round, all.
Error Executor::move_prefix(uint32_t count, PrefixMove* move) const {
  const auto* caches = view_.plan().caches();
  for (uint32_t i = 0; caches != nullptr && i < caches->size(); ++i) {
    const fb::Cache& cache = *caches->Get(i);
    const uint64_t positions = cache.positions(), consumed = count > 0 ? count - 1 : 0;
    const uint64_t rows = consumed < positions ? consumed : positions;
    for (uint64_t plane = 0; plane < uint64_t{cache.groups()} * 2; ++plane) {
      const bool scales = plane % 2 != 0;
      const uint64_t row = scales ? cache.scale_bytes() : cache.row_bytes();
      const uint64_t size = rows * row;
      const uint64_t skip = move->skip < size ? move->skip : size;
      const uint64_t n = move->size < size - skip ? move->size : size - skip;
      move->skip -= skip;
      move->size -= n;
      move->rest += size - skip - n;
      if (n == 0) continue;
      const uint64_t offset =
          cache.offset() + (scales ? cache.scales() : 0) + plane / 2 * positions * row + skip;
      const uint64_t here = address(cache.arena(), offset);
      Error error = Error::kOk;
      if (move->out != nullptr) {
        error = backend_->read(here, move->out, n);
        move->out += n;
      } else if (move->in != nullptr) {
        error = backend_->write(here, move->in, n);
        move->in += n;
      } else {
        error = backend_->copy(address(cache.arena(), offset, move->from_slot), here, n);
      }
      if (error != Error::kOk) return error;
    }
  }
  return Error::kOk;
}

}  // namespace jllm
