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

constexpr float kRmsEpsilon = 1e-5f;
constexpr float kNormSpread = 0.1f;
// Standard deviation of the logits: some tokens stand out, none is certain.
constexpr float kLogitDeviation = 3.0f;
constexpr uint64_t kChunkBytes = uint64_t{1} << 20;

// Divisors of the rotary frequencies as Llama 3 defines them: long waves are slowed by `factor`,
// short ones left alone, and those between are blended.
std::vector<float> llama3_rope_factors(const ModelShape& shape) {
  constexpr double kOriginalContext = 8192;
  constexpr double kLowFrequency = 1;
  constexpr double kHighFrequency = 4;
  std::vector<float> factors;
  for (uint32_t i = 0; i < shape.head_dim; i += 2) {
    const double wavelength =
        2 * std::numbers::pi * std::pow(double{shape.rope_freq_base}, double(i) / shape.head_dim);
    const double turns = kOriginalContext / wavelength;
    const double blend =
        std::clamp((turns - kLowFrequency) / (kHighFrequency - kLowFrequency), 0.0, 1.0);
    factors.push_back(static_cast<float>(1 / ((1 - blend) / shape.rope_factor + blend)));
  }
  return factors;
}

Vocabulary make_vocabulary(const ModelShape& shape) {
  if (shape.tokenizer == Tokenizer::kSpm) return make_spm_vocabulary(shape.vocab_size);
  const bool llama = shape.tokenizer == Tokenizer::kLlamaBpe;
  std::vector<std::string> names =
      llama ? std::vector<std::string>{"<|begin_of_text|>", "<|end_of_text|>"}
            : std::vector<std::string>{"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  // A small vocabulary cannot give up as many tokens as Llama 3 reserves.
  const size_t controls = !llama ? 17 : shape.vocab_size < 1024 ? 16 : 256;
  for (size_t reserved = 0; names.size() < controls; ++reserved) {
    switch (llama ? names.size() : 0) {
      case 6:
        names.push_back("<|start_header_id|>");
        break;
      case 7:
        names.push_back("<|end_header_id|>");
        break;
      case 9:
        names.push_back("<|eot_id|>");
        break;
      default:
        names.push_back("<|reserved_special_token_" + std::to_string(reserved) + "|>");
    }
  }
  return make_bpe_vocabulary(shape.vocab_size, names, llama ? 0 : 1, llama ? 9 : 2);
}

class Synthesiser {
 public:
  Synthesiser(const ModelShape& shape, const gguf::TypeMix& mix, uint64_t seed)
      : shape_(shape), mix_(mix), seed_(seed) {}

  llvm::Error write(llvm::StringRef path, const SynthProgress& progress) {
    progress_ = progress;
    set_metadata();
    set_tokenizer();
    add_tensors();
    return writer_.write(path);
  }

 private:
  void set_metadata();
  void set_tokenizer();
  void add_tensors();
  void add_layer(uint32_t layer);
  void add_norm(const std::string& name);
  void add_matrix(const std::string& name, uint64_t row, uint64_t rows, float gain = 1);
  void add_random(const std::string& name, llvm::ArrayRef<uint64_t> shape, RandomTensor tensor);

  ModelShape shape_;
  const gguf::TypeMix& mix_;
  uint64_t seed_;
  SynthProgress progress_;
  gguf::Writer writer_;
  uint64_t total_bytes_ = 0;
  uint64_t done_bytes_ = 0;
};

void Synthesiser::set_metadata() {
  writer_.set_string("general.architecture", "llama");
  writer_.set_string("general.type", "model");
  writer_.set_string("general.name", std::string(shape_.name) + ", random weights");
  writer_.set_u32("general.file_type", mix_.file_type);
  writer_.set_u32("general.quantization_version", 2);
  writer_.set_u32("llama.block_count", shape_.block_count);
  writer_.set_u32("llama.context_length", shape_.context_length);
  writer_.set_u32("llama.embedding_length", shape_.embedding_length);
  writer_.set_u32("llama.feed_forward_length", shape_.feed_forward_length);
  writer_.set_u32("llama.attention.head_count", shape_.head_count);
  writer_.set_u32("llama.attention.head_count_kv", shape_.head_count_kv);
  writer_.set_u32("llama.attention.key_length", shape_.head_dim);
  writer_.set_u32("llama.attention.value_length", shape_.head_dim);
  writer_.set_f32("llama.attention.layer_norm_rms_epsilon", kRmsEpsilon);
  writer_.set_u32("llama.rope.dimension_count", shape_.head_dim);
  writer_.set_f32("llama.rope.freq_base", shape_.rope_freq_base);
  writer_.set_u32("llama.vocab_size", shape_.vocab_size);
}

void Synthesiser::set_tokenizer() {
  const Vocabulary vocabulary = make_vocabulary(shape_);
  const bool spm = shape_.tokenizer == Tokenizer::kSpm;
  writer_.set_string("tokenizer.ggml.model", spm ? "llama" : "gpt2");
  writer_.set_string("tokenizer.ggml.pre", spm                                        ? "default"
                                           : shape_.tokenizer == Tokenizer::kLlamaBpe ? "llama-bpe"
                                                                                      : "smollm");
  writer_.set_string_array("tokenizer.ggml.tokens", vocabulary.tokens);
  writer_.set_i32_array("tokenizer.ggml.token_type", vocabulary.types);
  if (spm) {
    writer_.set_f32_array("tokenizer.ggml.scores", vocabulary.scores);
    writer_.set_u32("tokenizer.ggml.unknown_token_id", 0);
  } else {
    writer_.set_string_array("tokenizer.ggml.merges", vocabulary.merges);
  }
  writer_.set_u32("tokenizer.ggml.bos_token_id", vocabulary.bos);
  writer_.set_u32("tokenizer.ggml.eos_token_id", vocabulary.eos);
  writer_.set_bool("tokenizer.ggml.add_bos_token", shape_.tokenizer != Tokenizer::kSmolBpe);
}

void Synthesiser::add_tensors() {
  if (shape_.rope_factor != 0) {
    const std::vector<float> factors = llama3_rope_factors(shape_);
    std::vector<uint8_t> bytes(factors.size() * sizeof(float));
    std::memcpy(bytes.data(), factors.data(), bytes.size());
    writer_.add_tensor("rope_freqs.weight", {factors.size()}, WeightType::kF32, std::move(bytes));
  }
  add_matrix("token_embd.weight", shape_.embedding_length, shape_.vocab_size, kLogitDeviation);
  for (uint32_t layer = 0; layer < shape_.block_count; ++layer) add_layer(layer);
  add_norm("output_norm.weight");
  if (!shape_.tied) {
    add_matrix("output.weight", shape_.embedding_length, shape_.vocab_size, kLogitDeviation);
  }
}

void Synthesiser::add_layer(uint32_t layer) {
  const std::string prefix = "blk." + std::to_string(layer) + ".";
  const uint64_t embedding = shape_.embedding_length;
  const uint64_t ffn = shape_.feed_forward_length;
  const uint64_t q_rows = uint64_t{shape_.head_count} * shape_.head_dim;
  const uint64_t kv_rows = uint64_t{shape_.head_count_kv} * shape_.head_dim;
  add_norm(prefix + "attn_norm.weight");
  add_matrix(prefix + "attn_q.weight", embedding, q_rows);
  add_matrix(prefix + "attn_k.weight", embedding, kv_rows);
  add_matrix(prefix + "attn_v.weight", embedding, kv_rows);
  add_matrix(prefix + "attn_output.weight", q_rows, embedding);
  add_norm(prefix + "ffn_norm.weight");
  add_matrix(prefix + "ffn_gate.weight", embedding, ffn);
  add_matrix(prefix + "ffn_up.weight", embedding, ffn);
  add_matrix(prefix + "ffn_down.weight", ffn, embedding);
}

void Synthesiser::add_norm(const std::string& name) {
  add_random(name, {shape_.embedding_length}, {WeightType::kF32, 1, kNormSpread, 0});
}

void Synthesiser::add_matrix(const std::string& name, uint64_t row, uint64_t rows, float gain) {
  // Inputs of variance 1 give outputs of variance gain^2.
  const float deviation = gain / std::sqrt(static_cast<float>(row));
  const gguf::MixedModel model = {shape_.block_count, shape_.tied};
  add_random(name, {row, rows}, {gguf::mixed_type(mix_, model, name, row), 0, deviation, 0});
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
  if (llvm::Error error = check(shape)) return error;
  return Synthesiser(shape, *mix, options.seed).write(path, progress);
}

}  // namespace jllm::synth
