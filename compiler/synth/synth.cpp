// Choosing shapes and types, and writing the model tensor by tensor.
#include "compiler/synth/synth.h"

#include <llvm/ADT/StringExtras.h>
#include <llvm/Support/FormatVariadic.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numbers>
#include <utility>

#include "compiler/gguf/type_mix.h"
#include "compiler/gguf/writer.h"
#include "compiler/support/error.h"
#include "compiler/synth/random_weights.h"
#include "compiler/synth/shapes.h"
#include "compiler/synth/vocabulary.h"

namespace jllm::synth {
namespace {

constexpr float kNormSpread = 0.1f;
constexpr float kBiasSpread = 0.2f;
// Standard deviation of the logits: some tokens stand out, none is certain.
constexpr float kLogitDeviation = 3.0f;
constexpr uint64_t kChunkBytes = uint64_t{1} << 20;

uint32_t rotated(const ModelShape& shape) {
  return shape.rope_dimension_count != 0 ? shape.rope_dimension_count : shape.head_dim;
}

// Divisors of the rotary frequencies as Llama 3 defines them: long waves are slowed by `factor`,
// short ones left alone, and those between are blended.
std::vector<float> llama3_rope_factors(const ModelShape& shape) {
  constexpr double kOriginalContext = 8192;
  constexpr double kLowFrequency = 1;
  constexpr double kHighFrequency = 4;
  std::vector<float> factors;
  for (uint32_t i = 0; i < rotated(shape); i += 2) {
    const double wavelength =
        2 * std::numbers::pi * std::pow(double{shape.rope_freq_base}, double(i) / rotated(shape));
    const double turns = kOriginalContext / wavelength;
    const double blend =
        std::clamp((turns - kLowFrequency) / (kHighFrequency - kLowFrequency), 0.0, 1.0);
    factors.push_back(static_cast<float>(1 / ((1 - blend) / shape.llama3_factor + blend)));
  }
  return factors;
}

// How much longrope stretches the context.
float longrope_factor(const ModelShape& shape) {
  return std::max(1.0f, float(shape.context_length) / float(shape.rope_original_context));
}

// Divisors from 1 for the shortest wave to `largest` for the longest; the published ones were found
// by a search and rise likewise.
std::vector<float> rising_factors(const ModelShape& shape, float largest) {
  const uint32_t pairs = rotated(shape) / 2;
  std::vector<float> factors;
  for (uint32_t i = 0; i < pairs; ++i) {
    factors.push_back(1 + (largest - 1) * float(i + 1) / float(pairs));
  }
  return factors;
}

class Synthesiser {
 public:
  Synthesiser(const ModelShape& shape, const gguf::TypeMix& mix, uint64_t seed)
      : shape_(shape), mix_(mix), seed_(seed) {}

  llvm::Error write(llvm::StringRef path, bool header_only, const SynthProgress& progress) {
    progress_ = progress;
    set_metadata();
    set_tokenizer(shape_.tokenizer, shape_.vocab_size, writer_);
    add_tensors();
    return header_only ? writer_.write_header(path) : writer_.write(path);
  }

 private:
  void set_metadata();
  void set_rope_metadata();
  void set_u32(const char* key, uint32_t value) { writer_.set_u32(prefixed(key), value); }
  void set_f32(const char* key, float value) { writer_.set_f32(prefixed(key), value); }
  std::string prefixed(const char* key) const {
    return std::string(shape_.architecture) + "." + key;
  }

  void add_tensors();
  void add_rope_tensors();
  void add_layer(uint32_t layer);
  void add_attention(const std::string& prefix);
  void add_convolution(const std::string& prefix);
  void add_feed_forward(const std::string& prefix);
  void add_experts(const std::string& prefix);
  // Of the kind that the model has; `name` without ".weight".
  void add_norm(const std::string& name);
  void add_rms_norm(const std::string& name, uint64_t width);
  void add_bias(const std::string& name, uint64_t size);
  void add_matrix(const std::string& name, uint64_t row, uint64_t rows, float gain = 1);
  // A matrix, or several of the same shape; deviation as add_matrix has it.
  void add_matrices(const std::string& name, llvm::ArrayRef<uint64_t> shape, float gain = 1);
  void add_random(const std::string& name, llvm::ArrayRef<uint64_t> shape, RandomTensor tensor);
  void add_factors(const char* name, const std::vector<float>& factors);

  ModelShape shape_;
  const gguf::TypeMix& mix_;
  uint64_t seed_;
  SynthProgress progress_;
  gguf::Writer writer_;
  uint64_t total_bytes_ = 0;
  uint64_t done_bytes_ = 0;
};

void Synthesiser::set_metadata() {
  writer_.set_string("general.architecture", shape_.architecture);
  writer_.set_string("general.type", "model");
  writer_.set_string("general.name", std::string(shape_.name) + ", random weights");
  writer_.set_u32("general.file_type", mix_.file_type);
  writer_.set_u32("general.quantization_version", 2);
  set_u32("block_count", shape_.block_count);
  set_u32("context_length", shape_.context_length);
  set_u32("embedding_length", shape_.embedding_length);
  set_u32("feed_forward_length", shape_.feed_forward_length);
  set_u32("attention.head_count", shape_.head_count);
  if (shape_.conv_taps == 0) {
    set_u32("attention.head_count_kv", shape_.head_count_kv);
  } else {
    std::vector<int32_t> heads;
    for (uint32_t i = 0; i < shape_.block_count; ++i) {
      heads.push_back(shape_.has_attention(i) ? static_cast<int32_t>(shape_.head_count_kv) : 0);
    }
    writer_.set_i32_array(prefixed("attention.head_count_kv"), heads);
    set_u32("shortconv.l_cache", shape_.conv_taps);
  }
  set_u32("attention.key_length", shape_.head_dim);
  set_u32("attention.value_length", shape_.head_dim);
  set_f32(shape_.layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
          shape_.norm_epsilon);
  if (shape_.sliding_window != 0) set_u32("attention.sliding_window", shape_.sliding_window);
  if (shape_.attention_softcap != 0) set_f32("attn_logit_softcapping", shape_.attention_softcap);
  if (shape_.final_softcap != 0) set_f32("final_logit_softcapping", shape_.final_softcap);
  if (shape_.embedding_scale != 0) set_f32("embedding_scale", shape_.embedding_scale);
  if (shape_.residual_scale != 0) set_f32("residual_scale", shape_.residual_scale);
  if (shape_.attention_scale != 0) set_f32("attention.scale", shape_.attention_scale);
  if (shape_.logit_scale != 0) set_f32("logit_scale", shape_.logit_scale);
  const auto set_some = [&](const char* key, uint32_t value) {
    if (value != 0) set_u32(key, value);
  };
  set_some("expert_count", shape_.expert_count);
  set_some("expert_used_count", shape_.expert_used_count);
  set_some("expert_feed_forward_length", shape_.expert_feed_forward_length);
  set_some("expert_shared_feed_forward_length", shape_.expert_shared_feed_forward_length);
  set_some("pooling_type", shape_.pooling_type);
  // Required by llama.cpp, which asks whether both parts of a block read the same input.
  if (shape_.layer_norm && shape_.gated)
    writer_.set_bool(prefixed("use_parallel_residual"), !shape_.ffn_norm);
  set_rope_metadata();
  set_u32("vocab_size", shape_.vocab_size);
}

void Synthesiser::set_rope_metadata() {
  set_u32("rope.dimension_count", rotated(shape_));
  set_f32("rope.freq_base", shape_.rope_freq_base);
  if (shape_.linear_factor != 0) {
    writer_.set_string(prefixed("rope.scaling.type"), "linear");
    set_f32("rope.scaling.factor", shape_.linear_factor);
  }
  if (shape_.yarn_factor != 0) {
    writer_.set_string(prefixed("rope.scaling.type"), "yarn");
    set_f32("rope.scaling.factor", shape_.yarn_factor);
    set_u32("rope.scaling.original_context_length",
            static_cast<uint32_t>(float(shape_.context_length) / shape_.yarn_factor));
    // Said by the files themselves, on top of what YaRN does with the factor.
    set_f32("rope.scaling.attn_factor", 1 + 0.1f * std::log(shape_.yarn_factor));
  }
  if (shape_.rope_original_context != 0) {
    const auto original = float(shape_.rope_original_context);
    set_u32("rope.scaling.original_context_length", shape_.rope_original_context);
    set_f32("rope.scaling.attn_factor",
            std::sqrt(1 + std::log(longrope_factor(shape_)) / std::log(original)));
  }
}

void Synthesiser::add_tensors() {
  add_rope_tensors();
  add_matrix("token_embd.weight", shape_.embedding_length, shape_.vocab_size, kLogitDeviation);
  for (uint32_t layer = 0; layer < shape_.block_count; ++layer) add_layer(layer);
  add_norm(shape_.conv_taps == 0 ? "output_norm" : "token_embd_norm");
  if (!shape_.tied) {
    add_matrix("output.weight", shape_.embedding_length, shape_.vocab_size, kLogitDeviation);
  }
}

void Synthesiser::add_rope_tensors() {
  if (shape_.llama3_factor != 0) add_factors("rope_freqs.weight", llama3_rope_factors(shape_));
  if (shape_.rope_original_context != 0) {
    add_factors("rope_factors_long.weight", rising_factors(shape_, longrope_factor(shape_)));
    add_factors("rope_factors_short.weight", rising_factors(shape_, 1.5f));
  }
}

void Synthesiser::add_layer(uint32_t layer) {
  const std::string prefix = "blk." + std::to_string(layer) + ".";
  if (shape_.attn_norm) add_norm(prefix + "attn_norm");
  if (shape_.has_attention(layer)) {
    add_attention(prefix);
  } else {
    add_convolution(prefix + "shortconv.");
  }
  if (shape_.post_norms) add_norm(prefix + "post_attention_norm");
  if (shape_.ffn_norm) add_norm(prefix + "ffn_norm");
  add_feed_forward(prefix);
  if (shape_.post_norms) add_norm(prefix + "post_ffw_norm");
}

void Synthesiser::add_attention(const std::string& prefix) {
  const uint64_t embedding = shape_.embedding_length;
  const uint64_t q_rows = uint64_t{shape_.head_count} * shape_.head_dim;
  const uint64_t kv_rows = uint64_t{shape_.head_count_kv} * shape_.head_dim;
  const auto add = [&](const char* name, uint64_t rows) {
    add_matrix(prefix + name + ".weight", embedding, rows);
    if (shape_.qkv_bias) add_bias(prefix + name + ".bias", rows);
  };
  if (shape_.fused) {
    add("attn_qkv", q_rows + 2 * kv_rows);
  } else {
    add("attn_q", q_rows);
    add("attn_k", kv_rows);
    add("attn_v", kv_rows);
  }
  if (shape_.head_norms || shape_.row_norms) {
    add_rms_norm(prefix + "attn_q_norm", shape_.row_norms ? q_rows : shape_.head_dim);
    add_rms_norm(prefix + "attn_k_norm", shape_.row_norms ? kv_rows : shape_.head_dim);
  }
  add_matrix(prefix + "attn_output.weight", q_rows, embedding);
}

void Synthesiser::add_convolution(const std::string& prefix) {
  const uint64_t embedding = shape_.embedding_length, taps = shape_.conv_taps;
  add_matrix(prefix + "in_proj.weight", embedding, 3 * embedding);
  add_random(prefix + "conv.weight", {taps, embedding},
             {WeightType::kF32, 0, 1 / std::sqrt(static_cast<float>(taps)), 0});
  add_matrix(prefix + "out_proj.weight", embedding, embedding);
}

void Synthesiser::add_feed_forward(const std::string& prefix) {
  if (shape_.expert_count != 0) return add_experts(prefix);
  const uint64_t embedding = shape_.embedding_length;
  const uint64_t ffn = shape_.feed_forward_length;
  if (shape_.gated && !shape_.fused) add_matrix(prefix + "ffn_gate.weight", embedding, ffn);
  add_matrix(prefix + "ffn_up.weight", embedding, shape_.fused ? 2 * ffn : ffn);
  add_matrix(prefix + "ffn_down.weight", ffn, embedding);
}

void Synthesiser::add_experts(const std::string& prefix) {
  const uint64_t embedding = shape_.embedding_length, count = shape_.expert_count;
  const uint64_t ffn = shape_.expert_feed_forward_length != 0 ? shape_.expert_feed_forward_length
                                                              : shape_.feed_forward_length;
  add_matrix(prefix + "ffn_gate_inp.weight", embedding, count);
  if (shape_.fused) {
    add_matrices(prefix + "ffn_gate_up_exps.weight", {embedding, 2 * ffn, count});
  } else {
    add_matrices(prefix + "ffn_gate_exps.weight", {embedding, ffn, count});
    add_matrices(prefix + "ffn_up_exps.weight", {embedding, ffn, count});
  }
  add_matrices(prefix + "ffn_down_exps.weight", {ffn, embedding, count});
  const uint64_t shared = shape_.expert_shared_feed_forward_length;
  if (shared == 0) return;
  add_matrix(prefix + "ffn_gate_shexp.weight", embedding, shared);
  add_matrix(prefix + "ffn_up_shexp.weight", embedding, shared);
  add_matrix(prefix + "ffn_down_shexp.weight", shared, embedding);
}

void Synthesiser::add_norm(const std::string& name) {
  add_rms_norm(name, shape_.embedding_length);
  if (shape_.layer_norm) add_bias(name + ".bias", shape_.embedding_length);
}

void Synthesiser::add_rms_norm(const std::string& name, uint64_t width) {
  add_random(name + ".weight", {width}, {WeightType::kF32, 1, kNormSpread, 0});
}

void Synthesiser::add_bias(const std::string& name, uint64_t size) {
  add_random(name, {size}, {WeightType::kF32, 0, kBiasSpread, 0});
}

void Synthesiser::add_factors(const char* name, const std::vector<float>& factors) {
  std::vector<uint8_t> bytes(factors.size() * sizeof(float));
  std::memcpy(bytes.data(), factors.data(), bytes.size());
  writer_.add_tensor(name, {factors.size()}, WeightType::kF32, std::move(bytes));
}

void Synthesiser::add_matrix(const std::string& name, uint64_t row, uint64_t rows, float gain) {
  add_matrices(name, {row, rows}, gain);
}

void Synthesiser::add_matrices(const std::string& name, llvm::ArrayRef<uint64_t> shape,
                               float gain) {
  // Inputs of variance 1 give outputs of variance gain^2.
  const float deviation = gain / std::sqrt(static_cast<float>(shape[0]));
  const gguf::MixedModel model = {shape_.block_count, shape_.tied};
  add_random(name, shape, {gguf::mixed_type(mix_, model, name, shape[0]), 0, deviation, 0});
}

void Synthesiser::add_random(const std::string& name, llvm::ArrayRef<uint64_t> shape,
                             RandomTensor tensor) {
  tensor.key = tensor_key(seed_, name);
  const BlockShape block = block_shape(tensor.type);
  uint64_t elements = 1;
  for (uint64_t extent : shape) elements *= extent;
  const uint64_t blocks = elements / block.elements;
  total_bytes_ += blocks * block.bytes;
  writer_.add_tensor(name, shape, tensor.type,
                     [this, tensor, block, blocks](const gguf::Writer::Sink& sink) -> llvm::Error {
                       const uint64_t step = kChunkBytes / block.bytes;
                       std::vector<uint8_t> chunk(std::min(step, blocks) * block.bytes);
                       for (uint64_t first = 0; first < blocks; first += step) {
                         const uint64_t count = std::min(step, blocks - first);
                         fill_blocks(tensor, first, count, chunk.data());
                         if (llvm::Error error = sink({chunk.data(), count * block.bytes}))
                           return error;
                         done_bytes_ += count * block.bytes;
                         if (progress_) progress_(done_bytes_, total_bytes_);
                       }
                       return llvm::Error::success();
                     });
}

void override_with(uint32_t value, uint32_t* field) {
  if (value != 0) *field = value;
}

llvm::Error check(const ModelShape& shape) {
  const auto within = [](const char* what, uint64_t value, uint64_t low,
                         uint64_t high) -> llvm::Error {
    if (value >= low && value <= high) return llvm::Error::success();
    return fail(ExitCode::kUsage, "synth: {0} is {1:N}; it must lie between {2:N} and {3:N}", what,
                value, low, high);
  };
  constexpr uint32_t kLargest = 1 << 18;
  if (llvm::Error error = within("the number of layers", shape.block_count, 1, 1024)) return error;
  if (llvm::Error error = within("the embedding", shape.embedding_length, 1, kLargest))
    return error;
  if (llvm::Error error = within("ffn", shape.feed_forward_length, 1, kLargest)) return error;
  if (llvm::Error error = within("the number of heads", shape.head_count, 1, 1024)) return error;
  if (llvm::Error error = within("the head dimension", shape.head_dim, 2, 1024)) return error;
  if (llvm::Error error =
          within("the vocabulary", shape.vocab_size, kMinVocabulary, kMaxVocabulary)) {
    return error;
  }
  if (shape.head_dim % 2 != 0) {
    return fail(ExitCode::kUsage, "synth: the head dimension is {0}; it must be even",
                shape.head_dim);
  }
  if (shape.head_count % shape.head_count_kv != 0) {
    return fail(ExitCode::kUsage,
                "synth: {0} heads cannot share {1} key/value heads; give a divisor of {0}",
                shape.head_count, shape.head_count_kv);
  }
  return llvm::Error::success();
}

}  // namespace

std::vector<std::string> type_mixes() {
  std::vector<std::string> names;
  for (const gguf::TypeMix& mix : gguf::type_mixes()) names.push_back(mix.name);
  return names;
}

llvm::Error synthesise(const SynthOptions& options, llvm::StringRef path,
                       const SynthProgress& progress) {
  const ModelShape* known = find_shape(options.like);
  if (known == nullptr) {
    std::vector<std::string> names;
    for (const ModelShape& shape : model_shapes()) names.push_back(shape.name);
    return fail(ExitCode::kUsage, "synth: unknown model '{0}' for --like; choose one of {1}",
                options.like, llvm::join(names, ", "));
  }
  const gguf::TypeMix* mix = gguf::find_type_mix(options.type);
  if (mix == nullptr) {
    return fail(ExitCode::kUsage, "synth: unknown --type '{0}'; choose one of {1}", options.type,
                llvm::join(type_mixes(), ", "));
  }
  ModelShape shape = *known;
  override_with(options.layers, &shape.block_count);
  override_with(options.embedding, &shape.embedding_length);
  override_with(options.ffn, &shape.feed_forward_length);
  override_with(options.heads, &shape.head_count);
  override_with(options.kv_heads, &shape.head_count_kv);
  override_with(options.head_dim, &shape.head_dim);
  override_with(options.vocab, &shape.vocab_size);
  override_with(options.context, &shape.context_length);
  override_with(options.sliding_window, &shape.sliding_window);
  override_with(options.rope_original_context, &shape.rope_original_context);
  override_with(options.experts, &shape.expert_count);
  override_with(options.experts_used, &shape.expert_used_count);
  override_with(options.expert_ffn, &shape.expert_feed_forward_length);
  override_with(options.shared_ffn, &shape.expert_shared_feed_forward_length);
  if (options.attention_softcap != 0) shape.attention_softcap = options.attention_softcap;
  if (options.final_softcap != 0) shape.final_softcap = options.final_softcap;
  if (options.without_ffn_norm) shape.ffn_norm = false;
  // The same part of a head, in whole pairs.
  shape.rope_dimension_count =
      shape.rope_dimension_count * shape.head_dim / known->head_dim / 2 * 2;
  if (llvm::Error error = check(shape)) return error;
  return Synthesiser(shape, *mix, options.seed).write(path, options.header_only, progress);
}

}  // namespace jllm::synth
