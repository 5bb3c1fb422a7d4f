// SHA-256 against the standard's own examples, and against Python's hashlib at every length around
// the block's edges, cut into pieces of every kind.
#include "schema/sha256.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace jllm {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes digest_of(const Bytes& bytes, size_t piece) {
  Sha256 hash;
  for (size_t i = 0; i < bytes.size(); i += piece) {
    hash.update(bytes.data() + i, std::min(piece, bytes.size() - i));
  }
  Bytes digest(Sha256::kDigestBytes);
  hash.finish(digest.data());
  return digest;
}

std::string hex(const Bytes& bytes) {
  std::string text;
  for (const uint8_t byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

TEST(Sha256, TheStandardsExamples) {
  EXPECT_EQ(hex(digest_of({'a', 'b', 'c'}, 64)),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(digest_of({}, 64)),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(digest_of(Bytes(1000000, 'a'), 1000)),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// import hashlib
// bytes_, all_ = bytearray(), b""
// for n in range(201): all_ += hashlib.sha256(bytes_).digest(); bytes_.append((n * 37 + 11) & 255)
// print(hashlib.sha256(all_).hexdigest())
TEST(Sha256, EveryLengthInPiecesOfEverySize) {
  for (const size_t piece : {1, 7, 55, 56, 63, 64, 65, 128, 200}) {
    Bytes bytes, digests;
    for (uint32_t length = 0; length <= 200; ++length) {
      const Bytes digest = digest_of(bytes, piece);
      digests.insert(digests.end(), digest.begin(), digest.end());
      bytes.push_back(static_cast<uint8_t>(length * 37 + 11));
    }
    EXPECT_EQ(hex(digest_of(digests, 64)),
              "09bba6f21f157de4b22c6e4e84e0fe17119f27833e9cd1aaaeb82855755a2130")
        << "in pieces of " << piece;
  }
}

}  // namespace
}  // namespace jllm
