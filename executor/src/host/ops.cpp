// The operations that need no more than a loop, and the table of all.
#include "executor/src/host/ops.h"

#include <cmath>

#include "executor/src/host/host_op.h"
#include "executor/src/host/kernels.h"
#include "executor/src/host/kv_cache.h"
#include "executor/src/host/products.h"
#include "schema/panel_layout.h"

namespace jllm::host {
namespace {

void run_embed(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<EmbedArgs>(slots);
  const auto type = static_cast<WeightType>(args.type);
  const BlockShape shape = block_shape(type);
  const uint64_t row_bytes = args.dim / shape.elements * shape.bytes;
  const auto* table = static_cast<const uint8_t*>(args.table);
  const Range rows = share_of(valid_rows(args.state, args.rows), worker);
  for (uint64_t row = rows.begin; row < rows.end; ++row) {
    const uint64_t token = args.tokens[args.state->position + row];
    float* out = args.out + row * args.dim;
    if (args.panels != 0) {
      decode_panel_row(type, table, token, args.dim, out);
    } else {
      kernels().dequantise(type, table + token * row_bytes, out, args.dim);
    }
  }
}

void run_rms_norm(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<RmsNormArgs>(slots);
  const float epsilon = float_of_slot(args.epsilon_bits);
  const Range all = share_of(valid_rows(args.state, args.rows) * args.groups, worker);
  for (uint64_t i = all.begin; i < all.end; ++i) {
    const uint64_t offset = i * args.dim;
    kernels().rms_norm(args.in + offset, args.weight, args.out + offset, args.dim, epsilon);
  }
}

void run_layer_norm(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<LayerNormArgs>(slots);
  const float epsilon = float_of_slot(args.epsilon_bits);
  const Range rows = share_of(valid_rows(args.state, args.rows), worker);
  for (uint64_t row = rows.begin; row < rows.end; ++row) {
    const uint64_t offset = row * args.dim;
    kernels().layer_norm(args.in + offset, args.weight, args.bias, args.out + offset, args.dim,
                         epsilon);
  }
}

void run_matmul(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<MatmulArgs>(slots);
  const Range columns = share_of(args.n, worker);
  MatmulPart part = {};
  part.in = args.in;
  part.weight = static_cast<const uint8_t*>(args.weight);
  part.out = args.out;
  part.rows = valid_rows(args.state, args.rows);
  part.n = args.n;
  part.k = args.k;
  part.begin = columns.begin;
  part.end = columns.end;
  part.type = static_cast<WeightType>(args.type);
  kernels().matmul(part);
}

void quantise(const uint64_t* slots, const Worker& worker, bool is_one_image) {
  const auto args = load_args<QuantiseArgs>(slots);
  const uint64_t groups = args.k / kPanelGroup;
  const Range all = share_of(valid_rows(args.state, args.rows) * groups, worker);
  products().quantise(
      {args.in, args.image, is_one_image ? args.rows : 1, args.k, args.planes, all.begin, all.end});
}

void run_quantise(const uint64_t* slots, const Worker& worker) { quantise(slots, worker, true); }
void run_quantise_rows(const uint64_t* slots, const Worker& worker) {
  quantise(slots, worker, false);
}

void run_product(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<ProductArgs>(slots);
  const Range panels = share_of(panel_count(args.n), worker);
  ProductPart part = {};
  part.image = args.image;
  part.weight = static_cast<const uint8_t*>(args.weight);
  part.out = args.out;
  part.rows = valid_rows(args.state, args.rows);
  part.image_rows = args.rows;
  part.n = args.n;
  part.k = args.k;
  part.planes = args.planes;
  part.begin = panels.begin;
  part.end = panels.end;
  part.type = static_cast<WeightType>(args.type);
  products().multiply(part);
}

void run_add_bias(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<AddBiasArgs>(slots);
  const uint64_t rows = valid_rows(args.state, args.rows);
  const Range columns = share_of(args.n, worker);
  for (uint64_t row = 0; row < rows; ++row) {
    const float* in = args.in + row * args.n;
    float* out = args.out + row * args.n;
    for (uint64_t i = columns.begin; i < columns.end; ++i) out[i] = in[i] + args.bias[i];
  }
}

// The rotation of one pair in the heads begin .. end of one row.
struct Rotation {
  uint64_t first, second;  // the pair's elements within a head
  float cosine, sine;
};

void rotate(const RopeArgs& args, uint64_t row, const Range& heads, const Rotation& rotation) {
  for (uint64_t head = heads.begin; head < heads.end; ++head) {
    const uint64_t start = (row * args.heads + head) * args.head_dim;
    const float a = args.in[start + rotation.first], b = args.in[start + rotation.second];
    args.out[start + rotation.first] = a * rotation.cosine - b * rotation.sine;
    args.out[start + rotation.second] = a * rotation.sine + b * rotation.cosine;
  }
}

void run_rope(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<RopeArgs>(slots);
  const float magnitude = float_of_slot(args.magnitude_bits);
  const uint64_t rows = valid_rows(args.state, args.rows);
  const Range heads = share_of(args.heads, worker);
  for (uint64_t row = 0; row < rows; ++row) {
    const auto position = static_cast<float>(args.state->position + row);
    // Each angle serves all heads.
    for (uint64_t i = 0; i < args.pairs; ++i) {
      const float angle = position * args.frequencies[i];
      const uint64_t first = args.neox ? i : 2 * i;
      const uint64_t second = args.neox ? i + args.pairs : 2 * i + 1;
      rotate(args, row, heads,
             {first, second, std::cos(angle) * magnitude, std::sin(angle) * magnitude});
    }
    if (args.out == args.in) continue;
    for (uint64_t head = heads.begin; head < heads.end; ++head) {
      const uint64_t start = (row * args.heads + head) * args.head_dim;
      for (uint64_t i = 2 * args.pairs; i < args.head_dim; ++i) {
        args.out[start + i] = args.in[start + i];
      }
    }
  }
}

void run_kv_append(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<KvAppendArgs>(slots);
  const uint64_t rows = valid_rows(args.state, args.rows);
  const Range heads = share_of(args.heads, worker);
  for (uint64_t row = 0; row < rows; ++row) {
    for (uint64_t head = heads.begin; head < heads.end; ++head) {
      store_kv_row(static_cast<unsigned>(args.type), args.cache, args.heads * args.context,
                   head * args.context + args.state->position + row,
                   args.in + (row * args.heads + head) * args.head_dim, args.head_dim,
                   args.rotation);
    }
  }
}

void run_short_conv(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<ShortConvArgs>(slots);
  const uint64_t rows = valid_rows(args.state, args.rows);
  const Range columns = share_of(args.n, worker);
  const uint64_t n = args.n, last = args.taps - 1;
  for (uint64_t row = 0; row < rows; ++row) {
    const uint64_t position = args.state->position + row;
    const float* b = args.in + row * 3 * n;
    const float* c = b + n;
    const float* x = c + n;
    float* recent = args.recent + position % args.recent_rows * n;
    float* out = args.out + row * n;
    for (uint64_t i = columns.begin; i < columns.end; ++i) {
      recent[i] = b[i] * x[i];
      out[i] = args.weight[i * args.taps + last] * recent[i];
    }
    for (uint64_t back = 1; back <= last && back <= position; ++back) {
      const float* before = args.recent + (position - back) % args.recent_rows * n;
      for (uint64_t i = columns.begin; i < columns.end; ++i) {
        out[i] += args.weight[i * args.taps + last - back] * before[i];
      }
    }
    for (uint64_t i = columns.begin; i < columns.end; ++i) out[i] *= c[i];
  }
}

void run_glu(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<GluArgs>(slots);
  const Range all = share_of(valid_rows(args.state, args.rows) * args.n, worker);
  kernels().glu(args.gate + all.begin, args.up + all.begin, args.out + all.begin,
                all.end - all.begin, static_cast<Activation>(args.activation));
}

void run_unary(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<UnaryArgs>(slots);
  const Range all = share_of(valid_rows(args.state, args.rows) * args.n, worker);
  kernels().unary(args.in + all.begin, args.out + all.begin, all.end - all.begin,
                  static_cast<UnaryFunction>(args.function), float_of_slot(args.parameter_bits));
}

void run_add(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<AddArgs>(slots);
  const Range all = share_of(valid_rows(args.state, args.rows) * args.n, worker);
  for (uint64_t i = all.begin; i < all.end; ++i) args.out[i] = args.a[i] + args.b[i];
}

void run_finish_chunk(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<FinishChunkArgs>(slots);
  // One worker alone: it moves the position that all read.
  if (worker.index != 0 || args.state->done != kRunning) return;
  const uint64_t rows = valid_rows(args.state, args.rows);
  if (rows == 0) return;
  std::memcpy(args.out, args.in + (rows - 1) * args.dim, args.dim * sizeof(float));
  args.state->position += static_cast<unsigned>(rows);
}

using Run = void (*)(const uint64_t*, const Worker&);

// `added`: slots at the end that the format's first version did not have.
template <typename Args>
constexpr HostOp op(std::string_view name, Run run, unsigned added = 0) {
  constexpr unsigned kSlots = sizeof(Args) / sizeof(uint64_t);
  static_assert(kSlots <= kMaxHostArgs);
  return {name, kSlots, kSlots - added, run};
}

constexpr HostOp kOps[] = {
    op<EmbedArgs>("embed", run_embed, 1),
    op<RmsNormArgs>("rms_norm", run_rms_norm),
    op<LayerNormArgs>("layer_norm", run_layer_norm),
    op<MatmulArgs>("matmul", run_matmul),
    op<QuantiseArgs>("quantise", run_quantise),
    op<QuantiseArgs>("quantise_rows", run_quantise_rows),
    op<ProductArgs>("product", run_product),
    op<AddBiasArgs>("add_bias", run_add_bias),
    op<RopeArgs>("rope", run_rope),
    op<KvAppendArgs>("kv_append", run_kv_append),
    op<AttentionArgs>("attention", run_attention),
    op<ShortConvArgs>("short_conv", run_short_conv),
    op<GluArgs>("glu", run_glu),
    op<UnaryArgs>("unary", run_unary),
    op<AddArgs>("add", run_add),
    op<RouteArgs>("route", run_route),
    op<ExpertMatmulArgs>("expert_matmul", run_expert_matmul),
    op<ExpertProductArgs>("expert_product", run_expert_product),
    op<ExpertSumArgs>("expert_sum", run_expert_sum),
    op<FinishChunkArgs>("finish_chunk", run_finish_chunk),
    op<SampleArgs>("sample", run_sample),
    op<SampleMaskedArgs>("sample_masked", run_sample_masked),
    op<DraftArgs>("draft", run_draft),
    op<AcceptArgs>("accept", run_accept),
};

}  // namespace

const HostOp* find_host_op(std::string_view name) {
  for (const HostOp& op : kOps) {
    if (op.name == name) return &op;
  }
  return nullptr;
}

}  // namespace jllm::host
