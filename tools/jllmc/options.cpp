#include "tools/jllmc/options.h"

#include <llvm/ADT/StringExtras.h>

#include <utility>

#include "compiler/model/model.h"
#include "compiler/support/error.h"

namespace jllm::tool {
namespace {

namespace cl = llvm::cl;

// "512M", "3.5G", "1000000"; binary multiples.
llvm::Expected<uint64_t> parse_size(llvm::StringRef option, llvm::StringRef text) {
  llvm::StringRef digits = text;
  double factor = 1;
  if (!digits.empty() && (digits.back() == 'i' || digits.back() == 'B'))
    digits = digits.drop_back();
  if (!digits.empty() && digits.back() == 'i') digits = digits.drop_back();
  const llvm::StringRef units = "KMGT";
  if (!digits.empty() && units.find(llvm::toUpper(digits.back())) != llvm::StringRef::npos) {
    for (size_t i = 0; i <= units.find(llvm::toUpper(digits.back())); ++i) factor *= 1024;
    digits = digits.drop_back();
  }
  double value = 0;
  if (digits.empty() || digits.getAsDouble(value) || !(value >= 0) || value * factor > 1e15) {
    return fail(ExitCode::kUsage, "--{0} {1}: expected a size such as 512M or 3.5G", option, text);
  }
  return static_cast<uint64_t>(value * factor);
}

}  // namespace

cl::OptionCategory& options_category() {
  static cl::OptionCategory category("Options");
  return category;
}

PlanArguments::PlanArguments(cl::SubCommand& command, const char* context_help)
    : context_("context", cl::value_desc("N"), cl::desc(context_help), cl::sub(command),
               cl::cat(options_category())),
      kv_("kv", cl::value_desc("TYPE"),
          cl::desc("type of the KV cache: f16, q8_0, q4_0 or f32 (default: f16; f32 on host and "
                   "for F32 models)"),
          cl::sub(command), cl::cat(options_category())),
      kv_k_("kv-k", cl::value_desc("TYPE"), cl::desc("type of the K cache alone"), cl::sub(command),
            cl::cat(options_category())),
      kv_v_("kv-v", cl::value_desc("TYPE"), cl::desc("type of the V cache alone"), cl::sub(command),
            cl::cat(options_category())),
      prefill_chunk_("prefill-chunk", cl::value_desc("N"),
                     cl::desc("tokens of a prompt that are computed at once"), cl::sub(command),
                     cl::cat(options_category())),
      speculate_("speculate", cl::value_desc("N"),
                 cl::desc("tokens that a step may draft from the text so far and verify at once, "
                          "at most 7; 0: none (default: 3 where there is room)"),
                 cl::sub(command), cl::cat(options_category())),
      slots_(
          "slots", cl::value_desc("N"), cl::init(1),
          cl::desc("sequences that the plan has room for at once, 1 to 8, each with a context of "
                   "its own: what jllm serve can answer in parallel (default: 1)"),
          cl::sub(command), cl::cat(options_category())),
      embedding_("embedding", cl::value_desc("last|none"),
                 cl::desc("last: a plan that makes embeddings, the last token's state, for "
                          "/v1/embeddings; none: one that makes text (default: what the model is "
                          "made for)"),
                 cl::sub(command), cl::cat(options_category())),
      budget_("budget", cl::value_desc("SIZE"),
              cl::desc("memory that the plan may take, e.g. 3.5G (default: the target's)"),
              cl::sub(command), cl::cat(options_category())),
      reserve_("reserve", cl::value_desc("SIZE"), cl::desc("memory to keep free within the budget"),
               cl::sub(command), cl::cat(options_category())),
      desktop_("desktop", cl::desc("budget of a system with a desktop instead of a headless one"),
               cl::sub(command), cl::cat(options_category())) {}

llvm::Error PlanArguments::fill(PlanOptions* plan, BudgetOptions* budget, bool* context_max) const {
  plan->prefill_chunk = prefill_chunk_;
  if (speculate_.getNumOccurrences() > 0) plan->speculate = speculate_;
  plan->slots = slots_;
  if (embedding_.getNumOccurrences() > 0) {
    if (embedding_ != "last" && embedding_ != "none") {
      return fail(ExitCode::kUsage, "--embedding {0}: expected last or none", embedding_);
    }
    plan->embeds = embedding_ == "last";
  }
  if (context_max != nullptr && context_ == "max") {
    *context_max = true;
  } else if (!context_.empty()) {
    unsigned n = 0;
    if (llvm::StringRef(context_).getAsInteger(10, n) || n == 0) {
      return fail(ExitCode::kUsage, "--context {0}: expected a number above 0{1}",
                  context_.getValue(), context_max != nullptr ? ", or max" : "");
    }
    plan->context = n;
  }
  using Slot = std::pair<const std::string&, std::optional<WeightType>*>;
  for (const auto& [name, slot] : {Slot(kv_k_.empty() ? kv_ : kv_k_, &plan->kv_k),
                                   Slot(kv_v_.empty() ? kv_ : kv_v_, &plan->kv_v)}) {
    if (name.empty()) continue;
    llvm::Expected<WeightType> type = model::parse_kv_type(name);
    if (!type) return type.takeError();
    *slot = *type;
  }
  if (!budget_.empty()) {
    llvm::Expected<uint64_t> bytes = parse_size("budget", budget_);
    if (!bytes) return bytes.takeError();
    budget->limit = *bytes;
  }
  if (!reserve_.empty()) {
    llvm::Expected<uint64_t> bytes = parse_size("reserve", reserve_);
    if (!bytes) return bytes.takeError();
    budget->reserve = *bytes;
  }
  return llvm::Error::success();
}

llvm::Expected<std::vector<gguf::AdapterRequest>> parse_adapters(
    const cl::list<std::string>& texts) {
  std::vector<gguf::AdapterRequest> requests;
  for (const std::string& text : texts) {
    llvm::Expected<gguf::AdapterRequest> request = gguf::parse_adapter(text);
    if (!request) return request.takeError();
    requests.push_back(std::move(*request));
  }
  return requests;
}

llvm::Error parse_activations(llvm::StringRef text, select::ActivationMode* mode) {
  using select::ActivationMode;
  for (const ActivationMode known :
       {ActivationMode::kAuto, ActivationMode::kF32, ActivationMode::kQ8, ActivationMode::kQ8R}) {
    if (text != select::activation_mode_name(known)) continue;
    *mode = known;
    return llvm::Error::success();
  }
  return fail(ExitCode::kUsage, "--activations {0}: expected auto, f32, q8 or q8r", text);
}

}  // namespace jllm::tool
