#include "compiler/target/target.h"

#include <llvm/Support/JSON.h>
#include <llvm/Support/MemoryBuffer.h>

#include <set>

#include "compiler/support/error.h"
#include "compiler/target/builtin.h"

namespace jllm::target {
namespace {

constexpr double kMegabyte = 1024.0 * 1024.0;

// Reads fields of one JSON object; unknown and ill-typed fields are errors.
class FieldReader {
 public:
  FieldReader(const llvm::json::Object& object, llvm::StringRef where)
      : object_(object), where_(where.str()) {}

  std::string text(const char* key, bool required) {
    seen_.insert(key);
    if (const auto value = object_.getString(key)) return value->str();
    if (required || object_.get(key) != nullptr) keep(key, "a string");
    return "";
  }
  double number(const char* key, double fallback, double max) {
    seen_.insert(key);
    if (const auto value = object_.getNumber(key)) {
      if (*value >= 0 && *value <= max) return *value;
      keep(key, "a number in range");
    } else if (object_.get(key) != nullptr) {
      keep(key, "a number");
    }
    return fallback;
  }
  llvm::Error finish() {
    for (const auto& field : object_) {
      const std::string name = llvm::StringRef(field.first).str();
      if (problem_.empty() && seen_.count(name) == 0) problem_ = "unknown field '" + name + "'";
    }
    if (problem_.empty()) return llvm::Error::success();
    return fail(ExitCode::kInvalidFile, "target {0}: {1}", where_, problem_);
  }
  void keep(const char* key, const char* expected) {
    if (problem_.empty()) problem_ = std::string("field '") + key + "' must be " + expected;
  }

 private:
  const llvm::json::Object& object_;
  std::string where_;
  std::set<std::string> seen_;
  std::string problem_;
};

llvm::Expected<Target> parse(llvm::StringRef json, llvm::StringRef where) {
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(json);
  if (!value) {
    return fail(ExitCode::kInvalidFile, "target {0}: {1}", where,
                llvm::toString(value.takeError()));
  }
  const llvm::json::Object* object = value->getAsObject();
  if (object == nullptr) return fail(ExitCode::kInvalidFile, "target {0}: not an object", where);
  FieldReader fields(*object, where);
  Target target;
  target.name = fields.text("name", true);
  target.device_name = fields.text("device_name", true);
  const std::string backend = fields.text("backend", true);
  if (backend != "host" && backend != "cuda") fields.keep("backend", "\"host\" or \"cuda\"");
  target.is_host = backend == "host";
  target.compute_capability = uint32_t(fields.number("compute_capability", 0, 999));
  target.sm_count = uint32_t(fields.number("sm_count", 0, 4096));
  if (!target.is_host && (target.compute_capability == 0 || target.sm_count == 0)) {
    fields.keep("compute_capability and sm_count", "given for a cuda target");
  }
  target.max_cuda_major = uint32_t(fields.number("max_cuda_major", 0, 99));
  target.visible_bytes = uint64_t(fields.number("visible_mb", 0, 1e9) * kMegabyte);
  target.budget_bytes = uint64_t(fields.number("budget_mb", 0, 1e9) * kMegabyte);
  target.context_bytes = uint64_t(fields.number("context_mb", 0, 1e6) * kMegabyte);
  target.largest_allocation = uint64_t(fields.number("largest_allocation_mb", 0, 1e9) * kMegabyte);
  target.bandwidth_gbps = fields.number("bandwidth_gbps", 0, 1e6);
  target.prefill_chunk = uint32_t(fields.number("prefill_chunk", 128, 4096));
  const std::string kv = fields.text("default_kv", true);
  if (kv != "f32" && kv != "f16") fields.keep("default_kv", "\"f16\" or \"f32\"");
  target.default_kv = kv == "f32" ? WeightType::kF32 : WeightType::kF16;
  fields.text("note", false);
  if (llvm::Error error = fields.finish()) return error;
  return target;
}

// "sm_87": any chip of that compute capability, with no budget.
bool parse_generic(llvm::StringRef name, Target* out) {
  unsigned arch = 0;
  if (name.substr(0, 3) != "sm_" || name.substr(3).getAsInteger(10, arch) || arch < 50 || arch > 999) {
    return false;
  }
  out->name = name.str();
  out->device_name = "a device of compute capability " + std::to_string(arch / 10) + "." +
                     std::to_string(arch % 10);
  out->compute_capability = arch;
  out->sm_count = 16;
  out->prefill_chunk = 128;
  return true;
}

}  // namespace

std::vector<std::string> builtin_names() {
  std::vector<std::string> names;
  for (const BuiltinTarget& entry : builtin_targets()) names.emplace_back(entry.name);
  return names;
}

llvm::Expected<Target> find(llvm::StringRef name) {
  for (const BuiltinTarget& entry : builtin_targets()) {
    if (name == entry.name) return parse(entry.json, name);
  }
  Target generic;
  if (parse_generic(name, &generic)) return generic;
  if (name.size() > 5 && name.substr(name.size() - 5) == ".json") {
    llvm::ErrorOr<std::unique_ptr<llvm::MemoryBuffer>> buffer = llvm::MemoryBuffer::getFile(name);
    if (!buffer) {
      return fail(ExitCode::kFailed, "target {0}: {1}", name, buffer.getError().message());
    }
    return parse((*buffer)->getBuffer(), name);
  }
  std::string known;
  for (const std::string& builtin : builtin_names()) known += builtin + ", ";
  return fail(ExitCode::kUnsupported,
              "unknown target '{0}'; known: {1}sm_XX for any other GPU, or a .json file", name, known);
}

}  // namespace jllm::target
