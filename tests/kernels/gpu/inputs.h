// Random inputs for kernel tests: values, weights in the device's row layout, token state; and the
// comparison of results with a tolerance per element.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "kernels/catalogue.h"
#include "schema/row_layout.h"
#include "schema/step_state.h"
#include "schema/weight_type.h"

namespace jllm::test {

constexpr unsigned kAllTypes[] = {kRowF32,    kRowF16,   kRowBF16,  kRowQ4_0, kRowQ4_1,
                                  kRowQ5_0,   kRowQ5_1,  kRowQ8_0,  kRowQ4_K, kRowQ5_K,
                                  kRowQ6_K,   kRowQ1_0,  kRowQ2_K,  kRowQ3_K, kRowIQ4_NL,
                                  kRowIQ4_XS, kRowMXFP4, kRowTQ2_0, kRowQ2_0};

// A fresh seed per run (JLLM_TEST_SEED=n repeats one); it is printed once.
uint64_t run_seed();

class Random {
 public:
  explicit Random(uint64_t salt) : engine_(run_seed() ^ salt * 0x9e3779b97f4a7c15) {}
  uint64_t below(uint64_t bound) { return engine_() % bound; }
  float normal(float deviation = 1) { return deviation * normal_(engine_); }
  std::vector<float> normals(size_t count, float deviation = 1);
  std::vector<uint8_t> bytes(size_t count);

 private:
  std::mt19937_64 engine_;
  std::normal_distribution<float> normal_;
};

// A weight matrix: the device's bytes and, decoded by the reference, its values.
struct Weights {
  std::vector<uint8_t> bytes;  // rows of row_layout(type, k).stride
  std::vector<float> values;   // [n][k]
};

// Random bits in every field of every block (scales of about 1/100), through the product's
// repacker.
Weights random_weights(Random& random, unsigned type, size_t n, size_t k);

using kernels::define;
// NAME_BITS=<bits of a float>.
std::string define_bits(const char* name, float value);
std::vector<std::string> join(std::vector<std::string> a, const std::vector<std::string>& b);

StepState make_state(unsigned position, unsigned count, unsigned context);

float to_half(float value);  // rounded to f16 and back
std::vector<uint16_t> half_bits(std::span<const float> values);

// Elementwise |got - expected| <= tolerance(i); reports the worst few.
void expect_close(std::span<const float> got, std::span<const float> expected,
                  std::span<const double> tolerance, const std::string& what);

// For each (row of in, row of weight): sqrt(sum of (w a)^2), the size that rounding errors of a dot
// product are measured in. in [T][k], weight [n][k]; result [T][n].
std::vector<double> product_norms(std::span<const float> in, std::span<const float> weight,
                                  size_t k);

bool has_minimum(unsigned type);

// Tolerance of a dot product in f32 whose rounding errors are those of `depth` additions per lane:
// eight standard deviations. Types with minima add and subtract terms larger than the weights
// themselves.
double dot_tolerance(unsigned type, size_t k, double norm);

}  // namespace jllm::test
