// The JSON form of verdicts.
#include <llvm/Support/JSON.h>

#include "compiler/fit/show.h"
#include "compiler/report/report.h"
#include "compiler/report/waterfall.h"

namespace jllm::fit {
namespace {

using llvm::json::OStream;

void write_plan(const Footprint& footprint, const target::Target& target, OStream& json) {
  json.attribute("context", int64_t(footprint.options.context));
  json.attribute("kv_type_k", weight_type_name(footprint.options.kv_type_k));
  json.attribute("kv_type_v", weight_type_name(footprint.options.kv_type_v));
  json.attributeObject("bytes", [&] {
    report::write_budget(footprint.budget, footprint.scratch_lower_bound, "code_estimate", json);
  });
  report::write_speculation(footprint, json);
  const report::Waterfall waterfall = report::make_waterfall(footprint, target);
  json.attributeObject("memory", [&] {
    json.attribute("total", int64_t(waterfall.memory));
    json.attribute("missing", int64_t(waterfall.missing));
    json.attributeArray("segments", [&] {
      for (const report::Segment& segment : waterfall.segments) {
        json.object([&] {
          json.attribute("name", segment.key);
          json.attribute("bytes", int64_t(segment.bytes));
        });
      }
    });
  });
}

void write_prediction(const Verdict& v, OStream& json) {
  const auto number_or_null = [&](const char* key, double value) {
    json.attribute(key, value > 0 ? llvm::json::Value(value) : llvm::json::Value(nullptr));
  };
  json.attributeObject("prediction", [&] {
    json.attribute("bytes_per_token", int64_t(v.prediction.bytes_per_token));
    number_or_null("bandwidth_gb_s", v.target.bandwidth_gbps);
    json.attribute("bandwidth_basis", v.target.bandwidth_basis);
    number_or_null("decode_tok_s", v.prediction.tokens_per_second);
    json.attribute("disk_gb_s", kStorageBytesPerSecond / 1e9);
    number_or_null("load_s", v.prediction.load_seconds);
  });
}

void write_finding(const Finding& finding, OStream& json) {
  const Verdict& v = finding.verdict;
  json.attribute("target", v.target.name);
  json.attribute("device_name", v.target.device_name);
  json.attribute("mode", v.target.mode);
  json.attribute("compilable", v.compilable);
  json.attribute("verdict", answer_name(v.answer));
  json.attribute("fits", v.fits());
  json.attribute("missing_bytes", int64_t(v.missing()));
  if (!v.refusal.empty()) json.attribute("refusal", v.refusal);
  if (v.footprint) write_plan(*v.footprint, v.target, json);
  json.attributeObject("largest_context", [&] {
    for (const LargestContext& largest : v.contexts) {
      json.attribute(weight_type_name(largest.type),
                     largest.context ? llvm::json::Value(int64_t(*largest.context))
                                     : llvm::json::Value(nullptr));
    }
  });
  if (v.footprint) write_prediction(v, json);
  json.attributeArray("warnings", [&] {
    for (const std::string& warning : v.target.warnings) json.value(warning);
  });
  json.attributeArray("advice", [&] {
    for (const Advice& a : finding.advice) {
      json.object([&] {
        json.attribute("kind", kind_name(a.kind));
        json.attribute("text", a.text);
        json.attribute("option", a.option);
        json.attribute("free_bytes", int64_t(a.free));
      });
    }
  });
}

}  // namespace

void print_json(const model::Model& model, llvm::ArrayRef<Finding> findings,
                llvm::raw_ostream& os) {
  bool fits = false;
  for (const Finding& finding : findings) fits |= finding.verdict.fits();
  OStream json(os, 2);
  json.object([&] {
    json.attributeObject("model", [&] {
      json.attribute("name", model.params.name);
      json.attribute("architecture", model.params.architecture);
      json.attribute("parameter_count", int64_t(model.parameter_count));
      json.attribute("active_parameter_count", int64_t(model.active_parameter_count));
      json.attribute("context_length", int64_t(model.params.context_length));
    });
    json.attribute("fits", fits);
    json.attributeArray("targets", [&] {
      for (const Finding& finding : findings) {
        json.object([&] { write_finding(finding, json); });
      }
    });
  });
  os << '\n';
}

}  // namespace jllm::fit
