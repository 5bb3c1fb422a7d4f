#include "compiler/fit/verdict.h"

#include "compiler/support/error.h"

namespace jllm::fit {
namespace {

constexpr uint64_t kTightShare = 20;  // 1/20 of the budget

Answer answer_of(const Budget& b) {
  if (!b.fits()) return Answer::kDoesNotFit;
  const bool tight = b.limit != 0 && b.limit - b.total() < b.limit / kTightShare;
  return tight ? Answer::kTight : Answer::kFits;
}

// A device in the mode that its name says, or in each of its modes.
llvm::Error add_device(llvm::StringRef name, bool modes, std::vector<target::Target>* targets) {
  if (modes && name.find('@') == llvm::StringRef::npos) {
    llvm::Expected<target::Description> device = target::describe(name);
    if (!device) return device.takeError();
    for (const target::Mode& mode : device->modes) {
      llvm::Expected<target::Target> target = target::resolve(*device, mode.name);
      if (!target) return target.takeError();
      targets->push_back(std::move(*target));
    }
    if (!device->modes.empty()) return llvm::Error::success();
  }
  llvm::Expected<target::Target> target = target::find(name);
  if (!target) return target.takeError();
  targets->push_back(std::move(*target));
  return llvm::Error::success();
}

}  // namespace

const char* answer_name(Answer answer) {
  switch (answer) {
    case Answer::kFits:
      return "fits";
    case Answer::kTight:
      return "tight";
    case Answer::kDoesNotFit:
      return "does_not_fit";
  }
  return "?";
}

llvm::ArrayRef<WeightType> kv_types_shown() {
  static constexpr WeightType kTypes[] = {WeightType::kF16, WeightType::kQ8_0, WeightType::kQ4_0};
  return kTypes;
}

llvm::Expected<Verdict> judge(Planner& planner, const target::Target& target,
                              const Question& question) {
  Verdict verdict;
  verdict.target = target;
  if (llvm::Error error = target::check_compilable(target)) {
    llvm::consumeError(std::move(error));
    verdict.compilable = false;
  }
  llvm::Expected<PlanOptions> plan = planner.resolve(target, question.plan, question.budget);
  if (!plan) return plan.takeError();
  llvm::Expected<Footprint> footprint = planner.footprint(target, *plan, question.budget);
  if (footprint) {
    verdict.footprint = std::move(*footprint);
    verdict.answer = answer_of(verdict.footprint->budget);
    verdict.prediction = predict(*verdict.footprint, target);
    return verdict;
  }
  auto [code, text] = take_error(footprint.takeError());
  if (code != ExitCode::kDoesNotFit) return fail(code, "{0}", text);
  verdict.answer = Answer::kDoesNotFit;
  verdict.refusal = std::move(text);
  return verdict;
}

llvm::Error find_contexts(Planner& planner, const Question& question, Verdict* verdict) {
  for (const WeightType type : kv_types_shown()) {
    PlanOptions plan = question.plan;
    plan.kv_k = plan.kv_v = type;
    llvm::Expected<uint32_t> context =
        planner.largest_context(verdict->target, plan, question.budget);
    if (context) {
      verdict->contexts.push_back({type, *context});
      continue;
    }
    const auto [code, text] = take_error(context.takeError());
    if (code != ExitCode::kUnsupported) return fail(code, "{0}", text);
    verdict->contexts.push_back({type, std::nullopt});
  }
  return llvm::Error::success();
}

llvm::Expected<std::vector<target::Target>> targets_of(llvm::ArrayRef<std::string> names, bool all,
                                                       bool modes, const Question& question) {
  std::vector<target::Target> targets;
  for (const std::string& name : names) {
    if (llvm::Error error = add_device(name, modes, &targets)) return error;
  }
  if (all) {
    for (const std::string& name : target::builtin_names()) {
      llvm::Expected<target::Target> target = target::find(name);
      if (!target) return target.takeError();
      if (target->budget_bytes == 0) continue;
      // What a desktop takes of a data centre card is not known, and nobody asks.
      if (question.desktop && target->budget_desktop_bytes == 0) continue;
      if (llvm::Error error = add_device(name, modes, &targets)) return error;
    }
  }
  for (target::Target& target : targets) {
    if (!question.desktop || question.budget.limit) continue;
    if (llvm::Error error = target::use_desktop_budget(&target)) return error;
  }
  return targets;
}

}  // namespace jllm::fit
