#include "tools/jllm/doctor/print.h"

#include <cmath>
#include <cstdio>
#include <sstream>

#include "jllm_version.h"

namespace jllm::tool {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kColumns = 80;

template <typename... Values>
std::string formatted(const char* format, Values... values) {
  char text[300];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

// What others wrote may hold anything: only letters of ASCII and UTF-8 reach the terminal.
std::string printable(std::string text) {
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = '?';
  }
  return text;
}

// A head, and words behind it on as many lines as they take.
std::string lines_of(const std::string& head, size_t indent, const std::string& text) {
  std::string out = head + std::string(indent - head.size(), ' ');
  size_t column = indent;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (column > indent && column + 1 + word.size() > kColumns) {
      out += "\n" + std::string(indent, ' ');
      column = indent;
    }
    if (column > indent) out += ' ', ++column;
    out += word;
    column += word.size();
  }
  return out + "\n";
}

// Parts with commas between them.
class List {
 public:
  List& add(const std::string& part) {
    if (!part.empty()) text_ += (text_.empty() ? "" : ", ") + part;
    return *this;
  }
  template <typename... Values>
  List& add(bool known, const char* format, Values... values) {
    return known ? add(formatted(format, values...)) : *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

unsigned long long mebibytes(uint64_t bytes) { return bytes >> 20; }
double gibibytes(uint64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

std::string module_line(const Machine& m) {
  if (m.module == nullptr) return m.is_jetson ? "not known to jllm" : "";
  return formatted("%s (%s%s), target %s", m.module->name, m.part.c_str(),
                   m.is_super ? ", super" : "", m.module->target);
}

std::string system_line(const Machine& m) {
  const std::string jetpack = jetpack_of(m.l4t);
  List list;
  if (m.l4t.is_known()) {
    list.add("L4T " + m.l4t.text() + (jetpack.empty() ? "" : " (JetPack " + jetpack + ")"));
  }
  list.add(m.os);
  list.add(!m.kernel.empty(), "Linux %.80s", m.kernel.c_str());
  return list.text();
}

std::string gpu_line(const Machine& m) {
  if (!m.gpu) return "none: " + m.no_gpu;
  const DeviceFacts& gpu = *m.gpu;
  List list;
  list.add(gpu.name).add(true, "sm_%u", gpu.compute_capability);
  const bool gated = m.module != nullptr && gpu.sm_count < m.module->sm_count;
  list.add(!gated, "%u SMs", gpu.sm_count);
  list.add(gated, "%u of %u SMs", gpu.sm_count, gated ? m.module->sm_count : 0);
  list.add(!gpu.integrated, "%llu MiB of its own", mebibytes(gpu.total_memory));
  list.add(gpu.pin_bandwidth_gb_s() > 0, "%.1f GB/s", gpu.pin_bandwidth_gb_s());
  list.add(true, "driver for CUDA %u.%u", gpu.driver_version / 1000,
           gpu.driver_version % 1000 / 10);
  return list.text();
}

std::string mode_line(const Machine& m) {
  const PowerMode* mode = m.power_mode();
  if (mode == nullptr) return m.is_jetson ? "not known" : "";
  List others;
  for (const PowerMode& other : m.modes) {
    others.add(&other != mode, "%u %.60s", other.id, other.name.c_str());
  }
  const std::string name = formatted("%u %.60s", mode->id, mode->name.c_str());
  return others.text().empty() ? name : name + " (others: " + others.text() + ")";
}

std::string clocks_line(const Machine& m) {
  const Clocks& c = m.clocks;
  const std::string cpus = c.cpus > 0 ? formatted(" (%u of %u on)", c.cpus_online, c.cpus) : "";
  List list;
  list.add(c.gpu_max_mhz > 0, "GPU %.0f of %.0f", c.gpu_mhz, c.gpu_max_mhz);
  list.add(c.memory_cap_mhz > 0, "memory %.0f", c.memory_cap_mhz);
  list.add(c.cpu_max_mhz > 0, "CPU %.0f MHz%s", c.cpu_max_mhz, cpus.c_str());
  if (m.is_jetson && c.is_known()) list.add(c.are_pinned() ? "pinned" : "not pinned");
  return list.text();
}

std::string memory_line(const Machine& m) {
  const MemoryFacts& memory = m.memory;
  if (memory.total == 0) return "";
  List list;
  list.add(true, "%llu of %llu MiB available", mebibytes(memory.available),
           mebibytes(memory.total));
  list.add(true, "cache %llu", mebibytes(memory.cached));
  list.add(memory.nvmap.has_value(), "NvMap %llu", mebibytes(memory.nvmap.value_or(0)));
  list.add(memory.swap_total > 0, "swap %llu/%llu", mebibytes(memory.swap_used),
           mebibytes(memory.swap_total));
  return list.text();
}

std::string heat_line(const Machine& m) {
  const Heat::Zone* zone = m.heat.hottest();
  if (zone == nullptr) return "";
  const std::optional<double> throttle = zone->zone.throttles_at, off = zone->zone.shuts_down_at;
  List list;
  list.add(true, "%.40s %.1f C", zone->zone.type.c_str(), *zone->celsius);
  list.add(throttle.has_value(), "throttles at %g", throttle.value_or(0));
  list.add(off.has_value(), "off at %g", off.value_or(0));
  list.add(throttle.has_value(), "jllm pauses at %g", throttle.value_or(0) - kPausesBelow);
  return list.text();
}

std::string power_line(const Machine& m) {
  const Power& power = m.power;
  List parts;
  for (size_t i = 0; i < power.rails.size(); ++i) {
    if (power.rails[i].is_total()) continue;
    parts.add(power.watts[i].has_value(), "%.40s %.2f", power.rails[i].name.c_str(),
              power.watts[i].value_or(0));
  }
  if (!power.total) return parts.text();
  return formatted("%.2f W", *power.total) + (parts.text().empty() ? "" : ": ") + parts.text();
}

std::string disk_line(const Machine& m) {
  const Disk& disk = m.disk;
  if (disk.kind.empty()) return "";
  List list;
  list.add(disk.kind).add(disk.device);
  if (disk.filesystem != disk.kind) list.add(disk.filesystem);
  if (disk.free && disk.size) {
    list.add(true, "%.1f of %.1f GiB free", gibibytes(*disk.free), gibibytes(*disk.size));
  }
  return list.text() + " (" + disk.path + ")";
}

// Numbers that are not known are null.
Json known(double value) { return value > 0 ? Json(value) : Json(); }
template <typename T>
Json known(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}
Json known(const std::string& value) { return value.empty() ? Json() : Json(value); }

// To the milliwatt: rails tell no more.
Json watts(const std::optional<double>& value) {
  return value ? Json(std::round(*value * 1000) / 1000) : Json();
}

Json gpu_json(const Machine& m) {
  if (!m.gpu) return nullptr;
  const DeviceFacts& gpu = *m.gpu;
  return {{"name", gpu.name},
          {"compute_capability", gpu.compute_capability},
          {"sm_count", gpu.sm_count},
          {"driver_cuda_version", gpu.driver_version},
          {"integrated", gpu.integrated},
          {"total_memory_bytes", gpu.total_memory},
          {"pin_bandwidth_gb_s", known(gpu.pin_bandwidth_gb_s())}};
}

Json modes_json(const Machine& m) {
  Json modes = Json::array();
  for (const PowerMode& mode : m.modes) {
    modes.push_back({{"id", mode.id},
                     {"name", mode.name},
                     {"gated_tpcs", mode.gated_tpcs},
                     {"gpu_mhz", known(mode.gpu_mhz)},
                     {"memory_mhz", known(mode.memory_mhz)}});
  }
  const PowerMode* mode = m.power_mode();
  return {{"id", known(m.mode)},
          {"name", mode != nullptr ? Json(mode->name) : Json()},
          {"modes", modes}};
}

Json heat_json(const Machine& m) {
  Json zones = Json::array();
  for (const Heat::Zone& zone : m.heat.zones) {
    zones.push_back({{"zone", zone.zone.type},
                     {"celsius", known(zone.celsius)},
                     {"throttles_at", known(zone.zone.throttles_at)},
                     {"shuts_down_at", known(zone.zone.shuts_down_at)}});
  }
  return {{"zones", zones},
          {"throttling", m.heat.alerts},
          {"over_current_events", known(m.heat.over_current_events)}};
}

Json power_json(const Machine& m) {
  Json rails = Json::array();
  for (size_t i = 0; i < m.power.rails.size(); ++i) {
    rails.push_back({{"rail", m.power.rails[i].name}, {"watts", watts(m.power.watts[i])}});
  }
  return {
      {"total_watts", watts(m.power.total)}, {"source", known(m.power.source)}, {"rails", rails}};
}

Json machine_json(const Machine& m) {
  const bool has_module = m.module != nullptr;
  Json d;
  d["model"] = known(m.model);
  d["is_jetson"] = m.is_jetson;
  d["module"] = has_module ? Json(m.module->name) : Json();
  d["part_number"] = known(m.part);
  d["super_firmware"] = m.is_super;
  d["target"] = has_module ? Json(m.module->target) : Json();
  d["l4t"] = m.l4t.is_known() ? Json(m.l4t.text()) : Json();
  d["jetpack"] = known(jetpack_of(m.l4t));
  d["os"] = known(m.os);
  d["kernel"] = known(m.kernel);
  d["cpu"] = known(m.cpu);
  d["container"] = known(m.container);
  d["gpu"] = gpu_json(m);
  d["gpu_missing"] = known(m.no_gpu);
  d["power_mode"] = modes_json(m);
  d["clocks"] = {{"gpu_mhz", known(m.clocks.gpu_mhz)},
                 {"gpu_min_mhz", known(m.clocks.gpu_min_mhz)},
                 {"gpu_max_mhz", known(m.clocks.gpu_max_mhz)},
                 {"memory_cap_mhz", known(m.clocks.memory_cap_mhz)},
                 {"cpu_min_mhz", known(m.clocks.cpu_min_mhz)},
                 {"cpu_max_mhz", known(m.clocks.cpu_max_mhz)},
                 {"cpus_online", m.clocks.cpus_online},
                 {"cpus", m.clocks.cpus},
                 {"pinned", m.clocks.is_known() ? Json(m.clocks.are_pinned()) : Json()}};
  d["memory"] = {{"total_bytes", m.memory.total},
                 {"available_bytes", m.memory.available},
                 {"page_cache_bytes", m.memory.cached},
                 {"gpu_bytes", known(m.memory.nvmap)},
                 {"swap_total_bytes", m.memory.swap_total},
                 {"swap_used_bytes", m.memory.swap_used},
                 {"zram", m.memory.zram},
                 {"desktop", known(m.desktop)}};
  d["heat"] = heat_json(m);
  d["power"] = power_json(m);
  d["disk"] = {{"path", m.disk.path},
               {"kind", known(m.disk.kind)},
               {"device", known(m.disk.device)},
               {"filesystem", known(m.disk.filesystem)},
               {"size_bytes", known(m.disk.size)},
               {"free_bytes", known(m.disk.free)}};
  return d;
}

}  // namespace

std::string doctor_text(const Machine& m, const std::vector<Finding>& findings) {
  std::string out;
  const auto fact = [&out](const char* name, const std::string& text) {
    constexpr size_t kIndent = 12;
    if (!text.empty()) out += lines_of(name, kIndent, printable(text));
  };
  fact("machine", m.model.empty() ? "not known" : m.model);
  fact("module", module_line(m));
  fact("system", system_line(m));
  if (!m.is_jetson) fact("CPU", m.cpu);
  fact("GPU", gpu_line(m));
  fact("power mode", mode_line(m));
  fact("clocks", clocks_line(m));
  fact("memory", memory_line(m));
  fact("heat", heat_line(m));
  fact("power", power_line(m));
  fact("disk", disk_line(m));
  out += "\n";
  List fine;
  for (const Finding& finding : findings) {
    constexpr size_t kIndent = 9;
    if (finding.severity == Severity::kOk) {
      fine.add(finding.id);
      continue;
    }
    out += lines_of(name_of(finding.severity), kIndent, printable(finding.text));
    out += lines_of("         ->", kIndent + 3, printable(finding.advice));
  }
  if (!fine.text().empty()) out += lines_of("ok", 9, fine.text());
  return out;
}

Json doctor_json(const Machine& m, const std::vector<Finding>& findings) {
  Json d;
  d["format"] = 1;
  d["jllm"] = JLLM_VERSION;
  d["machine"] = machine_json(m);
  d["findings"] = Json::array();
  int counts[4] = {};
  for (const Finding& finding : findings) {
    ++counts[static_cast<int>(finding.severity)];
    d["findings"].push_back({{"id", finding.id},
                             {"severity", name_of(finding.severity)},
                             {"text", finding.text},
                             {"advice", known(finding.advice)}});
  }
  d["problems"] = counts[static_cast<int>(Severity::kProblem)];
  d["warnings"] = counts[static_cast<int>(Severity::kWarning)];
  return d;
}

}  // namespace jllm::tool
