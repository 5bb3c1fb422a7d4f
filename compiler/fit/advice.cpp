#include "compiler/fit/advice.h"

#include <llvm/Support/FormatVariadic.h>

#include <algorithm>
#include <optional>

#include "compiler/gguf/requantise.h"
#include "compiler/report/style.h"
#include "compiler/support/error.h"

namespace jllm::fit {

using llvm::formatv;

namespace {

constexpr uint32_t kLeastContext = 256;  // positions; a shorter context is no help

double bytes_of(WeightType type) {
  const BlockShape block = block_shape(type);
  return double(block.bytes) / block.elements;
}

}  // namespace

// One question about one device.
class Inquiry {
 public:
  Inquiry(Adviser& adviser, const model::Model& model, const target::Target& target,
          const Question& question);
  llvm::Expected<std::vector<Advice>> run();

 private:
  using Free = std::optional<uint64_t>;  // bytes; empty: the plan does not fit, or cannot be made
  static llvm::Expected<Free> free_with(Planner& planner, const target::Target& target,
                                        const Question& question);
  llvm::Error try_headless();
  llvm::Error try_without_speculation();
  llvm::Error try_kv(WeightType type);
  struct Shorter {
    uint32_t context;
    uint64_t free;
  };
  // The largest context that fits, where that is less than what is asked for.
  llvm::Expected<std::optional<Shorter>> shorten(Question question);
  void add_shorter();
  llvm::Error try_quantisations();
  llvm::Error try_combinations();
  llvm::Error try_targets();
  void add(Advice::Kind kind, std::string option, std::string text, uint64_t free) {
    advice_.push_back({kind, std::move(option), std::move(text), free});
  }
  Question with_kv(WeightType type) const {
    Question question = question_;
    question.plan.kv_k = question.plan.kv_v = type;
    return question;
  }

  Adviser& adviser_;
  const model::Model& model_;
  const target::Target& target_;
  const Question& question_;
  uint32_t asked_context_;
  double kv_bytes_;                 // of one element of K and one of V, as asked
  std::optional<Shorter> shorter_;  // with the KV cache types as asked
  std::vector<Advice> advice_;
};

Inquiry::Inquiry(Adviser& adviser, const model::Model& model, const target::Target& target,
                 const Question& question)
    : adviser_(adviser), model_(model), target_(target), question_(question) {
  const PlanOptions& plan = question.plan;
  asked_context_ =
      plan.context != 0 ? plan.context : std::min(model.params.context_length, kDefaultContext);
  kv_bytes_ = bytes_of(plan.kv_k.value_or(target.default_kv)) +
              bytes_of(plan.kv_v.value_or(target.default_kv));
}

llvm::Expected<Inquiry::Free> Inquiry::free_with(Planner& planner, const target::Target& target,
                                                 const Question& question) {
  llvm::Expected<Footprint> plan = planner.footprint(target, question.plan, question.budget);
  if (plan) {
    const Budget& b = plan->budget;
    if (!b.fits()) return Free();
    return Free(b.limit == 0 ? 0 : b.limit - b.total());
  }
  const auto [code, text] = take_error(plan.takeError());
  if (code == ExitCode::kDoesNotFit || code == ExitCode::kUnsupported) return Free();
  return fail(code, "{0}", text);
}

llvm::Error Inquiry::try_headless() {
  if (!question_.desktop || question_.budget.limit) return llvm::Error::success();
  target::Target headless = target_;
  headless.budget_bytes = target_.budget_headless_bytes;
  llvm::Expected<Free> free = free_with(adviser_.planner_, headless, question_);
  if (!free) return free.takeError();
  if (*free) {
    add(Advice::Kind::kHeadless, "", "a system without a desktop", **free);
  }
  return llvm::Error::success();
}

llvm::Error Inquiry::try_without_speculation() {
  if (question_.plan.speculate.value_or(0) == 0) return llvm::Error::success();
  Question question = question_;
  question.plan.speculate = 0;
  llvm::Expected<Free> free = free_with(adviser_.planner_, target_, question);
  if (!free) return free.takeError();
  if (*free) add(Advice::Kind::kSpeculation, "--speculate 0", "no speculation", **free);
  return llvm::Error::success();
}

llvm::Error Inquiry::try_kv(WeightType type) {
  if (2 * bytes_of(type) >= kv_bytes_) return llvm::Error::success();
  llvm::Expected<Free> free = free_with(adviser_.planner_, target_, with_kv(type));
  if (!free) return free.takeError();
  const std::string name = weight_type_name(type);
  if (*free) {
    add(Advice::Kind::kKvType, "--kv " + name, "a KV cache in " + name, **free);
    return llvm::Error::success();
  }
  // Not with the context as asked, but perhaps with more of it than the cache as asked leaves.
  llvm::Expected<std::optional<Shorter>> shorter = shorten(with_kv(type));
  if (!shorter) return shorter.takeError();
  if (*shorter && (*shorter)->context > (shorter_ ? shorter_->context : 0)) {
    const uint32_t context = (*shorter)->context;
    add(Advice::Kind::kCombination, formatv("--context {0} --kv {1}", context, name).str(),
        formatv("a context of {0} and a KV cache in {1}", context, name).str(), (*shorter)->free);
  }
  return llvm::Error::success();
}

llvm::Expected<std::optional<Inquiry::Shorter>> Inquiry::shorten(Question question) {
  std::optional<Shorter> none;
  llvm::Expected<uint32_t> context =
      adviser_.planner_.largest_context(target_, question.plan, question.budget);
  if (!context) {
    const auto [code, text] = take_error(context.takeError());
    if (code == ExitCode::kUnsupported) return none;
    return fail(code, "{0}", text);
  }
  if (*context < kLeastContext || *context >= asked_context_) return none;
  question.plan.context = *context;
  llvm::Expected<Free> free = free_with(adviser_.planner_, target_, question);
  if (!free) return free.takeError();
  return *free ? std::optional(Shorter{*context, **free}) : none;
}

// The best of the smaller quantisations that fits.
llvm::Error Inquiry::try_quantisations() {
  uint64_t weights = UINT64_MAX;  // where the model cannot be laid out, any quantisation may help
  llvm::Expected<Footprint> plan =
      adviser_.planner_.footprint(target_, question_.plan, question_.budget);
  if (plan) {
    weights = plan->budget.weights;
  } else {
    llvm::consumeError(plan.takeError());
  }
  for (const auto& other : adviser_.quantised(model_.params.block_count)) {
    llvm::Expected<Free> free = free_with(other->planner, target_, question_);
    if (!free) return free.takeError();
    if (!*free) continue;
    llvm::Expected<Footprint> smaller =
        other->planner.footprint(target_, question_.plan, question_.budget);
    if (!smaller) return smaller.takeError();
    if (smaller->budget.weights >= weights) continue;
    const std::string size = report::format_bytes(smaller->budget.weights);
    add(Advice::Kind::kQuantisation, "",
        formatv("the same model in {0}, {1} of weights", llvm::StringRef(other->name).upper(), size)
            .str(),
        **free);
    break;
  }
  return llvm::Error::success();
}

llvm::Error Inquiry::try_combinations() {
  for (const auto& other : adviser_.quantised(model_.params.block_count)) {
    for (const WeightType type : {WeightType::kQ8_0, WeightType::kQ4_0}) {
      llvm::Expected<Free> free = free_with(other->planner, target_, with_kv(type));
      if (!free) return free.takeError();
      if (!*free) continue;
      const std::string kv = weight_type_name(type);
      add(Advice::Kind::kCombination, "--kv " + kv,
          formatv("the same model in {0} and a KV cache in {1}",
                  llvm::StringRef(other->name).upper(), kv)
              .str(),
          **free);
      return llvm::Error::success();
    }
  }
  return llvm::Error::success();
}

// The smallest larger device for which it fits, headless.
llvm::Error Inquiry::try_targets() {
  if (question_.budget.limit) return llvm::Error::success();
  Question question = question_;
  question.desktop = false;
  llvm::Expected<std::vector<target::Target>> targets = targets_of({}, true, false, question);
  if (!targets) return targets.takeError();
  std::stable_sort(targets->begin(), targets->end(),
                   [](const auto& a, const auto& b) { return a.budget_bytes < b.budget_bytes; });
  for (const target::Target& target : *targets) {
    if (target.budget_bytes <= std::max(target_.budget_bytes, target_.budget_headless_bytes))
      continue;
    if (llvm::Error error = target::check_compilable(target)) {
      llvm::consumeError(std::move(error));
      continue;
    }
    llvm::Expected<Free> free = free_with(adviser_.planner_, target, question);
    if (!free) return free.takeError();
    if (!*free) continue;
    add(Advice::Kind::kTarget, "--target " + target.name, target.device_name, **free);
    break;
  }
  return llvm::Error::success();
}

void Inquiry::add_shorter() {
  if (!shorter_) return;
  add(Advice::Kind::kContext, formatv("--context {0}", shorter_->context).str(),
      formatv("a context of {0}", shorter_->context).str(), shorter_->free);
}

// What costs nothing comes first, then what hardly anybody notices. Half the context is worth more
// than 8-bit precision of the cache; less than half is worth less than precision of the weights.
llvm::Expected<std::vector<Advice>> Inquiry::run() {
  llvm::Expected<std::optional<Shorter>> shorter = shorten(question_);
  if (!shorter) return shorter.takeError();
  shorter_ = *shorter;
  const bool half_is_left = shorter_ && shorter_->context >= asked_context_ / 2;
  if (llvm::Error error = try_headless()) return error;
  if (llvm::Error error = try_without_speculation()) return error;
  if (llvm::Error error = try_kv(WeightType::kQ8_0)) return error;
  if (half_is_left) add_shorter();
  if (llvm::Error error = try_kv(WeightType::kQ4_0)) return error;
  if (llvm::Error error = try_quantisations()) return error;
  if (!half_is_left) add_shorter();
  if (advice_.empty()) {
    if (llvm::Error error = try_combinations()) return error;
  }
  if (llvm::Error error = try_targets()) return error;
  return std::move(advice_);
}

const char* kind_name(Advice::Kind kind) {
  switch (kind) {
    case Advice::Kind::kHeadless:
      return "headless";
    case Advice::Kind::kSpeculation:
      return "speculation";
    case Advice::Kind::kKvType:
      return "kv_type";
    case Advice::Kind::kContext:
      return "context";
    case Advice::Kind::kQuantisation:
      return "quantisation";
    case Advice::Kind::kCombination:
      return "combination";
    case Advice::Kind::kTarget:
      return "target";
  }
  return "?";
}

const std::vector<std::unique_ptr<Adviser::Quantised>>& Adviser::quantised(uint32_t block_count) {
  if (!quantised_.empty()) return quantised_;
  for (const char* name : {"q8_0", "q6_k", "q5_0", "q4_k_m", "q4_0"}) {
    quantised_.push_back(std::make_unique<Quantised>(
        name, gguf::with_mix(planner_.file(), *gguf::find_type_mix(name), block_count)));
  }
  return quantised_;
}

llvm::Expected<std::vector<Advice>> Adviser::advise(const target::Target& target,
                                                    const Question& question) {
  llvm::Expected<model::Model> model = model::load(planner_.file());
  if (!model) return model.takeError();
  return Inquiry(*this, *model, target, question).run();
}

llvm::Error does_not_fit(Planner& planner, const Verdict& verdict, const Question& question) {
  llvm::Expected<model::Model> model = model::load(planner.file());
  if (!model) return model.takeError();
  std::string text = verdict.refusal;
  if (verdict.footprint) {
    const Budget& b = verdict.footprint->budget;
    text = formatv(
               "{0} with a context of {1} does not fit {2}: it needs {3}, the budget is {4}, "
               "{5} too much",
               model->params.name, verdict.footprint->options.context, verdict.target.device_name,
               report::format_bytes(b.total()), report::format_bytes(b.limit),
               report::format_bytes(b.missing()))
               .str();
  }
  llvm::Expected<std::vector<Advice>> advice = Adviser(planner).advise(verdict.target, question);
  if (!advice) return advice.takeError();
  text += advice->empty() ? "; nothing that jllmc can plan would make it fit"
                          : "; what would make it fit:";
  for (const Advice& a : *advice) {
    text += "\n  " + a.text + (a.option.empty() ? "" : " (" + a.option + ")") + ": leaves " +
            report::format_bytes(a.free) + " free";
  }
  return fail(ExitCode::kDoesNotFit, "{0}", text);
}

}  // namespace jllm::fit
