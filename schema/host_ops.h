// The operations of the `host` backend: their names in a plan and the arguments that a launch
// carries. A launch's argument slots (8 bytes each) are the fields of the struct below, in order:
// pointers are arena addresses, numbers are immediates (floats as IEEE-754 bits in the low half). T
// is the row count of the graph; rows at or beyond min(T, state.count - state.position) need not be
// computed. Where `state` is null all T rows are computed (the head graph: its row was consumed
// before). Activations are f32, row-major. Weights stay in GGUF block layout; f32 constants are
// plain arrays.
#pragma once

#include <cstdint>

#include "schema/functions.h"
#include "schema/step_state.h"

namespace jllm::host {

// Every struct's name minus "Args", in snake_case, is the kernel name in the plan ("rms_norm").

struct EmbedArgs {  // out[T][dim] = table[token of the row]
  const StepState* state;
  const uint32_t* tokens;
  const void* table;  // [vocab][dim], `type`
  float* out;
  uint64_t rows, dim, vocab, type;
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

}  // namespace jllm::host
