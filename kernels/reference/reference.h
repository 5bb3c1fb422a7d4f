// The slow, obviously right version of every operation: double accumulations over plain arrays, no
// blocking, no threads. Kernels (tests/kernels/gpu) and the host backend are held to these.
// Matrices are row-major; a span's first dimension (rows) follows from its size and the others.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "schema/functions.h"
#include "schema/step_state.h"

namespace jllm::reference {

using Floats = std::span<const float>;
using Vector = std::vector<float>;

// --- Number formats ---

float f16_to_f32(uint16_t bits);
uint16_t f32_to_f16(float value);  // round to nearest, ties to even
float bf16_to_f32(uint16_t bits);
uint16_t f32_to_bf16(float value);  // round to nearest, ties to even

// One row of `k` weights in the CUDA row layout of schema/row_layout.h, decoded in double and
// rounded once to f32. `type` is a WeightType id; `bytes` holds at least the row's stride.
Vector dequantise_row(unsigned type, std::span<const uint8_t> bytes, size_t k);

// --- KV caches; types and layout of schema/kv_layout.h ---

// values [rows][head_dim] as a whole cache of that type, and back.
std::vector<uint8_t> kv_encode(unsigned type, Floats values, size_t head_dim);
Vector kv_decode(unsigned type, std::span<const uint8_t> bytes, size_t rows, size_t head_dim);

// Every block of `block` elements (a power of two) times the orthonormal Hadamard matrix, in the
// order of additions that schema/kv_layout.h prescribes.
Vector hadamard(Floats in, size_t block);

// --- Operations; weights are f32 already ---

// [T][dim]: rows of table [vocab][dim].
Vector embed(std::span<const uint32_t> tokens, Floats table, size_t dim);

// [T][dim]: in / sqrt(mean(in^2) + epsilon) * weight, per row of weight.size() elements.
Vector rms_norm(Floats in, Floats weight, float epsilon);

// [T][dim]: (in - mean) / sqrt(variance + epsilon) * weight + bias, per row of weight.size()
// elements; an empty bias is none.
Vector layer_norm(Floats in, Floats weight, Floats bias, float epsilon);

// [T][n]: in [T][k] times the transpose of weight [n][k].
Vector matmul(Floats in, Floats weight, size_t k);

// [T][n]: every row of in [T][n] plus bias [n].
Vector add_bias(Floats in, Floats bias);

// Rotates the first 2 * frequencies.size() elements of each head of in [T][heads][head_dim] by
// (position + row) * frequency; pairs are (2i, 2i + 1), or (i, i + pairs) with `neox`.
// The angle is the f32 product, as every engine computes it: models were trained with its rounding.
Vector rope(Floats in, Floats frequencies, size_t heads, size_t head_dim, bool neox,
            float magnitude, unsigned position);

// Writes in [T][heads][head_dim] to cache [heads][context][head_dim] at positions position .. (rows
// beyond the context are dropped).
void kv_append(Floats in, std::span<float> cache, size_t heads, size_t head_dim, size_t context,
               unsigned position);

struct AttentionShape {
  size_t heads;
  size_t kv_heads;  // heads % kv_heads == 0; head h reads kv head h / (heads / kv_heads)
  size_t head_dim;
  size_t context;
  size_t window = 0;  // positions that a query sees, its own the last; 0: all
  float softcap = 0;  // scores become softcap * tanh(score / softcap); 0: as they are
};

// [T][heads][head_dim]: softmax(q k^T * scale) v over positions 0 .. position + row.
// q [T][heads][head_dim]; k, v [kv_heads][context][head_dim].
Vector attention(Floats q, Floats k, Floats v, const AttentionShape& shape, float scale,
                 unsigned position);

// [T][n]: c * (sum over j of taps[n][j] * (b * x) at position - (taps - 1) + j); in [T][3][n] holds
// b, c, x of the positions position .. . `before` [position][n] is b * x of those in front, to
// which the rows' own are appended.
Vector short_conv(Floats in, Floats taps, size_t n, Vector* before);

// activation(gate) * up.
Vector glu(Floats gate, Floats up, Activation activation = kSilu);

Vector unary(Floats in, UnaryFunction function, float parameter);

Vector add(Floats a, Floats b);

// --- Mixture of experts ---

struct Routes {
  std::vector<uint32_t> chosen;  // [T][slots]
  Vector weights;                // [T][slots]
};
// The experts of the `slots` largest logits of each row, the largest first and of equal ones the
// lowest first; their softmax over all logits, or with `renormalise` over the chosen.
Routes route(Floats logits, size_t experts, size_t slots, bool renormalise);

// [T][slots][n]: each token's vector, or where there is one for each slot the slot's, times the
// transpose of its expert's matrix; weight [experts][n][k], chosen [T][slots].
Vector expert_matmul(Floats in, Floats weight, size_t k, size_t n, std::span<const uint32_t> chosen,
                     size_t slots);

// [T][n]: in [T][slots][n], each slot times its weight, added up.
Vector expert_sum(Floats in, Floats weights, size_t slots);

// --- Sampling ---

// Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
// 2011).
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// Share of a logit in the softmax's mass, in units of 2^-32: integers add up the same in any order,
// so that host and device agree on top-p. `max` is the largest logit.
uint64_t softmax_mass(float logit, float max);

// Logits after the repeat penalty: each distinct token among the last `repeat_last_n` of
// tokens[0 .. count) once; l > 0 ? l / penalty : l * penalty.
Vector penalise(const StepState& state, std::span<const uint32_t> tokens, Floats logits);

// Smallest logit that survives top-k, top-p and min-p; all logits >= it survive.
//   top-k: the k-th largest value (ties at it stay).
//   top-p: among the survivors, the largest t with mass{logit >= t} >= top_p * mass{survivors},
//          compared in double (the masses are exact there).
//   min-p: max + ln(min_p), computed in double and rounded to f32.
// Needs at least one logit, none NaN.
float survivor_threshold(const StepState& state, Floats logits);

// The token that the chain draws from penalised logits (none NaN, one finite at least): argmax at
// temperature 0, else Gumbel-max over the survivors; ties go to the lowest id.
uint32_t draw(const StepState& state, Floats logits);

// One whole sampling step, in this order; nothing changes when state.done is set already.
//   1. penalty; a NaN or no finite logit sets done = kBadLogits and draws token 0, which is not
//      appended. Position and count stay as they are.
//   2. Otherwise the drawn token goes to tokens[count]; count += 1, and with `advance`
//      position += 1. Without room: done = kContextFull, position and count stay.
//      An end token sets done = kEndToken unless ignore_end is set.
//      Where there are `allowed` bits, token i counts only if bit i % 32 of allowed[i / 32] is set:
//      the others' logits are minus infinity from the start.
//   3. In every case: ring[sampled % kRingSlots] = {sampled + 1, token, done}, draws += 1,
//      sampled += 1.
void sample(StepState& state, std::span<uint32_t> tokens, Floats logits, std::span<RingSlot> ring,
            bool advance, std::span<const uint32_t> allowed = {});

}  // namespace jllm::reference
