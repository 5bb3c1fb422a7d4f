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
  uint32_t head_dim = 0;              // attention.key_length
  uint32_t rope_dimension_count = 0;  // rotated elements per head
  float rope_freq_base = 0;
  float rms_epsilon = 0;
  float attention_scale = 0;  // factor on q k^T
  uint32_t vocab_size = 0;
};

struct Model {
  const gguf::File* file = nullptr;
  HyperParameters params;
  uint64_t parameter_count = 0;
};

struct ProgramOptions {
  uint32_t context = 0;                 // positions
  WeightType kv_type_k = WeightType::kF16;
  WeightType kv_type_v = WeightType::kF16;
  std::vector<uint32_t> prefill_rows;   // ascending
};

// Reads and checks the hyper-parameters. kUnsupported names an unknown architecture.
llvm::Expected<Model> load(const gguf::File& file);

// The graphs of the model: decode, one prefill graph per entry of prefill_rows, head.
llvm::Expected<ir::Program> build_program(const Model& model, const ProgramOptions& options);

// --- for architecture files -----------------------------------------------------------------------

struct Architecture {
  const char* name;
  llvm::Expected<ir::Program> (*build)(const Model&, const ProgramOptions&);
};

extern const Architecture kLlama;

// Collects the tensors of a model into a program, checking names, shapes and types. Errors are collected:
// look at take_error() once after all tensors have been asked for.
class TensorLoader {
 public:
  TensorLoader(const Model& model, ir::Program& program) : model_(model), program_(program) {}

  // Weight matrix of shape [rows][cols].
  ir::TensorId weight(const std::string& name, uint64_t rows, uint64_t cols);
  // f32 vector of n elements; stored as F32, F16 or BF16.
  ir::TensorId vector(const std::string& name, uint64_t n);
  bool has(const std::string& name) const { return model_.file->find_tensor(name) != nullptr; }
  llvm::Error take_error() { return std::move(error_); }

 private:
  ir::TensorId add(const std::string& name, uint64_t rows, uint64_t cols, ir::TensorKind kind);

  const Model& model_;
  ir::Program& program_;
  llvm::Error error_ = llvm::Error::success();
};

// Radians per position of each rotated pair: base^(-2i/n), divided by rope_freqs.weight where the file has it
// and by the linear scaling factor. kUnsupported for other scaling types.
llvm::Expected<std::vector<float>> rope_frequencies(const Model& model);

// The buffers that every program has, and one KV cache pair per layer.
void add_common_tensors(const Model& model, const ProgramOptions& options, ir::Program& program);
ir::TensorId add_kv_cache(const Model& model, const ProgramOptions& options, ir::Program& program,
                          uint32_t layer, bool key);

}  // namespace jllm::model
