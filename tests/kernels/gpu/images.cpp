// Written from the comment in kernels/device/activations.cuh, sharing no code with the kernels.
#include "tests/kernels/gpu/images.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "schema/row_layout.h"
#include "tests/kernels/gpu/inputs.h"

namespace jllm::test {
namespace {

struct Offsets {
  size_t plane, meta, first_sums;
};

Offsets offsets(Activations mode, size_t count) {
  const size_t blocks = (count + 31) / 32, plane = (16 * blocks + 127) / 128 * 128 + 64;
  const size_t meta = plane * (mode == Activations::kInt8Pair ? 4 : 2);
  return {plane, meta, meta + 8 * blocks};
}

// Where the first byte of value i is.
size_t place(const Offsets& at, size_t i) { return i % 32 / 16 * at.plane + i / 32 * 16 + i % 16; }

template <typename T>
T load(std::span<const uint8_t> bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

}  // namespace

std::vector<double> image_steps(Activations mode, std::span<const float> values) {
  std::vector<double> steps;
  for (size_t first = 0; first < values.size(); first += 32) {
    double largest = 0;
    for (size_t i = first; i < std::min(first + 32, values.size()); ++i) {
      largest = std::max(largest, std::fabs(double(values[i])));
    }
    steps.push_back(largest / 127 / (mode == Activations::kInt8Pair ? 254 : 1));
  }
  return steps;
}

std::vector<uint8_t> make_image(Activations mode, std::span<const float> values) {
  const Offsets at = offsets(mode, values.size());
  const std::vector<double> steps = image_steps(mode, values);
  std::vector<uint8_t> image(kernels::image_bytes(mode, values.size()));
  for (size_t block = 0; block < steps.size(); ++block) {
    int32_t first_sum = 0, sum = 0;
    for (size_t i = 32 * block; i < std::min(32 * (block + 1), values.size()); ++i) {
      const bool pair = mode == Activations::kInt8Pair;
      const double units = steps[block] > 0 ? values[i] / steps[block] : 0;
      const int q = static_cast<int>(std::lround(pair ? units / 254 : units));
      const int r = pair ? static_cast<int>(std::lround(units - 254 * q)) : 0;
      image[place(at, i)] = static_cast<uint8_t>(q);
      if (pair) image[place(at, i) + 2 * at.plane] = static_cast<uint8_t>(r);
      const int whole = pair ? 254 * q + r : q;
      sum += whole;
      if (i % 32 < 16) first_sum += whole;
    }
    const float scale = static_cast<float>(steps[block]);
    std::memcpy(image.data() + at.meta + 8 * block, &scale, 4);
    std::memcpy(image.data() + at.meta + 8 * block + 4, &sum, 4);
    std::memcpy(image.data() + at.first_sums + 4 * block, &first_sum, 4);
  }
  return image;
}

std::vector<float> read_image(Activations mode, std::span<const uint8_t> image, size_t count) {
  const Offsets at = offsets(mode, count);
  std::vector<float> values(count);
  for (size_t block = 0; block < (count + 31) / 32; ++block) {
    const float scale = load<float>(image, at.meta + 8 * block);
    int32_t first_sum = 0, sum = 0;
    for (size_t i = 32 * block; i < std::min(32 * (block + 1), count); ++i) {
      int32_t whole = int8_t(image[place(at, i)]);
      if (mode == Activations::kInt8Pair) {
        whole = 254 * whole + int8_t(image[place(at, i) + 2 * at.plane]);
      }
      sum += whole;
      if (i % 32 < 16) first_sum += whole;
      values[i] = scale * static_cast<float>(whole);
    }
    EXPECT_EQ(load<int32_t>(image, at.meta + 8 * block + 4), sum) << "group " << block;
    EXPECT_EQ(load<int32_t>(image, at.first_sums + 4 * block), first_sum) << "group " << block;
  }
  return values;
}

std::vector<double> rounding_tolerance(Activations mode, std::span<const float> in,
                                       std::span<const float> weight, size_t k) {
  std::vector<double> out(weight.size() / k, 0.0);
  if (mode == Activations::kExact) return out;
  const std::vector<double> steps = image_steps(mode, in);
  for (size_t row = 0; row < out.size(); ++row) {
    double variance = 0;
    for (size_t i = 0; i < k; ++i) {
      const double part = double(weight[row * k + i]) * steps[i / 32];
      variance += part * part / 12;
    }
    out[row] = 8 * std::sqrt(variance);
  }
  return out;
}

}  // namespace jllm::test
