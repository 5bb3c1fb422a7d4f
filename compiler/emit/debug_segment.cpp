#include "compiler/emit/debug_segment.h"

#include <llvm/Support/JSON.h>
#include <llvm/Support/raw_ostream.h>

#include <map>
#include <string>

#include "compiler/codegen/modules.h"

namespace jllm::emit {
namespace {

template <typename Dump>
std::string text_of(const Dump& dump) {
  std::string text;
  llvm::raw_string_ostream os(text);
  dump(os);
  return os.str();
}

}  // namespace

std::vector<uint8_t> build_debug_segment(const PlannedModel& planned) {
  const uint32_t arch = planned.target.compute_capability;
  std::map<std::string, std::string> files;
  std::vector<CompileRequest> requests;
  if (!planned.target.is_host) {
    for (const select::KernelSpec& kernel : planned.schedule.kernels) {
      CompileRequest request = codegen::kernel_request(kernel, arch);
      files[request.name] = request.source;
      for (const auto& [name, text] : request.headers) files[name] = text;
      requests.push_back(std::move(request));
    }
  }
  const std::string text = text_of([&](llvm::raw_ostream& os) {
    llvm::json::OStream json(os, 1);
    json.object([&] {
      json.attribute("ir", text_of([&](auto& out) { ir::dump(planned.program, out); }));
      json.attribute("schedule", text_of([&](auto& out) { select::dump(planned.schedule, out); }));
      json.attribute("memory", text_of([&](auto& out) {
                       memory::dump(planned.program, planned.layout, out);
                     }));
      json.attributeObject("files", [&] {
        for (const auto& [name, contents] : files) json.attribute(name, contents);
      });
      json.attributeArray("modules", [&] {
        for (size_t i = 0; i < requests.size(); ++i) {
          json.object([&] {
            json.attribute("kernel", planned.schedule.kernels[i].name);
            json.attribute("source", requests[i].name);
            json.attributeArray("options", [&] {
              for (const std::string& option : requests[i].options) json.value(option);
            });
          });
        }
      });
    });
    os << "\n";
  });
  return {text.begin(), text.end()};
}

}  // namespace jllm::emit
