// The operations of the host backend: schema/host_ops.h says what each computes, this finds its
// code. An operation is called once per share of a launch, some at the same time, and its result
// does not depend on the number of shares.
#pragma once

#include <cstdint>
#include <string_view>

#include "executor/src/host/worker.h"

namespace jllm::host {

constexpr unsigned kMaxHostArgs = 32;

struct HostOp {
  std::string_view name;
  unsigned arg_count;   // 8-byte slots
  unsigned least_args;  // what plans of earlier versions carry: the slots behind are nought then
  // `args` holds arg_count slots in the order of the operation's struct. All calls must have
  // returned before the next operation starts.
  void (*run)(const uint64_t* args, const Worker& worker);

  bool takes(uint64_t count) const { return count >= least_args && count <= arg_count; }
};

// The operation of that name, or null.
const HostOp* find_host_op(std::string_view name);

}  // namespace jllm::host
