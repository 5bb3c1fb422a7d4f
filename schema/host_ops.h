// The operations of the `host` backend: their names in a plan and the arguments that a launch
// carries. A launch's argument slots (8 bytes each) are the fields of the struct below, in order:
// pointers are arena addresses, numbers are immediates (floats as IEEE-754 bits in the low half). T
// is the row count of the graph; rows at or beyond min(T, state.count - state.position) need not be
// computed. Where `state` is null all T rows are computed (the head graph: its row was consumed
// before). Activations are f32, row-major. Weights are in GGUF block layout, or in panels
// (panel_layout.h) where integer products read them; f32 constants are plain arrays.
#pragma once

#include <cstdint>

#include "schema/functions.h"
#include "schema/step_state.h"

namespace jllm::host {

// --- Activations as integers, beside weights in panels ---

// 32 activations of one row: scale * high, or with two planes scale * (kHighUnit * high + low).
constexpr int kHighShift = 7, kHighUnit = 1 << kHighShift;
struct ActivationGroup {
  int8_t high[32];
  int8_t low[32];
  float scale;
  int32_t total;       // of the integers
  float sum;           // scale * total
  float half_sums[2];  // the same of the first and the last 16
};

// An image of `rows` rows: blocks of image_interleave(rows) rows, in each the groups one after the
// other, in each the rows. Blocks are full; rows beyond `rows` are not read for a result.
constexpr uint64_t kImageRows = 16;
constexpr uint64_t image_interleave(uint64_t rows) {
  return rows <= 1 ? 1 : rows <= 4 ? 4 : rows <= 8 ? 8 : kImageRows;
}
constexpr uint64_t image_index(uint64_t rows, uint64_t groups, uint64_t row, uint64_t group) {
  const uint64_t interleave = image_interleave(rows);
  return (row / interleave * groups + group) * interleave + row % interleave;
}
constexpr uint64_t image_bytes(uint64_t rows, uint64_t k) {
  const uint64_t interleave = image_interleave(rows);
  const uint64_t blocks = (rows + interleave - 1) / interleave;
  return blocks * interleave * (k / 32) * sizeof(ActivationGroup);
}

// Every struct's name minus "Args", in snake_case, is the kernel name in the plan ("rms_norm").

struct EmbedArgs {  // out[T][dim] = table[token of the row]
  const StepState* state;
  const uint32_t* tokens;
  const void* table;  // [vocab][dim], `type`
  float* out;
  uint64_t rows, dim, vocab, type;
  uint64_t panels;  // 1: the table is in panels, 0: in GGUF blocks
};

struct RmsNormArgs {  // out = in / sqrt(mean(in^2) + epsilon) * weight, per row and group
  const StepState* state;
  const float* in;      // [T][groups][dim]
  const float* weight;  // [dim]
  float* out;           // [T][groups][dim]
  uint64_t rows, dim, epsilon_bits, groups;
};

struct LayerNormArgs {  // out = (in - mean) / sqrt(variance + epsilon) * weight + bias, per row
  const StepState* state;
  const float* in;      // [T][dim]
  const float* weight;  // [dim]
  const float* bias;    // [dim], or null
  float* out;           // [T][dim]
  uint64_t rows, dim, epsilon_bits;
};

struct MatmulArgs {  // out[T][n] = in[T][k] * weight[n][k]^T
  const StepState* state;
  const float* in;
  const void* weight;
  float* out;
  uint64_t rows, n, k, type;
};

struct QuantiseArgs {  // image = in as integers
  const StepState* state;
  const float* in;         // [T][k], k a multiple of 32
  ActivationGroup* image;  // of T rows
  uint64_t rows, k;
  uint64_t planes;  // 1 or 2
};

// "quantise_rows" takes QuantiseArgs too; there, each row becomes an image of its own, one behind
// the other.

struct ProductArgs {  // out[T][n] = in[T][k] * weight[n][k]^T
  const StepState* state;
  const ActivationGroup* image;
  const void* weight;  // panels of `type`
  float* out;
  uint64_t rows, n, k, type;
  uint64_t planes;  // as the image was made
};

struct AddBiasArgs {  // out = in + bias, per row; out may be in
  const StepState* state;
  const float* in;    // [T][n]
  const float* bias;  // [n]
  float* out;
  uint64_t rows, n;
};

struct RopeArgs {  // rotates the first 2 * pairs elements of each head by position * frequency; out
                   // may be in
  const StepState* state;
  const float* in;           // [T][heads][head_dim]
  const float* frequencies;  // [pairs], radians per position
  float* out;
  uint64_t rows, heads, head_dim, pairs;
  uint64_t neox;            // 0: pairs (2i, 2i + 1); 1: pairs (i, i + pairs)
  uint64_t magnitude_bits;  // factor on cos and sin (YaRN), 1 otherwise
};

struct KvAppendArgs {  // cache rows position .. of each head = in
  const StepState* state;
  const float* in;  // [T][heads][head_dim]
  void* cache;      // [heads][context][head_dim], `type`; schema/kv_layout.h
  uint64_t rows, heads, head_dim, context, type;
  uint64_t rotation;  // elements of a block that is rotated before it is stored, 0: none
};

struct AttentionArgs {  // causal softmax(q k^T * scale) v, grouped-query
  const StepState* state;
  const float* q;  // [T][heads][head_dim]
  const void* k;   // [kv_heads][context][head_dim]
  const void* v;   // [kv_heads][context][head_dim]
  float* out;      // [T][heads][head_dim]
  float* scores;   // scratch [heads][context], f32: each head is computed by one thread at a time
  uint64_t rows, heads, kv_heads, head_dim, context, k_type, v_type, scale_bits;
  uint64_t rotation;      // of the keys; q is rotated alike here
  uint64_t window;        // positions that a query sees, its own the last; 0: all
  uint64_t softcap_bits;  // scores become softcap * tanh(score / softcap); 0: as they are
};

struct ShortConvArgs {  // out = c * sum over j of taps[j] * (b * x) at position - (taps - 1) + j
  const StepState* state;
  const float* in;      // [T][3][n]: b, c, x
  const float* weight;  // [n][taps]
  float* recent;        // [recent_rows][n]: b * x of position p in row p % recent_rows
  float* out;           // [T][n]
  uint64_t rows, n, taps;
  uint64_t recent_rows;  // at least taps
};

struct GluArgs {  // out = activation(gate) * up
  const StepState* state;
  const float* gate;  // [T][n]
  const float* up;    // [T][n]
  float* out;         // [T][n]
  uint64_t rows, n, activation;
};

struct UnaryArgs {  // out = function(in), which reads `parameter`; out may be in
  const StepState* state;
  const float* in;  // [T][n]
  float* out;
  uint64_t rows, n, function, parameter_bits;
};

struct AddArgs {  // out = a + b; out may be a or b
  const StepState* state;
  const float* a;  // [T][n]
  const float* b;  // [T][n]
  float* out;
  uint64_t rows, n;
};

struct RouteArgs {  // the `slots` experts of the largest logits, ties to the first, largest first
  const StepState* state;
  const float* logits;  // [T][experts]
  uint32_t* chosen;     // [T][slots]
  float* weights;       // [T][slots]: of the softmax over all logits, or over the chosen
  uint64_t rows, experts, slots;
  uint64_t renormalise;  // 1: over the chosen
};

struct ExpertMatmulArgs {  // out[T][slots][n] = in * weight[chosen]^T
  const StepState* state;
  const float* in;         // [T][slots][k], or [T][k]
  const uint32_t* chosen;  // [T][slots]
  const void* weight;      // [experts][n][k]
  float* out;
  uint64_t rows, slots, n, k, type, experts;
  uint64_t shared;  // 1: in is [T][k]
};

struct ExpertProductArgs {  // the same with weights in panels, n a multiple of kPanelRows
  const StepState* state;
  const ActivationGroup* image;  // of each vector of `in` one (quantise_rows)
  const uint32_t* chosen;
  const void* weight;
  float* out;
  uint64_t rows, slots, n, k, type, experts, shared;
  uint64_t planes;  // as the image was made
};

struct ExpertSumArgs {  // out[T][n] = sum of in[T][slots][n] * weights[T][slots]
  const StepState* state;
  const float* in;
  const float* weights;
  float* out;
  uint64_t rows, slots, n;
};

struct FinishChunkArgs {  // out[dim] = in[last valid row]; then position += valid rows
  StepState* state;
  const float* in;  // [T][dim]
  float* out;       // [dim]
  uint64_t rows, dim;
};

struct SampleArgs {  // draws the next token, appends it to tokens and the ring; see StepState
  StepState* state;
  uint32_t* tokens;     // [context]
  const float* logits;  // [vocab]; left unchanged
  float* work;          // scratch [vocab]: penalised logits
  RingSlot* ring;       // [kRingSlots]
  uint64_t vocab;
  uint64_t advance;  // 1: position += 1 (decode); 0: the rows were already consumed (prefill head)
};

struct SampleMaskedArgs {  // the same among the tokens that the mask allows
  StepState* state;
  uint32_t* tokens;
  const float* logits;
  float* work;
  RingSlot* ring;
  const TokenMask* mask;  // and its words
  uint64_t vocab;
  uint64_t advance;
};

struct DraftArgs {  // appends what was drafted to tokens: count grows
  StepState* state;
  uint32_t* tokens;  // [context]
  const Draft* draft;
};

struct AcceptArgs {  // samples behind each row as long as the drafted tokens hold; see StepState
  StepState* state;
  uint32_t* tokens;     // [context]
  const float* logits;  // [T][vocab]; left unchanged
  float* work;          // scratch [vocab]: penalised logits
  RingSlot* ring;       // [kRingSlots]
  Draft* draft;         // gets the number of tokens sampled
  uint64_t rows, vocab;
};

}  // namespace jllm::host
