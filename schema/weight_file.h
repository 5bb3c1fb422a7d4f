// The file that the weights of a split plan lie in: 4096 bytes of header, then the segments as the
// plan names them. Equal contents have equal names, so that plans which differ in code, context or
// KV cache alone share one file.
#pragma once

#include <cstdint>

#include "schema/plan_view.h"

namespace jllm {

constexpr uint32_t kWeightFileMagic = 0x574C4C4A;  // "JLLW"
constexpr uint16_t kWeightFileMajor = 1;           // must match, as must the minor version: 0
constexpr uint32_t kSha256Bytes = 32;
constexpr uint64_t kWeightFileData = kSegmentAlignment;  // where the segments begin

// The first bytes of the file (little-endian); zeros up to kWeightFileData.
struct WeightFileHeader {
  uint32_t magic;
  uint16_t major;
  uint16_t minor;        // 0
  uint64_t data_offset;  // kWeightFileData
  uint64_t file_size;
  uint64_t reserved;             // 0
  uint8_t sha256[kSha256Bytes];  // of the bytes from data_offset to the end
};
static_assert(sizeof(WeightFileHeader) == 64, "the header is a file format");

// Whether a file of `file_size` bytes that begins with the `size` bytes of `header` is the one that
// the plan names. Its contents are proved by the segments' hashes, where that is asked for.
[[nodiscard]] Error check_weight_file(const PlanView& view, const uint8_t* header, uint64_t size,
                                      uint64_t file_size, Message* message);

}  // namespace jllm
