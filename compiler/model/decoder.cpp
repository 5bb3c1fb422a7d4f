#include "compiler/model/decoder.h"

#include <algorithm>

#include "compiler/support/error.h"
#include "schema/step_state.h"

namespace jllm::model {

using ir::GraphBuilder;
using ir::TensorId;

namespace {

// Rows of recent_rows(). A stop string found late takes back what is in flight, at most kRingSlots
// tokens, and those of a rejected draft; as many again for whoever edits the end of a conversation.
constexpr uint32_t kRecentRows = 2 * kRingSlots;

}  // namespace

TensorId Linear::apply(GraphBuilder& b, TensorId x, const char* name) const {
  const TensorId y = b.matmul(x, weight, name);
  return bias ? b.add_bias(y, *bias, name) : y;
}

TensorId Norm::apply(GraphBuilder& b, TensorId x, const char* name) const {
  return is_layer_norm ? b.layer_norm(x, weight, bias, epsilon, name)
                       : b.rms_norm(x, weight, epsilon, name);
}

TensorId Attention::apply(GraphBuilder& b, TensorId x) const {
  const auto head_norm = [&](TensorId y, const std::optional<Norm>& norm, uint32_t heads,
                             const char* name) {
    if (!norm) return y;
    return b.rms_norm(y, norm->weight, norm->epsilon, name, norms_whole_rows ? 1 : heads);
  };
  ir::Attributes a = attributes;
  const TensorId q_raw = head_norm(q.apply(b, x, "attn_q"), q_norm, a.heads, "attn_q_norm");
  const TensorId q_rotated = b.rope(q_raw, frequencies, a, "rope_q");
  a.heads = kv_heads;
  const TensorId k_raw = head_norm(k.apply(b, x, "attn_k"), k_norm, a.heads, "attn_k_norm");
  const TensorId k_rotated = b.rope(k_raw, frequencies, a, "rope_k");
  b.kv_append(k_rotated, k_cache, kv_heads, a.head_dim, "append_k");
  b.kv_append(v.apply(b, x, "attn_v"), v_cache, kv_heads, a.head_dim, "append_v");
  a.heads = attributes.heads;
  a.kv_heads = kv_heads;
  return output.apply(b, b.attention(q_rotated, k_cache, v_cache, a), "attn_output");
}

TensorId GatedFeedForward::operator()(GraphBuilder& b, TensorId x) const {
  const TensorId g = gate.apply(b, x, "ffn_gate");
  const TensorId u = up.apply(b, x, "ffn_up");
  return down.apply(b, b.glu(g, u, activation), "ffn_down");
}

TensorId ExpertFeedForward::operator()(GraphBuilder& b, TensorId x) const {
  const GraphBuilder::Routes routes = b.route(router.apply(b, x, "ffn_router"), used, renormalise);
  const TensorId g = b.expert_matmul(x, gate, routes, "ffn_gate_exps");
  const TensorId u = b.expert_matmul(x, up, routes, "ffn_up_exps");
  const TensorId y = b.expert_matmul(b.glu(g, u), down, routes, "ffn_down_exps");
  const TensorId sum = b.expert_sum(y, routes);
  return shared ? b.add(sum, (*shared)(b, x), "ffn_shared") : sum;
}

TensorId PreNormBlock::operator()(GraphBuilder& b, TensorId x) const {
  const TensorId y = attention.apply(b, attn_norm.apply(b, x, "attn_norm"));
  x = b.add(y, x, "attn_residual");
  const TensorId z = feed_forward(b, ffn_norm.apply(b, x, "ffn_norm"));
  return b.add(z, x, "ffn_residual");
}

TensorId SandwichBlock::operator()(GraphBuilder& b, TensorId x) const {
  const TensorId y = attention.apply(b, attn_norm.apply(b, x, "attn_norm"));
  x = b.add(post_attention_norm.apply(b, y, "post_attention_norm"), x, "attn_residual");
  const TensorId z = feed_forward(b, ffn_norm.apply(b, x, "ffn_norm"));
  return b.add(post_ffw_norm.apply(b, z, "post_ffw_norm"), x, "ffn_residual");
}

TensorId PostNormBlock::operator()(GraphBuilder& b, TensorId x) const {
  const TensorId y = attention.apply(b, x);
  x = b.add(post_attention_norm.apply(b, y, "post_attention_norm"), x, "attn_residual");
  const TensorId z = feed_forward(b, x);
  return b.add(post_ffw_norm.apply(b, z, "post_ffw_norm"), x, "ffn_residual");
}

bool is_sliding(uint32_t layer, uint32_t period) {
  return period > 0 && layer % period < period - 1;
}

std::string block_name(uint32_t layer) { return "blk." + std::to_string(layer) + "."; }

DecoderLoader::DecoderLoader(const Model& model, const ProgramOptions& options)
    : model_(model), options_(options), p_(model.params), tensors_(model, program_) {
  add_common_tensors(model, options, program_);
}

RopeTable DecoderLoader::rope() {
  llvm::Expected<Rope> rope = make_rope(model_, options_.context);
  if (rope) return {tensors_.constant("rope_frequencies", rope->frequencies), rope->magnitude};
  tensors_.refuse(rope.takeError());
  return {};
}

RopeTable DecoderLoader::plain_rope(float freq_base) {
  return {tensors_.constant("rope_frequencies_plain", make_plain_rope(p_, freq_base).frequencies),
          1};
}

Linear DecoderLoader::linear(const std::string& name, uint64_t rows, uint64_t cols) {
  return linear_rows(name, {0, rows, rows}, cols);
}

Linear DecoderLoader::linear_rows(const std::string& name, const TensorLoader::Rows& rows,
                                  uint64_t cols) {
  Linear linear;
  linear.weight = tensors_.weight(name + ".weight", rows, cols);
  if (has(name + ".bias")) linear.bias = tensors_.vector(name + ".bias", rows);
  return linear;
}

Norm DecoderLoader::norm(const std::string& name, uint64_t dim) {
  return {tensors_.vector(name + ".weight", dim), std::nullopt, p_.norm_epsilon, false};
}

Norm DecoderLoader::rms_norm(const std::string& name) { return norm(name, p_.embedding_length); }

Norm DecoderLoader::layer_norm(const std::string& name) {
  Norm layer_norm = rms_norm(name);
  layer_norm.is_layer_norm = true;
  if (has(name + ".bias")) layer_norm.bias = tensors_.vector(name + ".bias", p_.embedding_length);
  return layer_norm;
}

TensorId DecoderLoader::table(const std::string& name, uint64_t rows, uint64_t cols) {
  return tensors_.table(name, rows, cols);
}

TensorId DecoderLoader::recent_rows(const std::string& name, uint64_t cols, uint64_t back) {
  ir::Tensor tensor;
  tensor.name = name;
  tensor.kind = ir::TensorKind::kRecent;
  tensor.rows = std::min(options_.context, kRecentRows);
  tensor.cols = cols;
  if (tensor.rows < options_.context) {
    const auto reach = static_cast<uint32_t>(tensor.rows - back);
    program_.rewind_reach =
        program_.rewind_reach == 0 ? reach : std::min(program_.rewind_reach, reach);
  }
  return program_.add(std::move(tensor));
}

Attention DecoderLoader::attention(uint32_t layer, const RopeTable& rope, Pairing pairing) {
  const std::string blk = block_name(layer);
  const uint64_t q_width = uint64_t{p_.head_count} * p_.head_dim;
  const uint64_t kv_width = uint64_t{p_.head_count_kv} * p_.head_dim;
  const uint64_t embedding = p_.embedding_length;
  if (!p_.has_attention(layer)) {
    tensors_.refuse(fail(ExitCode::kUnsupported,
                         "{0}: {1}.attention.head_count_kv is 0 in layer {2}, which this "
                         "architecture has no use for",
                         model_.file->path(), p_.architecture, layer));
  }
  Attention a;
  if (tensors_.has(blk + "attn_qkv.weight")) {
    const uint64_t total = q_width + 2 * kv_width;
    a.q = linear_rows(blk + "attn_qkv", {0, q_width, total}, embedding);
    a.k = linear_rows(blk + "attn_qkv", {q_width, kv_width, total}, embedding);
    a.v = linear_rows(blk + "attn_qkv", {q_width + kv_width, kv_width, total}, embedding);
  } else {
    a.q = linear(blk + "attn_q", q_width, embedding);
    a.k = linear(blk + "attn_k", kv_width, embedding);
    a.v = linear(blk + "attn_v", kv_width, embedding);
  }
  a.output = linear(blk + "attn_output", embedding, q_width);
  a.frequencies = rope.frequencies;
  a.kv_heads = p_.head_count_kv;
  a.attributes.heads = p_.head_count;
  a.attributes.head_dim = p_.head_dim;
  a.attributes.pairs = p_.rope_dimension_count / 2;
  a.attributes.neox = pairing == Pairing::kHalves;
  a.attributes.magnitude = rope.magnitude;
  a.attributes.scale = p_.attention_scale;
  a.k_cache = add_kv_cache(model_, options_, program_, layer, true);
  a.v_cache = add_kv_cache(model_, options_, program_, layer, false);
  return a;
}

void DecoderLoader::add_head_norms(uint32_t layer, Attention* attention) {
  attention->q_norm = norm(block_name(layer) + "attn_q_norm", p_.head_dim);
  attention->k_norm = norm(block_name(layer) + "attn_k_norm", p_.head_dim);
}

void DecoderLoader::add_row_norms(uint32_t layer, Attention* attention) {
  const std::string blk = block_name(layer);
  attention->q_norm = norm(blk + "attn_q_norm", uint64_t{p_.head_count} * p_.head_dim);
  attention->k_norm = norm(blk + "attn_k_norm", uint64_t{p_.head_count_kv} * p_.head_dim);
  attention->norms_whole_rows = true;
}

GatedFeedForward DecoderLoader::gated_feed_forward(uint32_t layer, bool fused) {
  const std::string blk = block_name(layer);
  const uint64_t width = p_.feed_forward_length;
  GatedFeedForward f;
  if (fused) {
    f.gate = linear_rows(blk + "ffn_up", {0, width, 2 * width}, p_.embedding_length);
    f.up = linear_rows(blk + "ffn_up", {width, width, 2 * width}, p_.embedding_length);
    f.down = linear(blk + "ffn_down", p_.embedding_length, width);
    return f;
  }
  return gated(blk, "", width);
}

GatedFeedForward DecoderLoader::gated(const std::string& blk, const std::string& part,
                                      uint64_t width) {
  return {linear(blk + "ffn_gate" + part, width, p_.embedding_length),
          linear(blk + "ffn_up" + part, width, p_.embedding_length),
          linear(blk + "ffn_down" + part, p_.embedding_length, width)};
}

ExpertFeedForward DecoderLoader::expert_feed_forward(uint32_t layer, bool renormalise) {
  const std::string blk = block_name(layer);
  const uint64_t width = p_.expert_feed_forward_length, embedding = p_.embedding_length;
  const uint64_t count = p_.expert_count;
  ExpertFeedForward f;
  f.router = linear(blk + "ffn_gate_inp", count, embedding);
  if (has(blk + "ffn_gate_up_exps.weight")) {
    f.gate =
        tensors_.experts(blk + "ffn_gate_up_exps.weight", count, {0, width, 2 * width}, embedding);
    f.up = tensors_.experts(blk + "ffn_gate_up_exps.weight", count, {width, width, 2 * width},
                            embedding);
  } else {
    f.gate = tensors_.experts(blk + "ffn_gate_exps.weight", count, {0, width, width}, embedding);
    f.up = tensors_.experts(blk + "ffn_up_exps.weight", count, {0, width, width}, embedding);
  }
  f.down = tensors_.experts(blk + "ffn_down_exps.weight", count, {0, embedding, embedding}, width);
  f.used = p_.expert_used_count;
  f.renormalise = renormalise;
  if (p_.expert_shared_feed_forward_length != 0) {
    f.shared = gated(blk, "_shexp", p_.expert_shared_feed_forward_length);
  }
  return f;
}

FeedForward DecoderLoader::feed_forward(uint32_t layer, bool renormalise) {
  if (p_.expert_count != 0) return expert_feed_forward(layer, renormalise);
  return gated_feed_forward(layer);
}

SandwichBlock DecoderLoader::sandwich_block(uint32_t layer, const RopeTable& rope) {
  const std::string blk = block_name(layer);
  return {rms_norm(blk + "attn_norm"),
          attention(layer, rope, Pairing::kHalves),
          rms_norm(blk + "post_attention_norm"),
          rms_norm(blk + "ffn_norm"),
          gated_feed_forward(layer),
          rms_norm(blk + "post_ffw_norm")};
}

Decoder DecoderLoader::decoder() {
  Decoder decoder;
  decoder.token_embd = tensors_.weight("token_embd.weight", p_.vocab_size, p_.embedding_length);
  if (options_.embeds) return decoder;  // nothing is multiplied with the vocabulary
  decoder.output = has("output.weight") ? linear("output", p_.vocab_size, p_.embedding_length)
                                        : Linear{decoder.token_embd, std::nullopt};
  return decoder;
}

namespace {

TensorId stack(const Decoder& decoder, GraphBuilder& b) {
  b.set_scope("");
  TensorId x = b.embed(decoder.token_embd);
  if (decoder.embedding_scale != 1) {
    x = b.unary(x, kScale, decoder.embedding_scale, "embedding_scale");
  }
  for (size_t i = 0; i < decoder.blocks.size(); ++i) {
    b.set_scope("blk." + std::to_string(i));
    x = decoder.blocks[i](b, x);
  }
  b.set_scope("");
  return x;
}

// The logits behind x, in a tensor that is there (one row) or in one of the graph's own.
TensorId head(const Decoder& decoder, GraphBuilder& b, TensorId x,
              std::optional<TensorId> place = std::nullopt) {
  const TensorId y = decoder.output_norm.apply(b, x, "output_norm");
  const TensorId weight = decoder.output.weight;
  const TensorId logits =
      place ? b.matmul_into(y, weight, *place, "output") : b.matmul(y, weight, "output");
  if (decoder.output.bias) b.add_bias_in_place(logits, *decoder.output.bias, "output");
  if (decoder.logit_scale != 1) {
    b.unary_in_place(logits, kScale, decoder.logit_scale, "logit_scale");
  }
  if (decoder.logit_softcap != 0) {
    b.unary_in_place(logits, kSoftcap, decoder.logit_softcap, "logit_softcap");
  }
  return logits;
}

}  // namespace

llvm::Expected<ir::Program> DecoderLoader::finish(const Decoder& decoder) {
  if (llvm::Error error = tensors_.take_error()) return error;
  if (!options_.embeds) {
    GraphBuilder decode(program_, ir::GraphKind::kDecode, 1);
    decode.sample(head(decoder, decode, stack(decoder, decode), program_.bindings.logits), true);
    decode.finish();
  }
  for (const uint32_t rows : options_.prefill_rows) {
    GraphBuilder prefill(program_, ir::GraphKind::kPrefill, rows);
    prefill.finish_chunk(stack(decoder, prefill));
    prefill.finish();
  }
  for (const uint32_t rows : options_.verify_rows) {
    GraphBuilder verify(program_, ir::GraphKind::kVerify, rows);
    verify.draft();
    verify.accept(head(decoder, verify, stack(decoder, verify)));
    verify.finish();
  }
  for (const uint32_t rows : options_.batch_rows) {
    GraphBuilder batch(program_, ir::GraphKind::kBatch, rows);
    batch.sample(head(decoder, batch, stack(decoder, batch)), true);
    batch.finish();
  }
  GraphBuilder last(program_, ir::GraphKind::kHead, 1);
  const TensorId hidden = program_.bindings.hidden;
  if (options_.embeds) {
    last.keep_as_embedding(decoder.output_norm.apply(last, hidden, "output_norm"));
  } else {
    last.sample(head(decoder, last, hidden, program_.bindings.logits), false);
  }
  last.finish();
  return std::move(program_);
}

}  // namespace jllm::model
