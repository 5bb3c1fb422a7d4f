#include "schema/sha256.h"

#include <cstring>

namespace jllm {
namespace {

constexpr uint32_t kBlock = 64;
constexpr uint32_t kRounds = 64;

struct Constants {
  uint32_t initial[8];
  uint32_t round[kRounds];
};

// The first 32 bits behind the point of a root of `n`, which is no perfect power: `power` 2 or 3.
constexpr uint32_t root_fraction(uint64_t n, unsigned power) {
  // floor(root * 2^32), bit by bit: the largest r with r^power <= n * 2^(32 * power).
  unsigned __int128 r = 0;
  for (int bit = 36; bit >= 0; --bit) {
    const unsigned __int128 t = r | (static_cast<unsigned __int128>(1) << bit);
    const unsigned __int128 raised = power == 2 ? t * t : t * t * t;  // below 2^111
    if (raised <= static_cast<unsigned __int128>(n) << (32 * power)) r = t;
  }
  return static_cast<uint32_t>(r);
}

constexpr bool is_prime(uint32_t n) {
  for (uint32_t d = 2; d * d <= n; ++d) {
    if (n % d == 0) return false;
  }
  return true;
}

// As the standard says: square roots of the first 8 primes, cube roots of the first 64.
constexpr Constants make_constants() {
  Constants constants = {};
  uint32_t count = 0;
  for (uint32_t n = 2; count < kRounds; ++n) {
    if (!is_prime(n)) continue;
    if (count < 8) constants.initial[count] = root_fraction(n, 2);
    constants.round[count++] = root_fraction(n, 3);
  }
  return constants;
}
constexpr Constants kConstants = make_constants();

inline uint32_t rotate(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }

inline uint32_t load_big_endian(const uint8_t* bytes) {
  uint32_t word = 0;
  memcpy(&word, bytes, sizeof word);
  return __builtin_bswap32(word);
}

void consume(uint32_t state[8], const uint8_t* bytes, uint64_t blocks) {
  uint32_t w[kRounds];
  for (; blocks > 0; --blocks, bytes += kBlock) {
    for (size_t i = 0; i < 16; ++i) w[i] = load_big_endian(bytes + i * 4);
    for (uint32_t i = 16; i < kRounds; ++i) {
      const uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
      const uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (uint32_t i = 0; i < kRounds; ++i) {
      const uint32_t s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const uint32_t t1 = h + s1 + (g ^ (e & (f ^ g))) + kConstants.round[i] + w[i];
      const uint32_t s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
      const uint32_t t2 = s0 + ((a & b) | (c & (a | b)));
      h = g, g = f, f = e, e = d + t1;
      d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
  }
}

}  // namespace

Sha256::Sha256() { memcpy(state_, kConstants.initial, sizeof state_); }

void Sha256::update(const void* data, uint64_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  const uint64_t held = size_ % kBlock;
  size_ += size;
  if (held > 0) {
    const uint64_t n = size < kBlock - held ? size : kBlock - held;
    memcpy(block_ + held, bytes, n);
    bytes += n;
    size -= n;
    if (held + n < kBlock) return;
    consume(state_, block_, 1);
  }
  consume(state_, bytes, size / kBlock);
  memcpy(block_, bytes + size / kBlock * kBlock, size % kBlock);
}

void Sha256::finish(uint8_t digest[kDigestBytes]) {
  const uint64_t bits = size_ * 8;
  const uint8_t end = 0x80;
  const uint8_t zeros[kBlock] = {};
  update(&end, 1);
  update(zeros, (kBlock + kBlock - 8 - size_ % kBlock) % kBlock);
  const uint64_t length = __builtin_bswap64(bits);
  update(&length, sizeof length);
  for (size_t i = 0; i < 8; ++i) {
    const uint32_t word = __builtin_bswap32(state_[i]);
    memcpy(digest + i * 4, &word, sizeof word);
  }
}

}  // namespace jllm
