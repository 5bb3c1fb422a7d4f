// jllmc compile: GGUF in, plan out.
#include "compiler/compile.h"

#include <llvm/Support/raw_ostream.h>

#include "compiler/support/error.h"
#include "tools/jllmc/commands.h"
#include "tools/jllmc/options.h"
#include "tools/jllmc/self_test.h"

namespace jllm::tool {
namespace {

namespace cl = llvm::cl;

cl::SubCommand command("compile", "compile a model for a device: GGUF in, plan out");

cl::opt<std::string> model_path(cl::Positional, cl::Required, cl::desc("MODEL.gguf"),
                                cl::sub(command), cl::cat(options_category()));
cl::opt<std::string> plan_path("o", cl::value_desc("PLAN.jllm"), cl::desc("the plan to write"),
                               cl::sub(command), cl::cat(options_category()));
cl::opt<std::string> target_name("target", cl::value_desc("NAME[@MODE]|FILE.json"),
                                 cl::init("host"),
                                 cl::desc("device to compile for (see jllmc targets; default: "
                                          "host)"),
                                 cl::sub(command), cl::cat(options_category()));
PlanArguments plan_arguments(command,
                             "positions of the KV cache (default: the model's own, at most 4096; "
                             "max: the largest that fits)");
cl::opt<std::string> nvrtc("nvrtc", cl::value_desc("PATH"),
                           cl::desc("NVRTC library, or a folder that holds one"), cl::sub(command),
                           cl::cat(options_category()));
cl::opt<std::string> chat_format(
    "chat-format", cl::value_desc("NAME"), cl::init("auto"),
    cl::desc(
        "template: the model's own chat template, reduced to a turn grammar and proven against "
        "python3's jinja2; FILE.jinja: the same with another template; none; or a built-in format: "
        "chatml, gemma, llama3, mistral, phi3, zephyr (default: auto, the template where that can "
        "be done)"),
    cl::sub(command), cl::cat(options_category()));
cl::opt<std::string> report_format("report", cl::value_desc("text|json"),
                                   cl::desc("print the memory budget and the kernels chosen"),
                                   cl::sub(command), cl::cat(options_category()));
cl::opt<std::string> dump_after("dump-after", cl::value_desc("STAGE"),
                                cl::desc("print a stage's result and stop: ir, passes, select, "
                                         "memory"),
                                cl::sub(command), cl::cat(options_category()));
cl::opt<bool> debug_info("debug-info",
                         cl::desc("keep in the plan how its code came to be: the kernels' sources, "
                                  "each stage's result"),
                         cl::sub(command), cl::cat(options_category()));
cl::opt<bool> no_kv_rotation(
    "no-kv-rotation",
    cl::desc("keys of a q4_0 cache without their rotation (to measure its worth)"),
    cl::sub(command), cl::cat(options_category()));
cl::opt<bool> no_fuse("no-fuse", cl::desc("one kernel per primitive operation (debugging)"),
                      cl::sub(command), cl::cat(options_category()));
cl::opt<bool> no_cache("no-cache", cl::desc("neither read nor write the cache of compiled kernels"),
                       cl::sub(command), cl::cat(options_category()));

cl::opt<std::string> activations(
    "activations", cl::value_desc("MODE"), cl::init("auto"),
    cl::desc("how activations are read beside quantised weights, on host targets too: f32 (exact, "
             "the slowest), q8 (8 bits, the fastest), q8r (15 bits) or auto (default: q8r)"),
    cl::sub(command), cl::cat(options_category()));
cl::opt<std::string> weights(
    "weights", cl::value_desc("TYPE"),
    cl::desc("quantise matrices that the file has as floats: q8_0, q6_k, q5_0, q4_k_m, q4_k, q4_0"),
    cl::sub(command), cl::cat(options_category()));
cl::list<std::string> adapters(
    "lora", cl::value_desc("FILE.gguf[:SCALE]"),
    cl::desc(
        "merge a LoRA adapter into the weights, SCALE times (default: 1); may be given several "
        "times"),
    cl::sub(command), cl::cat(options_category()));
cl::opt<std::string> importance(
    "imatrix", cl::value_desc("FILE"),
    cl::desc("importance matrix of llama-imatrix (GGUF or .dat): what quantising loses is weighed "
             "by it"),
    cl::sub(command), cl::cat(options_category()));
cl::opt<std::string> tuning_table(
    "tuning", cl::value_desc("FILE.json|none"),
    cl::desc("kernel variants as jllmc tune measured them (default: the built-in table for the "
             "target's kind of device, where there is one)"),
    cl::sub(command), cl::cat(options_category()));
cl::opt<bool> no_overlap("no-overlap", cl::Hidden,
                         cl::desc("kernels do not start before their predecessors end (debugging)"),
                         cl::sub(command), cl::cat(options_category()));
cl::opt<bool> split_weights(
    "split-weights",
    cl::desc("put the weights into a file of their own beside the plan, named by their hash; plans "
             "of one model share it (docs/updates.md)"),
    cl::sub(command), cl::cat(options_category()));
cl::opt<std::string> self_test(
    "selftest", cl::value_desc("auto|always|never"), cl::init("auto"),
    cl::desc("put a self-test into the plan, computed by the host backend here, for jllm selftest "
             "(default: auto, where the weights are at most 1 GiB)"),
    cl::sub(command), cl::cat(options_category()));
cl::opt<bool> emit_ptx(
    "emit-ptx", cl::Hidden,
    cl::desc("PTX in the place of machine code: for jllm --newer-device (tests)"), cl::sub(command),
    cl::cat(options_category()));

// --tuning: a table, or none of the built-in ones either.
llvm::Error parse_tuning(std::optional<tuning::Table>* table) {
  if (tuning_table.empty()) return llvm::Error::success();
  if (tuning_table == "none") {
    *table = tuning::Table();
    return llvm::Error::success();
  }
  llvm::Expected<tuning::Table> read = tuning::read(tuning_table);
  if (!read) return read.takeError();
  *table = std::move(*read);
  return llvm::Error::success();
}

llvm::Error parse_self_test(SelfTestChoice* choice) {
  if (self_test == "auto") {
    *choice = SelfTestChoice::kAuto;
  } else if (self_test == "always") {
    *choice = SelfTestChoice::kAlways;
  } else if (self_test == "never") {
    *choice = SelfTestChoice::kNever;
  } else {
    return fail(ExitCode::kUsage, "--selftest {0}: expected auto, always or never", self_test);
  }
  return llvm::Error::success();
}

llvm::Error fill_options(CompileOptions* options) {
  options->input = model_path;
  options->output = plan_path;
  options->target = target_name;
  options->nvrtc = nvrtc;
  options->chat_format = chat_format;
  options->dump_after = dump_after;
  options->debug_info = debug_info;
  options->weights = llvm::StringRef(weights).lower();
  llvm::Expected<std::vector<gguf::AdapterRequest>> requests = parse_adapters(adapters);
  if (!requests) return requests.takeError();
  options->importance = importance;
  options->adapters = std::move(*requests);
  options->desktop = plan_arguments.desktop();
  options->plan.fuse = !no_fuse;
  options->plan.select.overlap = !no_overlap;
  options->ptx = emit_ptx;
  options->split_weights = split_weights;
  options->make_self_test = make_self_test_segment;
  if (llvm::Error error = parse_self_test(&options->self_test)) return error;
  options->plan.rotate_keys = !no_kv_rotation;
  options->use_cache = !no_cache;
  if (options->output.empty() && options->dump_after.empty()) {
    return fail(ExitCode::kUsage, "where should the plan go? Say -o PLAN.jllm");
  }
  if (llvm::Error error =
          plan_arguments.fill(&options->plan, &options->budget, &options->context_max)) {
    return error;
  }
  if (llvm::Error error = parse_activations(activations, &options->plan.select.activations)) {
    return error;
  }
  if (llvm::Error error = parse_tuning(&options->plan.select.tuning)) return error;
  if (report_format.getNumOccurrences() > 0) {
    if (report_format == "json") {
      options->report = ReportFormat::kJson;
    } else if (report_format == "text") {
      options->report = ReportFormat::kText;
    } else {
      return fail(ExitCode::kUsage, "--report {0}: expected text or json", report_format);
    }
  }
  return llvm::Error::success();
}

llvm::Error run() {
  CompileOptions options;
  if (llvm::Error error = fill_options(&options)) return error;
  return compile(options, llvm::outs());
}

}  // namespace

const Command& compile_command() {
  static const Command entry = {command, run};
  return entry;
}

}  // namespace jllm::tool
