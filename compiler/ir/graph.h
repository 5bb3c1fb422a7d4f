// The intermediate representation: linear lists of primitive operations over statically shaped
// tensors. One Program holds all graphs of a plan (decode, prefill chunks, verify, batch, head) and
// one table of tensors; weights, caches and state are shared between graphs, activations belong to
// one.
#pragma once

#include <llvm/Support/raw_ostream.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compiler/gguf/file.h"
#include "schema/functions.h"
#include "schema/weight_type.h"

namespace jllm::ir {

using TensorId = uint32_t;

enum class TensorKind : uint8_t {
  kWeight,      // matrix from the GGUF, `type`, repacked for the target
  kConstant,    // f32 vector: norm weights, biases, rope frequencies
  kActivation,  // f32, lives from its producer to its last consumer
  kKvCache,     // [heads][context][head_dim], `type`, in the layout of schema/kv_layout.h
  kPersistent,  // keeps its contents between replays; zero at start
  kRecent,      // the same: rows of the last positions, position p in row p % rows
  kPinned,      // visible to the host: the ring of sampled tokens, drafts
};

struct Tensor {
  std::string name;
  TensorKind kind = TensorKind::kActivation;
  uint64_t rows = 0;  // leading dimension (tokens, output features)
  uint64_t cols = 0;  // contiguous dimension
  WeightType type = WeightType::kF32;
  uint32_t rotation =
      0;  // cache of keys: elements of a rotation block (schema/kv_layout.h), 0: none
  const gguf::TensorInfo* source = nullptr;  // weights, and constants that come from the file
  uint64_t source_offset =
      0;  // elements of the source in front of this tensor: one may hold several
  std::vector<float> values;  // constants that are computed
  // Weights: this many matrices of the same shape one behind the other, whose rows `rows` counts
  // together; in the source, one begins `source_step` elements behind the other.
  uint64_t experts = 1;
  uint64_t source_step = 0;
  bool panels =
      false;  // weights on the host: in panels (schema/panel_layout.h), for integer products

  uint64_t elements() const { return rows * cols; }
};

enum class Op : uint8_t {
  // Primitive operations; inputs -> outputs.
  kEmbed,      // table -> x[T][dim]
  kRmsNorm,    // x, weight -> y
  kLayerNorm,  // x, weight [, bias] -> y
  kMatmul,     // x, weight -> y[T][n]
  kAddBias,    // x, bias -> y
  kRope,       // x, frequencies -> y
  kKvAppend,   // x, cache ->
  kAttention,  // q, k cache, v cache [, k, v: appended first [, q norm, k norm, frequencies: heads
               // of q and k are normalised and rotated before]] -> y
  kShortConv,  // b, c, x side by side, taps, state -> c * convolution of b * x
  kGlu,        // gate, up -> y
  kUnary,      // x -> y
  kAdd,        // a, b -> y
  kRoute,      // logits[T][experts] -> chosen (u32)[T][slots], weights[T][slots]
  kExpertMatmul,  // x[T][k] or [T][slots][k], weight, chosen -> y[T][slots][n]
  kExpertSum,     // y[T][slots][n], weights [, residual] -> z[T][n]
  kFinishChunk,   // x[T][dim] -> hidden[1][dim]; advances the position
  kSample,        // logits ->
  kDraft,         // -> ; appends the drafted tokens: the first operation of a verify graph
  kAccept,        // logits[T][vocab] -> ; samples behind each row as long as the draft holds
  // What fusion passes make of them.
  kQkv,  // x, norm, wq, wk, wv, frequencies, k cache, v cache [, bq, bk, bv] -> q; or without the
         // caches -> q, k, v, which attention then appends (with pairs = 0 nothing is rotated)
  kRopeAppend,  // q, k, v, frequencies, k cache, v cache -> q (in place)
  kMatmulAdd,   // x, weight, residual -> y
  kMatmuls,     // x, weights -> a y for each
  kMatmulGlu,   // x, gate, up -> y
  kGateUp,      // x, norm, gate, up -> y
  kHead,        // x, norm, weight -> logits
  kExpertGlu,   // x, gate, up, chosen -> y[T][slots][n]
};

const char* op_name(Op op);

// Static parameters; an operation reads only its own.
struct Attributes {
  uint32_t heads = 0;     // rope, kv_append: of this tensor; attention, qkv: query heads
  uint32_t groups = 1;    // norms: vectors per row that are normalised one by one
  uint32_t kv_heads = 0;  // attention, qkv, rope_append
  uint32_t head_dim = 0;
  uint32_t pairs = 0;   // rotated pairs per head
  bool neox = false;    // pairs (i, i + pairs) instead of (2i, 2i + 1)
  float magnitude = 1;  // rope: factor on cos and sin
  float epsilon = 0;    // norms
  float scale = 0;      // attention: factor on the scores
  uint32_t window = 0;  // attention: positions that a query sees, its own the last; 0: all
  float softcap = 0;    // attention: limit of the scores, softcap * tanh(score / softcap); 0: none
  Activation activation = kSilu;    // glu, gate_up
  UnaryFunction function = kScale;  // unary
  float parameter = 0;              // unary
  bool advance = false;             // sample: this step consumed a token
  uint32_t slots = 1;               // route, expert_matmul, expert_sum: experts of a token
  bool renormalise = false;         // route: the weights of a token add up to 1
};

struct Node {
  Op op;
  std::vector<TensorId> inputs;
  std::vector<TensorId> outputs;
  Attributes attributes;
  std::string label;  // "blk.3.attn_q"
};

enum class GraphKind : uint8_t { kDecode, kPrefill, kHead, kVerify, kBatch };

struct Graph {
  GraphKind kind = GraphKind::kDecode;
  uint32_t rows = 1;               // T: tokens that one replay takes at most
  std::optional<TensorId> logits;  // verify, batch: f32[T][vocab], kept until the next replay
  std::vector<Node> nodes;
};

// The buffers that every plan has, by tensor id.
struct Bindings {
  TensorId state = 0;   // StepState
  TensorId tokens = 0;  // u32[context]
  TensorId logits = 0;  // f32[vocab]
  TensorId hidden = 0;  // f32[dim]: last row of a prefilled chunk, input of the head graph
  TensorId ring = 0;
  TensorId draft = 0;  // where there are verify graphs
  TensorId batch = 0;  // where there are batch graphs
  TensorId mask = 0;   // TokenMask and its words
  // f32[dim] that the head writes, in programs that make embeddings; they have no logits, no mask.
  std::optional<TensorId> embedding;
};

struct Program {
  std::vector<Tensor> tensors;
  std::vector<Graph> graphs;
  Bindings bindings;
  uint32_t context = 0;  // positions
  // Sequences, each with caches, persistent and pinned tensors of its own. Batch graphs have a row
  // of each, the others are those of one.
  uint32_t slots = 1;
  // Positions that a sequence can be taken back by, where the state of a layer does not reach back
  // to the start; 0: all.
  uint32_t rewind_reach = 0;

  TensorId add(Tensor tensor);
  const Tensor& operator[](TensorId id) const { return tensors[id]; }
};

std::string graph_name(const Graph& graph);  // "decode", "prefill_64", "verify_4", "head"

// One line per node; what `--dump-after` prints and tests compare.
void dump(const Program& program, llvm::raw_ostream& os);

}  // namespace jllm::ir
