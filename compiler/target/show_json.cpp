#include <llvm/Support/JSON.h>

#include "compiler/target/show.h"

namespace jllm::target {
namespace {

void write_figure(llvm::json::OStream& json, const char* key, const Figure& figure) {
  json.attributeObject(key, [&] {
    json.attributeBegin("value");
    json.rawValue(format_number(figure.value));
    json.attributeEnd();
    json.attribute("source", figure.source);
    json.attribute("confidence", confidence_name(figure.confidence));
  });
}

void write_mode(llvm::json::OStream& json, const Description& device, size_t index) {
  const Mode& mode = device.modes[index];
  json.object([&] {
    json.attribute("name", mode.name);
    if (mode.id) json.attribute("id", int64_t(*mode.id));
    json.attribute("default", index == device.default_mode);
    if (!mode.label.empty()) json.attribute("label", mode.label);
    if (!mode.firmware.empty()) json.attribute("firmware", mode.firmware);
    for (const FigureField<Mode>& field : mode_figures()) {
      if (const auto& figure = mode.*field.member) write_figure(json, field.key, *figure);
    }
    write_figure(json, "planning_bandwidth_gb_s", planning_bandwidth(device, mode));
  });
}

void write_device(llvm::json::OStream& json, const Description& device) {
  json.object([&] {
    json.attribute("name", device.name);
    json.attribute("device_name", device.device_name);
    json.attribute("backend", device.is_host ? "host" : "cuda");
    if (!device.module.empty()) json.attribute("module", device.module);
    for (const FigureField<Description>& field : device_figures()) {
      if (const auto& figure = device.*field.member) write_figure(json, field.key, *figure);
    }
    if (const auto budget = desktop_budget(device)) {
      write_figure(json, "desktop_budget_mib", *budget);
    }
    json.attributeArray("modes", [&] {
      for (size_t i = 0; i < device.modes.size(); ++i) write_mode(json, device, i);
    });
    json.attributeArray("software", [&] {
      for (const Software& software : device.software) {
        json.object([&] {
          json.attribute("jetpack", software.jetpack);
          json.attribute("l4t", software.l4t);
          json.attribute("cuda", software.cuda);
          json.attribute("source", software.source);
          json.attribute("confidence", confidence_name(software.confidence));
        });
      }
    });
    json.attributeArray("avoid_l4t", [&] {
      for (const BadRelease& release : device.avoid_l4t) {
        json.object([&] {
          json.attribute("l4t", release.l4t);
          if (!release.fixed_in.empty()) json.attribute("fixed_in", release.fixed_in);
          json.attribute("why", release.why);
          json.attribute("source", release.source);
          json.attribute("confidence", confidence_name(release.confidence));
        });
      }
    });
    json.attributeObject("defaults", [&] {
      json.attribute("prefill_chunk", int64_t(device.prefill_chunk));
      json.attribute("kv", weight_type_name(device.default_kv));
    });
    json.attributeArray("notes", [&] {
      for (const std::string& note : device.notes) json.value(note);
    });
  });
}

}  // namespace

void print_json(llvm::ArrayRef<Description> devices, llvm::raw_ostream& os) {
  llvm::json::OStream json(os, 2);
  json.object([&] {
    json.attributeArray("targets", [&] {
      for (const Description& device : devices) write_device(json, device);
    });
  });
  os << "\n";
}

}  // namespace jllm::target
