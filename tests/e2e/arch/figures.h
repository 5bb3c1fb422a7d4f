// Measured errors of every architecture in every weight type, and docs/models.md, which shows them.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace jllm::arch {

// Of one tiny model on one backend.
struct Figures {
  std::string architecture;            // general.architecture
  std::string like;                    // the published model whose ratios it has
  std::map<std::string, double> nmse;  // by weight type: the worst of what was compared
};

struct Measured {
  std::string device;
  std::map<std::string, Figures> models;  // by name in arch_models()
};

// Names of all weight types, in the order of their ids.
std::vector<std::string> weight_types();

// An absent file gives an empty table; a damaged one throws std::runtime_error.
Measured read_figures(const std::string& path);
void write_figures(const Measured& measured, const std::string& path);

// The whole of docs/models.md.
std::string models_page(const Measured& host, const Measured& cuda);

// "q4_k" measures 1e-7 at most, "f32" 1e-9, ...: what a figure may be, and why, is told on the
// page.
double bound_of(const std::string& model, const std::string& type, bool cuda);

}  // namespace jllm::arch
