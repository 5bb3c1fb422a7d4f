// The list of architectures, and what they share: hyper-parameters, tensor look-up, rope frequencies.
#include <cmath>

#include "compiler/gguf/quants.h"
#include "compiler/gguf/type_table.h"
#include "compiler/model/model.h"
#include "compiler/support/error.h"
#include "schema/step_state.h"

namespace jllm::model {
namespace {

const Architecture* const kArchitectures[] = {&kLlama};

// Bounds that keep every later product of sizes far below 64 bits; real models stay well inside.
constexpr uint64_t kMaxBlocks = 512;
constexpr uint64_t kMaxWidth = 1u << 20;  // embedding, feed-forward, heads * head_dim
constexpr uint64_t kMaxVocab = 1u << 22;
constexpr uint64_t kMaxContext = 1u << 24;
constexpr uint64_t kMaxHeadDim = 256;

llvm::Expected<const Architecture*> find_architecture(const std::string& name) {
  std::string known;
  for (const Architecture* architecture : kArchitectures) {
    if (name == architecture->name) return architecture;
    known += (known.empty() ? "" : ", ") + std::string(architecture->name);
  }
  return fail(ExitCode::kUnsupported, "architecture '{0}' is not supported; supported: {1}", name,
              known);
}

// Reads keys of one file, remembering the first error.
class KeyReader {
 public:
  KeyReader(const gguf::File& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  uint32_t u32(const char* key, uint64_t max) { return bounded(key, file_.get_u64(prefix_ + key), max); }
  uint32_t u32_or(const char* key, uint64_t fallback, uint64_t max) {
    return bounded(key, file_.get_u64_or(prefix_ + key, fallback), max);
  }
  float f32_or(const char* key, double fallback) {
    return static_cast<float>(take(file_.get_f64_or(prefix_ + key, fallback)));
  }
  float f32(const char* key) { return static_cast<float>(take(file_.get_f64(prefix_ + key))); }
  void require(bool condition, const char* what) {
    if (!condition && !error_) {
      error_ = fail(ExitCode::kInvalidFile, "{0}: inconsistent hyper-parameters: {1}", file_.path(),
                    what);
    }
  }
  llvm::Error take_error() { return std::move(error_); }

 private:
  template <typename T>
  T take(llvm::Expected<T> value) {
    if (value) return *value;
    keep(value.takeError());
    return T{};
  }
  uint32_t bounded(const char* key, llvm::Expected<uint64_t> value, uint64_t max) {
    const uint64_t n = take(std::move(value));
    if (n >= 1 && n <= max) return static_cast<uint32_t>(n);
    keep(fail(ExitCode::kInvalidFile, "{0}: {1}{2} is {3}, expected 1 to {4}", file_.path(), prefix_,
              key, n, max));
    return 1;
  }
  void keep(llvm::Error error) {
    if (error_) {
      llvm::consumeError(std::move(error));
    } else {
      error_ = std::move(error);
    }
  }

  const gguf::File& file_;
  std::string prefix_;
  llvm::Error error_ = llvm::Error::success();
};

}  // namespace

llvm::Expected<Model> load(const gguf::File& file) {
  llvm::Expected<llvm::StringRef> name = file.get_string("general.architecture");
  if (!name) return name.takeError();
  llvm::Expected<const Architecture*> architecture = find_architecture(name->str());
  if (!architecture) return architecture.takeError();

  Model model;
  model.file = &file;
  HyperParameters& p = model.params;
  p.architecture = name->str();
  const std::string stem = llvm::StringRef(file.path()).rsplit('/').second.str();
  llvm::Expected<llvm::StringRef> title =
      file.get_string_or("general.name", stem.empty() ? file.path() : llvm::StringRef(stem));
  if (!title) return title.takeError();
  p.name = title->str();

  KeyReader keys(file, p.architecture + ".");
  p.context_length = keys.u32("context_length", kMaxContext);
  p.embedding_length = keys.u32("embedding_length", kMaxWidth);
  p.block_count = keys.u32("block_count", kMaxBlocks);
  p.feed_forward_length = keys.u32("feed_forward_length", kMaxWidth);
  p.head_count = keys.u32("attention.head_count", kMaxWidth);
  p.head_count_kv = keys.u32_or("attention.head_count_kv", p.head_count, kMaxWidth);
  p.head_dim = keys.u32_or("attention.key_length", p.embedding_length / p.head_count, kMaxHeadDim);
  const uint32_t value_dim =
      keys.u32_or("attention.value_length", p.embedding_length / p.head_count, kMaxHeadDim);
  p.rope_dimension_count = keys.u32_or("rope.dimension_count", p.head_dim, kMaxHeadDim);
  p.rope_freq_base = keys.f32_or("rope.freq_base", 10000.0);
  p.rms_epsilon = keys.f32("attention.layer_norm_rms_epsilon");
  p.attention_scale = keys.f32_or("attention.scale", 1.0 / std::sqrt(double(p.head_dim)));
  keys.require(p.head_count % p.head_count_kv == 0, "head_count is no multiple of head_count_kv");
  keys.require(p.head_dim % 8 == 0, "the head dimension is no multiple of 8");
  keys.require(value_dim == p.head_dim, "keys and values have different head dimensions");
  keys.require(p.rope_dimension_count <= p.head_dim && p.rope_dimension_count % 2 == 0,
               "rope.dimension_count is odd or larger than a head");
  keys.require(p.rope_freq_base > 0 && p.rms_epsilon > 0, "rope base or epsilon is not positive");
  keys.require(uint64_t{p.head_count} * p.head_dim <= kMaxWidth, "the heads are too wide");
  if (llvm::Error error = keys.take_error()) return error;

  const gguf::TensorInfo* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2 || embedding->shape[1] > kMaxVocab) {
    return fail(ExitCode::kInvalidFile, "{0}: token_embd.weight is missing or not a matrix",
                file.path());
  }
  p.vocab_size = static_cast<uint32_t>(embedding->shape[1]);
  for (const gguf::TensorInfo& tensor : file.tensors()) model.parameter_count += tensor.elements();
  return model;
}

llvm::Expected<ir::Program> build_program(const Model& model, const ProgramOptions& options) {
  llvm::Expected<const Architecture*> architecture = find_architecture(model.params.architecture);
  if (!architecture) return architecture.takeError();
  return (*architecture)->build(model, options);
}

ir::TensorId TensorLoader::add(const std::string& name, uint64_t rows, uint64_t cols,
                               ir::TensorKind kind) {
  ir::Tensor tensor;
  tensor.name = name;
  tensor.kind = kind;
  tensor.rows = rows;
  tensor.cols = cols;
  tensor.source = model_.file->find_tensor(name);
  const auto check = [&]() -> llvm::Error {
    if (tensor.source == nullptr) {
      return fail(ExitCode::kInvalidFile, "{0}: tensor {1} is missing", model_.file->path(), name);
    }
    const std::vector<uint64_t>& shape = tensor.source->shape;
    const uint64_t found_rows = shape.size() > 1 ? shape[1] : 1;
    if (shape.empty() || shape.size() > 2 || shape[0] != cols || found_rows != rows) {
      return fail(ExitCode::kInvalidFile,
                  "{0}: tensor {1} has shape [{2}], expected [{3}, {4}]", model_.file->path(), name,
                  llvm::make_range(shape.begin(), shape.end()), cols, rows);
    }
    tensor.type = tensor.source->type();
    const bool known = block_shape(tensor.type).elements != 0;
    const bool plain = known && block_shape(tensor.type).elements == 1;
    if (!known || (kind == ir::TensorKind::kConstant && !plain)) {
      return fail(ExitCode::kUnsupported,
                  "{0}: tensor {1} has type {2}, which is not supported; supported: f32, f16, bf16, "
                  "q4_0, q5_0, q8_0, q4_k, q6_k",
                  model_.file->path(), name, gguf::type_name(tensor.source->type_id));
    }
    return llvm::Error::success();
  };
  if (llvm::Error error = check()) {
    if (error_) {
      llvm::consumeError(std::move(error));
    } else {
      error_ = std::move(error);
    }
  }
  if (kind == ir::TensorKind::kConstant) tensor.type = WeightType::kF32;
  return program_.add(std::move(tensor));
}

ir::TensorId TensorLoader::weight(const std::string& name, uint64_t rows, uint64_t cols) {
  return add(name, rows, cols, ir::TensorKind::kWeight);
}

ir::TensorId TensorLoader::vector(const std::string& name, uint64_t n) {
  return add(name, 1, n, ir::TensorKind::kConstant);
}

llvm::Expected<std::vector<float>> rope_frequencies(const Model& model) {
  const gguf::File& file = *model.file;
  const HyperParameters& p = model.params;
  const std::string prefix = p.architecture + ".rope.scaling.";
  llvm::Expected<llvm::StringRef> type = file.get_string_or(prefix + "type", "none");
  if (!type) return type.takeError();
  llvm::Expected<double> factor = file.get_f64_or(prefix + "factor", 1.0);
  if (!factor) return factor.takeError();
  llvm::Expected<double> legacy = file.get_f64_or(p.architecture + ".rope.scale_linear", *factor);
  if (!legacy) return legacy.takeError();
  if (*type != "none" && *type != "linear") {
    return fail(ExitCode::kUnsupported, "{0}: rope scaling '{1}' is not supported yet", file.path(),
                *type);
  }
  const bool scaled = *type == "linear" || file.has(p.architecture + ".rope.scale_linear");
  const double divisor = scaled ? *legacy : 1.0;
  if (!(divisor > 0)) {
    return fail(ExitCode::kInvalidFile, "{0}: rope scaling factor {1} is not positive", file.path(),
                divisor);
  }

  const uint32_t pairs = p.rope_dimension_count / 2;
  std::vector<float> factors(pairs, 1.0f);
  if (const gguf::TensorInfo* tensor = file.find_tensor("rope_freqs.weight")) {
    if (tensor->type() != WeightType::kF32 || tensor->elements() != pairs) {
      return fail(ExitCode::kInvalidFile, "{0}: rope_freqs.weight is not {1} f32 values",
                  file.path(), pairs);
    }
    // The start of a file lacks the factors: plans made of it are for their sizes only.
    if (file.has_data(*tensor)) {
      gguf::dequantise(WeightType::kF32, file.data(*tensor).data(), factors.data(), pairs);
    }
  }
  std::vector<float> frequencies(pairs);
  for (uint32_t i = 0; i < pairs; ++i) {
    const double exponent = -2.0 * i / p.rope_dimension_count;
    frequencies[i] = static_cast<float>(std::pow(double(p.rope_freq_base), exponent) /
                                        (divisor * double(factors[i])));
  }
  return frequencies;
}

void add_common_tensors(const Model& model, const ProgramOptions& options, ir::Program& program) {
  program.context = options.context;
  const auto persistent = [&](const char* name, uint64_t words, ir::TensorKind kind) {
    ir::Tensor tensor;
    tensor.name = name;
    tensor.kind = kind;
    tensor.rows = 1;
    tensor.cols = words;
    return program.add(std::move(tensor));
  };
  using ir::TensorKind;
  ir::Bindings& b = program.bindings;
  b.state = persistent("state", sizeof(StepState) / 4, TensorKind::kPersistent);
  b.tokens = persistent("tokens", options.context, TensorKind::kPersistent);
  b.logits = persistent("logits", model.params.vocab_size, TensorKind::kPersistent);
  b.hidden = persistent("hidden", model.params.embedding_length, TensorKind::kPersistent);
  b.ring = persistent("ring", kRingSlots * sizeof(RingSlot) / 4, TensorKind::kRing);
}

ir::TensorId add_kv_cache(const Model& model, const ProgramOptions& options, ir::Program& program,
                          uint32_t layer, bool key) {
  ir::Tensor tensor;
  tensor.name = "cache_" + std::string(key ? "k" : "v") + "." + std::to_string(layer);
  tensor.kind = ir::TensorKind::kKvCache;
  tensor.type = key ? options.kv_type_k : options.kv_type_v;
  tensor.rows = uint64_t{model.params.head_count_kv} * options.context;
  tensor.cols = model.params.head_dim;
  return program.add(std::move(tensor));
}

}  // namespace jllm::model
