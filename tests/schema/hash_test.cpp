// hash_bytes() is part of the file format: its values must never change.
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "schema/prefix.h"

namespace jllm {
namespace {

uint64_t hash(const std::string& text) {
  return hash_bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

TEST(HashBytes, IsFnv1aBelowOneWord) {
  // Test vectors published with FNV-1a, 64 bits.
  EXPECT_EQ(hash(""), 0xcbf29ce484222325u);
  EXPECT_EQ(hash("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(hash("foobar"), 0x85944171f73967e8u);
}

TEST(HashBytes, KnownValuesOfWordsAndTails) {
  // From a Python transcription of the definition in prefix.h.
  EXPECT_EQ(hash("12345678"), 0x49f2564e64f252b2u);
  EXPECT_EQ(hash("jllm plan"), 0x751660c63e18def1u);
  EXPECT_EQ(hash(std::string(16, '\0')), 0x68853b6a3912cca3u);
  std::string bytes(32, '\0');
  std::iota(bytes.begin(), bytes.end(), '\0');
  EXPECT_EQ(hash(bytes), 0xcc3cfba45b4c23d9u);
}

TEST(HashBytes, DoesNotDependOnAlignment) {
  const std::string text = "the same bytes at every address, longer than a few words";
  std::vector<uint8_t> buffer(text.size() + 8);
  for (size_t shift = 0; shift < 8; ++shift) {
    std::memcpy(buffer.data() + shift, text.data(), text.size());
    EXPECT_EQ(hash_bytes(buffer.data() + shift, text.size()), hash(text)) << shift;
  }
}

// Each step of the hash is a bijection of its state, so a change within one word cannot get lost.
TEST(HashBytes, NoticesEverySingleBit) {
  std::string text(41, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 37);
  const uint64_t whole = hash(text);
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string damaged = text;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    ASSERT_NE(hash(damaged), whole) << bit;
  }
}

}  // namespace
}  // namespace jllm
