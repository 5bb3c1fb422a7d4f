#include "compiler/compile.h"

#include <llvm/ADT/STLExtras.h>
#include <llvm/ADT/ScopeExit.h>
#include <llvm/ADT/SmallString.h>
#include <llvm/ADT/StringExtras.h>
#include <llvm/Support/FileSystem.h>
#include <llvm/Support/Signals.h>

#include <algorithm>
#include <set>

#include "compiler/chat/chat.h"
#include "compiler/codegen/modules.h"
#include "compiler/emit/debug_segment.h"
#include "compiler/emit/plan_writer.h"
#include "compiler/emit/tokenizer_segment.h"
#include "compiler/fit/advice.h"
#include "compiler/gguf/requantise.h"
#include "compiler/gguf/watch.h"
#include "compiler/planner.h"
#include "compiler/report/report.h"
#include "compiler/support/error.h"
#include "compiler/support/progress.h"
#include "compiler/target/target.h"
#include "schema/step_state.h"
#include "schema/tokenizer_generated.h"

namespace jllm {
namespace {

llvm::Error read_edits(const CompileOptions& options, const gguf::File& file, gguf::Edits* edits) {
  for (const gguf::AdapterRequest& request : options.adapters) {
    llvm::Expected<gguf::Adapter> adapter = gguf::Adapter::open(request, file);
    if (!adapter) return adapter.takeError();
    edits->adapters.push_back(std::move(*adapter));
  }
  if (options.importance.empty()) return llvm::Error::success();
  if (options.weights.empty() && options.adapters.empty()) {
    return fail(ExitCode::kUsage,
                "--imatrix weighs errors of quantising, but nothing is quantised; add --weights "
                "TYPE");
  }
  llvm::Expected<gguf::ImportanceMatrix> importance =
      gguf::ImportanceMatrix::open(options.importance, file);
  if (!importance) return importance.takeError();
  edits->importance = std::move(*importance);
  return llvm::Error::success();
}

// Adapters change tensors of the file; the program must read each of them.
llvm::Error check_edits(const gguf::Edits& edits, const ir::Program& program) {
  std::set<std::string> read;
  for (const ir::Tensor& tensor : program.tensors) {
    if (tensor.kind == ir::TensorKind::kWeight) read.insert(tensor.source->name);
  }
  for (const gguf::Adapter& adapter : edits.adapters) {
    for (const auto& [name, pair] : adapter.pairs()) {
      if (read.count(name) > 0) continue;
      return fail(ExitCode::kUnsupported,
                  "{0}: changes {1}, which is no matrix that the model multiplies with",
                  adapter.path(), name);
    }
  }
  return llvm::Error::success();
}

// What `jllmc fit` would say.
llvm::Error does_not_fit(Planner& planner, const report::Facts& facts,
                         const CompileOptions& options, const PlanOptions& plan) {
  fit::Verdict verdict;
  verdict.target = facts.planned->target;
  verdict.answer = fit::Answer::kDoesNotFit;
  verdict.footprint = facts.footprint;
  return fit::does_not_fit(planner, verdict, {plan, options.budget, options.desktop});
}

// The tokens that end a text, as far as the model knows them and the device has room for them.
std::vector<uint32_t> end_tokens(const std::vector<uint8_t>& tokenizer, uint32_t vocab_size) {
  std::vector<uint32_t> tokens;
  const auto* ids = fb::GetVocabulary(tokenizer.data())->end_of_generation();
  for (uint32_t i = 0; ids != nullptr && i < ids->size() && tokens.size() < kMaxEndTokens; ++i) {
    if (ids->Get(i) < vocab_size) tokens.push_back(ids->Get(i));
  }
  return tokens;
}

const char* tuning_name(const std::optional<tuning::Table>& table) {
  return !table ? "built-in" : table->entries.empty() ? "none" : "file";
}

// The options that shape the plan, for its provenance.
std::vector<std::string> provenance_options(const PlannedModel& planned) {
  const model::ProgramOptions& o = planned.options;
  return {"target=" + planned.target.name,
          "context=" + std::to_string(o.context),
          std::string("kv_k=") + weight_type_name(o.kv_type_k),
          std::string("kv_v=") + weight_type_name(o.kv_type_v),
          "rotate_keys=" + std::to_string(o.rotate_keys ? 1 : 0),
          "prefill_chunk=" + std::to_string(o.prefill_rows.back()),
          "speculate=" + std::to_string(o.most_drafted()),
          "slots=" + std::to_string(o.slots),
          std::string("embedding=") + (o.embeds ? "last" : "none"),
          planned.fused ? "fuse=1" : "fuse=0",
          std::string("activations=") + select::activation_mode_name(planned.select.activations),
          std::string("tuning=") + tuning_name(planned.select.tuning)};
}

// Prints a stage's result when it is the one that --dump-after names.
StageObserver dump_observer(const std::string& stage, llvm::raw_ostream& out) {
  return [&stage, &out](llvm::StringRef reached, const PlannedModel& planned) {
    if (reached != stage) return false;
    if (stage == "ir" || stage == "passes") ir::dump(planned.program, out);
    if (stage == "select") select::dump(planned.schedule, out);
    if (stage == "memory") memory::dump(planned.program, planned.layout, out);
    return true;
  };
}

// --context max: the largest that fits. Then speculation, which must not make it smaller.
llvm::Error resolve_options(Planner& planner, const target::Target& target,
                            const CompileOptions& options, PlanOptions* plan) {
  *plan = options.plan;
  if (options.context_max) {
    llvm::Expected<uint32_t> context = planner.largest_context(target, *plan, options.budget);
    if (!context) return context.takeError();
    // Nothing fits: plan the smallest context, so that the error says by how much.
    plan->context = std::max(*context, 1u);
  }
  llvm::Expected<PlanOptions> resolved = planner.resolve(target, *plan, options.budget);
  if (!resolved) return resolved.takeError();
  *plan = *resolved;
  return llvm::Error::success();
}

llvm::Expected<std::vector<std::vector<uint8_t>>> compile_code(const CompileOptions& options,
                                                               report::Facts& facts,
                                                               emit::PlanInputs& inputs) {
  const target::Target& target = facts.planned->target;
  NvrtcSearchOptions search;
  search.explicit_path = options.nvrtc;
  search.max_major = static_cast<int>(target.max_cuda_major);
  search.arch = target.compute_capability;
  llvm::Expected<Nvrtc> nvrtc = Nvrtc::open(search);
  if (!nvrtc) return nvrtc.takeError();
  const NvrtcVersion version = nvrtc->version();
  inputs.cuda_version = static_cast<uint32_t>(version.major * 1000 + version.minor * 10);
  inputs.nvrtc_version = std::to_string(version.major) + "." + std::to_string(version.minor);
  facts.nvrtc = inputs.nvrtc_version + " (" + nvrtc->path() + ")";

  Progress progress("compiling kernels");
  codegen::ModuleOptions module_options;
  module_options.arch = target.compute_capability;
  module_options.ptx = options.ptx;
  module_options.cache_dir = options.use_cache ? codegen::default_cache_dir() : "";
  module_options.progress = [&](size_t done, size_t total) { progress.update(done, total); };
  return codegen::compile_modules(facts.planned->schedule, *nvrtc, module_options);
}

// A plan of the same model for the host, small but for its weights.
CompileOptions host_options(const CompileOptions& options, const PlannedModel& planned,
                            const std::string& output) {
  CompileOptions host = options;
  host.output = output;
  host.target = "host";
  host.plan.context = std::min(planned.program.context, 64u);
  host.plan.kv_k = planned.options.kv_type_k;
  host.plan.kv_v = planned.options.kv_type_v;
  host.plan.prefill_chunk = 32;
  host.plan.speculate = 0;
  host.context_max = false;
  host.budget.limit = UINT64_MAX;
  host.budget.reserve = 0;
  host.plan.select.tuning.reset();  // of another device
  host.ptx = false;
  host.quiet = true;
  host.desktop = false;
  host.chat_format = "none";
  host.split_weights = false;
  host.debug_info = false;
  host.self_test = SelfTestChoice::kNever;
  host.report = ReportFormat::kNone;
  return host;
}

// Two plans for the host are run and asked: one that computes as the plan does, and one that
// rounds otherwise.
llvm::Expected<std::vector<uint8_t>> make_self_test(const CompileOptions& options,
                                                    const PlannedModel& planned) {
  // Not beside the plan: what a killed program leaves of it is the system's to tidy up.
  llvm::SmallString<128> folder;
  if (const std::error_code error = llvm::sys::fs::createUniqueDirectory("jllmc", folder)) {
    return fail(ExitCode::kFailed, "self-test: no temporary folder ($TMPDIR): {0}",
                error.message());
  }
  SelfTestRequest request;
  request.exact = (folder + "/exact.jllm").str();
  request.rough = (folder + "/rough.jllm").str();
  for (const std::string& path : {request.exact, request.rough}) {
    llvm::sys::RemoveFileOnSignal(path);
  }
  const auto remove = llvm::make_scope_exit([&] {
    for (const std::string& path : {request.exact, request.rough}) {
      llvm::sys::fs::remove(path);
      llvm::sys::DontRemoveFileOnSignal(path);
    }
    llvm::sys::fs::remove(folder);
  });
  using select::ActivationMode;
  request.context = planned.program.context;
  request.eight_bits = planned.select.activations == ActivationMode::kQ8;
  request.experts = planned.model.params.expert_count > 0;
  request.cache_of_quants = block_shape(planned.options.kv_type_k).elements > 1 ||
                            block_shape(planned.options.kv_type_v).elements > 1;
  if (llvm::Error error = compile(host_options(options, planned, request.exact), llvm::nulls())) {
    return error;
  }
  CompileOptions rough = host_options(options, planned, request.rough);
  rough.plan.select.activations = request.eight_bits ? ActivationMode::kQ8R : ActivationMode::kQ8;
  // Activations are integers beside quantised weights only.
  if (rough.weights.empty()) {
    llvm::Expected<gguf::File> quantised = gguf::open_weights(options.input, "q8_0");
    if (quantised) rough.weights = "q8_0";
    llvm::consumeError(quantised.takeError());  // there are no floats
  }
  if (llvm::Error error = compile(rough, llvm::nulls())) return error;
  return options.make_self_test(request);
}

// Decides about the self-test, makes it, and says what was done.
llvm::Error add_self_test(const CompileOptions& options, report::Facts& facts,
                          emit::PlanInputs& inputs) {
  if (options.self_test == SelfTestChoice::kNever) return llvm::Error::success();
  if (facts.planned->options.embeds) {
    if (options.self_test == SelfTestChoice::kAlways) {
      return fail(ExitCode::kUnsupported,
                  "--selftest always: a self-test is of tokens, and the plan makes embeddings");
    }
    facts.self_test = "none: the plan makes embeddings";
    return llvm::Error::success();
  }
  if (options.self_test == SelfTestChoice::kAuto &&
      facts.footprint.budget.weights > kAutoSelfTestBytes) {
    facts.self_test = llvm::formatv(
                          "none: the weights are more than {0}, it would take long (--selftest "
                          "always)",
                          report::format_bytes(kAutoSelfTestBytes))
                          .str();
    return llvm::Error::success();
  }
  llvm::Expected<std::vector<uint8_t>> segment = make_self_test(options, *facts.planned);
  if (!segment) {
    const auto [code, text] = take_error(segment.takeError());
    return fail(code, "{0} (--selftest never compiles without a self-test)", text);
  }
  inputs.self_test = std::move(*segment);
  facts.self_test = "yes (jllm selftest runs it)";
  return llvm::Error::success();
}

void print_report(ReportFormat format, const report::Facts& facts, llvm::raw_ostream& out) {
  if (format == ReportFormat::kText)
    report::print_text(facts, report::detect_style(out.is_displayed()), out);
  if (format == ReportFormat::kJson) report::print_json(facts, out);
}

llvm::Error compile_for(const target::Target& target, const CompileOptions& options,
                        const gguf::File& file, llvm::raw_ostream& out) {
  gguf::Edits edits;
  if (llvm::Error error = read_edits(options, file, &edits)) return error;
  PlanOptions plan;
  Planner planner(file);
  if (llvm::Error error = resolve_options(planner, target, options, &plan)) return error;
  llvm::Expected<PlannedModel> planned =
      plan_model(file, target, plan, dump_observer(options.dump_after, out));
  if (!planned) return planned.takeError();
  if (!options.dump_after.empty()) return llvm::Error::success();
  if (llvm::Error error = check_edits(edits, planned->program)) return error;
  report::Facts facts;
  facts.edits = &edits;
  facts.planned = &*planned;
  llvm::Expected<Footprint> footprint = planner.footprint(target, plan, options.budget);
  if (!footprint) return footprint.takeError();
  facts.footprint = std::move(*footprint);
  Budget& budget = facts.footprint.budget;
  // Before any long work.
  if (!budget.fits()) return does_not_fit(planner, facts, options, plan);

  emit::PlanInputs inputs;
  llvm::Expected<std::vector<uint8_t>> tokenizer = emit::build_tokenizer_segment(file);
  if (!tokenizer) return tokenizer.takeError();
  const std::string tokenizer_warning = emit::tokenizer_warning(file);
  if (!tokenizer_warning.empty() && !options.quiet)
    llvm::errs() << "warning: " << tokenizer_warning << "\n";
  llvm::Expected<chat::ChosenFormat> chat =
      chat::choose_format(file, *tokenizer, planned->options.embeds ? "none" : options.chat_format);
  if (!chat) return chat.takeError();
  if (!chat->warning.empty()) {
    llvm::errs() << llvm::formatv("warning: {0}\n  the chat format is {1}\n", chat->warning,
                                  chat->name);
  }
  facts.chat_format = chat->description.what;
  if (planned->options.embeds) facts.chat_format = "none: the plan makes embeddings";
  facts.chat_covers = chat->description.covers_text();
  facts.chat_lacks = chat->description.lacks_text();
  std::vector<std::vector<uint8_t>> modules;
  if (!target.is_host) {
    llvm::Expected<std::vector<std::vector<uint8_t>>> code = compile_code(options, facts, inputs);
    if (!code) return code.takeError();
    modules = std::move(*code);
    uint64_t module_bytes = 0;
    for (const std::vector<uint8_t>& module : modules) module_bytes += module.size();
    budget.code = code_memory(module_bytes);
    facts.footprint.code_is_compiled = true;
    if (!budget.fits()) return does_not_fit(planner, facts, options, plan);
  }

  if (llvm::Error error = add_self_test(options, facts, inputs)) return error;
  Progress progress(!edits.adapters.empty()   ? "merging adapters"
                    : options.weights.empty() ? "repacking weights"
                                              : "quantising weights");
  inputs.planned = &*planned;
  inputs.modules = &modules;
  inputs.end_tokens = end_tokens(*tokenizer, planned->model.params.vocab_size);
  inputs.tokenizer = std::move(*tokenizer);
  inputs.chat_format = std::move(chat->segment);
  if (options.debug_info) inputs.debug = emit::build_debug_segment(*planned);
  inputs.options = provenance_options(*planned);
  if (!options.weights.empty()) inputs.options.push_back("weights=" + options.weights);
  if (edits.importance) inputs.options.push_back("imatrix=" + edits.importance->sha256());
  for (const gguf::Adapter& adapter : edits.adapters) {
    inputs.options.push_back("lora=" + adapter.sha256() + ":" + adapter.scale_text());
  }
  inputs.edits = &edits;
  inputs.split_weights = options.split_weights;
  inputs.options.push_back("chat_format=" + chat->name);
  inputs.progress = [&](uint64_t done, uint64_t total) { progress.update(done, total); };
  llvm::Expected<emit::PlanSizes> sizes = emit::write_plan(inputs, options.output);
  if (!sizes) return sizes.takeError();
  facts.output = options.output;
  facts.file_bytes = sizes->file_bytes;
  facts.weight_file = sizes->weight_file;
  facts.weight_file_bytes = sizes->weight_file_bytes;
  facts.weight_file_reused = sizes->weight_file_reused;
  if (sizes->weight_file_reused) {
    llvm::errs() << "weights: " << sizes->weight_file << " has them already, nothing written\n";
  }
  print_report(options.report, facts, out);
  return llvm::Error::success();
}

}  // namespace

llvm::Error compile(const CompileOptions& options, llvm::raw_ostream& out) {
  if (!options.dump_after.empty() && !llvm::is_contained(kPlanStages, options.dump_after)) {
    return fail(ExitCode::kUsage, "--dump-after {0}: known stages are {1}", options.dump_after,
                llvm::join(kPlanStages, ", "));
  }
  llvm::Expected<target::Target> target = target::find(options.target);
  if (!target) return target.takeError();
  if (options.desktop) {
    if (llvm::Error error = target::use_desktop_budget(&*target)) return error;
  }
  if (options.dump_after.empty()) {
    if (llvm::Error error = target::check_compilable(*target)) return error;
  }
  llvm::Expected<gguf::File> file = gguf::open_weights(options.input, options.weights);
  if (!file) return file.takeError();
  // A file that was changed on the way makes errors of all kinds.
  return gguf::changed_source_or(compile_for(*target, options, *file, out));
}

}  // namespace jllm
