// The view of a plan (view.h) together with the tables that it shows, and their proof.
#pragma once

#include "schema/plan_generated.h"
#include "schema/view.h"

namespace jllm {

// Whether every slot has an arena of this kind, one behind the other.
inline bool is_per_slot(fb::ArenaKind kind) {
  return kind == fb::ArenaKind::Kv || kind == fb::ArenaKind::State ||
         kind == fb::ArenaKind::HostPinned;
}
// Bytes of an arena with all its slots.
inline uint64_t allocation_bytes(const fb::Plan& plan, const fb::Arena& arena) {
  return is_per_slot(arena.kind()) ? plan.slots() * arena.size() : arena.size();
}

// Whether the plan makes embeddings: vectors in the place of text.
inline bool makes_embeddings(const fb::Plan& plan) { return plan.bindings()->embedding() != 0; }

// Proves that `plan` is consistent in itself and with a file whose segments end at `file_size`.
Error validate_plan(const fb::Plan& plan, const PlanPrefix& prefix, Message* message);

}  // namespace jllm
