// The fixed first 64 bytes of a plan file (little-endian). It is read before anything else, so that
// a file of another version or a truncated one is refused with the numbers at hand.
#pragma once

#include <cstdint>

namespace jllm {

constexpr uint32_t kPlanMagic = 0x4D4C4C4A;  // "JLLM"
constexpr uint16_t kPlanMajor = 1;           // must match
constexpr uint16_t kPlanMinor = 5;           // must not be newer than the executor's
constexpr uint64_t kSegmentAlignment = 4096;
constexpr uint64_t kMaxPlanBytes = 64u << 20;  // of the FlatBuffer; weights are never inside it

// Of PlanPrefix.flags: the file's last kSegmentAlignment bytes begin with a SignatureBlock (1.3).
constexpr uint32_t kPlanSigned = 1;

struct PlanPrefix {
  uint32_t magic;
  uint16_t major;
  uint16_t minor;
  uint32_t prefix_size;  // 64
  uint32_t flags;        // kPlanSigned or 0
  uint64_t plan_offset;  // of the FlatBuffer, from the start of the file
  uint64_t plan_size;
  uint64_t segments_offset;  // a multiple of kSegmentAlignment
  uint64_t segments_size;    // to the end of the file
  uint64_t file_size;
  uint64_t plan_hash;  // hash_bytes() of the FlatBuffer
};
static_assert(sizeof(PlanPrefix) == 64, "the prefix is a file format");

// Ed25519 over kSignatureContext and the SHA-256 of the plan's head (prefix and tables), which
// holds the SHA-256 of everything else. Zeros behind it to the end of the file.
struct SignatureBlock {
  uint32_t magic;
  uint32_t version;  // kSignatureVersion
  uint8_t public_key[32];
  uint8_t signature[64];
};
static_assert(sizeof(SignatureBlock) == 104, "the signature is a file format");
constexpr uint32_t kSignatureMagic = 0x47534C4A;  // "JLSG"
constexpr uint32_t kSignatureVersion = 1;
constexpr char kSignatureContext[16] = "jllm plan v1";

// Where the segments end: at the end of the file, or at the signature.
inline uint64_t segments_end(const PlanPrefix& prefix) {
  return prefix.file_size - ((prefix.flags & kPlanSigned) != 0 ? kSegmentAlignment : 0);
}

// FNV-1a, 64 bits, over 8-byte words with a byte tail: detects damage, not malice.
uint64_t hash_bytes(const uint8_t* data, uint64_t size);

}  // namespace jllm
