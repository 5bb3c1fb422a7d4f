#include "compiler/report/edits.h"

#include <llvm/Support/FormatVariadic.h>

#include <cmath>
#include <tuple>

namespace jllm::report {
namespace {

using gguf::Conversion;
using llvm::formatv;

// Root of a sum of squares relative to that of what was stored.
double relative(double squares, const Conversion& of) {
  return of.energy > 0 ? std::sqrt(squares / of.energy) : 0;
}

// Tensors that went the same way.
struct Group {
  size_t matrices = 0;
  Conversion sum;
  std::string worst;
  double worst_error = -1;
};

void print_group(const Group& group, llvm::raw_ostream& os) {
  const Conversion& sum = group.sum;
  const char* to = weight_type_name(sum.to);
  if (sum.merged) {
    os << formatv("    {0} matrices changed by {1:P2} of their rms and stored in {2}",
                  group.matrices, relative(sum.change, sum), to);
  } else {
    os << formatv("  stored in {0} instead of {1}: {2} matrices", to, weight_type_name(sum.from),
                  group.matrices);
  }
  if (sum.error > 0) {
    os << formatv(", which loses {0:P2}, at most {1:P2} ({2})", relative(sum.error, sum),
                  group.worst_error, group.worst);
  }
  os << '\n';
}

}  // namespace

void print_edits(const gguf::Edits& edits, llvm::raw_ostream& os) {
  std::map<std::tuple<bool, WeightType, WeightType>, Group> groups;
  for (const auto& [name, conversion] : edits.done) {
    Group& group = groups[{!conversion.merged, conversion.from, conversion.to}];
    Conversion& sum = group.sum;
    if (group.matrices++ == 0) sum = {conversion.from, conversion.to, conversion.merged};
    sum.elements += conversion.elements;
    sum.energy += conversion.energy;
    sum.change += conversion.change;
    sum.error += conversion.error;
    const double error = relative(conversion.error, conversion);
    if (error <= group.worst_error) continue;
    group.worst_error = error;
    group.worst = name;
  }
  for (const gguf::Adapter& adapter : edits.adapters) {
    os << formatv("  merged {0} times {1}", adapter.path(), adapter.scale_text());
    if (adapter.alpha() != 0) os << formatv(", alpha {0}", adapter.alpha());
    os << formatv(", into {0} matrices", adapter.pairs().size());
    if (adapter.ignored() > 0) {
      os << formatv("; its {0} norm vectors are left out, as llama.cpp does", adapter.ignored());
    }
    os << ":\n";
  }
  for (const auto& [key, group] : groups) print_group(group, os);
}

void write_edits(const gguf::Edits& edits, llvm::json::OStream& json) {
  json.attributeArray("adapters", [&] {
    for (const gguf::Adapter& adapter : edits.adapters) {
      json.object([&] {
        json.attribute("path", adapter.path());
        json.attribute("scale", adapter.scale());
        json.attribute("alpha", adapter.alpha());
        json.attribute("matrices", int64_t(adapter.pairs().size()));
        json.attribute("ignored_vectors", int64_t(adapter.ignored()));
        json.attribute("sha256", adapter.sha256());
      });
    }
  });
  json.attributeArray("conversions", [&] {
    for (const auto& [name, conversion] : edits.done) {
      json.object([&] {
        json.attribute("tensor", name);
        json.attribute("from", weight_type_name(conversion.from));
        json.attribute("to", weight_type_name(conversion.to));
        json.attribute("merged", conversion.merged);
        json.attribute("relative_change", relative(conversion.change, conversion));
        json.attribute("relative_error", relative(conversion.error, conversion));
      });
    }
  });
}

}  // namespace jllm::report
