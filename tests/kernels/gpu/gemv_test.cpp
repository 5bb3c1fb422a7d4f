// The decode kernels that multiply matrices with one vector.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/gemv_shapes.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/gpu/gpu.h"
#include "tests/kernels/gpu/images.h"
#include "tests/kernels/gpu/inputs.h"

namespace jllm::test {
namespace {

using kernels::GemvProblem;
using kernels::GemvVariant;

constexpr float kEpsilon = 1e-5f;

struct GemvCase {
  unsigned type;
  Activations mode;
};

std::vector<GemvCase> all_cases() {
  std::vector<GemvCase> out;
  for (const unsigned type : kAllTypes) {
    for (const Activations mode : kAllModes) {
      if (mode == Activations::kExact || kernels::has_int8_products(type))
        out.push_back({type, mode});
    }
  }
  return out;
}

class Gemv : public testing::TestWithParam<GemvCase> {
 protected:
  // Row lengths of this type: below one step of a warp, odd multiples of the block, and long.
  std::vector<size_t> lengths() const {
    switch (block_shape(static_cast<WeightType>(GetParam().type)).elements) {
      case 256:
        return {256, 768, 2048, 4352};
      case 128:
        return {128, 384, 2048, 4224};
      case 64:
        return {64, 192, 2048, 4160};
      case 32:
        return {32, 96, 896, 2080, 4096};
      default:
        return {64, 172, 896, 2052, 4096};
    }
  }
};

std::vector<double> dot_tolerances(unsigned type, Activations mode, std::span<const float> in,
                                   std::span<const float> weight, size_t k) {
  std::vector<double> out = product_norms(in, weight, k);
  const std::vector<double> rounding = rounding_tolerance(mode, in, weight, k);
  for (size_t i = 0; i < out.size(); ++i) out[i] = dot_tolerance(type, k, out[i]) + rounding[i];
  return out;
}

// A variant of a kernel for one problem.
struct Built {
  GemvProblem problem;
  GemvVariant variant;

  kernels::LaunchShape shape() const { return kernels::gemv_shape(problem, variant, sm_count()); }
  std::vector<std::string> defines() const { return kernels::gemv_defines(problem, variant); }
  std::string name() const {
    return std::to_string(variant.threads) + " threads, blocks " + std::to_string(variant.blocks) +
           ", rows " + std::to_string(variant.rows) + ", split " + std::to_string(variant.split) +
           ", in flight " + std::to_string(variant.in_flight);
  }
};

// The catalogue's choice.
Built chosen(const char* kernel, std::vector<unsigned> types, Activations mode, size_t k,
             size_t n) {
  const GemvProblem problem = {kernel, std::move(types), mode, k, n};
  return {problem, kernels::choose_variant(problem, sm_count())};
}

// The choice first, and others that differ from it in every respect.
std::vector<Built> several(const Built& built) {
  std::vector<Built> out = {built};
  for (const GemvVariant& variant :
       {GemvVariant{512, 2, 1, 1, 1}, GemvVariant{256, 4, 2, 1, 2}, GemvVariant{1024, 1, 4, 1, 4},
        GemvVariant{512, 1, 2, 2, 4}, GemvVariant{256, 2, 1, 2, 2}, GemvVariant{128, 8, 1, 4, 1},
        GemvVariant{512, 1, 4, 4, 8}, GemvVariant{512, 2, 2, 8, 2}}) {
    if (kernels::why_illegal(built.problem, variant).empty()) {
      out.push_back({built.problem, variant});
    }
  }
  return out;
}

TEST_P(Gemv, MatmulAdd) {
  JLLM_NEEDS_GPU();
  const auto [type, mode] = GetParam();
  Random random(type);
  for (size_t k : lengths()) {
    for (bool has_bias : {false, true}) {
      const size_t n = has_bias ? 37 : 1030;
      const Weights weights = random_weights(random, type, n, k);
      const auto in = random.normals(k), bias = random.normals(n), residual = random.normals(n);
      auto expected = reference::add(residual, reference::matmul(in, weights.values, k));
      if (has_bias) expected = reference::add_bias(expected, bias);
      auto tolerance = dot_tolerances(type, mode, in, weights.values, k);
      for (size_t i = 0; i < n; ++i) tolerance[i] += 0x1p-22 * (std::fabs(expected[i]) + 4);

      const Buffer in_buffer(in), weight_buffer(weights.bytes), bias_buffer(bias);
      const std::vector<std::string> defines = {define("TYPE", type), define("K", k),
                                                define("N", n), define("HAS_BIAS", has_bias)};
      std::vector<Built> all = several(chosen("matmul_add", {type}, mode, k, n));
      if (k != lengths().back() && k != lengths()[1]) all.resize(1);
      std::map<uint32_t, std::vector<float>> of_split;
      for (const Built& built : all) {
        const std::string what =
            "k " + std::to_string(k) + " n " + std::to_string(n) + ": " + built.name();
        kernels::LaunchShape shape = built.shape();
        const Buffer residual_buffer(residual), out(n * 4);
        std::vector<Argument> arguments = {in_buffer, weight_buffer, residual_buffer, out};
        if (has_bias) arguments.insert(arguments.begin() + 2, bias_buffer);
        launch("matmul_add", join(defines, built.defines()), shape, arguments);
        expect_close(out.values(), expected, tolerance, what);
        // Nothing but the split is in the bits.
        const auto same_split = of_split.try_emplace(built.variant.split, out.values()).first;
        EXPECT_EQ(out.values(), same_split->second) << what;
        // In place, and on a grid of another size: the same bits.
        arguments[has_bias ? 4 : 3] = residual_buffer;
        shape.grid_x = 3;
        launch("matmul_add", join(defines, built.defines()), shape, arguments);
        EXPECT_EQ(residual_buffer.values(), out.values()) << what << " in place";
        // The product alone, to which the host adds the residual.
        const Buffer product(n * 4);
        arguments.erase(arguments.begin() + (has_bias ? 3 : 2));
        arguments.back() = product;
        launch("matmul_add", join(join(defines, {"RESIDUAL=0"}), built.defines()), shape,
               arguments);
        EXPECT_EQ(reference::add(product.values(), residual), out.values()) << what;
      }
    }
  }
}

TEST_P(Gemv, MatmulAddOfAnImage) {
  JLLM_NEEDS_GPU();
  const auto [type, mode] = GetParam();
  if (mode == Activations::kExact) GTEST_SKIP() << "no image";
  Random random(150 + type);
  const size_t k = 2304, n = 100;
  const Weights weights = random_weights(random, type, n, k);
  const auto residual = random.normals(n);
  const std::vector<uint8_t> image = make_image(mode, random.normals(k, 3));
  const auto in = read_image(mode, image, k);
  const auto expected = reference::add(residual, reference::matmul(in, weights.values, k));
  auto tolerance = dot_tolerances(type, Activations::kExact, in, weights.values, k);
  for (size_t i = 0; i < n; ++i) tolerance[i] += 0x1p-22 * (std::fabs(expected[i]) + 4);
  const Buffer in_buffer(image), weight_buffer(weights.bytes), residual_buffer(residual),
      out(n * 4);
  const Built built = chosen("matmul_add", {type}, mode, k, n);
  launch("matmul_add",
         join({define("TYPE", type), define("K", k), define("N", n), "HAS_BIAS=0", "IN_IMAGE=1"},
              built.defines()),
         built.shape(), {in_buffer, weight_buffer, residual_buffer, out});
  expect_close(out.values(), expected, tolerance, "image");
}

TEST_P(Gemv, Head) {
  JLLM_NEEDS_GPU();
  const auto [type, mode] = GetParam();
  Random random(100 + type);
  for (size_t k : {lengths()[1], lengths()[3]}) {
    const size_t n = 1537;
    const Weights weights = random_weights(random, type, n, k);
    const auto x = random.normals(k, 30), norm = random.normals(k);
    const auto normed = reference::rms_norm(x, norm, kEpsilon);
    const auto expected = reference::matmul(normed, weights.values, k);
    auto tolerance = dot_tolerances(type, mode, normed, weights.values, k);
    for (size_t i = 0; i < n; ++i) tolerance[i] += 0x1p-20 * std::fabs(expected[i]);
    const Buffer x_buffer(x), norm_buffer(norm), weight_buffer(weights.bytes), out(n * 4);
    const Built built = chosen("head", {type}, mode, k, n);
    const kernels::LaunchShape shape = built.shape();
    launch("head",
           join({define("TYPE", type), define("K", k), define("N", n),
                 define_bits("EPSILON", kEpsilon)},
                built.defines()),
           shape, {x_buffer, norm_buffer, weight_buffer, out});
    expect_close(out.values(), expected, tolerance, "k " + std::to_string(k));

    // With the largest of each block: the same logits, and the largest of all among the tops.
    const Buffer again(n * 4), tops(shape.grid_x * sizeof(uint64_t));
    launch("head",
           join({define("TYPE", type), define("K", k), define("N", n),
                 define_bits("EPSILON", kEpsilon), "TOPS=1"},
                built.defines()),
           shape, {x_buffer, norm_buffer, weight_buffer, again, tops});
    const auto logits = again.values();
    EXPECT_EQ(logits, out.values());
    const auto ranks = tops.values<uint64_t>();
    const auto largest = std::max_element(logits.begin(), logits.end()) - logits.begin();
    EXPECT_EQ(0xffffffffu - uint32_t(*std::max_element(ranks.begin(), ranks.end())), largest);
  }
}

// A vector that is not finite must not look as if it were.
TEST_P(Gemv, NotANumberIsNotLost) {
  JLLM_NEEDS_GPU();
  const auto [type, mode] = GetParam();
  Random random(160 + type);
  const size_t k = lengths()[2], n = 64;
  const Weights weights = random_weights(random, type, n, k);
  auto x = random.normals(k);
  x[5] = NAN;
  const Buffer x_buffer(x), norm_buffer(random.normals(k)), weight_buffer(weights.bytes),
      out(n * 4);
  const Built built = chosen("head", {type}, mode, k, n);
  launch(
      "head",
      join({define("TYPE", type), define("K", k), define("N", n), define_bits("EPSILON", kEpsilon)},
           built.defines()),
      built.shape(), {x_buffer, norm_buffer, weight_buffer, out});
  for (const float value : out.values()) EXPECT_TRUE(std::isnan(value));
}

void check_gate_up(unsigned gate_type, unsigned up_type, Activations mode, size_t k, size_t n,
                   Activation activation = kSilu) {
  Random random(200 + gate_type * 64 + up_type + k);
  const Weights gate = random_weights(random, gate_type, n, k);
  const Weights up = random_weights(random, up_type, n, k);
  const auto x = random.normals(k, 3), norm = random.normals(k, 0.2f);
  const auto normed = reference::rms_norm(x, norm, kEpsilon);
  const auto gates = reference::matmul(normed, gate.values, k);
  const auto ups = reference::matmul(normed, up.values, k);
  const auto expected = reference::glu(gates, ups, activation);
  const auto gate_tolerance = dot_tolerances(gate_type, mode, normed, gate.values, k);
  const auto up_tolerance = dot_tolerances(up_type, mode, normed, up.values, k);
  std::vector<double> tolerance(n);
  for (size_t i = 0; i < n; ++i) {
    // |silu'| <= 1.1, |gelu'| <= 1.13; the factors' own relative errors come on top.
    tolerance[i] = 1.13 * (gate_tolerance[i] + 0x1p-20 * std::fabs(gates[i])) * std::fabs(ups[i]) +
                   std::fabs(gates[i]) * up_tolerance[i] + 0x1p-20 * std::fabs(expected[i]) + 1e-9;
  }
  const Buffer x_buffer(x), norm_buffer(norm), gate_buffer(gate.bytes), up_buffer(up.bytes);
  const Buffer out(n * 4);
  const Built built = chosen("gate_up", {gate_type, up_type}, mode, k, n);
  const kernels::LaunchShape shape = built.shape();
  const std::vector<std::string> own = {define("GATE_TYPE", gate_type),
                                        define("UP_TYPE", up_type),
                                        define("K", k),
                                        define("N", n),
                                        define_bits("EPSILON", kEpsilon),
                                        define("ACTIVATION", activation)};
  const std::vector<std::string> defines = join(own, built.defines());
  launch("gate_up", defines, shape, {x_buffer, norm_buffer, gate_buffer, up_buffer, out});
  const auto values = out.values();
  expect_close(values, expected, tolerance, "k " + std::to_string(k));
  for (const Built& other : several(built)) {
    const Buffer again(n * 4);
    launch("gate_up", join(own, other.defines()), other.shape(),
           {x_buffer, norm_buffer, gate_buffer, up_buffer, again});
    EXPECT_EQ(again.values(), values) << other.name();
  }
  if (n % 32 != 0) return;
  // As an image for the next kernel: the same values, rounded to half a step.
  for (const Activations image_mode : {Activations::kInt8, Activations::kInt8Pair}) {
    const Buffer image(kernels::image_bytes(image_mode, n));
    launch("gate_up", join(defines, {define("OUT_IMAGE", static_cast<uint64_t>(image_mode))}),
           shape, {x_buffer, norm_buffer, gate_buffer, up_buffer, image});
    const std::vector<double> steps = image_steps(image_mode, values);
    std::vector<double> half_steps(n);
    for (size_t i = 0; i < n; ++i)
      half_steps[i] = 0.501 * steps[i / 32] + 0x1p-20 * std::fabs(values[i]);
    expect_close(read_image(image_mode, image.values<uint8_t>(), n), values, half_steps, "image");
  }
}

TEST_P(Gemv, GateUp) {
  JLLM_NEEDS_GPU();
  const auto [type, mode] = GetParam();
  check_gate_up(type, type, mode, lengths()[1], 173);
  check_gate_up(type, type, mode, lengths()[2], 2048);
}

INSTANTIATE_TEST_SUITE_P(Types, Gemv, testing::ValuesIn(all_cases()), [](const auto& test) {
  return "type" + std::to_string(test.param.type) + "_mode" +
         std::to_string(static_cast<unsigned>(test.param.mode));
});

TEST(GateUp, MixedTypes) {
  JLLM_NEEDS_GPU();
  for (const Activations mode : kAllModes) check_gate_up(kRowQ4_K, kRowQ6_K, mode, 2048, 517);
  check_gate_up(kRowQ8_0, kRowF16, Activations::kExact, 96, 64);
  check_gate_up(kRowF32, kRowF32, Activations::kExact, 172, 64, kGelu);
}

TEST(MatmulAdd, LongRows) {
  JLLM_NEEDS_GPU();
  // Needs more than 48 KB of shared memory.
  const size_t k = 14336, n = 96;
  Random random(300);
  for (const GemvCase& c : all_cases()) {
    if (c.type != kRowQ4_K && c.type != kRowQ6_K && c.type != kRowF16) continue;
    const Weights weights = random_weights(random, c.type, n, k);
    const auto in = random.normals(k), residual = random.normals(n);
    const auto expected = reference::add(residual, reference::matmul(in, weights.values, k));
    auto tolerance = dot_tolerances(c.type, c.mode, in, weights.values, k);
    for (size_t i = 0; i < n; ++i) tolerance[i] += 0x1p-22 * (std::fabs(expected[i]) + 4);
    const Buffer in_buffer(in), weight_buffer(weights.bytes), residual_buffer(residual), out(n * 4);
    const Built built = chosen("matmul_add", {c.type}, c.mode, k, n);
    launch("matmul_add",
           join({define("TYPE", c.type), define("K", k), define("N", n), define("HAS_BIAS", 0)},
                built.defines()),
           built.shape(), {in_buffer, weight_buffer, residual_buffer, out});
    expect_close(out.values(), expected, tolerance, "type " + std::to_string(c.type));
  }
}

struct QkvCase {
  unsigned q_type, k_type, v_type;
  size_t k;
  unsigned heads, kv_heads, head_dim, pairs;
  bool neox, has_bias;
  unsigned kv_k_type, kv_v_type;  // 0 f32, 1 f16
  unsigned context, position;
  bool append = true;  // false: k and v are handed over as rows
};

// Cache contents as floats, whatever the type.
std::vector<float> cache_values(const Buffer& cache, unsigned type) {
  if (type == 0) return cache.values();
  std::vector<float> out;
  for (uint16_t bits : cache.values<uint16_t>()) out.push_back(reference::f16_to_f32(bits));
  return out;
}

void check_qkv(const QkvCase& c, Activations mode = Activations::kExact, uint32_t split = 0) {
  Random random(400 + c.position + c.k);
  const size_t q_rows = c.heads * c.head_dim, kv_rows = c.kv_heads * c.head_dim;
  const float magnitude = 1.25f;
  const Weights wq = random_weights(random, c.q_type, q_rows, c.k);
  const Weights wk = random_weights(random, c.k_type, kv_rows, c.k);
  const Weights wv = random_weights(random, c.v_type, kv_rows, c.k);
  const auto x = random.normals(c.k, 2), norm = random.normals(c.k, 0.3f);
  const auto bq = random.normals(q_rows), bk = random.normals(kv_rows),
             bv = random.normals(kv_rows);
  std::vector<float> frequencies;
  for (unsigned i = 0; i < c.pairs; ++i) {
    frequencies.push_back(std::pow(10000.0f, -float(i) / float(c.pairs)));
  }
  const auto normed = reference::rms_norm(x, norm, kEpsilon);
  const auto project = [&](const Weights& w, const std::vector<float>& bias) {
    auto out = reference::matmul(normed, w.values, c.k);
    return c.has_bias ? reference::add_bias(out, bias) : out;
  };
  const auto rotate = [&](const std::vector<float>& in, unsigned heads) {
    return reference::rope(in, frequencies, heads, c.head_dim, c.neox, magnitude, c.position);
  };
  const auto q = rotate(project(wq, bq), c.heads), k = rotate(project(wk, bk), c.kv_heads);
  const auto v = project(wv, bv);
  // A rotated element mixes two rows: allow the sum of the head's largest two tolerances.
  const auto tolerances = [&](unsigned type, const Weights& w, const std::vector<float>& values,
                              bool half) {
    const auto each = dot_tolerances(type, mode, normed, w.values, c.k);
    std::vector<double> out(each.size());
    for (size_t i = 0; i < out.size(); ++i) {
      const size_t head = i / c.head_dim * c.head_dim;
      double largest = 0, value = 0;
      for (size_t j = head; j < head + c.head_dim; ++j) {
        largest = std::max(largest, each[j]);
        value = std::max(value, std::fabs(double(values[j])));
      }
      out[i] = 2 * magnitude * largest + 0x1p-19 * value +
               (half ? 0x1p-10 * std::fabs(values[i]) + 0x1p-24 : 0);
    }
    return out;
  };

  const StepState state = make_state(c.position, c.position + 1, c.context);
  const unsigned places = c.append ? c.context : 1, place = c.append ? c.position : 0;
  const size_t cache_elements = size_t(kv_rows) * places;
  const Buffer state_buffer(std::vector<StepState>{state}), x_buffer(x), norm_buffer(norm);
  const Buffer wq_buffer(wq.bytes), wk_buffer(wk.bytes), wv_buffer(wv.bytes);
  const Buffer bq_buffer(bq), bk_buffer(bk), bv_buffer(bv), frequency_buffer(frequencies);
  const Buffer q_out(q_rows * 4), k_cache(cache_elements * (c.kv_k_type == 0 ? 4 : 2)),
      v_cache(cache_elements * (c.kv_v_type == 0 ? 4 : 2));
  std::vector<Argument> arguments = {state_buffer, x_buffer,  norm_buffer,
                                     wq_buffer,    wk_buffer, wv_buffer};
  if (c.has_bias) arguments.insert(arguments.end(), {bq_buffer, bk_buffer, bv_buffer});
  arguments.insert(arguments.end(), {frequency_buffer, q_out, k_cache, v_cache});
  Built built = chosen("qkv", {c.q_type, c.k_type, c.v_type}, mode, c.k,
                       (c.heads + 2 * c.kv_heads) * c.head_dim);
  if (split != 0) built.variant.split = split;
  launch("qkv",
         join({define("K", c.k), define("Q_TYPE", c.q_type), define("K_TYPE", c.k_type),
               define("V_TYPE", c.v_type), define("HEADS", c.heads), define("KV_HEADS", c.kv_heads),
               define("HEAD_DIM", c.head_dim), define("PAIRS", c.pairs), define("NEOX", c.neox),
               define("HAS_BIAS", c.has_bias), define("CONTEXT", c.context),
               define("APPEND", c.append), define("KV_K_TYPE", c.kv_k_type),
               define("KV_V_TYPE", c.kv_v_type), define_bits("EPSILON", kEpsilon),
               define_bits("MAGNITUDE", magnitude)},
              built.defines()),
         built.shape(), arguments);
  expect_close(q_out.values(), q, tolerances(c.q_type, wq, q, false), "q");

  const auto check_cache = [&](const Buffer& cache, unsigned type, const std::vector<float>& values,
                               const std::vector<double>& tolerance, const char* what) {
    const auto got = cache_values(cache, type);
    std::vector<float> written;
    for (unsigned head = 0; head < c.kv_heads; ++head) {
      for (unsigned position = 0; position < places; ++position) {
        for (unsigned i = 0; i < c.head_dim; ++i) {
          const float value = got[(size_t(head) * places + position) * c.head_dim + i];
          if (position == place) {
            written.push_back(value);
          } else {
            ASSERT_TRUE(std::isnan(value)) << what << " wrote position " << position;
          }
        }
      }
    }
    if (place < places) expect_close(written, values, tolerance, what);
  };
  check_cache(k_cache, c.kv_k_type, k, tolerances(c.k_type, wk, k, c.kv_k_type == 1), "k");
  check_cache(v_cache, c.kv_v_type, v, tolerances(c.v_type, wv, v, c.kv_v_type == 1), "v");
}

TEST(Qkv, ShapesAndTypes) {
  JLLM_NEEDS_GPU();
  check_qkv({kRowF32, kRowF32, kRowF32, 64, 8, 4, 8, 4, false, false, 0, 0, 16, 0});
  check_qkv({kRowF32, kRowF32, kRowF32, 64, 8, 4, 8, 4, false, false, 0, 0, 16, 15});
  check_qkv({kRowQ4_K, kRowQ4_K, kRowQ6_K, 512, 8, 2, 64, 32, false, false, 1, 1, 40, 33});
  check_qkv({kRowQ8_0, kRowQ8_0, kRowQ8_0, 896, 14, 2, 64, 32, true, true, 1, 1, 20, 7});
  check_qkv({kRowF16, kRowF16, kRowF16, 172, 4, 4, 24, 8, true, true, 0, 1, 9, 3});
  check_qkv({kRowBF16, kRowQ4_0, kRowQ5_0, 96, 4, 1, 80, 16, false, true, 1, 0, 9, 8});
  // A position far along, where the angle's reduction counts; a replay past the end writes nothing.
  check_qkv({kRowQ6_K, kRowQ6_K, kRowQ6_K, 256, 2, 1, 128, 64, true, false, 1, 1, 5000, 4999});
  check_qkv({kRowQ4_0, kRowQ4_0, kRowQ4_0, 64, 2, 1, 16, 8, true, false, 1, 1, 6, 6});
  check_qkv({kRowQ8_0, kRowQ8_0, kRowQ8_0, 896, 14, 2, 64, 32, true, true, 0, 0, 20, 7, false});
  check_qkv({kRowQ4_K, kRowQ4_K, kRowQ6_K, 512, 8, 2, 64, 32, false, false, 0, 0, 40, 40, false});
  for (const Activations mode : {Activations::kInt8, Activations::kInt8Pair}) {
    for (const uint32_t split : {1u, 2u, 4u}) {
      check_qkv({kRowQ4_K, kRowQ4_K, kRowQ4_K, 512, 8, 2, 64, 32, false, false, 1, 1, 40, 33}, mode,
                split);
      check_qkv({kRowQ4_K, kRowQ4_K, kRowQ6_K, 1024, 8, 2, 64, 32, true, true, 1, 1, 40, 33}, mode,
                split);
      check_qkv({kRowQ5_0, kRowQ4_0, kRowQ8_0, 96, 4, 1, 80, 16, false, true, 0, 0, 9, 8}, mode,
                split);
    }
  }
}

}  // namespace
}  // namespace jllm::test
