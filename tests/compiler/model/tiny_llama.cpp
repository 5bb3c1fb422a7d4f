#include "tests/compiler/model/tiny_llama.h"

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "compiler/gguf/quants.h"
#include "compiler/support/error.h"
#include "compiler/synth/random_weights.h"
#include "compiler/synth/vocabulary.h"

namespace jllm {
namespace {

using Shape = std::vector<uint64_t>;

// Calls visit(name, shape, is_matrix) for every tensor of the undamaged model, in file order.
template <typename Visit>
void for_each_tensor(const TinyLlama& m, const Visit& visit) {
  const uint64_t q_width = uint64_t{m.heads} * m.head_dim;
  const uint64_t kv_width = uint64_t{m.kv_heads} * m.head_dim;
  const auto linear = [&](const std::string& name, uint64_t row, uint64_t rows, bool bias) {
    visit(name + ".weight", Shape{row, rows}, true);
    if (bias) visit(name + ".bias", Shape{rows}, false);
  };
  visit("token_embd.weight", Shape{m.embedding, m.vocab}, true);
  for (uint32_t i = 0; i < m.layers; ++i) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    visit(blk + "attn_norm.weight", Shape{m.embedding}, false);
    if (m.fused_qkv) {
      linear(blk + "attn_qkv", m.embedding, q_width + 2 * kv_width, m.qkv_bias);
    } else {
      linear(blk + "attn_q", m.embedding, q_width, m.qkv_bias);
      linear(blk + "attn_k", m.embedding, kv_width, m.qkv_bias);
      linear(blk + "attn_v", m.embedding, kv_width, m.qkv_bias);
    }
    linear(blk + "attn_output", q_width, m.embedding, m.output_bias);
    visit(blk + "ffn_norm.weight", Shape{m.embedding}, false);
    linear(blk + "ffn_gate", m.embedding, m.ffn, m.ffn_bias);
    linear(blk + "ffn_up", m.embedding, m.ffn, m.ffn_bias);
    linear(blk + "ffn_down", m.ffn, m.embedding, m.ffn_bias);
  }
  visit("output_norm.weight", Shape{m.embedding}, false);
  if (!m.tied) visit("output.weight", Shape{m.embedding, m.vocab}, true);
}

uint64_t elements(const Shape& shape) {
  uint64_t n = 1;
  for (const uint64_t extent : shape) n *= extent;
  return n;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Norm weights lie around 1 and biases around 0, as in trained models; matrices keep the variance
// of their input, and the token embedding makes logits in which some tokens stand out.
synth::RandomTensor distribution(const TinyLlama& m, const std::string& name, const Shape& shape,
                                 bool is_matrix) {
  const auto exception = m.types.find(name);
  const WeightType common = is_matrix ? m.type : m.vector_type;
  const WeightType type = exception != m.types.end() ? exception->second : common;
  const uint64_t key = synth::tensor_key(m.seed, name);
  if (!is_matrix) return {type, ends_with(name, ".bias") ? 0.0f : 1.0f, 0.2f, key};
  const float gain = name.rfind("blk.", 0) == 0 ? 1.0f : 3.0f;
  return {type, 0, gain / std::sqrt(static_cast<float>(shape[0])), key};
}

void add_keys(const TinyLlama& m, gguf::Writer& writer) {
  const std::string prefix = m.architecture + ".";
  const auto u32 = [&](const std::string& key, uint32_t value) {
    if (m.without.count(key) == 0) writer.set_u32(prefix + key, value);
  };
  writer.set_string("general.architecture", m.architecture);
  writer.set_string("general.name", "tiny");
  u32("block_count", m.layers);
  u32("context_length", m.context);
  u32("embedding_length", m.embedding);
  u32("feed_forward_length", m.ffn);
  u32("attention.head_count", m.heads);
  u32("attention.head_count_kv", m.kv_heads);
  u32("attention.key_length", m.head_dim);
  u32("attention.value_length", m.head_dim);
  u32("rope.dimension_count", m.head_dim);
  u32("vocab_size", m.vocab);
  if (m.without.count("rope.freq_base") == 0)
    writer.set_f32(prefix + "rope.freq_base", m.rope_base);
  if (m.without.count("attention.layer_norm_rms_epsilon") == 0) {
    writer.set_f32(prefix + "attention.layer_norm_rms_epsilon", m.epsilon);
  }
  if (m.more_keys) m.more_keys(writer);
}

void add_tokenizer(const TinyLlama& m, gguf::Writer& writer) {
  const synth::Vocabulary vocabulary =
      synth::make_bpe_vocabulary(m.vocab, {"<|begin_of_text|>", "<|end_of_text|>"}, 0, 1);
  writer.set_string("tokenizer.ggml.model", "gpt2");
  writer.set_string("tokenizer.ggml.pre", "llama-bpe");
  writer.set_string_array("tokenizer.ggml.tokens", vocabulary.tokens);
  writer.set_i32_array("tokenizer.ggml.token_type", vocabulary.types);
  writer.set_string_array("tokenizer.ggml.merges", vocabulary.merges);
  writer.set_u32("tokenizer.ggml.bos_token_id", vocabulary.bos);
  writer.set_u32("tokenizer.ggml.eos_token_id", vocabulary.eos);
  writer.set_bool("tokenizer.ggml.add_bos_token", true);
}

void add_tensors(const TinyLlama& m, gguf::Writer& writer) {
  if (!m.rope_factors.empty()) {
    std::vector<uint8_t> bytes(m.rope_factors.size() * sizeof(float));
    std::memcpy(bytes.data(), m.rope_factors.data(), bytes.size());
    writer.add_tensor("rope_freqs.weight", {m.rope_factors.size()}, WeightType::kF32,
                      std::move(bytes));
  }
  for_each_tensor(m, [&](const std::string& name, Shape shape, bool is_matrix) {
    if (m.without.count(name) != 0) return;
    const synth::RandomTensor random = distribution(m, name, shape, is_matrix);
    if (const auto it = m.shapes.find(name); it != m.shapes.end()) shape = it->second;
    const BlockShape block = block_shape(random.type);
    const uint64_t blocks = elements(shape) / block.elements;
    std::vector<uint8_t> bytes(blocks * block.bytes);
    synth::fill_blocks(random, 0, blocks, bytes.data());
    if (!m.dequantise) return writer.add_tensor(name, shape, random.type, std::move(bytes));
    std::vector<uint8_t> values(elements(shape) * sizeof(float));
    gguf::dequantise(random.type, bytes.data(), reinterpret_cast<float*>(values.data()),
                     elements(shape));
    writer.add_tensor(name, shape, WeightType::kF32, std::move(values));
  });
}

}  // namespace

uint64_t TinyLlama::parameters() const {
  uint64_t sum = rope_factors.size();
  for_each_tensor(*this,
                  [&](const std::string&, const Shape& shape, bool) { sum += elements(shape); });
  return sum;
}

void write_model(const TinyLlama& model, const std::string& path) {
  gguf::Writer writer;
  add_keys(model, writer);
  if (model.tokenizer) add_tokenizer(model, writer);
  add_tensors(model, writer);
  if (llvm::Error error = writer.write(path)) {
    throw std::runtime_error(take_error(std::move(error)).second);
  }
}

gguf::File write_and_open(const TinyLlama& model, const std::string& path) {
  write_model(model, path);
  llvm::Expected<gguf::File> file = gguf::File::open(path);
  if (!file) throw std::runtime_error(take_error(file.takeError()).second);
  return std::move(*file);
}

}  // namespace jllm
