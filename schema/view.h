// An immutable, bounds-proved view of a plan's head (prefix and FlatBuffer). After open() succeeded
// nothing needs checking again: every index, offset, size, alignment and launch dimension lies
// within its bounds. Thread-safe once opened. The caller keeps the bytes alive.
// This is as much as programs around the executor need, so that they build without FlatBuffers;
// plan_view.h has the tables too.
#pragma once

#include <cstdarg>
#include <cstddef>
#include <cstdint>

#include "schema/export.h"
#include "schema/prefix.h"
#include "schema/result.h"

namespace jllm {

namespace fb {
struct Plan;
struct Segment;
enum class ArenaKind : uint8_t;
enum class SegmentKind : uint8_t;
}  // namespace fb

// Room for the one-line reason of a failure.
struct JLLM_EXPORT Message {
  char text[256] = {0};
  // printf-style; truncates.
  void format(const char* fmt, ...) __attribute__((format(printf, 2, 3)));
  void format_list(const char* fmt, va_list args);
};

class JLLM_EXPORT PlanView {
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

  bool is_host() const;  // made for the host backend
  // First segment of a kind, null when there is none.
  const fb::Segment* find_segment(fb::SegmentKind kind) const;
  // Total size of all arenas of a kind, bytes.
  uint64_t arena_bytes(fb::ArenaKind kind) const;

 private:
  const PlanPrefix* prefix_ = nullptr;
  const fb::Plan* plan_ = nullptr;
};

}  // namespace jllm
