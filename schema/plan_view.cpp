#include "schema/plan_view.h"

#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "schema/checked_math.h"

namespace jllm {

void Message::format(const char* fmt, ...) {
  va_list args;
  va_start(args, fmt);
  format_list(fmt, args);
  va_end(args);
}

void Message::format_list(const char* fmt, va_list args) {
  // The analyzer does not see that va_start() was in the caller.
  vsnprintf(text, sizeof text, fmt, args);  // NOLINT(clang-analyzer-valist.Uninitialized)
}

uint64_t hash_bytes(const uint8_t* data, uint64_t size) {
  constexpr uint64_t kPrime = 0x100000001b3;
  uint64_t hash = 0xcbf29ce484222325;
  uint64_t i = 0;
  for (; i + 8 <= size; i += 8) {
    uint64_t word = 0;
    memcpy(&word, data + i, 8);
    hash = (hash ^ word) * kPrime;
    hash ^= hash >> 32;  // words are wider than FNV's bytes: fold the high half back
  }
  for (; i < size; ++i) hash = (hash ^ data[i]) * kPrime;
  return hash;
}

Result<uint64_t> PlanView::head_size(const uint8_t* bytes, uint64_t size, uint64_t file_size,
                                     Message* message) {
  PlanPrefix prefix;
  if (size < sizeof prefix) {
    message->format("not a plan: only %" PRIu64 " bytes long", size);
    return Error::kNotAPlan;
  }
  memcpy(&prefix, bytes, sizeof prefix);
  if (prefix.magic != kPlanMagic) {
    message->format("not a plan: it does not start with \"JLLM\"");
    return Error::kNotAPlan;
  }
  if (prefix.major != kPlanMajor || prefix.minor > kPlanMinor) {
    message->format("plan format %u.%u, this program reads %u.0 to %u.%u; compile the model again",
                    prefix.major, prefix.minor, kPlanMajor, kPlanMajor, kPlanMinor);
    return Error::kPlanVersion;
  }
  if (prefix.file_size != file_size) {
    message->format("the plan should be %" PRIu64 " bytes long but is %" PRIu64
                    "; is the copy complete?",
                    prefix.file_size, file_size);
    return Error::kPlanTruncated;
  }
  const bool sane = prefix.prefix_size == sizeof prefix && prefix.flags <= kPlanSigned &&
                    prefix.plan_offset == sizeof prefix && prefix.plan_size <= kMaxPlanBytes &&
                    range_inside(prefix.plan_offset, prefix.plan_size, prefix.segments_offset) &&
                    prefix.segments_offset % kSegmentAlignment == 0 &&
                    file_size >= kSegmentAlignment &&
                    prefix.segments_offset <= segments_end(prefix) &&
                    prefix.segments_size == file_size - prefix.segments_offset;
  if (!sane) {
    message->format("the plan's prefix is damaged");
    return Error::kPlanDamaged;
  }
  return prefix.plan_offset + prefix.plan_size;
}

Result<PlanView> PlanView::open(const uint8_t* head, uint64_t size, uint64_t file_size,
                                Message* message) {
  const Result<uint64_t> need = head_size(head, size, file_size, message);
  if (!need.ok()) return need.error();
  if (size < need.value()) {
    message->format("only %" PRIu64 " of the plan's first %" PRIu64 " bytes were read", size,
                    need.value());
    return Error::kPlanTruncated;
  }
  PlanView view;
  view.prefix_ = reinterpret_cast<const PlanPrefix*>(head);
  const uint8_t* body = head + view.prefix_->plan_offset;
  const uint64_t body_size = view.prefix_->plan_size;
  if (hash_bytes(body, body_size) != view.prefix_->plan_hash) {
    message->format("the plan's tables are damaged (hash mismatch)");
    return Error::kPlanDamaged;
  }
  flatbuffers::Verifier verifier(body, static_cast<size_t>(body_size), 16, 1u << 20);
  if (body_size < 8 || !fb::VerifyPlanBuffer(verifier)) {
    message->format("the plan's tables are damaged (FlatBuffers verification failed)");
    return Error::kPlanDamaged;
  }
  view.plan_ = fb::GetPlan(body);
  const Error error = validate_plan(*view.plan_, *view.prefix_, message);
  if (error != Error::kOk) return error;
  return view;
}

bool PlanView::is_host() const { return plan_->target()->backend() == fb::Backend::Host; }

const fb::Segment* PlanView::find_segment(fb::SegmentKind kind) const {
  for (const fb::Segment* segment : *plan_->segments()) {
    if (segment->kind() == kind) return segment;
  }
  return nullptr;
}

uint64_t PlanView::arena_bytes(fb::ArenaKind kind) const {
  uint64_t total = 0;
  for (const fb::Arena* arena : *plan_->arenas()) {
    if (arena->kind() == kind) total += allocation_bytes(*plan_, *arena);
  }
  return total;
}

}  // namespace jllm
