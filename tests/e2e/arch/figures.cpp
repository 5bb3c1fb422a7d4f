#include "tests/e2e/arch/figures.h"

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "schema/weight_type.h"

namespace jllm::arch {
namespace {

using nlohmann::json;

// Bounds on F32: both sides compute in f32; oracle_test.cpp works out what is left. llama.cpp looks
// GELU up in a table of halves (arch_test.cpp).
constexpr double kF32Bound = 1e-9, kGeluBound = 6e-7;
// Activations in two planes of 8 bits beside quantised weights: a block of 32 values in 2 * 127^2
// steps of its largest (2.5 deviations), evenly: 2.5 / 127^2 / sqrt(12) = 4.5e-5 of a deviation. Up
// to 29 products follow each other in seven layers of four and the head: their powers add up to
// 29 * 2e-9 = 6e-8 where all keep relative errors, and a softcapped or peaked attention may make it
// several times as much. Tiles of prompts on CUDA multiply halves: an activation rounded to one is
// off by 2^-11 / sqrt(3) = 2.8e-4, which adds 8e-8; a weight too, of which scale times code and
// minimum are rounded, that are twice its deviation each (codes of 0 to 15 have a mean square four
// times their variance): 4 * 8e-8. 29 products: 1.2e-5, twice that behind gates and attention.
constexpr double kHostBound = 4e-7, kCudaBound = 2.4e-5;

std::string short_number(double value) {
  if (value == 0) return "0";
  char text[32];
  std::snprintf(text, sizeof text, "%.0e", value);
  std::string result = text;  // 3e-07
  const size_t zero = result.find("e-0");
  if (zero != std::string::npos) result.erase(zero + 2, 1);
  return result;
}

std::string table(const Measured& measured, const std::map<std::string, Figures>& rows) {
  std::string text = "| model | architecture |", line = "|---|---|";
  for (const std::string& type : weight_types()) {
    text += " " + type + " |";
    line += "---|";
  }
  text += "\n" + line + "\n";
  for (const auto& [name, row] : rows) {
    text += "| " + name + " (" + row.like + ") | `" + row.architecture + "` |";
    const auto found = measured.models.find(name);
    for (const std::string& type : weight_types()) {
      const bool known = found != measured.models.end() && found->second.nmse.count(type) > 0;
      text += " " + (known ? short_number(found->second.nmse.at(type)) : "–") + " |";
    }
    text += "\n";
  }
  return text;
}

constexpr char kIntroduction[] =
    R"(# Models: what runs, and how exactly

Made by `build/tests/measure_archs`; do not edit. Each architecture is measured with tiny models of random weights that have the
ratios of a published one (`tests/e2e/arch/models.cpp`), each in every weight type. A figure is the worst normalised mean
square error of a row of logits (squared differences over squares) after tokens one by one and after a prompt.

- `f32` on the host: against llama.cpp's logits (`tests/golden/arch_logits`), within 1e-9; gemma within 6e-7, since llama.cpp looks
  GELU up in a table of halves.
- Other types on the host: against the same weights with all arithmetic in f32 (`--activations f32`). What is measured is the
  rounding of activations beside quantised weights (15 bits by default), not what quantising itself costs. Nought: the same path.
- Mixtures of experts, all but `f32` on the host: the row in the middle instead of the worst, and so one after a token, not after
  a prompt. Where two experts are nearly as good, rounding decides which of them a token is given to, and what follows differs
  at large (`docs/experts.md`). Their prompts are held to a bound on CUDA by `host_cuda_agreement_test`.
- CUDA: all types against the host with all arithmetic in f32. Prompts are multiplied in halves there.

Matrices whose rows a type's blocks do not divide, embeddings and outputs have the types that llama.cpp's quantiser would give
them.
)";

constexpr char kMaking[] =
    R"(
## Making it anew

```sh
build/tests/measure_archs host        # measures what the figures lack: a new architecture or type; --all: everything
build/tests/measure_archs cuda        # the same on a machine with a GPU, which needs NVRTC
```

Both keep their figures in `tests/golden/arch_errors/` and write this page. Where the machine with the GPU has no source tree,
`--out cuda.json` writes the figures alone; brought into that folder, the next `measure_archs host` shows them. A test checks that the page is made of these
figures, that every architecture and every weight type is among them, and that none is beyond its bound.
)";

}  // namespace

std::vector<std::string> weight_types() {
  std::vector<std::string> names;
  for (uint32_t id = 0; id < 64; ++id) {
    const auto type = static_cast<WeightType>(id);
    if (block_shape(type).elements != 0) names.emplace_back(weight_type_name(type));
  }
  return names;
}

double bound_of(const std::string& model, const std::string& type, bool cuda) {
  if (cuda) return type == "f32" ? kF32Bound : kCudaBound;
  if (type == "f32") return model.rfind("gemma", 0) == 0 ? kGeluBound : kF32Bound;
  return kHostBound;
}

Measured read_figures(const std::string& path) {
  Measured measured;
  std::ifstream in(path);
  if (!in) return measured;
  try {
    const json file = json::parse(in);
    measured.device = file.at("device");
    for (const auto& [name, model] : file.at("models").items()) {
      Figures& figures = measured.models[name];
      figures.architecture = model.at("architecture");
      figures.like = model.at("like");
      figures.nmse = model.at("nmse").get<std::map<std::string, double>>();
    }
  } catch (const json::exception& error) {
    throw std::runtime_error(path + ": " + error.what());
  }
  return measured;
}

void write_figures(const Measured& measured, const std::string& path) {
  json models;
  for (const auto& [name, figures] : measured.models) {
    json nmse;
    // Two digits are what a figure is worth.
    for (const auto& [type, value] : figures.nmse) {
      char text[32];
      std::snprintf(text, sizeof text, "%.1e", value);
      nmse[type] = std::stod(text);
    }
    models[name] = {{"architecture", figures.architecture}, {"like", figures.like}, {"nmse", nmse}};
  }
  std::ofstream out(path);
  out << json{{"device", measured.device}, {"models", models}}.dump(1) << "\n";
  if (!out.flush()) throw std::runtime_error(path + ": cannot be written");
}

std::string models_page(const Measured& host, const Measured& cuda) {
  std::string text = kIntroduction;
  text += "\n## Host (" + host.device + ")\n\n" + table(host, host.models);
  text += "\n## CUDA (" + (cuda.models.empty() ? "not measured yet" : cuda.device) + ")\n\n";
  if (!cuda.models.empty()) text += table(cuda, host.models);
  return text + kMaking;
}

}  // namespace jllm::arch
