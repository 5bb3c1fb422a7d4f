#include "compiler/compile.h"

#include <llvm/ADT/STLExtras.h>
#include <llvm/ADT/StringExtras.h>

#include <algorithm>

#include "compiler/codegen/modules.h"
#include "compiler/emit/plan_writer.h"
#include "compiler/emit/tokenizer_segment.h"
#include "compiler/gguf/file.h"
#include "compiler/memory/layout.h"
#include "compiler/model/model.h"
#include "compiler/passes/fuse.h"
#include "compiler/report/report.h"
#include "compiler/select/schedule.h"
#include "compiler/support/error.h"
#include "compiler/support/progress.h"
#include "compiler/target/target.h"
#include "schema/step_state.h"
#include "schema/tokenizer_generated.h"

namespace jllm {
namespace {

constexpr llvm::StringRef kStages[] = {"ir", "passes", "select", "memory"};
constexpr uint32_t kSmallestPrefill = 16;
constexpr uint32_t kLargestPrefill = 2048;

// Chunk sizes: powers of two up to the largest, so that a prompt's tail wastes at most half a chunk.
std::vector<uint32_t> prefill_rows(uint32_t chunk, uint32_t context) {
  std::vector<uint32_t> rows;
  for (uint32_t n = kSmallestPrefill; n < chunk && n < context; n *= 2) rows.push_back(n);
  rows.push_back(std::min(chunk, context));
  return rows;
}

llvm::Error check_options(const CompileOptions& options) {
  if (!options.dump_after.empty() && !llvm::is_contained(kStages, options.dump_after)) {
    return fail(ExitCode::kUsage, "--dump-after {0}: known stages are {1}", options.dump_after,
                llvm::join(llvm::ArrayRef<llvm::StringRef>(kStages), ", "));
  }
  if (options.prefill_chunk > kLargestPrefill) {
    return fail(ExitCode::kUsage, "--prefill-chunk {0}: at most {1}", options.prefill_chunk,
                kLargestPrefill);
  }
  return llvm::Error::success();
}

llvm::Error does_not_fit(const report::Facts& facts) {
  const report::Budget& b = facts.budget;
  const uint64_t without_kv = b.total() - b.kv;
  const uint64_t per_position = b.kv / std::max(1u, facts.program->context);
  std::string advice;
  if (without_kv < b.limit && per_position > 0) {
    // Scratch grows a little with the context too (attention partials), so this is stated as about.
    const uint64_t positions = (b.limit - without_kv) / per_position / 64 * 64;
    if (positions > 0) advice = llvm::formatv("about --context {0} would fit; ", positions).str();
  }
  return fail(ExitCode::kDoesNotFit,
              "{0} does not fit {1}: it needs {2}, the budget is {3}, {4} too much ({5}a smaller "
              "quantisation or --budget help too)",
              facts.model->params.name, facts.target->device_name, report::format_bytes(b.total()),
              report::format_bytes(b.limit), report::format_bytes(b.total() - b.limit), advice);
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

// The options that shape the plan, for its provenance.
std::vector<std::string> provenance_options(const report::Facts& facts, bool fuse,
                                            const std::vector<uint32_t>& rows) {
  return {"target=" + facts.target->name, "context=" + std::to_string(facts.program->context),
          std::string("kv_k=") + weight_type_name(facts.kv_type_k),
          std::string("kv_v=") + weight_type_name(facts.kv_type_v),
          "prefill_chunk=" + std::to_string(rows.back()), fuse ? "fuse=1" : "fuse=0"};
}

llvm::Expected<std::vector<std::vector<uint8_t>>> compile_code(const CompileOptions& options,
                                                               report::Facts& facts,
                                                               emit::PlanInputs& inputs) {
  NvrtcSearchOptions search;
  search.explicit_path = options.nvrtc;
  search.max_major = static_cast<int>(facts.target->max_cuda_major);
  search.arch = facts.target->compute_capability;
  llvm::Expected<Nvrtc> nvrtc = Nvrtc::open(search);
  if (!nvrtc) return nvrtc.takeError();
  const NvrtcVersion version = nvrtc->version();
  inputs.cuda_version = static_cast<uint32_t>(version.major * 1000 + version.minor * 10);
  inputs.nvrtc_version = std::to_string(version.major) + "." + std::to_string(version.minor);
  facts.nvrtc = inputs.nvrtc_version + " (" + nvrtc->path() + ")";

  Progress progress("compiling kernels");
  codegen::ModuleOptions module_options;
  module_options.arch = facts.target->compute_capability;
  module_options.cache_dir = options.use_cache ? codegen::default_cache_dir() : "";
  module_options.progress = [&](size_t done, size_t total) { progress.update(done, total); };
  return codegen::compile_modules(*facts.schedule, *nvrtc, module_options);
}

llvm::Error print_report(ReportFormat format, const report::Facts& facts, llvm::raw_ostream& out) {
  if (format == ReportFormat::kText) report::print_text(facts, out);
  if (format == ReportFormat::kJson) report::print_json(facts, out);
  return llvm::Error::success();
}

}  // namespace

llvm::Error compile(const CompileOptions& options, llvm::raw_ostream& out) {
  if (llvm::Error error = check_options(options)) return error;
  llvm::Expected<target::Target> target = target::find(options.target);
  if (!target) return target.takeError();
  llvm::Expected<gguf::File> file = gguf::File::open(options.input);
  if (!file) return file.takeError();
  llvm::Expected<model::Model> model = model::load(*file);
  if (!model) return model.takeError();

  model::ProgramOptions program_options;
  program_options.context = options.context;
  if (options.context == 0) {
    program_options.context = std::min(model->params.context_length, kDefaultContext);
  } else if (options.context == kMaxContext) {
    program_options.context = model->params.context_length;
  }
  if (program_options.context > model->params.context_length) {
    return fail(ExitCode::kUsage, "--context {0}: the model was trained for at most {1} positions",
                program_options.context, model->params.context_length);
  }
  program_options.kv_type_k = options.kv_k.value_or(target->default_kv);
  program_options.kv_type_v = options.kv_v.value_or(target->default_kv);
  program_options.prefill_rows =
      prefill_rows(options.prefill_chunk != 0 ? options.prefill_chunk : target->prefill_chunk,
                   program_options.context);
  llvm::Expected<ir::Program> program = model::build_program(*model, program_options);
  if (!program) return program.takeError();
  if (options.dump_after == "ir") return ir::dump(*program, out), llvm::Error::success();

  if (!target->is_host && options.fuse) passes::fuse(*program);
  if (options.dump_after == "passes") return ir::dump(*program, out), llvm::Error::success();
  llvm::Expected<select::Schedule> schedule = select::select(*program, *target);
  if (!schedule) return schedule.takeError();
  if (options.dump_after == "select") return select::dump(*schedule, out), llvm::Error::success();
  llvm::Expected<memory::Layout> layout = memory::plan_layout(*program, *schedule, *target);
  if (!layout) return layout.takeError();
  if (options.dump_after == "memory") {
    return memory::dump(*program, *layout, out), llvm::Error::success();
  }

  report::Facts facts;
  facts.model = &*model;
  facts.target = &*target;
  facts.program = &*program;
  facts.schedule = &*schedule;
  facts.layout = &*layout;
  facts.kv_type_k = program_options.kv_type_k;
  facts.kv_type_v = program_options.kv_type_v;
  facts.weights_per_token = emit::weights_read_per_token(*program, target->is_host);
  facts.budget = report::make_budget(*layout, *target,
                                     options.budget.value_or(target->budget_bytes), options.reserve);
  if (!facts.budget.fits()) return does_not_fit(facts);  // before any long work

  emit::PlanInputs inputs;
  llvm::Expected<std::vector<uint8_t>> tokenizer = emit::build_tokenizer_segment(*file);
  if (!tokenizer) return tokenizer.takeError();
  std::vector<std::vector<uint8_t>> modules;
  if (!target->is_host) {
    llvm::Expected<std::vector<std::vector<uint8_t>>> code = compile_code(options, facts, inputs);
    if (!code) return code.takeError();
    modules = std::move(*code);
    for (const std::vector<uint8_t>& module : modules) facts.budget.code += module.size();
    if (!facts.budget.fits()) return does_not_fit(facts);
  }

  Progress progress("repacking weights");
  inputs.model = &*model;
  inputs.program = &*program;
  inputs.schedule = &*schedule;
  inputs.layout = &*layout;
  inputs.target = &*target;
  inputs.modules = &modules;
  inputs.end_tokens = end_tokens(*tokenizer, model->params.vocab_size);
  inputs.tokenizer = std::move(*tokenizer);
  inputs.kv_type_k = facts.kv_type_k;
  inputs.kv_type_v = facts.kv_type_v;
  inputs.options = provenance_options(facts, options.fuse, program_options.prefill_rows);
  inputs.progress = [&](uint64_t done, uint64_t total) { progress.update(done, total); };
  llvm::Expected<emit::PlanSizes> sizes = emit::write_plan(inputs, options.output);
  if (!sizes) return sizes.takeError();
  facts.output = options.output;
  facts.file_bytes = sizes->file_bytes;
  return print_report(options.report, facts, out);
}

}  // namespace jllm
