// A model as the compiler sees it: hyper-parameters read and checked once, and the program that its
// architecture builds. One file per architecture; architectures.cpp lists them.
#pragma once

#include <llvm/Support/Error.h>

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/gguf/file.h"
#include "compiler/ir/builder.h"
#include "compiler/ir/graph.h"

namespace jllm::model {

enum class RopeScaling : uint8_t { kNone, kLinear, kYarn, kLongRope };

// What of a text's states is its embedding; numbers of the GGUF key pooling_type.
enum Pooling : uint32_t { kNoPooling = 0, kMean = 1, kFirst = 2, kLast = 3, kRank = 4 };

// The keys that decoder-only transformers share; names follow the GGUF keys.
struct HyperParameters {
  std::string name;          // general.name, or the file's name
  std::string architecture;  // general.architecture
  uint32_t context_length = 0;
  uint32_t embedding_length = 0;
  uint32_t block_count = 0;
  uint32_t feed_forward_length = 0;
  uint32_t head_count = 0;
  uint32_t head_count_kv = 0;
  std::vector<bool> attention_layers;  // where head_count_kv is 0 in some; empty: all attend
  uint32_t head_dim = 0;               // attention.key_length
  float norm_epsilon = 0;              // of the kind of norm that the architecture has
  float attention_scale = 0;           // factor on q k^T
  float attention_softcap = 0;         // attn_logit_softcapping; 0: none
  float final_softcap = 0;             // final_logit_softcapping; 0: none
  uint32_t sliding_window = 0;         // attention.sliding_window; 0: none
  // attention.sliding_window_pattern: the last layer of each period sees all; 0: not said
  uint32_t sliding_period = 0;
  uint32_t vocab_size = 0;
  uint32_t pooling_type = 0;  // of a model that makes embeddings, a Pooling; 0: not said

  uint32_t expert_count = 0;  // 0: no mixture of experts
  uint32_t expert_used_count = 0;
  uint32_t expert_feed_forward_length = 0;
  uint32_t expert_shared_feed_forward_length = 0;  // of the expert that every token has; 0: none

  uint32_t rope_dimension_count = 0;  // rotated elements per head
  float rope_freq_base = 0;
  float rope_freq_base_swa = 0;  // of sliding-window layers
  RopeScaling rope_scaling = RopeScaling::kNone;
  float rope_factor = 1;               // rope.scaling.factor
  float rope_attn_factor = 1;          // rope.scaling.attn_factor: on sine and cosine
  uint32_t rope_original_context = 0;  // rope.scaling.original_context_length
  float yarn_beta_fast = 0, yarn_beta_slow = 0;

  bool has_attention(uint32_t layer) const {
    return attention_layers.empty() || attention_layers[layer];
  }
};

struct Model {
  const gguf::File* file = nullptr;
  HyperParameters params;
  uint64_t parameter_count = 0;
  uint64_t active_parameter_count = 0;  // without the experts that a token is not given to
};

// "7.2 M parameters", and how many of them are active where not all are.
std::string parameter_text(uint64_t parameters, uint64_t active);

struct ProgramOptions {
  uint32_t context = 0;  // positions
  WeightType kv_type_k = WeightType::kF16;
  WeightType kv_type_v = WeightType::kF16;
  bool rotate_keys = true;             // where their cache's type wants it (schema/kv_layout.h)
  std::vector<uint32_t> prefill_rows;  // ascending
  std::vector<uint32_t> verify_rows;   // ascending; empty: no speculation
  uint32_t slots = 1;                  // sequences
  std::vector<uint32_t> batch_rows;    // ascending; empty: each sequence decodes on its own
  // The last token's state behind the output norm instead of text: prefill graphs and the head
  // only.
  bool embeds = false;

  // Tokens that a step can verify.
  uint32_t most_drafted() const { return verify_rows.empty() ? 0 : verify_rows.back() - 1; }
};

// Reads and checks the hyper-parameters. kUnsupported names an unknown architecture.
llvm::Expected<Model> load(const gguf::File& file);

// The graphs of the model: decode, one prefill graph per entry of prefill_rows, one verify graph
// per entry of verify_rows, one batch graph per entry of batch_rows, head.
llvm::Expected<ir::Program> build_program(const Model& model, const ProgramOptions& options);

// --- for architecture files; decoder.h has what their graphs share ---

enum class Experts : uint8_t { kNever, kSometimes, kAlways };

struct Architecture {
  const char* name;
  bool has_layer_norm;  // attention.layer_norm_epsilon instead of layer_norm_rms_epsilon
  llvm::Expected<ir::Program> (*build)(const Model&, const ProgramOptions&);
  Experts experts = Experts::kNever;
};

// The list that load() and build_program() know; kUnsupported for others.
llvm::Expected<const Architecture*> find_architecture(const std::string& name);
std::vector<std::string> architecture_names();

// Collects the tensors of a model into a program, checking names, shapes and types. Errors are
// collected: look at take_error() once after all tensors have been asked for.
class TensorLoader {
 public:
  TensorLoader(const Model& model, ir::Program& program) : model_(model), program_(program) {}

  // Part of a tensor's rows (of a vector: elements), where one tensor holds what others keep apart.
  struct Rows {
    uint64_t first, count, total;
  };

  // Weight matrix of shape [rows][cols].
  ir::TensorId weight(const std::string& name, uint64_t rows, uint64_t cols);
  ir::TensorId weight(const std::string& name, const Rows& rows, uint64_t cols);
  // These rows of each of `experts` matrices of the shape [rows.total][cols].
  ir::TensorId experts(const std::string& name, uint64_t experts, const Rows& rows, uint64_t cols);
  // f32 vector of n elements; stored as F32, F16 or BF16.
  ir::TensorId vector(const std::string& name, uint64_t n);
  ir::TensorId vector(const std::string& name, const Rows& elements);
  // The same of shape [rows][cols].
  ir::TensorId table(const std::string& name, uint64_t rows, uint64_t cols);
  // A vector that the compiler computes.
  ir::TensorId constant(const std::string& name, std::vector<float> values);

  bool has(const std::string& name) const { return model_.file->find_tensor(name) != nullptr; }
  void refuse(llvm::Error error);  // as if a tensor had been wrong
  llvm::Error take_error() { return std::move(error_); }

 private:
  // `shape` is the whole source's, its rows first.
  ir::TensorId add(ir::Tensor tensor, const std::string& source,
                   const std::vector<uint64_t>& shape);

  const Model& model_;
  ir::Program& program_;
  llvm::Error error_ = llvm::Error::success();
};

// What a rotary embedding multiplies the position with, per rotated pair, and the factor on its
// result.
struct Rope {
  std::vector<float> frequencies;  // radians per position
  float magnitude = 1;
};

// base^(-2i/n), scaled as the model says: divided by rope_freqs.weight where the file has it, by
// the linear factor, blended by YaRN, or divided by the long or short factors that suit `context`.
llvm::Expected<Rope> make_rope(const Model& model, uint32_t context);
// The same without any scaling.
Rope make_plain_rope(const HyperParameters& params, float freq_base);

// KV cache types: "f32, f16, q8_0, q4_0"; one by its name; whether the model can have the two that
// the options name.
std::string kv_type_names();
llvm::Expected<WeightType> parse_kv_type(llvm::StringRef name);
llvm::Error check_kv_types(const HyperParameters& params, const ProgramOptions& options);

// The buffers that every program has, and one KV cache pair per layer.
void add_common_tensors(const Model& model, const ProgramOptions& options, ir::Program& program);
ir::TensorId add_kv_cache(const Model& model, const ProgramOptions& options, ir::Program& program,
                          uint32_t layer, bool key);

}  // namespace jllm::model
