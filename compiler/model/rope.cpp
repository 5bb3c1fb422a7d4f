// Rotary frequencies: the geometric series and the methods that stretch it to longer contexts.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "compiler/gguf/quants.h"
#include "compiler/model/model.h"
#include "compiler/support/error.h"

namespace jllm::model {
namespace {

// The divisors in an optional tensor, one per pair; ones where the file lacks it.
llvm::Expected<std::vector<float>> read_factors(const gguf::File& file, const char* name,
                                                size_t pairs) {
  std::vector<float> factors(pairs, 1.0f);
  const gguf::TensorInfo* tensor = file.find_tensor(name);
  if (tensor == nullptr) return factors;
  if (tensor->type() != WeightType::kF32 || tensor->elements() != pairs) {
    return fail(ExitCode::kInvalidFile, "{0}: {1} is not {2} f32 values", file.path(), name, pairs);
  }
  // The start of a file lacks the factors: plans made of it are for their sizes only.
  if (file.has_data(*tensor)) {
    gguf::dequantise(WeightType::kF32, file.data(*tensor).data(), factors.data(), pairs);
  }
  return factors;
}

double frequency(const HyperParameters& p, double base, uint32_t pair) {
  return std::pow(base, -2.0 * pair / p.rope_dimension_count);
}

// YaRN (Peng et al., 2023): pairs that turn more than beta_fast times over the original context
// keep their frequency, those that turn less than beta_slow times are slowed by the factor, and
// between the two the share of the original falls linearly.
class YarnRamp {
 public:
  explicit YarnRamp(const HyperParameters& p) {
    const auto pair_that_turns = [&](double turns) {
      return p.rope_dimension_count *
             std::log(p.rope_original_context / (turns * 2 * std::numbers::pi)) /
             (2 * std::log(double{p.rope_freq_base}));
    };
    low_ = std::max(0.0, std::floor(pair_that_turns(p.yarn_beta_fast)));
    high_ = std::min(p.rope_dimension_count - 1.0, std::ceil(pair_that_turns(p.yarn_beta_slow)));
  }
  double original_share(uint32_t pair) const {
    return 1 - std::clamp((pair - low_) / std::max(0.001, high_ - low_), 0.0, 1.0);
  }

 private:
  double low_, high_;
};

}  // namespace

Rope make_plain_rope(const HyperParameters& params, float freq_base) {
  Rope rope;
  for (uint32_t i = 0; i < params.rope_dimension_count / 2; ++i) {
    rope.frequencies.push_back(static_cast<float>(frequency(params, double{freq_base}, i)));
  }
  return rope;
}

llvm::Expected<Rope> make_rope(const Model& model, uint32_t context) {
  const HyperParameters& p = model.params;
  const uint32_t pairs = p.rope_dimension_count / 2;
  const char* tensor = p.rope_scaling != RopeScaling::kLongRope ? "rope_freqs.weight"
                       : context > p.rope_original_context      ? "rope_factors_long.weight"
                                                                : "rope_factors_short.weight";
  llvm::Expected<std::vector<float>> factors = read_factors(*model.file, tensor, pairs);
  if (!factors) return factors.takeError();

  const bool is_yarn = p.rope_scaling == RopeScaling::kYarn;
  const bool is_linear = p.rope_scaling == RopeScaling::kLinear;
  const double slowed = is_yarn || is_linear ? 1 / double{p.rope_factor} : 1.0;
  const YarnRamp ramp(p);
  Rope rope;
  for (uint32_t i = 0; i < pairs; ++i) {
    const double share = is_yarn ? ramp.original_share(i) : 0.0;
    const double scale = slowed * (1 - share) + share;
    rope.frequencies.push_back(
        static_cast<float>(frequency(p, double{p.rope_freq_base}, i) * scale / (*factors)[i]));
  }
  // Slowed pairs make attention blunter; YaRN sharpens it by this much.
  const double sharpening = is_yarn && p.rope_factor > 1 ? 1 + 0.1 * std::log(p.rope_factor) : 1.0;
  rope.magnitude = static_cast<float>(p.rope_attn_factor * sharpening);
  return rope;
}

}  // namespace jllm::model
