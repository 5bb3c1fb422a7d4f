#include "compiler/gguf/type_mix.h"

namespace jllm::gguf {
namespace {

constexpr TypeMix kMixes[] = {
    {"f32", 0, WeightType::kF32, WeightType::kF32, false},
    {"f16", 1, WeightType::kF16, WeightType::kF16, false},
    {"bf16", 32, WeightType::kBF16, WeightType::kBF16, false},
    {"q4_0", 2, WeightType::kQ4_0, WeightType::kQ6_K, false},
    {"q5_0", 8, WeightType::kQ5_0, WeightType::kQ6_K, false},
    {"q4_1", 3, WeightType::kQ4_1, WeightType::kQ6_K, false},
    {"q5_1", 9, WeightType::kQ5_1, WeightType::kQ6_K, false},
    {"q8_0", 7, WeightType::kQ8_0, WeightType::kQ8_0, false},
    {"q4_k", 14, WeightType::kQ4_K, WeightType::kQ6_K, false},
    {"q4_k_m", 15, WeightType::kQ4_K, WeightType::kQ6_K, true},
    {"q5_k", 16, WeightType::kQ5_K, WeightType::kQ6_K, false},
    {"q5_k_m", 17, WeightType::kQ5_K, WeightType::kQ6_K, true},
    {"q6_k", 18, WeightType::kQ6_K, WeightType::kQ6_K, false},
    {"q2_k", 10, WeightType::kQ2_K, WeightType::kQ6_K, false},
    {"q3_k", 11, WeightType::kQ3_K, WeightType::kQ6_K, false},
    {"iq4_nl", 25, WeightType::kIQ4_NL, WeightType::kQ6_K, false},
    {"iq4_xs", 30, WeightType::kIQ4_XS, WeightType::kQ6_K, false},
    {"mxfp4", 38, WeightType::kMXFP4, WeightType::kQ8_0, false},
    {"tq1_0", 36, WeightType::kTQ1_0, WeightType::kQ6_K, false},
    {"tq2_0", 37, WeightType::kTQ2_0, WeightType::kQ6_K, false},
    {"q2_0", 41, WeightType::kQ2_0, WeightType::kQ6_K, false},
    // As Bonsai is published: the output too.
    {"q1_0", 40, WeightType::kQ1_0, WeightType::kQ1_0, false},
};

bool layer_has_more_bits(uint32_t layer, uint32_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

// `wanted`, or what takes its place for rows that its blocks do not divide.
WeightType type_for_row(WeightType wanted, uint64_t row) {
  if (row % block_shape(wanted).elements == 0) return wanted;
  switch (wanted) {
    case WeightType::kQ4_K:
      return type_for_row(WeightType::kQ5_0, row);
    case WeightType::kQ5_K:
      return type_for_row(WeightType::kQ5_1, row);
    case WeightType::kQ6_K:
      return type_for_row(WeightType::kQ8_0, row);
    case WeightType::kIQ4_XS:
      return type_for_row(WeightType::kIQ4_NL, row);
    case WeightType::kQ2_K:
    case WeightType::kQ3_K:
    case WeightType::kTQ1_0:
    case WeightType::kTQ2_0:
    case WeightType::kQ2_0:
      return type_for_row(WeightType::kQ4_0, row);
    default:
      return WeightType::kF16;
  }
}

// Splits "blk.3.attn_v.weight" into 3 and "attn_v.weight"; false for other names.
bool split_layer(llvm::StringRef tensor, uint32_t* layer, llvm::StringRef* role) {
  constexpr llvm::StringRef kPrefix = "blk.";
  if (tensor.substr(0, kPrefix.size()) != kPrefix) return false;
  const auto [number, rest] = tensor.drop_front(kPrefix.size()).split('.');
  *role = rest;
  return !number.getAsInteger(10, *layer);
}

WeightType wanted_type(const TypeMix& mix, const MixedModel& model, llvm::StringRef tensor) {
  uint32_t layer = 0;
  llvm::StringRef role;
  if (split_layer(tensor, &layer, &role)) {
    if (role == "ffn_gate_inp.weight") return WeightType::kF32;  // the router of experts
    const bool sensitive = role == "attn_v.weight" || role == "ffn_down.weight" ||
                           role == "ffn_down_exps.weight" || role == "ffn_down_shexp.weight";
    const bool more = mix.more_bits && sensitive && layer_has_more_bits(layer, model.block_count);
    return more ? WeightType::kQ6_K : mix.base;
  }
  const bool is_output = tensor == "output.weight" || (model.tied && tensor == "token_embd.weight");
  return is_output ? mix.output : mix.base;
}

}  // namespace

llvm::ArrayRef<TypeMix> type_mixes() { return kMixes; }

const TypeMix* find_type_mix(llvm::StringRef name) {
  for (const TypeMix& mix : kMixes) {
    if (name.lower() == mix.name) return &mix;
  }
  return nullptr;
}

WeightType mixed_type(const TypeMix& mix, const MixedModel& model, llvm::StringRef tensor,
                      uint64_t row) {
  return type_for_row(wanted_type(mix, model, tensor), row);
}

}  // namespace jllm::gguf
