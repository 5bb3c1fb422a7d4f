#include "compiler/tuning/table.h"

#include <llvm/ADT/STLExtras.h>
#include <llvm/Support/FormatVariadic.h>
#include <llvm/Support/JSON.h>
#include <llvm/Support/MemoryBuffer.h>

#include <cmath>
#include <iterator>

#include "compiler/support/error.h"
#include "compiler/tuning/shipped.h"
#include "schema/weight_type.h"

namespace jllm::tuning {
namespace {

using kernels::Activations;

constexpr double kFormat = 1;
constexpr double kMaxDimension = 1u << 30;
constexpr Activations kModes[] = {Activations::kExact, Activations::kInt8, Activations::kInt8Pair};
constexpr WeightType kTypes[] = {
    WeightType::kF32,   WeightType::kF16,   WeightType::kBF16,   WeightType::kQ4_0,
    WeightType::kQ4_1,  WeightType::kQ5_0,  WeightType::kQ5_1,   WeightType::kQ8_0,
    WeightType::kQ4_K,  WeightType::kQ5_K,  WeightType::kQ6_K,   WeightType::kQ1_0,
    WeightType::kQ2_K,  WeightType::kQ3_K,  WeightType::kIQ4_NL, WeightType::kIQ4_XS,
    WeightType::kMXFP4, WeightType::kTQ2_0, WeightType::kQ2_0};

// Reads the fields of one object; the first problem of the file is kept.
class Fields {
 public:
  Fields(const llvm::json::Object& object, std::string where, std::string* problem)
      : object_(object), where_(std::move(where)), problem_(problem) {}

  double number(llvm::StringRef key, double min, double max, bool required = true) {
    const llvm::json::Value* value = take(key, required);
    if (value == nullptr) return 0;
    const auto number = value->getAsNumber();
    if (number && *number >= min && *number <= max) return *number;
    complain(key, llvm::formatv("must be a number from {0} to {1}", min, max));
    return 0;
  }
  uint32_t whole(llvm::StringRef key, double max) {
    const double value = number(key, 1, max);
    if (value != std::floor(value)) complain(key, "must be a whole number");
    return static_cast<uint32_t>(value);
  }
  std::string text(llvm::StringRef key) {
    const llvm::json::Value* value = take(key, true);
    if (value == nullptr) return "";
    if (const auto text = value->getAsString()) return text->str();
    complain(key, "must be a string");
    return "";
  }
  const llvm::json::Array* array(llvm::StringRef key) {
    const llvm::json::Value* value = take(key, true);
    if (value == nullptr) return nullptr;
    if (value->getAsArray() == nullptr) complain(key, "must be an array");
    return value->getAsArray();
  }
  // Whatever was not asked for is unknown.
  void close() {
    for (const auto& field : object_) {
      const llvm::StringRef key = field.first;
      if (!llvm::is_contained(known_, key.str())) complain(key, "is unknown");
    }
  }
  void complain(llvm::StringRef key, const llvm::Twine& text) {
    if (problem_->empty()) *problem_ = ("field '" + where_ + key + "' " + text).str();
  }

 private:
  const llvm::json::Value* take(llvm::StringRef key, bool required) {
    known_.push_back(key.str());
    const llvm::json::Value* value = object_.get(key);
    if (value == nullptr && required) complain(key, "is missing");
    return value;
  }

  const llvm::json::Object& object_;
  std::string where_;
  std::string* problem_;
  std::vector<std::string> known_;
};

void read_types(Fields& fields, kernels::GemvProblem* problem) {
  const llvm::json::Array* types = fields.array("types");
  if (types == nullptr) return;
  for (const llvm::json::Value& value : *types) {
    const auto name = value.getAsString();
    const WeightType* type =
        llvm::find_if(kTypes, [&](WeightType t) { return name && *name == weight_type_name(t); });
    if (type == std::end(kTypes)) return fields.complain("types", "names a type that is unknown");
    problem->types.push_back(static_cast<unsigned>(*type));
  }
  const size_t wanted = problem->kernel == "qkv" ? 3 : problem->kernel == "gate_up" ? 2 : 1;
  if (problem->types.size() != wanted) {
    fields.complain("types", llvm::formatv("must name {0} types", wanted));
  }
}

Entry read_entry(Fields& fields) {
  Entry entry;
  kernels::GemvProblem& problem = entry.problem;
  problem.kernel = fields.text("kernel");
  if (!kernels::has_variants(problem.kernel)) {
    fields.complain("kernel", "must be qkv, matmul_add, gate_up or head");
  }
  read_types(fields, &problem);
  const std::string mode = fields.text("activations");
  const Activations* found =
      llvm::find_if(kModes, [&](Activations m) { return mode == activations_name(m); });
  if (found == std::end(kModes)) {
    fields.complain("activations", "must be f32, q8 or q8r");
  } else {
    problem.mode = *found;
  }
  problem.k = fields.whole("k", kMaxDimension);
  problem.n = fields.whole("n", kMaxDimension);
  entry.variant.threads = fields.whole("threads", 1024);
  entry.variant.blocks = fields.whole("blocks", 32);
  entry.variant.rows = fields.whole("rows", 32);
  entry.variant.split = fields.whole("split", 32);
  entry.variant.in_flight = fields.whole("in_flight", 64);
  entry.us = fields.number("us", 0, 1e9, false);
  entry.untuned_us = fields.number("untuned_us", 0, 1e9, false);
  return entry;
}

}  // namespace

const char* activations_name(Activations mode) {
  switch (mode) {
    case Activations::kInt8:
      return "q8";
    case Activations::kInt8Pair:
      return "q8r";
    case Activations::kExact:
      break;
  }
  return "f32";
}

const Entry* Table::find(const kernels::GemvProblem& problem) const {
  for (const Entry& entry : entries) {
    if (entry.problem == problem) return &entry;
  }
  return nullptr;
}

llvm::Expected<Table> parse(llvm::StringRef json, llvm::StringRef name) {
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(json);
  if (!value) {
    return fail(ExitCode::kInvalidFile, "{0}: not JSON: {1}", name,
                llvm::toString(value.takeError()));
  }
  const llvm::json::Object* object = value->getAsObject();
  if (object == nullptr) {
    return fail(ExitCode::kInvalidFile, "{0}: a tuning table is a JSON object", name);
  }
  std::string problem;
  Fields fields(*object, "", &problem);
  Table table;
  if (fields.number("format", 0, 1e9) != kFormat) fields.complain("format", "must be 1");
  table.compute_capability = fields.whole("compute_capability", 999);
  table.sm_count = fields.whole("sm_count", 4096);
  table.source = fields.text("source");
  const llvm::json::Array* entries = fields.array("entries");
  for (size_t i = 0; entries != nullptr && i < entries->size() && problem.empty(); ++i) {
    const std::string where = llvm::formatv("entries[{0}]", i);
    const llvm::json::Object* element = (*entries)[i].getAsObject();
    if (element == nullptr) {
      fields.complain(where, "must be an object");
      break;
    }
    Fields entry_fields(*element, where + ".", &problem);
    Entry entry = read_entry(entry_fields);
    entry_fields.close();
    if (!problem.empty()) break;
    const std::string illegal = kernels::why_illegal(entry.problem, entry.variant);
    if (!illegal.empty()) problem = where + " cannot be built: " + illegal;
    if (table.find(entry.problem) != nullptr) problem = where + " repeats an earlier one's problem";
    table.entries.push_back(std::move(entry));
  }
  fields.close();
  if (!problem.empty()) {
    return fail(ExitCode::kInvalidFile, "tuning table {0}: {1}; jllmc tune makes a new one", name,
                problem);
  }
  return table;
}

llvm::Expected<Table> read(const std::string& path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!buffer) {
    return fail(ExitCode::kFailed, "cannot read {0}: {1}", path, buffer.getError().message());
  }
  return parse((*buffer)->getBuffer(), path);
}

void write(const Table& table, llvm::raw_ostream& os) {
  os << "{\n";
  os << llvm::formatv("  \"format\": {0},\n", int(kFormat));
  os << llvm::formatv("  \"compute_capability\": {0},\n", table.compute_capability);
  os << llvm::formatv("  \"sm_count\": {0},\n", table.sm_count);
  os << llvm::formatv("  \"source\": {0},\n", llvm::json::Value(table.source));
  os << "  \"entries\": [";
  const char* separator = "\n";
  for (const Entry& e : table.entries) {
    std::string types;
    for (const unsigned type : e.problem.types) {
      types += llvm::formatv("{0}\"{1}\"", types.empty() ? "" : ", ",
                             weight_type_name(static_cast<WeightType>(type)));
    }
    os << separator
       << llvm::formatv(
              "    {{\"kernel\": \"{0}\", \"types\": [{1}], \"activations\": \"{2}\", \"k\": {3}, "
              "\"n\": {4},\n     \"threads\": {5}, \"blocks\": {6}, \"rows\": {7}, \"split\": {8}, "
              "\"in_flight\": {9}, \"us\": {10:F1}, \"untuned_us\": {11:F1}}",
              e.problem.kernel, types, activations_name(e.problem.mode), e.problem.k, e.problem.n,
              e.variant.threads, e.variant.blocks, e.variant.rows, e.variant.split,
              e.variant.in_flight, e.us, e.untuned_us);
    separator = ",\n";
  }
  os << "\n  ]\n}\n";
}

const Table* shipped(uint32_t compute_capability, uint32_t sm_count) {
  static const std::vector<Table> tables = [] {
    std::vector<Table> out;
    for (const ShippedTable& file : shipped_tables()) {
      out.push_back(llvm::cantFail(parse(file.json, file.name)));  // tests read them all
    }
    return out;
  }();
  const auto found = llvm::find_if(
      tables, [&](const Table& table) { return table.made_for(compute_capability, sm_count); });
  return found == tables.end() ? nullptr : &*found;
}

}  // namespace jllm::tuning
