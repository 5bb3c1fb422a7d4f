#include "compiler/target/description.h"

#include <llvm/ADT/STLExtras.h>
#include <llvm/Support/JSON.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "compiler/support/error.h"

namespace jllm::target {
namespace {

constexpr double kFormat = 1;
constexpr double kMaxMegabytes = 16.0 * 1024 * 1024;

constexpr FigureField<Description> kDeviceFigures[] = {
    {"compute_capability", "compute capability", &Description::compute_capability, 999, true, true},
    {"shared_memory_per_sm_kib", "shared memory/SM, KiB", &Description::shared_memory_per_sm, 4096,
     true, false},
    {"shared_memory_per_block_kib", "shared memory/block, KiB",
     &Description::shared_memory_per_block, 4096, true, false},
    {"registers_per_sm", "registers/SM", &Description::registers_per_sm, 1e7, true, false},
    {"registers_per_block", "registers/block", &Description::registers_per_block, 1e7, true, false},
    {"threads_per_sm", "threads/SM", &Description::threads_per_sm, 65536, true, false},
    {"l2_kib", "L2 cache, KiB", &Description::l2, 1e7, true, false},
    {"memory_bus_bits", "memory bus, bits", &Description::memory_bus_bits, 65536, true, false},
    {"ram_mib", "RAM, MiB", &Description::ram, kMaxMegabytes, false, false},
    {"visible_mib", "visible RAM, MiB", &Description::visible, kMaxMegabytes, false, false},
    {"headless_budget_mib", "budget headless, MiB", &Description::headless_budget, kMaxMegabytes,
     false, false},
    {"desktop_cost_mib", "desktop takes, MiB", &Description::desktop_cost, kMaxMegabytes, false,
     false},
    {"cuda_context_mib", "CUDA context, MiB", &Description::cuda_context, kMaxMegabytes, false,
     false},
    {"largest_allocation_mib", "largest allocation, MiB", &Description::largest_allocation,
     kMaxMegabytes, false, false},
    {"bandwidth_fraction", "usable share of pin rate", &Description::bandwidth_fraction, 1, false,
     false},
    {"max_cuda_major", "newest CUDA", &Description::max_cuda_major, 99, true, false},
};

constexpr FigureField<Mode> kModeFigures[] = {
    {"sm_count", "SM", &Mode::sm_count, 4096, true, true},
    {"gpu_mhz", "GPU MHz", &Mode::gpu_mhz, 10000, false, false},
    {"memory_mhz", "memory MHz", &Mode::memory_mhz, 20000, false, false},
    {"pin_bandwidth_gb_s", "pin GB/s", &Mode::pin_bandwidth, 1e5, false, false},
    {"measured_bandwidth_gb_s", "measured GB/s", &Mode::measured_bandwidth, 1e5, false, false},
};

// Reads the fields of one JSON object. The first problem of the whole file is kept, with its path.
class Reader {
 public:
  Reader(const llvm::json::Object& object, std::string path, std::string* problem)
      : object_(object), path_(std::move(path)), problem_(problem) {}

  bool has(const std::string& key) const { return object_.get(key) != nullptr; }

  std::string text(const std::string& key, bool required) {
    seen_.insert(key);
    if (const auto value = object_.getString(key)) {
      if (!value->empty()) return value->str();
      complain(key, "must not be empty");
    } else {
      missing_or(key, required, "must be a string");
    }
    return "";
  }

  // From a short list of words; the first where it is wrong.
  size_t choice(const std::string& key, llvm::ArrayRef<const char*> words) {
    const std::string word = text(key, true);
    for (size_t i = 0; i < words.size(); ++i) {
      if (word == words[i]) return i;
    }
    std::string list;
    for (const char* w : words) list += (list.empty() ? "\"" : ", \"") + std::string(w) + "\"";
    complain(key, "must be one of " + list);
    return 0;
  }

  std::optional<double> number(const std::string& key, double min, double max, bool whole,
                               bool required) {
    seen_.insert(key);
    if (const auto value = object_.getNumber(key)) {
      if (*value >= min && *value <= max && (!whole || *value == std::floor(*value))) return *value;
      complain(key, whole ? "must be a whole number in range" : "must be a number in range");
    } else {
      missing_or(key, required, "must be a number");
    }
    return std::nullopt;
  }

  const llvm::json::Object* object(const std::string& key, bool required) {
    seen_.insert(key);
    const llvm::json::Object* value = object_.getObject(key);
    if (value == nullptr) missing_or(key, required, "must be an object");
    return value;
  }

  // Calls read(Reader) for every element, which must be an object; absent counts as empty.
  template <typename Read>
  void objects(const std::string& key, bool required, Read read) {
    seen_.insert(key);
    const llvm::json::Array* array = object_.getArray(key);
    if (array == nullptr) return missing_or(key, required, "must be an array");
    for (size_t i = 0; i < array->size(); ++i) {
      const std::string element = key + "[" + std::to_string(i) + "]";
      const llvm::json::Object* value = (*array)[i].getAsObject();
      if (value == nullptr) return complain(element, "must be an object");
      Reader reader(*value, path_of(element), problem_);
      read(reader);
      reader.close();
    }
  }

  std::vector<std::string> texts(const std::string& key) {
    seen_.insert(key);
    std::vector<std::string> result;
    const llvm::json::Array* array = object_.getArray(key);
    if (array == nullptr) {
      missing_or(key, false, "must be an array");
      return result;
    }
    for (size_t i = 0; i < array->size(); ++i) {
      if (const auto value = (*array)[i].getAsString()) {
        result.push_back(value->str());
      } else {
        complain(key + "[" + std::to_string(i) + "]", "must be a string");
      }
    }
    return result;
  }

  Confidence confidence() {
    return static_cast<Confidence>(choice("confidence", {"low", "medium", "high"}));
  }

  std::optional<Figure> figure(const std::string& key, double max, bool whole, bool required) {
    const llvm::json::Object* value = object(key, required);
    if (value == nullptr) return std::nullopt;
    Reader reader(*value, path_of(key), problem_);
    Figure figure;
    figure.value = reader.number("value", 0, max, whole, true).value_or(0);
    if (figure.value == 0) reader.complain("value", "must be above 0");
    figure.source = reader.text("source", true);
    figure.confidence = reader.confidence();
    reader.close();
    return figure;
  }

  // Whatever was not asked for is unknown.
  void close() {
    std::set<std::string> unknown;
    for (const auto& field : object_) {
      const std::string name = llvm::StringRef(field.first).str();
      if (seen_.count(name) == 0) unknown.insert(name);
    }
    if (!unknown.empty()) complain(*unknown.begin(), "is unknown");
  }

  void complain(const std::string& key, const std::string& text) {
    if (problem_->empty()) *problem_ = "field '" + path_of(key) + "' " + text;
  }

  std::string path_of(const std::string& key) const {
    return path_.empty() ? key : path_ + "." + key;
  }

 private:
  void missing_or(const std::string& key, bool required, const char* text) {
    if (has(key)) {
      complain(key, text);
    } else if (required) {
      complain(key, "is missing");
    }
  }

  const llvm::json::Object& object_;
  std::string path_;
  std::string* problem_;
  std::set<std::string> seen_;
};

// Names end up on command lines, where '@' divides them.
bool is_plain_name(llvm::StringRef name) {
  return !name.empty() && llvm::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

void read_mode(Reader& reader, bool has_fraction, Description* device) {
  Mode mode;
  mode.name = reader.text("name", true);
  if (!is_plain_name(mode.name)) {
    reader.complain("name", "must consist of lower-case letters, digits and -_.");
  }
  if (llvm::any_of(device->modes, [&](const Mode& m) { return m.name == mode.name; })) {
    reader.complain("name", "repeats mode '" + mode.name + "'");
  }
  if (const auto id = reader.number("id", 0, 1000, true, false)) mode.id = uint32_t(*id);
  mode.label = reader.text("label", false);
  mode.firmware = reader.text("firmware", false);
  for (const FigureField<Mode>& field : mode_figures()) {
    mode.*field.member = reader.figure(field.key, field.max, field.whole, field.required);
  }
  if (!mode.measured_bandwidth && !mode.pin_bandwidth) {
    reader.complain("pin_bandwidth_gb_s", "is missing, and so is measured_bandwidth_gb_s");
  } else if (!mode.measured_bandwidth && !has_fraction) {
    reader.complain("measured_bandwidth_gb_s", "is missing, and so is the bandwidth_fraction");
  }
  device->modes.push_back(std::move(mode));
}

void read_default_mode(Reader& root, std::string* problem, Description* device) {
  const llvm::json::Object* value = root.object("default_mode", device->modes.size() > 1);
  if (value == nullptr) return;
  Reader reader(*value, root.path_of("default_mode"), problem);
  const std::string name = reader.text("value", true);
  const auto found = llvm::find_if(device->modes, [&](const Mode& m) { return m.name == name; });
  if (found == device->modes.end()) {
    reader.complain("value", "names no mode of this file");
  } else {
    device->default_mode = size_t(found - device->modes.begin());
  }
  device->default_mode_source = reader.text("source", true);
  device->default_mode_confidence = reader.confidence();
  reader.close();
}

void read_releases(Reader& root, Description* device) {
  root.objects("software", false, [&](Reader& reader) {
    Software software;
    software.jetpack = reader.text("jetpack", true);
    software.l4t = reader.text("l4t", true);
    software.cuda = reader.text("cuda", true);
    software.source = reader.text("source", true);
    software.confidence = reader.confidence();
    device->software.push_back(std::move(software));
  });
  root.objects("avoid_l4t", false, [&](Reader& reader) {
    BadRelease release;
    release.l4t = reader.text("l4t", true);
    release.fixed_in = reader.text("fixed_in", false);
    release.why = reader.text("why", true);
    release.source = reader.text("source", true);
    release.confidence = reader.confidence();
    device->avoid_l4t.push_back(std::move(release));
  });
}

void read_defaults(Reader& root, std::string* problem, Description* device) {
  const llvm::json::Object* value = root.object("defaults", true);
  if (value == nullptr) return;
  Reader reader(*value, root.path_of("defaults"), problem);
  device->prefill_chunk = uint32_t(reader.number("prefill_chunk", 1, 2048, true, true).value_or(0));
  constexpr WeightType kTypes[] = {WeightType::kF16, WeightType::kF32};
  device->default_kv = kTypes[reader.choice("kv", {"f16", "f32"})];
  reader.close();
}

// Figures that contradict each other.
void check_order(Reader& root, const char* small_key, const std::optional<Figure>& small,
                 const char* large_key, const std::optional<Figure>& large) {
  if (small && large && small->value > large->value) {
    root.complain(small_key, std::string("is larger than ") + large_key);
  }
}

Description read_description(const llvm::json::Object& object, std::string* problem) {
  Reader root(object, "", problem);
  Description device;
  if (const auto format = root.number("format", 0, 1e6, true, true); format && *format != kFormat) {
    root.complain("format", "must be 1, the only form that this jllmc reads");
  }
  device.name = root.text("name", true);
  if (!is_plain_name(device.name)) {
    root.complain("name", "must consist of lower-case letters, digits and -_.");
  }
  device.device_name = root.text("device_name", true);
  device.module = root.text("module", false);
  device.is_host = root.choice("backend", {"cuda", "host"}) == 1;
  for (const FigureField<Description>& field : device_figures()) {
    device.*field.member =
        root.figure(field.key, field.max, field.whole, field.required && !device.is_host);
  }
  root.objects("modes", !device.is_host, [&](Reader& reader) {
    read_mode(reader, device.bandwidth_fraction.has_value(), &device);
  });
  if (device.modes.empty() != device.is_host) {
    root.complain("modes", device.is_host ? "has no meaning on the host" : "must not be empty");
  }
  read_default_mode(root, problem, &device);
  read_releases(root, &device);
  read_defaults(root, problem, &device);
  device.notes = root.texts("notes");
  root.close();

  check_order(root, "visible_mib", device.visible, "ram_mib", device.ram);
  check_order(root, "headless_budget_mib", device.headless_budget, "visible_mib", device.visible);
  check_order(root, "headless_budget_mib", device.headless_budget, "ram_mib", device.ram);
  check_order(root, "shared_memory_per_block_kib", device.shared_memory_per_block,
              "shared_memory_per_sm_kib", device.shared_memory_per_sm);
  if (device.desktop_cost && device.headless_budget &&
      device.desktop_cost->value >= device.headless_budget->value) {
    root.complain("desktop_cost_mib", "leaves nothing of headless_budget_mib");
  }
  return device;
}

}  // namespace

std::string format_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

const char* confidence_name(Confidence confidence) {
  constexpr const char* kNames[] = {"low", "medium", "high"};
  return kNames[static_cast<size_t>(confidence)];
}

llvm::ArrayRef<FigureField<Description>> device_figures() { return kDeviceFigures; }
llvm::ArrayRef<FigureField<Mode>> mode_figures() { return kModeFigures; }

llvm::Expected<Description> parse_description(llvm::StringRef json, llvm::StringRef where) {
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(json);
  if (!value) {
    return fail(ExitCode::kInvalidFile, "target {0}: {1}", where,
                llvm::toString(value.takeError()));
  }
  const llvm::json::Object* object = value->getAsObject();
  if (object == nullptr) {
    return fail(ExitCode::kInvalidFile, "target {0}: not a JSON object", where);
  }
  std::string problem;
  Description device = read_description(*object, &problem);
  if (!problem.empty()) return fail(ExitCode::kInvalidFile, "target {0}: {1}", where, problem);
  return device;
}

Figure planning_bandwidth(const Description& device, const Mode& mode) {
  if (mode.measured_bandwidth) return *mode.measured_bandwidth;
  const Figure& fraction = *device.bandwidth_fraction;
  const Figure& pin = *mode.pin_bandwidth;
  return {fraction.value * pin.value,
          format_number(fraction.value) + " x " + format_number(pin.value) + " GB/s pin rate",
          std::min(fraction.confidence, pin.confidence)};
}

std::optional<Figure> desktop_budget(const Description& device) {
  if (!device.headless_budget || !device.desktop_cost) return std::nullopt;
  const Figure& headless = *device.headless_budget;
  const Figure& cost = *device.desktop_cost;
  return Figure{headless.value - cost.value,
                format_number(headless.value) + " headless - " + format_number(cost.value) +
                    " for the desktop",
                std::min(headless.confidence, cost.confidence)};
}

std::string warning(const BadRelease& release) {
  std::string text = "avoid L4T r" + release.l4t;
  if (!release.fixed_in.empty()) text += " (fixed in r" + release.fixed_in + ")";
  return text + ": " + release.why;
}

}  // namespace jllm::target
