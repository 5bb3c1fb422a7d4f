#include "executor/platform/power.h"

#include <algorithm>
#include <utility>

#include "executor/platform/files.h"

namespace jllm::platform {
namespace {

// What no rail of a module says.
constexpr double kMostWatts = 1000;

// Channels that are not connected have the label "NC".
bool is_name(const std::string& label) { return !label.empty() && label != "NC"; }

// The INA3221's channels are in1 to in3 and curr1 to curr3; what else it has, as the sum of shunt
// voltages in in7, is no rail.
void add_ina3221(const std::string& folder, std::vector<PowerRail>* rails) {
  for (const char* n : {"1", "2", "3"}) {
    PowerRail rail;
    rail.name = first_line(folder + "/in" + n + "_label");
    rail.volts_file = folder + "/in" + n + "_input";
    rail.amps_file = folder + "/curr" + n + "_input";
    if (is_name(rail.name)) rails->push_back(std::move(rail));
  }
}

// JetPack 4 has the same chip as a device of industrial I/O.
void add_iio(const std::string& folder, std::vector<PowerRail>* rails) {
  for (const char* n : {"0", "1", "2"}) {
    PowerRail rail;
    rail.name = first_line(folder + "/rail_name_" + n);
    rail.milliwatts_file = folder + "/in_power" + n + "_input";
    if (is_name(rail.name)) rails->push_back(std::move(rail));
  }
}

std::optional<double> scaled(const std::string& path, double unit) {
  const std::optional<int64_t> value = number_in(path);
  if (!value || *value < 0) return std::nullopt;
  return static_cast<double>(*value) * unit;
}

}  // namespace

// Orin Nano and NX, Xavier NX and TX2; Thor; Nano. AGX modules have parts only.
bool PowerRail::is_total() const {
  return name == "VDD_IN" || name == "VIN" || name == "POM_5V_IN";
}

std::vector<PowerRail> Sysfs::power_rails() const {
  std::vector<PowerRail> rails;
  const std::string hwmon = root_ + "/sys/class/hwmon/", iio = root_ + "/sys/bus/iio/devices/";
  for (const std::string& name : names_in(hwmon, "hwmon")) {
    const std::string chip = first_line(hwmon + name + "/name");
    if (chip == "ina3221") add_ina3221(hwmon + name, &rails);
    if (chip == "ina238") rails.push_back({"VIN", "", hwmon + name + "/power1_input", "", ""});
  }
  for (const std::string& name : names_in(iio, "iio:device")) {
    if (first_line(iio + name + "/name") == "ina3221x") add_iio(iio + name, &rails);
  }
  return rails;
}

std::optional<double> Sysfs::watts(const PowerRail& rail) const {
  std::optional<double> watts;
  if (!rail.milliwatts_file.empty()) {
    watts = scaled(rail.milliwatts_file, 1e-3);
  } else if (!rail.microwatts_file.empty()) {
    watts = scaled(rail.microwatts_file, 1e-6);
  } else {
    const std::optional<double> volts = scaled(rail.volts_file, 1e-3);
    const std::optional<double> amps = scaled(rail.amps_file, 1e-3);
    if (volts && amps) watts = *volts * *amps;
  }
  if (watts && *watts > kMostWatts) return std::nullopt;
  return watts;
}

std::optional<double> Energy::mean_watts() const {
  if (!(seconds > 0)) return std::nullopt;
  return joules / seconds;
}

PowerMeter::PowerMeter(Sysfs sysfs, double longest_gap)
    : sysfs_(std::move(sysfs)),
      rails_(sysfs_.power_rails()),
      watts_(rails_.size()),
      longest_gap_(longest_gap) {}

std::string PowerMeter::source() const {
  std::string parts;
  for (const PowerRail& rail : rails_) {
    if (rail.is_total()) return rail.name;
    parts += (parts.empty() ? "sum of " : ", ") + rail.name;
  }
  return parts;
}

// Of the rail that measures all, or else of all rails; a part that is missing is not guessed.
std::optional<double> PowerMeter::sum() const {
  std::optional<double> sum;
  bool complete = true;
  for (size_t i = 0; i < rails_.size(); ++i) {
    if (rails_[i].is_total()) return watts_[i];
    complete = complete && watts_[i].has_value();
    sum = sum.value_or(0) + watts_[i].value_or(0);
  }
  return complete ? sum : std::nullopt;
}

void PowerMeter::sample(double now) {
  for (size_t i = 0; i < rails_.size(); ++i) watts_[i] = sysfs_.watts(rails_[i]);
  const std::optional<double> before = std::exchange(total_, sum());
  const double gap = now - std::exchange(last_, now);
  if (!before || !total_ || !(gap > 0 && gap <= longest_gap_)) return;
  energy_.joules += gap * (*before + *total_) / 2;
  energy_.seconds += gap;
}

}  // namespace jllm::platform
