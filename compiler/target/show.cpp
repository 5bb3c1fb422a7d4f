#include "compiler/target/show.h"

#include <llvm/ADT/STLExtras.h>
#include <llvm/Support/FormatVariadic.h>

#include <algorithm>

#include "compiler/target/target.h"

namespace jllm::target {
namespace {

using llvm::formatv;

constexpr const char* kSeparator = "  ";

// A table whose columns are as wide as their widest cell.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void print(llvm::raw_ostream& os) const {
    std::vector<size_t> widths(rows_[0].size(), 0);
    for (const auto& row : rows_) {
      for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    for (const auto& row : rows_) {
      std::string line = kSeparator;
      for (size_t i = 0; i < row.size(); ++i) {
        line += row[i] + std::string(widths[i] - row[i].size(), ' ') + kSeparator;
      }
      os << llvm::StringRef(line).rtrim() << "\n";
    }
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

// Sources by number, so that a table of modes stays narrow.
class Footnotes {
 public:
  std::string cell(const std::optional<Figure>& figure) {
    if (!figure) return "-";
    const std::string note =
        std::string(confidence_name(figure->confidence)) + ": " + figure->source;
    const auto found = llvm::find(notes_, note);
    const size_t number = size_t(found - notes_.begin()) + 1;
    if (found == notes_.end()) notes_.push_back(note);
    return formatv("{0} [{1}]", format_number(figure->value), number).str();
  }
  void print(llvm::raw_ostream& os) const {
    for (size_t i = 0; i < notes_.size(); ++i) os << formatv("  [{0}] {1}\n", i + 1, notes_[i]);
  }

 private:
  std::vector<std::string> notes_;
};

std::string megabytes(const std::optional<Figure>& figure) {
  return figure ? format_number(figure->value) + " MiB" : "unknown";
}

std::string architecture(const Description& device) {
  if (!device.compute_capability) return "host";
  return "sm_" + format_number(device.compute_capability->value);
}

void print_modes(const Description& device, llvm::raw_ostream& os) {
  std::vector<std::string> header = {"mode", "id"};
  std::vector<FigureField<Mode>> columns;  // without those that no mode fills
  for (const FigureField<Mode>& field : mode_figures()) {
    if (llvm::none_of(device.modes, [&](const Mode& m) { return m.*field.member; })) continue;
    columns.push_back(field);
    header.emplace_back(field.label);
  }
  header.insert(header.end(), {"planning GB/s", "name, firmware"});
  Table table(header);
  Footnotes notes;
  for (size_t i = 0; i < device.modes.size(); ++i) {
    const Mode& mode = device.modes[i];
    std::vector<std::string> row = {mode.name + (i == device.default_mode ? " *" : ""),
                                    mode.id ? std::to_string(*mode.id) : "-"};
    for (const FigureField<Mode>& field : columns) row.push_back(notes.cell(mode.*field.member));
    row.push_back(formatv("{0:F1}", planning_bandwidth(device, mode).value).str());
    row.push_back(mode.label + (mode.firmware.empty() ? "" : ", " + mode.firmware));
    table.add(row);
  }
  os << "\n";
  table.print(os);
  os << "\n  * the default";
  if (!device.default_mode_source.empty()) {
    os << " (" << confidence_name(device.default_mode_confidence) << ": "
       << device.default_mode_source << ")";
  }
  os << formatv("; {0}@MODE selects another\n", device.name);
  if (device.bandwidth_fraction) {
    os << formatv("  planning GB/s = {0} x pin GB/s, unless measured\n",
                  format_number(device.bandwidth_fraction->value));
  }
  notes.print(os);
}

}  // namespace

void print_list(llvm::ArrayRef<Description> devices, llvm::raw_ostream& os) {
  size_t width = 0;
  for (const Description& device : devices) width = std::max(width, device.name.size());
  const std::string indent(width + 2, ' ');
  for (const Description& device : devices) {
    os << device.name << std::string(width + 2 - device.name.size(), ' ') << device.device_name;
    if (!device.is_host) {
      os << formatv(", {0}, budget {1}", architecture(device), megabytes(device.headless_budget));
      if (const auto desktop = desktop_budget(device)) {
        os << formatv(", with a desktop {0}", megabytes(desktop));
      }
    }
    os << "\n";
    if (device.modes.size() < 2) continue;
    os << indent << "modes:";
    for (size_t i = 0; i < device.modes.size(); ++i) {
      os << " " << device.modes[i].name << (i == device.default_mode ? "*" : "");
    }
    os << "\n";
  }
  os << "sm_XX" << std::string(indent.size() > 5 ? indent.size() - 5 : 1, ' ')
     << "any other GPU of that compute capability, no budget\n"
     << "\nNAME@MODE selects a power mode (* the default), FILE.json[@MODE] a device of your own;\n"
        "jllmc targets NAME shows the figures with their sources.\n";
}

void print_details(const Description& device, llvm::raw_ostream& os) {
  os << "\n" << device.name << ": " << device.device_name;
  if (!device.module.empty()) os << " (" << device.module << ")";
  os << "\n";
  Table figures({"figure", "value", "confidence", "source"});
  const auto add = [&](const char* label, const Figure& figure) {
    figures.add(
        {label, format_number(figure.value), confidence_name(figure.confidence), figure.source});
  };
  for (const FigureField<Description>& field : device_figures()) {
    if (const auto& figure = device.*field.member) add(field.label, *figure);
  }
  if (const auto desktop = desktop_budget(device)) add("budget with a desktop, MiB", *desktop);
  if (!device.is_host) {
    os << "\n";
    figures.print(os);
  }
  if (!device.modes.empty()) print_modes(device, os);
  if (!device.software.empty()) {
    os << "\n";
    Table software({"JetPack", "L4T", "CUDA", "confidence", "source"});
    for (const Software& s : device.software) {
      software.add({s.jetpack, "r" + s.l4t, s.cuda, confidence_name(s.confidence), s.source});
    }
    software.print(os);
  }
  os << formatv("\n  defaults: --prefill-chunk {0}, --kv {1}\n", device.prefill_chunk,
                weight_type_name(device.default_kv));
  for (const std::string& note : device.notes) os << "  - " << note << "\n";
  for (const BadRelease& release : device.avoid_l4t) {
    os << formatv("  ! {0} ({1}: {2})\n", warning(release), confidence_name(release.confidence),
                  release.source);
  }
  if (!device.is_host && device.compute_capability->value < kMinComputeCapability) {
    os << "  ! models can be planned for this device, not compiled yet\n";
  }
}

}  // namespace jllm::target
