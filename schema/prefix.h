// The fixed first 64 bytes of a plan file (little-endian). It is read before anything else, so that
// a file of another version or a truncated one is refused with the numbers at hand.
#pragma once

#include <cstdint>

namespace jllm {

constexpr uint32_t kPlanMagic = 0x4D4C4C4A;  // "JLLM"
constexpr uint16_t kPlanMajor = 1;           // must match
constexpr uint16_t kPlanMinor = 2;           // must not be newer than the executor's
constexpr uint64_t kSegmentAlignment = 4096;
constexpr uint64_t kMaxPlanBytes = 64u << 20;  // of the FlatBuffer; weights are never inside it

struct PlanPrefix {
  uint32_t magic;
  uint16_t major;
  uint16_t minor;
  uint32_t prefix_size;  // 64
  uint32_t flags;        // 0
  uint64_t plan_offset;  // of the FlatBuffer, from the start of the file
  uint64_t plan_size;
  uint64_t segments_offset;  // a multiple of kSegmentAlignment
  uint64_t segments_size;    // to the end of the file
  uint64_t file_size;
  uint64_t plan_hash;  // hash_bytes() of the FlatBuffer
};
static_assert(sizeof(PlanPrefix) == 64, "the prefix is a file format");

// FNV-1a, 64 bits, over 8-byte words with a byte tail: detects damage, not malice.
uint64_t hash_bytes(const uint8_t* data, uint64_t size);

}  // namespace jllm
