// Blocks of random bits with scales that give the wanted standard deviation. Quantising normal
// variates instead would take a hundred times longer and serve nobody.
#include "compiler/synth/random_weights.h"

#include <cmath>
#include <cstring>

#include "compiler/gguf/quants.h"

namespace jllm::synth {
namespace {

// The words of one block: word i of block b is a hash of (key, b, i).
class Words {
 public:
  Words(uint64_t key, uint64_t block, uint64_t words_per_block)
      : counter_(key + block * words_per_block * kStep) {}

  uint64_t next() {
    counter_ += kStep;
    return mix(counter_);
  }

  static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }

 private:
  static constexpr uint64_t kStep = 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio, odd

  uint64_t counter_;
};

void store_f16(uint8_t* out, float value) {
  const uint16_t bits = gguf::f32_to_f16(value);
  std::memcpy(out, &bits, sizeof(bits));
}

void fill_words(Words* words, uint8_t* out, size_t bytes) {
  for (size_t i = 0; i < bytes; i += sizeof(uint64_t)) {
    const uint64_t word = words->next();
    std::memcpy(out + i, &word, sizeof(word));
  }
}

// Sum of four uniform variates, scaled to variance 1: close to normal, and never beyond 3.5.
float nearly_normal(uint64_t word) {
  const uint64_t sum =
      (word & 0xffff) + (word >> 16 & 0xffff) + (word >> 32 & 0xffff) + (word >> 48);
  constexpr float kMean = 4 * 32767.5f;
  constexpr float kInverseDeviation = 1.0f / 37837.23f;  // of sqrt(4 * 65536^2 / 12)
  return (static_cast<float>(sum) - kMean) * kInverseDeviation;
}

// A factor between 0.75 and 1.25 with mean square 1, so that blocks differ in scale. 16 bits of
// `word` from `shift` on.
float jitter(uint64_t word, int shift) {
  constexpr float kNormalise = 1.0f / 1.010363f;  // sqrt(1 + 0.5^2 / 12)
  const auto uniform = static_cast<float>(word >> shift & 0xffff) / 65536.0f;
  return (0.75f + 0.5f * uniform) * kNormalise;
}

// The integers of these types are not symmetric (-8 to 7): a random sign of the scale keeps the
// mean of the weights at 0.
float signed_jitter(uint64_t word, int shift) {
  return word >> 63 != 0 ? -jitter(word, shift) : jitter(word, shift);
}

void fill_q4_0(float deviation, Words words, uint8_t* out) {
  constexpr float kIntegers = 4.636809f;  // root mean square of -8 ... 7
  const uint64_t word = words.next();
  store_f16(out, deviation / kIntegers * signed_jitter(word, 0));
  fill_words(&words, out + 2, 16);
}

void fill_q5_0(float deviation, Words words, uint8_t* out) {
  constexpr float kIntegers = 9.246621f;  // root mean square of -16 ... 15
  const uint64_t word = words.next();
  store_f16(out, deviation / kIntegers * signed_jitter(word, 0));
  const auto fifth_bits = static_cast<uint32_t>(word >> 16);
  std::memcpy(out + 2, &fifth_bits, sizeof(fifth_bits));
  fill_words(&words, out + 6, 16);
}

// {d; m; [qh;] qs}: the minimum that moves the middle of the integers to 0.
void fill_affine(float deviation, Words words, uint8_t* out, uint32_t bytes) {
  const bool fifth = bytes == block_shape(WeightType::kQ5_1).bytes;
  // Root mean squares of 0 ... 15 less 7.5 and of 0 ... 31 less 15.5.
  const float d = deviation / (fifth ? 9.233093f : 4.609772f) * jitter(words.next(), 0);
  store_f16(out, d);
  store_f16(out + 2, (fifth ? -15.5f : -7.5f) * d);
  uint8_t bits[24];
  fill_words(&words, bits, sizeof(bits));
  std::memcpy(out + 4, bits, bytes - 4);
}

void fill_q8_0(float deviation, Words words, uint8_t* out) {
  constexpr float kIntegers = 73.32f;  // root mean square of -127 ... 127 with 0 twice
  store_f16(out, deviation / kIntegers * jitter(words.next(), 0));
  fill_words(&words, out + 2, 32);
  for (int i = 0; i < 32; ++i) {
    if (out[2 + i] == 0x80) out[2 + i] = 0;  // -128: no quantiser writes it
  }
}

void fill_q45_k(float deviation, Words words, uint8_t* out, bool fifth) {
  // Scales 24 ... 55 and minima up to 8 away from them, with dmin = 7.5 d: the mean is 0, the mean
  // square 21.25 * 1645.5 + 56.25 * 21.5 (of q - 7.5, the scales, and the minima's difference). Of
  // five bits, with dmin = 15.5 d, 85.25 * 1645.5 + 240.25 * 21.5.
  const float integers = fifth ? 381.4f : 190.2f;
  const float d = deviation / integers * jitter(words.next(), 0);
  store_f16(out, d);
  store_f16(out + 2, (fifth ? 15.5f : 7.5f) * d);
  const uint64_t scale_bits = words.next();
  const uint64_t min_bits = words.next();
  uint8_t scales[8];
  uint8_t mins[8];
  for (int j = 0; j < 8; ++j) {
    scales[j] = static_cast<uint8_t>(24 + (scale_bits >> 8 * j & 31));
    // From -8 to 7 and from -7 to 8 in turn, so that the mean of the weights stays 0.
    const int difference = static_cast<int>(min_bits >> 8 * j & 15) - 8 + j % 2;
    mins[j] = static_cast<uint8_t>(scales[j] + difference);
  }
  for (int j = 0; j < 4; ++j) {
    out[4 + j] = static_cast<uint8_t>(scales[j] | (scales[j + 4] >> 4) << 6);
    out[8 + j] = static_cast<uint8_t>(mins[j] | (mins[j + 4] >> 4) << 6);
    out[12 + j] = static_cast<uint8_t>((scales[j + 4] & 15) | (mins[j + 4] & 15) << 4);
  }
  fill_words(&words, out + 16, fifth ? 160 : 128);
}

void fill_q6_k(float deviation, Words words, uint8_t* out) {
  // Root mean squares of -32 ... 31 and of scales of 64 ... 127 with a random sign.
  constexpr float kIntegers = 18.47972f * 97.27024f;
  store_f16(out + 208, deviation / kIntegers * jitter(words.next(), 0));
  fill_words(&words, out, 192);
  uint8_t* scales = out + 192;
  fill_words(&words, scales, 16);
  for (int j = 0; j < 16; ++j) {
    const int magnitude = 64 + (scales[j] & 63);
    scales[j] = static_cast<uint8_t>(scales[j] & 64 ? -magnitude : magnitude);
  }
}

constexpr float kCurveIntegers = 67.4389f;  // root mean square of the table of IQ4_NL

void fill_iq4_nl(float deviation, Words words, uint8_t* out) {
  store_f16(out, deviation / kCurveIntegers * signed_jitter(words.next(), 0));
  fill_words(&words, out + 2, 16);
}

constexpr float kSixBitScales = 18.47972f;  // root mean square of -32 ... 31

void fill_iq4_xs(float deviation, Words words, uint8_t* out) {
  const uint64_t word = words.next();
  store_f16(out, deviation / (kCurveIntegers * kSixBitScales) * signed_jitter(word, 0));
  const uint64_t scales = words.next();
  std::memcpy(out + 2, &scales, 6);
  fill_words(&words, out + 8, 128);
}

// Scales are powers of two: of two neighbours each block takes one, so often that the mean square
// is the wanted.
void fill_mxfp4(float deviation, Words words, uint8_t* out) {
  constexpr float kIntegers = 5.852350f;  // root mean square of the table
  int exponent = 0;
  const float fraction = 2 * std::frexp(deviation / kIntegers, &exponent);  // 1 ... 2
  const float larger = (fraction * fraction - 1) / 3;
  const bool is_larger = static_cast<float>(words.next() & 0xffff) < larger * 65536;
  out[0] = static_cast<uint8_t>(exponent - 1 + 128 + (is_larger ? 1 : 0));
  fill_words(&words, out + 1, 16);
}

void fill_q2_k(float deviation, Words words, uint8_t* out) {
  // Scales 7 ... 14, minima one more or less, with dmin = 1.5 d: the mean is 0, the mean square
  // 1.25 * 115.5 + 2.25.
  const float d = deviation / 12.10888f * jitter(words.next(), 0);
  const uint64_t scales = words.next();
  for (int j = 0; j < 16; ++j) {
    const int scale = 7 + static_cast<int>(scales >> 4 * j & 7);
    const int minimum = scale + ((scales >> (4 * j + 3) & 1) != 0 ? 1 : -1);
    out[j] = static_cast<uint8_t>(scale | minimum << 4);
  }
  fill_words(&words, out + 16, 64);
  store_f16(out + 80, d);
  store_f16(out + 82, 1.5f * d);
}

void fill_q3_k(float deviation, Words words, uint8_t* out) {
  constexpr float kIntegers = 2.345208f;  // root mean square of -4 ... 3
  const uint64_t word = words.next();
  uint8_t bits[112];
  fill_words(&words, bits, sizeof(bits));
  std::memcpy(out, bits, 108);
  store_f16(out + 108, deviation / (kIntegers * kSixBitScales) * signed_jitter(word, 0));
}

constexpr float kTrits = 0.8164966f;  // root mean square of -1, 0, 1

// `count` bytes of four pairs of bits, 0 ... 2 each; a multiple of four.
void fill_trits(Words* words, uint8_t* out, int count) {
  for (int i = 0; i < count; i += 4) {
    const uint64_t word = words->next();
    for (int j = 0; j < 4; ++j) {
      uint64_t four = (word >> 16 * j & 0xffff) * 81 >> 16;
      uint64_t pairs = 0;
      for (int k = 0; k < 4; ++k, four /= 3) pairs |= four % 3 << 2 * k;
      out[i + j] = static_cast<uint8_t>(pairs);
    }
  }
}

void fill_tq2_0(float deviation, Words words, uint8_t* out) {
  store_f16(out + 64, deviation / kTrits * jitter(words.next(), 0));
  fill_trits(&words, out, 64);
}

void fill_q2_0(float deviation, Words words, uint8_t* out) {
  store_f16(out, deviation / kTrits * jitter(words.next(), 0));
  fill_trits(&words, out + 2, 16);
}

// Bytes of five digits of base 3, the last four of four.
void fill_tq1_0(float deviation, Words words, uint8_t* out) {
  store_f16(out + 52, deviation / kTrits * jitter(words.next(), 0));
  for (int i = 0; i < 52; i += 4) {
    const uint64_t word = words.next();
    for (int j = 0; j < 4; ++j) {
      const uint64_t draw = word >> 16 * j & 0xffff;
      const uint64_t number = i < 48 ? draw * 243 >> 16 : (draw * 81 >> 16) * 3;
      out[i + j] = static_cast<uint8_t>((number * 256 + 242) / 243);
    }
  }
}

void fill_q1_0(float deviation, Words words, uint8_t* out) {
  store_f16(out, deviation * jitter(words.next(), 0));
  fill_words(&words, out + 2, 16);
}

// Calls fill(words, address) for every block.
template <typename Fill>
void fill_each(const RandomTensor& tensor, uint64_t words_per_block, uint64_t first, uint64_t count,
               uint8_t* out, const Fill& fill) {
  const uint32_t bytes = block_shape(tensor.type).bytes;
  for (uint64_t i = 0; i < count; ++i, out += bytes) {
    fill(Words(tensor.key, first + i, words_per_block), out);
  }
}

}  // namespace

uint64_t tensor_key(uint64_t seed, llvm::StringRef tensor_name) {
  uint64_t hash = Words::mix(seed + 1);
  for (char c : tensor_name) hash = Words::mix(hash ^ static_cast<uint8_t>(c));
  return hash;
}

void fill_blocks(const RandomTensor& tensor, uint64_t first, uint64_t count, uint8_t* out) {
  const float deviation = tensor.deviation;
  const auto value = [&](Words words) {
    return tensor.mean + deviation * nearly_normal(words.next());
  };
  const auto each = [&](uint64_t words_per_block, const auto& fill) {
    fill_each(tensor, words_per_block, first, count, out, fill);
  };
  switch (tensor.type) {
    case WeightType::kF32:
      each(1, [&](Words words, uint8_t* block) {
        const float weight = value(words);
        std::memcpy(block, &weight, sizeof(weight));
      });
      break;
    case WeightType::kF16:
      each(1, [&](Words words, uint8_t* block) { store_f16(block, value(words)); });
      break;
    case WeightType::kBF16:
      each(1, [&](Words words, uint8_t* block) {
        const uint16_t bits = gguf::f32_to_bf16(value(words));
        std::memcpy(block, &bits, sizeof(bits));
      });
      break;
    case WeightType::kQ4_0:
      each(3, [&](Words words, uint8_t* block) { fill_q4_0(deviation, words, block); });
      break;
    case WeightType::kQ4_1:
    case WeightType::kQ5_1:
      each(4, [&](Words words, uint8_t* block) {
        fill_affine(deviation, words, block, block_shape(tensor.type).bytes);
      });
      break;
    case WeightType::kQ5_0:
      each(3, [&](Words words, uint8_t* block) { fill_q5_0(deviation, words, block); });
      break;
    case WeightType::kQ8_0:
      each(5, [&](Words words, uint8_t* block) { fill_q8_0(deviation, words, block); });
      break;
    case WeightType::kQ4_K:
      each(19, [&](Words words, uint8_t* block) { fill_q45_k(deviation, words, block, false); });
      break;
    case WeightType::kQ5_K:
      each(23, [&](Words words, uint8_t* block) { fill_q45_k(deviation, words, block, true); });
      break;
    case WeightType::kQ6_K:
      each(27, [&](Words words, uint8_t* block) { fill_q6_k(deviation, words, block); });
      break;
    case WeightType::kIQ4_NL:
      each(3, [&](Words words, uint8_t* block) { fill_iq4_nl(deviation, words, block); });
      break;
    case WeightType::kIQ4_XS:
      each(18, [&](Words words, uint8_t* block) { fill_iq4_xs(deviation, words, block); });
      break;
    case WeightType::kMXFP4:
      each(3, [&](Words words, uint8_t* block) { fill_mxfp4(deviation, words, block); });
      break;
    case WeightType::kQ2_K:
      each(10, [&](Words words, uint8_t* block) { fill_q2_k(deviation, words, block); });
      break;
    case WeightType::kQ3_K:
      each(15, [&](Words words, uint8_t* block) { fill_q3_k(deviation, words, block); });
      break;
    case WeightType::kTQ1_0:
      each(14, [&](Words words, uint8_t* block) { fill_tq1_0(deviation, words, block); });
      break;
    case WeightType::kTQ2_0:
      each(17, [&](Words words, uint8_t* block) { fill_tq2_0(deviation, words, block); });
      break;
    case WeightType::kQ2_0:
      each(5, [&](Words words, uint8_t* block) { fill_q2_0(deviation, words, block); });
      break;
    case WeightType::kQ1_0:
      each(3, [&](Words words, uint8_t* block) { fill_q1_0(deviation, words, block); });
      break;
  }
}

}  // namespace jllm::synth
