// Architecture `llama`: Llama 1 to 3.x, TinyLlama, Mistral, SmolLM2, Yi. RMS pre-norm, grouped-query
// attention with rope on adjacent pairs, SwiGLU; optional biases; output tied to the embedding or not.
#include "compiler/model/model.h"
#include "compiler/support/error.h"

namespace jllm::model {
namespace {

using ir::GraphBuilder;
using ir::TensorId;

// An optional bias behind a matrix.
struct Linear {
  TensorId weight = 0;
  TensorId bias = 0;
  bool has_bias = false;
};

struct Layer {
  TensorId attn_norm, ffn_norm, k_cache, v_cache;
  Linear q, k, v, output, gate, up, down;
};

struct Llama {
  HyperParameters p;
  TensorId token_embd, output_norm, output, frequencies;
  std::vector<Layer> layers;

  TensorId apply(GraphBuilder& b, TensorId x, const Linear& linear, const char* name) const {
    const TensorId y = b.matmul(x, linear.weight, name);
    return linear.has_bias ? b.add_bias(y, linear.bias, name) : y;
  }

  TensorId attention(GraphBuilder& b, TensorId x, const Layer& layer) const {
    ir::Attributes a;
    a.head_dim = p.head_dim;
    a.pairs = p.rope_dimension_count / 2;
    const TensorId y = b.rms_norm(x, layer.attn_norm, p.rms_epsilon, "attn_norm");
    a.heads = p.head_count;
    const TensorId q = b.rope(apply(b, y, layer.q, "attn_q"), frequencies, a, "rope_q");
    a.heads = p.head_count_kv;
    const TensorId k = b.rope(apply(b, y, layer.k, "attn_k"), frequencies, a, "rope_k");
    b.kv_append(k, layer.k_cache, p.head_count_kv, p.head_dim, "append_k");
    const TensorId v = apply(b, y, layer.v, "attn_v");
    b.kv_append(v, layer.v_cache, p.head_count_kv, p.head_dim, "append_v");
    a.heads = p.head_count;
    a.kv_heads = p.head_count_kv;
    a.scale = p.attention_scale;
    const TensorId out = b.attention(q, layer.k_cache, layer.v_cache, a);
    return b.add(apply(b, out, layer.output, "attn_output"), x, "attn_residual");
  }

  TensorId feed_forward(GraphBuilder& b, TensorId x, const Layer& layer) const {
    const TensorId y = b.rms_norm(x, layer.ffn_norm, p.rms_epsilon, "ffn_norm");
    const TensorId gate = apply(b, y, layer.gate, "ffn_gate");
    const TensorId up = apply(b, y, layer.up, "ffn_up");
    return b.add(apply(b, b.glu(gate, up), layer.down, "ffn_down"), x, "ffn_residual");
  }

  TensorId blocks(GraphBuilder& b) const {
    b.set_scope("");
    TensorId x = b.embed(token_embd);
    for (size_t i = 0; i < layers.size(); ++i) {
      b.set_scope("blk." + std::to_string(i));
      x = feed_forward(b, attention(b, x, layers[i]), layers[i]);
    }
    b.set_scope("");
    return x;
  }

  void head(GraphBuilder& b, TensorId x, TensorId logits, bool advance) const {
    const TensorId y = b.rms_norm(x, output_norm, p.rms_epsilon, "output_norm");
    b.sample(b.matmul_into(y, output, logits, "output"), advance);
  }
};

Linear load_linear(TensorLoader& tensors, const std::string& name, uint64_t rows, uint64_t cols) {
  Linear linear;
  linear.weight = tensors.weight(name + ".weight", rows, cols);
  linear.has_bias = tensors.has(name + ".bias");
  if (linear.has_bias) linear.bias = tensors.vector(name + ".bias", rows);
  return linear;
}

llvm::Expected<ir::Program> build(const Model& model, const ProgramOptions& options) {
  const HyperParameters& p = model.params;
  llvm::Expected<uint64_t> experts = model.file->get_u64_or("llama.expert_count", 0);
  if (!experts) return experts.takeError();
  if (*experts > 0) {
    return fail(ExitCode::kUnsupported, "{0}: llama with {1} experts is not supported yet",
                model.file->path(), *experts);
  }
  llvm::Expected<std::vector<float>> frequencies = rope_frequencies(model);
  if (!frequencies) return frequencies.takeError();

  ir::Program program;
  add_common_tensors(model, options, program);
  TensorLoader tensors(model, program);
  Llama llama;
  llama.p = p;
  llama.token_embd = tensors.weight("token_embd.weight", p.vocab_size, p.embedding_length);
  llama.output_norm = tensors.vector("output_norm.weight", p.embedding_length);
  llama.output = tensors.has("output.weight")
                     ? tensors.weight("output.weight", p.vocab_size, p.embedding_length)
                     : llama.token_embd;
  ir::Tensor table;
  table.name = "rope_frequencies";
  table.kind = ir::TensorKind::kConstant;
  table.rows = 1;
  table.cols = frequencies->size();
  table.values = std::move(*frequencies);
  llama.frequencies = program.add(std::move(table));

  const uint64_t q_width = uint64_t{p.head_count} * p.head_dim;
  const uint64_t kv_width = uint64_t{p.head_count_kv} * p.head_dim;
  for (uint32_t i = 0; i < p.block_count; ++i) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    Layer layer;
    layer.attn_norm = tensors.vector(blk + "attn_norm.weight", p.embedding_length);
    layer.q = load_linear(tensors, blk + "attn_q", q_width, p.embedding_length);
    layer.k = load_linear(tensors, blk + "attn_k", kv_width, p.embedding_length);
    layer.v = load_linear(tensors, blk + "attn_v", kv_width, p.embedding_length);
    layer.output = load_linear(tensors, blk + "attn_output", p.embedding_length, q_width);
    layer.ffn_norm = tensors.vector(blk + "ffn_norm.weight", p.embedding_length);
    layer.gate = load_linear(tensors, blk + "ffn_gate", p.feed_forward_length, p.embedding_length);
    layer.up = load_linear(tensors, blk + "ffn_up", p.feed_forward_length, p.embedding_length);
    layer.down = load_linear(tensors, blk + "ffn_down", p.embedding_length, p.feed_forward_length);
    layer.k_cache = add_kv_cache(model, options, program, i, true);
    layer.v_cache = add_kv_cache(model, options, program, i, false);
    llama.layers.push_back(layer);
  }
  if (llvm::Error error = tensors.take_error()) return error;

  GraphBuilder decode(program, ir::GraphKind::kDecode, 1);
  llama.head(decode, llama.blocks(decode), program.bindings.logits, true);
  decode.finish();
  for (const uint32_t rows : options.prefill_rows) {
    GraphBuilder prefill(program, ir::GraphKind::kPrefill, rows);
    prefill.finish_chunk(llama.blocks(prefill));
    prefill.finish();
  }
  GraphBuilder head(program, ir::GraphKind::kHead, 1);
  llama.head(head, program.bindings.hidden, program.bindings.logits, false);
  head.finish();
  return program;
}

}  // namespace

const Architecture kLlama = {"llama", &build};

}  // namespace jllm::model
