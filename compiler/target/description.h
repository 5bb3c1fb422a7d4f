// A target file as it stands: every figure with where it comes from and how far to trust it, every
// power mode. target.h flattens one mode of it into what the compiler plans with.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "schema/weight_type.h"

namespace jllm::target {

// High: vendor documents, driver sources or configuration files, recorded device output. Medium:
// one report, or arithmetic on high figures. Low: inference or estimate, to be measured before it
// is relied on.
enum class Confidence { kLow, kMedium, kHigh };
const char* confidence_name(Confidence confidence);

struct Figure {
  double value = 0;
  std::string source;
  Confidence confidence = Confidence::kLow;
};

struct Mode {
  std::string name;            // selects the mode: "15w" in orin-nano-8gb@15w
  std::optional<uint32_t> id;  // of nvpmodel, where known
  std::string label;           // as the vendor writes it
  std::string firmware;        // "super", "nonsuper" or empty: which firmware offers the mode
  std::optional<Figure> sm_count, gpu_mhz, memory_mhz, pin_bandwidth, measured_bandwidth;
};

struct Software {
  std::string jetpack, l4t, cuda;
  std::string source;
  Confidence confidence = Confidence::kLow;
};

// A system release that does harm.
struct BadRelease {
  std::string l4t, fixed_in, why;  // fixed_in: empty where unknown
  std::string source;
  Confidence confidence = Confidence::kLow;
};

struct Description {
  std::string name, device_name, module;
  bool is_host = false;
  std::optional<Figure> compute_capability;                                 // 87 for 8.7
  std::optional<Figure> shared_memory_per_sm, shared_memory_per_block, l2;  // KiB
  std::optional<Figure> registers_per_sm, registers_per_block, threads_per_sm;
  std::optional<Figure> memory_bus_bits;
  std::optional<Figure> ram, visible;        // MiB; visible: as the system reports it
  std::optional<Figure> headless_budget;     // MiB that a plan may take, without a GUI
  std::optional<Figure> desktop_cost;        // MiB that a GUI takes of that
  std::optional<Figure> cuda_context;        // MiB, estimate
  std::optional<Figure> largest_allocation;  // MiB
  std::optional<Figure> bandwidth_fraction;  // of the pin rate, while a mode is not measured
  std::optional<Figure> max_cuda_major;
  size_t default_mode = 0;  // index into modes
  std::string default_mode_source;
  Confidence default_mode_confidence = Confidence::kLow;
  std::vector<Mode> modes;  // none on the host
  std::vector<Software> software;
  std::vector<BadRelease> avoid_l4t;
  uint32_t prefill_chunk = 0;
  WeightType default_kv = WeightType::kF16;
  std::vector<std::string> notes;
};

// One kind of figure: how it is called, shown and bounded.
template <typename Owner>
struct FigureField {
  const char* key;    // in the file
  const char* label;  // in tables
  std::optional<Figure> Owner::*member;
  double max;
  bool whole;     // no fractions
  bool required;  // of CUDA targets
};
llvm::ArrayRef<FigureField<Description>> device_figures();
llvm::ArrayRef<FigureField<Mode>> mode_figures();

// `where` names the file in errors, which are kInvalidFile.
llvm::Expected<Description> parse_description(llvm::StringRef json, llvm::StringRef where);

// 1e9 bytes per second: as measured, or a fraction of the pin rate; the source is the formula.
Figure planning_bandwidth(const Description& device, const Mode& mode);

// MiB: the headless budget less what a GUI takes.
std::optional<Figure> desktop_budget(const Description& device);

// Without trailing zeros: "87", "68.3".
std::string format_number(double value);

// "avoid L4T r36.4.7 (fixed in r36.5.0): regression: ...".
std::string warning(const BadRelease& release);

}  // namespace jllm::target
