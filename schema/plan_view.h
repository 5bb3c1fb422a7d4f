// An immutable, bounds-proved view of a plan's head (prefix and FlatBuffer). After open() succeeded
// nothing needs checking again: every index, offset, size, alignment and launch dimension lies
// within its bounds. Thread-safe once opened. The caller keeps the bytes alive.
#pragma once

#include <cstdarg>
#include <cstddef>
#include <cstdint>

#include "schema/plan_generated.h"
#include "schema/prefix.h"
#include "schema/result.h"

namespace jllm {

// Room for the one-line reason of a failure.
struct Message {
  char text[256] = {0};
  // printf-style; truncates.
  void format(const char* fmt, ...) __attribute__((format(printf, 2, 3)));
  void format_list(const char* fmt, va_list args);
};

class PlanView {
 public:
  // Bytes of the file that open() needs (prefix and FlatBuffer), from its first 64 bytes; the
  // caller reads that much and calls open(). `file_size` is the real size of the file.
  static Result<uint64_t> head_size(const uint8_t* prefix, uint64_t size, uint64_t file_size,
                                    Message* message);

  // `head` holds the first `size` bytes of the file, at least head_size(); 16-byte aligned.
  static Result<PlanView> open(const uint8_t* head, uint64_t size, uint64_t file_size,
                               Message* message);

  PlanView() = default;
  const fb::Plan& plan() const { return *plan_; }
  const PlanPrefix& prefix() const { return *prefix_; }

  bool is_host() const { return plan_->target()->backend() == fb::Backend::Host; }
  // First segment of a kind, null when there is none.
  const fb::Segment* find_segment(fb::SegmentKind kind) const;
  // Total size of all arenas of a kind, bytes.
  uint64_t arena_bytes(fb::ArenaKind kind) const;

 private:
  const PlanPrefix* prefix_ = nullptr;
  const fb::Plan* plan_ = nullptr;
};

// Proves that `plan` is consistent in itself and with a file whose segments end at `file_size`.
Error validate_plan(const fb::Plan& plan, const PlanPrefix& prefix, Message* message);

}  // namespace jllm
