// SHA-256 (FIPS 180-4), for the segments' hashes where a plan is read. No heap; pieces may come in
// any sizes.
#pragma once

#include <cstdint>

namespace jllm {

class Sha256 {
 public:
  static constexpr uint32_t kDigestBytes = 32;

  Sha256();
  void update(const void* data, uint64_t size);
  // Ends the hash; update() may not follow.
  void finish(uint8_t digest[kDigestBytes]);

 private:
  uint32_t state_[8];
  uint8_t block_[64];
  uint64_t size_ = 0;  // bytes so far
};

}  // namespace jllm
