// measure_archs host|cuda [--all] [--out FILE]: measures the errors that docs/models.md shows, as
// far as they are not known yet, and writes that page; with --out only the figures, to FILE.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <string>

#include "compiler/gguf/file.h"
#include "tests/e2e/arch/figures.h"
#include "tests/e2e/arch/models.h"
#include "tests/e2e/oracle/golden.h"
#include "tests/support/files.h"
#include "tests/support/gpu.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace {

using namespace jllm;
using arch::ArchModel;
using arch::Figures;
using arch::Measured;

const char kFigures[] = JLLM_SOURCE_DIR "/tests/golden/arch_errors/";
const char kPage[] = JLLM_SOURCE_DIR "/docs/models.md";
constexpr uint32_t kTokens = 48;

// Logits behind every token, then those behind all of them as a prompt.
std::vector<test::Logits> logits_of(const std::vector<uint8_t>& bytes, const test::Tokens& tokens) {
  const test::PlanInMemory plan(bytes);
  if (plan.error != Error::kOk) throw std::runtime_error(plan.message);
  test::RunningPlan executor(plan);
  if (!executor.ok()) throw std::runtime_error(executor.create_message);
  std::vector<test::Logits> result = executor.force_all(tokens);
  executor.rewind(0);
  executor.prefill(tokens);
  executor.step();
  result.push_back(executor.logits());
  return result;
}

CompileOptions options_for(const std::string& target) {
  CompileOptions options;
  options.target = target;
  options.plan.kv_k = options.plan.kv_v = WeightType::kF32;
  options.plan.prefill_chunk = 32;
  return options;
}

double worst(const std::vector<test::Logits>& expected, const std::vector<test::Logits>& got) {
  double result = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = oracle::nmse(expected[i], got[i]);
    if (!(error <= result)) result = error;
  }
  return result;
}

double against_llama_cpp(const ArchModel& model) {
  const oracle::Golden golden =
      oracle::read_golden(JLLM_SOURCE_DIR "/tests/golden/arch_logits/" + model.name + ".json");
  const std::vector<uint8_t> bytes = test::plan_bytes(model.model, options_for("host"));
  double result = 0;
  for (const auto& [position, expected] : golden.logits) {
    const test::Tokens tokens(golden.tokens.begin(), golden.tokens.begin() + position + 1);
    const std::vector<test::Logits> got = logits_of(bytes, tokens);
    result = std::max(result, worst({expected, expected}, {got[position], got.back()}));
  }
  return result;
}

// Where two experts are nearly as good, rounding decides which of them a token is given to, and
// what follows differs at large: of a mixture the row in the middle tells how exactly it computes.
double median(const std::vector<test::Logits>& expected, const std::vector<test::Logits>& got) {
  std::vector<double> errors;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = oracle::nmse(expected[i], got[i]);
    errors.push_back(std::isnan(error) ? HUGE_VAL : error);
  }
  std::sort(errors.begin(), errors.end());
  return errors[errors.size() / 2];
}

double against_f32(const synth::SynthOptions& model, const std::string& target) {
  CompileOptions exact = options_for("host");
  exact.plan.select.activations = select::ActivationMode::kF32;
  const test::Tokens tokens = test::random_tokens(kTokens, 512, 5);
  const std::vector<test::Logits> expected = logits_of(test::plan_bytes(model, exact), tokens);
  const std::vector<test::Logits> got =
      logits_of(test::plan_bytes(model, options_for(target)), tokens);
  return model.experts > 0 ? median(expected, got) : worst(expected, got);
}

std::string architecture_of(const ArchModel& model) {
  const test::TempDir folder;
  arch::write_model(model, folder.file("model.gguf"));
  const gguf::File file = llvm::cantFail(gguf::File::open(folder.file("model.gguf")));
  return llvm::cantFail(file.get_string("general.architecture")).str();
}

void measure(bool cuda, const std::string& path, bool all) {
  const std::string target = cuda ? test::gpu_target() : "host";
  Measured measured = all ? Measured() : arch::read_figures(path);
  measured.device = cuda ? target : "x86-64";
  for (const ArchModel& model : arch::arch_models()) {
    Figures& figures = measured.models[model.name];
    figures.architecture = architecture_of(model);
    figures.like = model.model.like;
    for (const std::string& type : arch::weight_types()) {
      if (figures.nmse.count(type) > 0) continue;
      synth::SynthOptions typed = arch::widened(model.model);
      typed.type = type;
      figures.nmse[type] =
          !cuda && type == "f32" ? against_llama_cpp(model) : against_f32(typed, target);
      std::printf("%s %s %.1e\n", model.name.c_str(), type.c_str(), figures.nmse[type]);
      std::fflush(stdout);
    }
    arch::write_figures(measured, path);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string backend = argc > 1 ? argv[1] : "";
  bool all = false, write_page = true, usage = backend != "host" && backend != "cuda";
  std::string path = kFigures + backend + ".json";
  for (int i = 2; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--all") {
      all = true;
    } else if (argument == "--out" && i + 1 < argc) {
      path = argv[++i];
      write_page = false;
    } else {
      usage = true;
    }
  }
  if (usage) {
    std::fprintf(stderr, "usage: measure_archs host|cuda [--all] [--out FILE]\n");
    return 2;
  }
  try {
    if (backend == "cuda" && !test::no_gpu_reason().empty()) {
      throw std::runtime_error(test::no_gpu_reason());
    }
    measure(backend == "cuda", path, all);
    if (!write_page) return 0;
    std::ofstream page(kPage);
    page << arch::models_page(arch::read_figures(std::string(kFigures) + "host.json"),
                              arch::read_figures(std::string(kFigures) + "cuda.json"));
    if (!page.flush()) throw std::runtime_error(std::string(kPage) + ": cannot be written");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "measure_archs: %s\n", error.what());
    return 1;
  }
}
