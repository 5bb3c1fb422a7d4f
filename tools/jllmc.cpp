// jllmc: compiles a GGUF model ahead of time for one device. Options only; the work is in compiler/.
#include <llvm/ADT/StringExtras.h>
#include <llvm/Support/CommandLine.h>
#include <llvm/Support/raw_ostream.h>

#include <cstdlib>

#include "compiler/compile.h"
#include "compiler/report/report.h"
#include "compiler/support/error.h"
#include "compiler/support/progress.h"
#include "compiler/synth/synth.h"
#include "compiler/target/show.h"
#include "compiler/target/target.h"
#include "jllm_version.h"

namespace {

using jllm::ExitCode;
namespace cl = llvm::cl;

cl::OptionCategory options_category("Options");

cl::SubCommand compile_command("compile", "compile a model for a device: GGUF in, plan out");
cl::SubCommand targets_command("targets",
                               "list the devices that are known by name, or show one");
cl::SubCommand synth_command("synth", "write a model of true shape with random weights, for tests and benches");

// --- compile ---------------------------------------------------------------------------------------
cl::opt<std::string> model_path(cl::Positional, cl::Required, cl::desc("MODEL.gguf"),
                                cl::sub(compile_command), cl::cat(options_category));
cl::opt<std::string> plan_path("o", cl::value_desc("PLAN.jllm"), cl::desc("the plan to write"),
                               cl::sub(compile_command), cl::cat(options_category));
cl::opt<std::string> target_name("target", cl::value_desc("NAME[@MODE]|FILE.json"), cl::init("host"),
                                 cl::desc("device to compile for (see jllmc targets; default: host)"),
                                 cl::sub(compile_command), cl::cat(options_category));
cl::opt<std::string> context("context", cl::value_desc("N|max"),
                             cl::desc("positions of the KV cache (default: the model's own, at most 4096; "
                                      "max: the largest that fits)"),
                             cl::sub(compile_command), cl::cat(options_category));
cl::opt<std::string> kv("kv", cl::value_desc("TYPE"),
                        cl::desc("type of the KV cache: f16 or f32 (default: f16, on host f32)"),
                        cl::sub(compile_command), cl::cat(options_category));
cl::opt<std::string> kv_k("kv-k", cl::value_desc("TYPE"), cl::desc("type of the K cache alone"),
                          cl::sub(compile_command), cl::cat(options_category));
cl::opt<std::string> kv_v("kv-v", cl::value_desc("TYPE"), cl::desc("type of the V cache alone"),
                          cl::sub(compile_command), cl::cat(options_category));
cl::opt<unsigned> prefill_chunk("prefill-chunk", cl::value_desc("N"),
                                cl::desc("tokens of a prompt that are computed at once"),
                                cl::sub(compile_command), cl::cat(options_category));
cl::opt<std::string> budget("budget", cl::value_desc("SIZE"),
                            cl::desc("memory that the plan may take, e.g. 3.5G (default: the target's)"),
                            cl::sub(compile_command), cl::cat(options_category));
cl::opt<bool> desktop("desktop", cl::desc("budget of a system with a desktop instead of a headless one"),
                      cl::sub(compile_command), cl::cat(options_category));
cl::opt<std::string> reserve("reserve", cl::value_desc("SIZE"),
                             cl::desc("memory to keep free within the budget"),
                             cl::sub(compile_command), cl::cat(options_category));
cl::opt<std::string> nvrtc("nvrtc", cl::value_desc("PATH"),
                           cl::desc("NVRTC library, or a folder that holds one"),
                           cl::sub(compile_command), cl::cat(options_category));
cl::opt<std::string> report("report", cl::value_desc("text|json"),
                            cl::desc("print the memory budget and the kernels chosen"),
                            cl::sub(compile_command), cl::cat(options_category));
cl::opt<std::string> dump_after("dump-after", cl::value_desc("STAGE"),
                                cl::desc("print a stage's result and stop: ir, passes, select, memory"),
                                cl::sub(compile_command), cl::cat(options_category));
cl::opt<bool> no_fuse("no-fuse", cl::desc("one kernel per primitive operation (debugging)"),
                      cl::sub(compile_command), cl::cat(options_category));
cl::opt<bool> no_cache("no-cache", cl::desc("neither read nor write the cache of compiled kernels"),
                       cl::sub(compile_command), cl::cat(options_category));

// --- targets ---------------------------------------------------------------------------------------
cl::opt<std::string> shown_target(cl::Positional, cl::desc("[NAME|FILE.json]"),
                                  cl::sub(targets_command), cl::cat(options_category));
cl::opt<bool> targets_json("json", cl::desc("print JSON"), cl::sub(targets_command),
                           cl::cat(options_category));

// --- synth -----------------------------------------------------------------------------------------
cl::opt<std::string> like("like", cl::value_desc("NAME"), cl::Required,
                          cl::desc("shape to imitate, e.g. llama-3.2-1b (an unknown name lists all)"),
                          cl::sub(synth_command), cl::cat(options_category));
cl::opt<std::string> synth_type("type", cl::value_desc("TYPE"), cl::init("q4_k_m"),
                                cl::desc("weight type or mix (default: q4_k_m)"),
                                cl::sub(synth_command), cl::cat(options_category));
cl::opt<unsigned> layers("layers", cl::value_desc("N"), cl::desc("layers (default: as the model has)"),
                         cl::sub(synth_command), cl::cat(options_category));
cl::opt<unsigned long long> seed("seed", cl::value_desc("N"), cl::init(0), cl::desc("seed of the weights"),
                                 cl::sub(synth_command), cl::cat(options_category));
cl::opt<std::string> synth_path("o", cl::value_desc("OUT.gguf"), cl::Required,
                                cl::desc("the file to write"), cl::sub(synth_command),
                                cl::cat(options_category));

// "512M", "3.5G", "1000000"; binary multiples.
llvm::Expected<uint64_t> parse_size(llvm::StringRef option, llvm::StringRef text) {
  llvm::StringRef digits = text;
  double factor = 1;
  if (!digits.empty() && (digits.back() == 'i' || digits.back() == 'B')) digits = digits.drop_back();
  if (!digits.empty() && digits.back() == 'i') digits = digits.drop_back();
  const llvm::StringRef units = "KMGT";
  if (!digits.empty() && units.find(llvm::toUpper(digits.back())) != llvm::StringRef::npos) {
    for (size_t i = 0; i <= units.find(llvm::toUpper(digits.back())); ++i) factor *= 1024;
    digits = digits.drop_back();
  }
  double value = 0;
  if (digits.empty() || digits.getAsDouble(value) || !(value >= 0) || value * factor > 1e15) {
    return jllm::fail(ExitCode::kUsage, "--{0} {1}: expected a size such as 512M or 3.5G", option, text);
  }
  return static_cast<uint64_t>(value * factor);
}

llvm::Expected<std::optional<jllm::WeightType>> parse_kv(llvm::StringRef text) {
  if (text.empty()) return std::nullopt;
  if (text == "f16") return jllm::WeightType::kF16;
  if (text == "f32") return jllm::WeightType::kF32;
  return jllm::fail(ExitCode::kUnsupported, "KV cache type '{0}' is not supported; supported: f16, f32",
                    text);
}

llvm::Error fill_options(jllm::CompileOptions* options) {
  options->input = model_path;
  options->output = plan_path;
  options->target = target_name;
  options->nvrtc = nvrtc;
  options->dump_after = dump_after;
  options->desktop = desktop;
  options->plan.fuse = !no_fuse;
  options->use_cache = !no_cache;
  options->plan.prefill_chunk = prefill_chunk;
  if (options->output.empty() && options->dump_after.empty()) {
    return jllm::fail(ExitCode::kUsage, "where should the plan go? Say -o PLAN.jllm");
  }
  if (context == "max") {
    options->context_max = true;
  } else if (!context.empty()) {
    unsigned n = 0;
    if (llvm::StringRef(context).getAsInteger(10, n) || n == 0) {
      return jllm::fail(ExitCode::kUsage, "--context {0}: expected a number above 0, or max", context);
    }
    options->plan.context = n;
  }
  for (const auto& [text, slot] : {std::pair(kv_k.empty() ? kv.getValue() : kv_k.getValue(), &options->plan.kv_k),
                                   std::pair(kv_v.empty() ? kv.getValue() : kv_v.getValue(), &options->plan.kv_v)}) {
    llvm::Expected<std::optional<jllm::WeightType>> type = parse_kv(text);
    if (!type) return type.takeError();
    *slot = *type;
  }
  if (!budget.empty()) {
    llvm::Expected<uint64_t> bytes = parse_size("budget", budget);
    if (!bytes) return bytes.takeError();
    options->budget.limit = *bytes;
  }
  if (!reserve.empty()) {
    llvm::Expected<uint64_t> bytes = parse_size("reserve", reserve);
    if (!bytes) return bytes.takeError();
    options->budget.reserve = *bytes;
  }
  if (report.getNumOccurrences() > 0) {
    if (report == "json") {
      options->report = jllm::ReportFormat::kJson;
    } else if (report == "text") {
      options->report = jllm::ReportFormat::kText;
    } else {
      return jllm::fail(ExitCode::kUsage, "--report {0}: expected text or json", report);
    }
  }
  return llvm::Error::success();
}

llvm::Error run_compile() {
  jllm::CompileOptions options;
  if (llvm::Error error = fill_options(&options)) return error;
  return jllm::compile(options, llvm::outs());
}

llvm::Error run_targets() {
  std::vector<std::string> names = {shown_target};
  if (shown_target.empty()) names = jllm::target::builtin_names();
  std::vector<jllm::target::Description> devices;
  for (const std::string& name : names) {
    llvm::Expected<jllm::target::Description> device = jllm::target::describe(name);
    if (!device) return device.takeError();
    devices.push_back(std::move(*device));
  }
  if (targets_json) {
    jllm::target::print_json(devices, llvm::outs());
  } else if (shown_target.empty()) {
    jllm::target::print_list(devices, llvm::outs());
  } else {
    jllm::target::print_details(devices.front(), llvm::outs());
  }
  return llvm::Error::success();
}

llvm::Error run_synth() {
  jllm::synth::SynthOptions options;
  options.like = like;
  options.type = synth_type;
  options.layers = layers;
  options.seed = seed;
  jllm::Progress progress("writing random weights");
  return jllm::synth::synthesise(options, synth_path, [&](uint64_t done, uint64_t total) {
    progress.update(done, total);
  });
}

void print_version(llvm::raw_ostream& os) { os << "jllmc " JLLM_VERSION "\n"; }

}  // namespace

int main(int argc, char** argv) {
  cl::SetVersionPrinter(print_version);
  cl::HideUnrelatedOptions(options_category, compile_command);
  cl::HideUnrelatedOptions(options_category, synth_command);
  cl::HideUnrelatedOptions(options_category, targets_command);
  const char* overview =
      "compiles a language model (GGUF) ahead of time for one device\n\n"
      "  jllmc compile MODEL.gguf --target orin-nano-8gb -o PLAN.jllm --report text\n"
      "  jllmc compile MODEL.gguf --target host -o PLAN.jllm && jllm run PLAN.jllm -p \"Hello\"\n\n"
      "exit codes: 0 done, 1 failed, 2 usage, 3 does not fit, 4 invalid file, 5 unsupported, 6 device\n";
  if (!cl::ParseCommandLineOptions(argc, argv, overview, &llvm::errs())) {
    return static_cast<int>(ExitCode::kUsage);
  }
  llvm::Error error = llvm::Error::success();
  if (compile_command) {
    error = run_compile();
  } else if (targets_command) {
    error = run_targets();
  } else if (synth_command) {
    error = run_synth();
  } else {
    error = jllm::fail(ExitCode::kUsage, "which command? jllmc --help lists them");
  }
  if (!error) return static_cast<int>(ExitCode::kDone);
  const auto [code, text] = jllm::take_error(std::move(error));
  llvm::errs() << "jllmc: " << text << "\n";
  return static_cast<int>(code);
}
