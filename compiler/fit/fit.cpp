#include "compiler/fit/fit.h"

#include <llvm/ADT/STLExtras.h>

#include "compiler/fit/advice.h"
#include "compiler/fit/show.h"
#include "compiler/gguf/requantise.h"
#include "compiler/support/error.h"

namespace jllm::fit {
namespace {

llvm::Error no_device(const model::Model& model, llvm::ArrayRef<Finding> findings) {
  if (findings.size() != 1) {
    return fail(ExitCode::kDoesNotFit, "{0} fits none of these {1} devices", model.params.name,
                findings.size());
  }
  return fail(ExitCode::kDoesNotFit, "{0} does not fit {1}", model.params.name,
              findings.front().verdict.target.device_name);
}

}  // namespace

llvm::Error run(const FitOptions& options, const report::Style& style, llvm::raw_ostream& out) {
  std::vector<std::string> names = options.targets;
  if (names.empty() && !options.all) names = {"host"};
  llvm::Expected<std::vector<target::Target>> targets =
      targets_of(names, options.all, options.modes, options.question);
  if (!targets) return targets.takeError();
  gguf::OpenOptions open_options;
  open_options.header_only = options.header_only;
  llvm::Expected<gguf::File> file =
      gguf::open_weights(options.input, options.weights, open_options);
  if (!file) return file.takeError();
  for (const gguf::AdapterRequest& request : options.adapters) {
    llvm::Expected<gguf::Adapter> adapter = gguf::Adapter::open(request, *file);
    if (!adapter) return adapter.takeError();
  }
  llvm::Expected<model::Model> model = model::load(*file);
  if (!model) return model.takeError();

  Planner planner(*file);
  Adviser adviser(planner);
  std::vector<Finding> findings;
  for (const target::Target& target : *targets) {
    llvm::Expected<Verdict> verdict = judge(planner, target, options.question);
    if (!verdict) return verdict.takeError();
    if (llvm::Error error = find_contexts(planner, options.question, &*verdict)) return error;
    findings.push_back({std::move(*verdict), {}});
    // The table has no room for it.
    if (findings.back().verdict.fits() || (targets->size() > 1 && !options.json)) continue;
    llvm::Expected<std::vector<Advice>> advice = adviser.advise(target, options.question);
    if (!advice) return advice.takeError();
    findings.back().advice = std::move(*advice);
  }
  if (options.json) {
    print_json(*model, findings, out);
  } else if (findings.size() == 1) {
    print_one(*model, findings.front(), style, out);
  } else {
    print_table(*model, findings, style, out);
  }
  const bool any = llvm::any_of(findings, [](const Finding& f) { return f.verdict.fits(); });
  return any ? llvm::Error::success() : no_device(*model, findings);
}

}  // namespace jllm::fit
