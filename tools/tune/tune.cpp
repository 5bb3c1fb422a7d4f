#include "tools/tune/tune.h"

#include <llvm/ADT/STLExtras.h>
#include <llvm/Support/FileSystem.h>
#include <llvm/Support/FormatVariadic.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <set>

#include "compiler/codegen/modules.h"
#include "compiler/gguf/file.h"
#include "compiler/gguf/requantise.h"
#include "compiler/support/error.h"
#include "compiler/support/output_file.h"
#include "compiler/support/progress.h"
#include "compiler/tuning/table.h"
#include "tools/tune/rig.h"

namespace jllm::tune {
namespace {

using kernels::Activations;
using kernels::GemvProblem;
using kernels::GemvVariant;
using llvm::formatv;

constexpr double kWorthwhile = 0.002;  // a smaller gain is noise
constexpr double kMeasureUs = 6000;    // one measurement
constexpr unsigned kShortlist = 3;     // candidates of a problem that are measured again
constexpr size_t kQuickLook = 12;      // candidates of a problem when time is short
constexpr double kLeastTokens = 2;     // of one measurement
constexpr unsigned kFirstLook = 2, kSecondLook = 9;  // measurements of a candidate

std::string text_of(const GemvVariant& v) {
  return formatv("{0}x{1} rows {2} split {3} in flight {4}", v.threads, v.blocks, v.rows, v.split,
                 v.in_flight);
}

std::string text_of(const GemvProblem& problem) {
  std::string types;
  for (const unsigned type : problem.types) {
    types += (types.empty() ? "" : ",");
    types += weight_type_name(static_cast<WeightType>(type));
  }
  return formatv("{0} {1} {2} {3}x{4}", problem.kernel, types,
                 tuning::activations_name(problem.mode), problem.n, problem.k);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
    size += double(b[i]) * b[i];
  }
  return std::sqrt(difference / size);  // NaN for NaN: within no bound
}

// One problem of the model: what was tried and what is best so far.
struct Site {
  GemvProblem problem;
  GemvVariant untuned, best;
  uint32_t launches = 0;  // per token
  std::vector<GemvVariant> tried, leading;
  double gain = 0;  // of `best` over `untuned`, as a share of a token's time
};

struct Candidate {
  size_t site = 0;
  GemvVariant variant;
  PlannedModel planned;
  double ratio = 1;  // token time over that of the best so far
};

class Tuner {
 public:
  Tuner(const TuneOptions& options, const gguf::File& file, target::Target target, Rig& rig,
        const Nvrtc& nvrtc)
      : options_(options), file_(file), target_(std::move(target)), rig_(rig), nvrtc_(nvrtc) {}

  llvm::Expected<tuning::Table> run(llvm::raw_ostream& out) {
    if (llvm::Error error = start()) return error;
    const auto first = [&](const Site& site) {
      std::vector<GemvVariant> variants = kernels::legal_variants(site.problem);
      if (!options_.quick) return variants;
      llvm::stable_sort(variants, [&](const GemvVariant& a, const GemvVariant& b) {
        return kernels::cost(site.problem, a, target_.sm_count) <
               kernels::cost(site.problem, b, target_.sm_count);
      });
      if (variants.size() > kQuickLook) variants.resize(kQuickLook);
      return variants;
    };
    if (llvm::Error error = search(first)) return error;
    // The fastest with more or less in flight.
    const auto second = [](const Site& site) {
      std::vector<GemvVariant> variants;
      for (const GemvVariant& leading : site.leading) {
        llvm::append_range(variants, kernels::in_flight_variants(site.problem, leading));
      }
      return variants;
    };
    if (llvm::Error error = search(second)) return error;
    llvm::Expected<double> gained = compare_all();
    if (!gained) return gained.takeError();
    print(out, *gained);
    return table();
  }

 private:
  // The plan with every site's best, but `variant` at one site.
  llvm::Expected<PlannedModel> plan(const Site* changed, const GemvVariant& variant) {
    PlanOptions options = options_.plan;
    options.embeds = false;  // what is measured is decoding
    tuning::Table table;
    table.compute_capability = target_.compute_capability;
    table.sm_count = target_.sm_count;
    for (const Site& site : sites_) {
      table.entries.push_back({site.problem, &site == changed ? variant : site.best, 0, 0});
    }
    options.select.tuning = std::move(table);
    return plan_model(file_, target_, options);
  }

  static const select::ScheduledGraph* decode(const PlannedModel& planned) {
    return &*llvm::find_if(planned.schedule.graphs, [](const select::ScheduledGraph& graph) {
      return graph.kind == ir::GraphKind::kDecode;
    });
  }

  llvm::Error start() {
    llvm::Expected<PlannedModel> planned = plan(nullptr, {});
    if (!planned) return planned.takeError();
    for (const select::Launch& launch : decode(*planned)->launches) {
      const std::optional<select::GemvChoice>& gemv = planned->schedule.kernels[launch.kernel].gemv;
      if (!gemv) continue;
      auto site = llvm::find_if(sites_, [&](const Site& s) { return s.problem == gemv->problem; });
      if (site == sites_.end()) {
        sites_.push_back({gemv->problem, gemv->variant, gemv->variant, 0, {gemv->variant}, {}, 0});
        site = sites_.end() - 1;
      }
      ++site->launches;
    }
    Progress progress("uploading weights");
    if (llvm::Error error = rig_.load(
            *planned, [&](uint64_t done, uint64_t total) { progress.update(done, total); })) {
      return error;
    }
    if (llvm::Error error = compile({&*planned})) return error;
    llvm::Expected<cuda::GraphExec> graph = rig_.capture(*planned);
    if (!graph) return graph.takeError();
    untuned_graph_ = *graph;
    llvm::Expected<std::vector<float>> logits = rig_.logits(untuned_graph_);
    if (!logits) return logits.takeError();
    expected_ = std::move(*logits);
    llvm::Expected<double> first = rig_.time(untuned_graph_, 4);
    if (!first) return first.takeError();
    tokens_ = static_cast<uint32_t>(std::clamp(kMeasureUs / *first, kLeastTokens, 200.0));
    tokens_ = std::min(tokens_, planned->program.context - 1);
    return llvm::Error::success();
  }

  // Compiles and loads what the rig has not got yet.
  llvm::Error compile(const std::vector<const PlannedModel*>& plans) {
    select::Schedule missing;
    std::set<std::pair<std::string, std::vector<std::string>>> seen;
    for (const PlannedModel* planned : plans) {
      for (const select::Launch& launch : decode(*planned)->launches) {
        const select::KernelSpec& kernel = planned->schedule.kernels[launch.kernel];
        if (rig_.has(kernel) || !seen.insert({kernel.name, kernel.defines}).second) continue;
        missing.kernels.push_back(kernel);
      }
    }
    if (missing.kernels.empty()) return llvm::Error::success();
    Progress progress("compiling kernels");
    codegen::ModuleOptions options;
    options.arch = target_.compute_capability;
    options.ptx = options_.newer_device;
    options.cache_dir = codegen::default_cache_dir();
    options.progress = [&](size_t done, size_t total) { progress.update(done, total); };
    llvm::Expected<std::vector<std::vector<uint8_t>>> code =
        codegen::compile_modules(missing, nvrtc_, options);
    if (!code) return code.takeError();
    for (size_t i = 0; i < missing.kernels.size(); ++i) {
      if (llvm::Error error = rig_.add(missing.kernels[i], (*code)[i])) return error;
    }
    return llvm::Error::success();
  }

  // A variant computes the same: the same bits where no split differs from the untuned one.
  llvm::Error check(cuda::GraphExec graph, const Candidate& candidate) {
    llvm::Expected<std::vector<float>> logits = rig_.logits(graph);
    if (!logits) return logits.takeError();
    bool same_order = true;
    for (size_t i = 0; i < sites_.size(); ++i) {
      const GemvVariant& v = i == candidate.site ? candidate.variant : sites_[i].best;
      same_order &= v.split == sites_[i].untuned.split;
    }
    if (same_order && *logits == expected_) return llvm::Error::success();
    size_t launches = 0;
    Activations mode = Activations::kExact;
    for (const Site& site : sites_) {
      launches += site.launches;
      if (site.problem.mode == Activations::kExact || mode == Activations::kInt8) continue;
      mode = site.problem.mode;
    }
    const double off = distance(*logits, expected_), bound = tolerance(mode, launches);
    if (!same_order && off <= bound) return llvm::Error::success();
    return fail(
        ExitCode::kFailed,
        "{0} with {1} computes something else: logits are off by {2:e2}{3}; please report this",
        text_of(sites_[candidate.site].problem), text_of(candidate.variant), off,
        same_order ? ", and should be the same bits" : formatv(", {0:e2} is allowed", bound).str());
  }

  // Token time of `graph` over that of `base`, measured in turns.
  llvm::Expected<double> ratio(cuda::GraphExec graph, cuda::GraphExec base, unsigned times) {
    std::vector<double> mine, others;
    for (unsigned i = 0; i < times; ++i) {
      for (const auto& [which, list] : {std::pair(base, &others), std::pair(graph, &mine)}) {
        llvm::Expected<double> us = rig_.time(which, tokens_);
        if (!us) return us.takeError();
        list->push_back(*us);
      }
    }
    base_us_ = median(others);
    return median(mine) / base_us_;
  }

  llvm::Error measure(Candidate& candidate, cuda::GraphExec base, unsigned times) {
    llvm::Expected<cuda::GraphExec> graph = rig_.capture(candidate.planned);
    if (!graph) return graph.takeError();
    llvm::Error error = check(*graph, candidate);
    if (!error) {
      llvm::Expected<double> result = ratio(*graph, base, times);
      if (result) {
        candidate.ratio = *result;
      } else {
        error = result.takeError();
      }
    }
    rig_.release(*graph);
    return error;
  }

  using Choices = llvm::function_ref<std::vector<GemvVariant>(const Site&)>;

  llvm::Expected<std::vector<Candidate>> candidates(Choices choices) {
    std::vector<Candidate> out;
    for (size_t i = 0; i < sites_.size(); ++i) {
      Site& site = sites_[i];
      for (const GemvVariant& variant : choices(site)) {
        if (llvm::is_contained(site.tried, variant)) continue;
        site.tried.push_back(variant);
        llvm::Expected<PlannedModel> planned = plan(&site, variant);
        if (!planned) return planned.takeError();
        out.push_back({i, variant, std::move(*planned), 1});
      }
    }
    return out;
  }

  // Measures these variants of every site, all others being the best so far, and makes the fastest
  // of each site its best.
  llvm::Error search(Choices choices) {
    llvm::Expected<PlannedModel> best_plan = plan(nullptr, {});
    if (!best_plan) return best_plan.takeError();
    llvm::Expected<std::vector<Candidate>> found = candidates(choices);
    if (!found) return found.takeError();
    std::vector<const PlannedModel*> plans = {&*best_plan};
    for (const Candidate& candidate : *found) plans.push_back(&candidate.planned);
    if (llvm::Error error = compile(plans)) return error;
    llvm::Expected<cuda::GraphExec> base = rig_.capture(*best_plan);
    if (!base) return base.takeError();
    llvm::errs() << formatv("{0} variants of {1} kernels\n", found->size(), sites_.size());
    llvm::Error error = llvm::Error::success();
    for (size_t i = 0; i < sites_.size() && !error; ++i) error = improve(i, *found, *base);
    rig_.release(*base);
    return error;
  }

  llvm::Error improve(size_t index, std::vector<Candidate>& all, cuda::GraphExec base) {
    Site& site = sites_[index];
    std::vector<Candidate*> own;
    for (Candidate& candidate : all) {
      if (candidate.site != index) continue;
      if (llvm::Error error = measure(candidate, base, kFirstLook)) return error;
      own.push_back(&candidate);
      llvm::errs() << formatv("  {0,-44} {1,-38} {2:F1} us, {3}{4:F2} %\n", text_of(site.problem),
                              text_of(candidate.variant), base_us_ * candidate.ratio,
                              candidate.ratio < 1 ? "" : "+", 100 * (candidate.ratio - 1));
    }
    const auto faster = [](const Candidate* a, const Candidate* b) { return a->ratio < b->ratio; };
    llvm::sort(own, faster);
    if (own.size() > kShortlist) own.resize(kShortlist);
    site.leading.clear();
    for (Candidate* candidate : own) {
      site.leading.push_back(candidate->variant);
      if (candidate->ratio > 1) continue;
      if (llvm::Error error = measure(*candidate, base, kSecondLook)) return error;
    }
    llvm::sort(own, faster);
    if (own.empty() || own[0]->ratio > 1 - kWorthwhile) return llvm::Error::success();
    site.best = own[0]->variant;
    site.gain += 1 - own[0]->ratio;
    return llvm::Error::success();
  }

  // All sites' best against all untuned.
  llvm::Expected<double> compare_all() {
    llvm::Expected<PlannedModel> planned = plan(nullptr, {});
    if (!planned) return planned.takeError();
    if (llvm::Error error = compile({&*planned})) return error;
    llvm::Expected<cuda::GraphExec> graph = rig_.capture(*planned);
    if (!graph) return graph.takeError();
    llvm::Expected<double> result = ratio(*graph, untuned_graph_, kSecondLook);
    rig_.release(*graph);
    rig_.release(untuned_graph_);
    return result;
  }

  tuning::Table table() const {
    tuning::Table out;
    out.compute_capability = target_.compute_capability;
    out.sm_count = target_.sm_count;
    char date[16] = "";
    const std::time_t now = std::time(nullptr);
    std::strftime(date, sizeof date, "%Y-%m-%d", std::gmtime(&now));
    out.source = formatv("{0}, {1}, code for sm_{2}: {3}", date, rig_.facts().name,
                         target_.compute_capability, file_.path().rsplit('/').second);
    for (const Site& site : sites_) {
      out.entries.push_back({site.problem, site.best, base_us_ * (1 - site.gain), base_us_});
    }
    return out;
  }

  void print(llvm::raw_ostream& out, double gained) const {
    out << formatv("{0,-48} {1,8}  {2,-40} {3,-40} {4}\n", "kernel", "launches", "cost model",
                   "measured best", "token");
    for (const Site& site : sites_) {
      out << formatv("{0,-48} {1,8}  {2,-40} {3,-40} {4:F2} %\n", text_of(site.problem),
                     site.launches, text_of(site.untuned), text_of(site.best), -100 * site.gain);
    }
    out << formatv("a token: {0:F1} us, was {1:F1} us ({2:F2} %)\n", base_us_ * gained, base_us_,
                   100 * (gained - 1));
  }

  const TuneOptions& options_;
  const gguf::File& file_;
  const target::Target target_;
  Rig& rig_;
  const Nvrtc& nvrtc_;
  std::vector<Site> sites_;
  std::vector<float> expected_;
  cuda::GraphExec untuned_graph_ = nullptr;
  uint32_t tokens_ = 0;  // of one measurement
  double base_us_ = 0;   // a token of the plan that the last measurement compared with
};

llvm::Error check_target(const target::Target& target) {
  if (target.is_host) {
    return fail(ExitCode::kUsage, "the host backend has no variants to tune; name a GPU's target");
  }
  return target::check_compilable(target);
}

llvm::Error check_device(const TuneOptions& options, const DeviceFacts& facts,
                         target::Target* target) {
  const uint32_t found = facts.compute_capability, wanted = target->compute_capability;
  if (found != wanted && !(options.newer_device && found > wanted)) {
    return fail(
        ExitCode::kDevice,
        "this is {0} (sm_{1}), and {2} is sm_{3}: tune on such a device, or name the target "
        "of this one",
        facts.name, found, target->name, wanted);
  }
  // The table is for the device at hand, whatever the target says of others of its kind.
  if (!options.newer_device) target->sm_count = facts.sm_count;
  return llvm::Error::success();
}

// What is at `path` already: a table of the same class, to which this model's entries are added.
llvm::Expected<tuning::Table> earlier_table(const std::string& path, const target::Target& target) {
  if (path.empty() || !llvm::sys::fs::exists(path)) return tuning::Table();
  llvm::Expected<tuning::Table> table = tuning::read(path);
  if (!table) return table.takeError();
  if (table->made_for(target.compute_capability, target.sm_count)) return table;
  return fail(ExitCode::kUsage,
              "{0} is a table for devices of compute capability {1} with {2} multiprocessors: name "
              "another file",
              path, table->compute_capability, table->sm_count);
}

// The table with entries of the earlier one for other problems.
tuning::Table merged(tuning::Table table, const tuning::Table& earlier) {
  for (const tuning::Entry& entry : earlier.entries) {
    if (table.find(entry.problem) == nullptr) table.entries.push_back(entry);
  }
  if (!earlier.source.empty()) table.source = earlier.source + "; " + table.source;
  return table;
}

llvm::Error save(const tuning::Table& table, const std::string& path) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  tuning::write(table, stream);
  llvm::Expected<OutputFile> file = OutputFile::create(path);
  if (!file) return file.takeError();
  if (llvm::Error error = file->write(text.data(), text.size())) return error;
  return file->commit();
}

}  // namespace

double tolerance(kernels::Activations mode, size_t launches) {
  // What rounding in one launch moves the result by, relatively. In a byte image, of which the
  // largest value of a sub-block has 127 or 127 * 254 steps and a usual one a third of them, a
  // value may come to another step. f32 sums round at 2^-24, but what stands between two values of
  // an f16 cache may come to the other one, half of 2^-11 away on average.
  const double step = mode == Activations::kInt8       ? 3.0 / 127
                      : mode == Activations::kInt8Pair ? 3.0 / (127 * 254)
                                                       : 0x1p-12;
  return step * std::sqrt(double(launches));
}

llvm::Error tune(const TuneOptions& options, llvm::raw_ostream& out) {
  llvm::Expected<target::Target> target = target::find(options.target);
  if (!target) return target.takeError();
  if (llvm::Error error = check_target(*target)) return error;
  Rig rig;
  if (llvm::Error error = rig.open()) return error;
  if (llvm::Error error = check_device(options, rig.facts(), &*target)) return error;
  llvm::Expected<gguf::File> file = gguf::open_weights(options.input);
  if (!file) return file.takeError();
  NvrtcSearchOptions search;
  search.explicit_path = options.nvrtc;
  search.max_major = static_cast<int>(rig.facts().driver_major);
  search.arch = target->compute_capability;
  llvm::Expected<Nvrtc> nvrtc = Nvrtc::open(search);
  if (!nvrtc) return nvrtc.takeError();
  llvm::Expected<tuning::Table> earlier = earlier_table(options.output, *target);
  if (!earlier) return earlier.takeError();
  llvm::Expected<tuning::Table> table = Tuner(options, *file, *target, rig, *nvrtc).run(out);
  if (!table) return table.takeError();
  if (options.output.empty()) return llvm::Error::success();
  return save(merged(std::move(*table), *earlier), options.output);
}

}  // namespace jllm::tune
