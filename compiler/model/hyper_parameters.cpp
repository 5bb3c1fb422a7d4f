// Reads and checks the metadata keys that every architecture's graph is built from.
#include <llvm/Support/FormatVariadic.h>

#include <algorithm>
#include <cmath>

#include "compiler/model/decoder.h"
#include "compiler/model/model.h"
#include "compiler/support/error.h"

namespace jllm::model {
namespace {

// Bounds that keep every later product of sizes far below 64 bits; real models stay well inside.
constexpr uint64_t kMaxBlocks = 512;
constexpr uint64_t kMaxWidth = 1u << 20;  // embedding, feed-forward, heads * head_dim
constexpr uint64_t kMaxVocab = 1u << 22;
constexpr uint64_t kMaxContext = 1u << 24;
constexpr uint64_t kMaxHeadDim = 256;
constexpr uint64_t kMaxExperts = 512, kMaxExpertsUsed = 16;

// Reads keys of one file, remembering the first error.
class KeyReader {
 public:
  KeyReader(const gguf::File& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  bool has(const char* key) const { return file_.has(prefix_ + key); }
  uint32_t u32(const char* key, uint64_t max) {
    return bounded(key, file_.get_u64(prefix_ + key), 1, max);
  }
  uint32_t u32_or(const char* key, uint64_t fallback, uint64_t max) {
    return bounded(key, file_.get_u64_or(prefix_ + key, fallback), 1, max);
  }
  // Where 0 and absence mean the same.
  uint32_t u32_or_zero(const char* key, uint64_t max) {
    return bounded(key, file_.get_u64_or(prefix_ + key, 0), 0, max);
  }
  // A number, or a flag per layer as converters write it for some models.
  uint32_t sliding_period(uint32_t layers) {
    const char* key = "attention.sliding_window_pattern";
    if (!file_.array_shape(prefix_ + key)) return u32_or_zero(key, kMaxBlocks);
    const std::vector<uint64_t> slides = take(file_.get_u64_array(prefix_ + key));
    const auto first_full = std::find(slides.begin(), slides.end(), 0u);
    const auto period = static_cast<uint32_t>(first_full - slides.begin() + 1);
    bool is_periodic = slides.size() == layers;
    for (uint32_t i = 0; is_periodic && i < layers; ++i) {
      is_periodic = (slides[i] != 0) == is_sliding(i, period);
    }
    if (is_periodic) return period;
    keep(fail(ExitCode::kUnsupported,
              "{0}: {1}{2} is supported where it has a flag per layer and every n-th is off",
              file_.path(), prefix_, key));
    return 0;
  }
  // A number, or one per layer, where 0 is a layer that does not attend.
  uint32_t head_count_kv(HyperParameters& p) {
    const char* key = "attention.head_count_kv";
    if (!file_.array_shape(prefix_ + key)) return u32_or(key, p.head_count, kMaxWidth);
    const std::vector<uint64_t> heads = take(file_.get_u64_array(prefix_ + key));
    require(heads.size() == p.block_count, "attention.head_count_kv has not a number per layer");
    uint64_t most = 0;
    for (const uint64_t n : heads) most = std::max(most, n);
    for (const uint64_t n : heads) {
      if (n == 0) {
        p.attention_layers.assign(heads.begin(), heads.end());
      } else if (n != most) {
        keep(fail(ExitCode::kUnsupported,
                  "{0}: {1}{2} has layers with {3} and with {4} heads; supported is one number for "
                  "all layers that attend",
                  file_.path(), prefix_, key, n, most));
      }
    }
    return bounded(key, most, 1, kMaxWidth);
  }
  float f32_or(const char* key, double fallback) {
    return static_cast<float>(take(file_.get_f64_or(prefix_ + key, fallback)));
  }
  float f32(const char* key) { return static_cast<float>(take(file_.get_f64(prefix_ + key))); }
  std::string string_or(const char* key, llvm::StringRef fallback) {
    return take(file_.get_string_or(prefix_ + key, fallback)).str();
  }
  void require(bool condition, const char* what) {
    if (condition) return;
    keep(fail(ExitCode::kInvalidFile, "{0}: inconsistent hyper-parameters: {1}", file_.path(),
              what));
  }
  void keep(llvm::Error error) {
    if (error_) {
      llvm::consumeError(std::move(error));
    } else {
      error_ = std::move(error);
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
  uint32_t bounded(const char* key, llvm::Expected<uint64_t> value, uint64_t min, uint64_t max) {
    const uint64_t n = take(std::move(value));
    if (n >= min && n <= max) return static_cast<uint32_t>(n);
    keep(fail(ExitCode::kInvalidFile, "{0}: {1}{2} is {3}, expected {4} to {5}", file_.path(),
              prefix_, key, n, min, max));
    return 1;
  }

  const gguf::File& file_;
  std::string prefix_;
  llvm::Error error_ = llvm::Error::success();
};

void read_rope(const gguf::File& file, KeyReader& keys, HyperParameters& p) {
  p.rope_dimension_count = keys.u32_or("rope.dimension_count", p.head_dim, kMaxHeadDim);
  p.rope_freq_base = keys.f32_or("rope.freq_base", 10000.0);
  p.rope_freq_base_swa = keys.f32_or("rope.freq_base_swa", 10000.0);
  p.rope_factor = keys.f32_or("rope.scaling.factor", keys.f32_or("rope.scale_linear", 1.0));
  p.rope_attn_factor = keys.f32_or("rope.scaling.attn_factor", 1.0);
  p.rope_original_context =
      keys.u32_or("rope.scaling.original_context_length", p.context_length, kMaxContext);
  p.yarn_beta_fast = keys.f32_or("rope.scaling.yarn_beta_fast", 32.0);
  p.yarn_beta_slow = keys.f32_or("rope.scaling.yarn_beta_slow", 1.0);
  const bool has_factor = keys.has("rope.scaling.factor") || keys.has("rope.scale_linear");
  // A factor without a method is a linear one; the older key never had a method.
  const std::string method = keys.string_or("rope.scaling.type", has_factor ? "linear" : "none");
  if (method == "linear") {
    p.rope_scaling = RopeScaling::kLinear;
  } else if (method == "yarn") {
    p.rope_scaling = RopeScaling::kYarn;
  } else if (method == "longrope" || file.find_tensor("rope_factors_long.weight") != nullptr) {
    p.rope_scaling = RopeScaling::kLongRope;  // Phi files carry the tensors without a method
  } else if (method != "none") {
    keys.keep(fail(ExitCode::kUnsupported, "{0}: rope scaling '{1}' is not supported", file.path(),
                   method));
  }
  if (p.rope_scaling != RopeScaling::kNone && !(p.rope_factor > 0)) {
    keys.keep(fail(ExitCode::kInvalidFile, "{0}: rope scaling factor {1} is not positive",
                   file.path(), p.rope_factor));
  }
  keys.require(p.rope_dimension_count <= p.head_dim && p.rope_dimension_count % 2 == 0,
               "rope.dimension_count is odd or larger than a head");
  keys.require(p.rope_freq_base > 0 && p.rope_freq_base_swa > 0,
               "rope base or epsilon is not positive");
  keys.require(p.rope_attn_factor > 0 && p.yarn_beta_fast > 0 && p.yarn_beta_slow > 0,
               "a parameter of the rope scaling is not positive");
}

void read_experts(const gguf::File& file, Experts experts, KeyReader& keys, HyperParameters& p) {
  p.expert_count = keys.u32_or_zero("expert_count", kMaxExperts);
  p.expert_used_count = keys.u32_or_zero("expert_used_count", kMaxExpertsUsed);
  p.expert_feed_forward_length =
      keys.u32_or("expert_feed_forward_length", p.feed_forward_length, kMaxWidth);
  p.expert_shared_feed_forward_length =
      keys.u32_or_zero("expert_shared_feed_forward_length", kMaxWidth);
  if (experts == Experts::kNever && p.expert_count > 0) {
    keys.keep(fail(ExitCode::kUnsupported, "{0}: {1} with {2} experts is not supported",
                   file.path(), p.architecture, p.expert_count));
  }
  // How mixtures were stored before they got tensors of three dimensions.
  if (file.find_tensor("blk.0.ffn_gate.0.weight") != nullptr) {
    keys.keep(fail(ExitCode::kUnsupported,
                   "{0}: every expert has tensors of its own, as before April 2024; convert the "
                   "model anew, or take a newer file of it",
                   file.path()));
  }
  keys.require(experts != Experts::kAlways || p.expert_count > 0, "expert_count is 0 or absent");
  keys.require(p.expert_count == 0 || p.expert_used_count > 0,
               "there are experts, but expert_used_count is 0 or absent");
  keys.require(p.expert_used_count <= p.expert_count,
               "expert_used_count is larger than expert_count");
}

void read_attention(KeyReader& keys, HyperParameters& p) {
  p.head_count = keys.u32("attention.head_count", kMaxWidth);
  p.head_count_kv = keys.head_count_kv(p);
  p.head_dim = keys.u32_or("attention.key_length", p.embedding_length / p.head_count, kMaxHeadDim);
  const uint32_t value_dim =
      keys.u32_or("attention.value_length", p.embedding_length / p.head_count, kMaxHeadDim);
  p.attention_scale = keys.f32_or("attention.scale", 1.0 / std::sqrt(double(p.head_dim)));
  p.attention_softcap = keys.f32_or("attn_logit_softcapping", 0);
  p.final_softcap = keys.f32_or("final_logit_softcapping", 0);
  p.sliding_window = keys.u32_or_zero("attention.sliding_window", kMaxContext);
  p.sliding_period = keys.sliding_period(p.block_count);
  keys.require(p.head_count % p.head_count_kv == 0, "head_count is no multiple of head_count_kv");
  keys.require(p.head_dim % 8 == 0, "the head dimension is no multiple of 8");
  keys.require(value_dim == p.head_dim, "keys and values have different head dimensions");
  keys.require(uint64_t{p.head_count} * p.head_dim <= kMaxWidth, "the heads are too wide");
  keys.require(p.attention_softcap >= 0 && p.final_softcap >= 0, "a softcap is negative");
}

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
  p.norm_epsilon = keys.f32((*architecture)->has_layer_norm ? "attention.layer_norm_epsilon"
                                                            : "attention.layer_norm_rms_epsilon");
  keys.require(p.norm_epsilon > 0, "rope base or epsilon is not positive");
  p.pooling_type = keys.u32_or_zero("pooling_type", kRank);
  read_experts(file, (*architecture)->experts, keys, p);
  read_attention(keys, p);
  read_rope(file, keys, p);
  if (llvm::Error error = keys.take_error()) return error;

  const gguf::TensorInfo* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2 || embedding->shape[1] > kMaxVocab) {
    return fail(ExitCode::kInvalidFile, "{0}: token_embd.weight is missing or not a matrix",
                file.path());
  }
  p.vocab_size = static_cast<uint32_t>(embedding->shape[1]);
  uint64_t idle = 0;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    model.parameter_count += tensor.elements();
    if (llvm::StringRef(tensor.name).endswith("_exps.weight") && p.expert_count > 0) {
      idle += tensor.elements() / p.expert_count * (p.expert_count - p.expert_used_count);
    }
  }
  model.active_parameter_count = model.parameter_count - idle;
  return model;
}

std::string parameter_text(uint64_t parameters, uint64_t active) {
  const auto millions = [](uint64_t n) { return llvm::formatv("{0:F1} M", double(n) / 1e6).str(); };
  const std::string text = millions(parameters) + " parameters";
  return active == parameters ? text : text + ", " + millions(active) + " of them active";
}

}  // namespace jllm::model
