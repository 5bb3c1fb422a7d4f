// Private to the host backend: what the files that implement operations share.
#pragma once

#include <cstdint>
#include <cstring>

#include "executor/src/host/half.h"
#include "executor/src/host/worker.h"
#include "schema/host_ops.h"

namespace jllm::host {

static_assert(sizeof(void*) == 8, "a launch's argument slot is a pointer");

// The argument slots as the operation's struct.
template <typename Args>
Args load_args(const uint64_t* slots) {
  static_assert(sizeof(Args) % sizeof(uint64_t) == 0);
  Args args;
  std::memcpy(&args, slots, sizeof(args));
  return args;
}

// Rows of a graph of `rows` rows that hold tokens in this replay; all of them without a state.
inline uint64_t valid_rows(const StepState* state, uint64_t rows) {
  if (state == nullptr) return rows;
  const uint64_t left = state->count - state->position;
  return rows < left ? rows : left;
}

// A float immediate: IEEE-754 bits in the low half of its slot.
inline float float_of_slot(uint64_t bits) { return float_from_bits(static_cast<uint32_t>(bits)); }

// In files of their own.
void run_attention(const uint64_t* slots, const Worker& worker);
void run_route(const uint64_t* slots, const Worker& worker);
void run_expert_matmul(const uint64_t* slots, const Worker& worker);
void run_expert_product(const uint64_t* slots, const Worker& worker);
void run_expert_sum(const uint64_t* slots, const Worker& worker);
void run_sample(const uint64_t* slots, const Worker& worker);
void run_sample_masked(const uint64_t* slots, const Worker& worker);
void run_draft(const uint64_t* slots, const Worker& worker);
void run_accept(const uint64_t* slots, const Worker& worker);

}  // namespace jllm::host
