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

std::string matrices(size_t count) {
  return std::to_string(count) + (count == 1 ? " matrix" : " matrices");
}

// Tensors that went the same way.
struct Group {
  size_t matrices = 0;
  Conversion sum;
  size_t weighted = 0;
  std::string worst;
  double worst_error = -1;
};

void print_group(const Group& group, llvm::raw_ostream& os) {
  const Conversion& sum = group.sum;
  const char* to = weight_type_name(sum.to);
  if (sum.merged) {
    os << formatv("    {0} changed by {1:P2} of their rms and stored in {2}",
                  matrices(group.matrices), relative(sum.change, sum), to);
  } else {
    os << formatv("  stored in {0} instead of {1}: {2}", to, weight_type_name(sum.from),
                  matrices(group.matrices));
  }
  if (sum.error > 0) {
    os << formatv(", which loses {0:P2}, at most {1:P2} ({2})", relative(sum.error, sum),
                  group.worst_error, group.worst);
  }
  if (group.weighted > 0) {
    os << formatv("; {0:P2} of {1} weighted by importance",
                  std::sqrt(sum.weighted_error / sum.weighted_energy), group.weighted);
  }
  os << '\n';
}

void print_importance(const gguf::Edits& edits, llvm::raw_ostream& os) {
  size_t used = 0, quantised = 0;
  for (const auto& [name, conversion] : edits.done) {
    used += conversion.weighted;
    quantised += block_shape(conversion.to).elements > 1;
  }
  const std::vector<std::string>& strangers = edits.importance->strangers();
  os << formatv("  importance: {0} weighs {1} of {2} quantised matrices", edits.importance->path(),
                used, quantised);
  if (!strangers.empty()) {
    os << formatv("; {0} of its names are none of the model's ({1})", strangers.size(),
                  strangers.front());
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
    sum.weighted_energy += conversion.weighted_energy;
    sum.weighted_error += conversion.weighted_error;
    group.weighted += conversion.weighted;
    const double error = relative(conversion.error, conversion);
    if (error <= group.worst_error) continue;
    group.worst_error = error;
    group.worst = name;
  }
  for (const gguf::Adapter& adapter : edits.adapters) {
    os << formatv("  merged {0} times {1}", adapter.path(), adapter.scale_text());
    if (adapter.alpha() != 0) os << formatv(", alpha {0}", adapter.alpha());
    os << formatv(", into {0}", matrices(adapter.pairs().size()));
    if (adapter.ignored() > 0) {
      os << formatv("; its {0} norm vectors are left out, as llama.cpp does", adapter.ignored());
    }
    os << ":\n";
  }
  for (const auto& [key, group] : groups) print_group(group, os);
  if (edits.importance) print_importance(edits, os);
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
  if (edits.importance) {
    json.attributeObject("importance", [&] {
      json.attribute("path", edits.importance->path());
      json.attribute("sha256", edits.importance->sha256());
      json.attribute("known_matrices", int64_t(edits.importance->known()));
      json.attributeArray("unknown_names", [&] {
        for (const std::string& name : edits.importance->strangers()) json.value(name);
      });
    });
  }
  json.attributeArray("conversions", [&] {
    for (const auto& [name, conversion] : edits.done) {
      json.object([&] {
        json.attribute("tensor", name);
        json.attribute("from", weight_type_name(conversion.from));
        json.attribute("to", weight_type_name(conversion.to));
        json.attribute("merged", conversion.merged);
        json.attribute("relative_change", relative(conversion.change, conversion));
        json.attribute("relative_error", relative(conversion.error, conversion));
        if (!conversion.weighted) return;
        json.attribute("weighted_error",
                       std::sqrt(conversion.weighted_error / conversion.weighted_energy));
      });
    }
  });
}

}  // namespace jllm::report
