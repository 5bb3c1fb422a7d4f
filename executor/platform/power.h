// The power that the module takes and the energy of a stretch of time, from its rails. Whoever
// wants energy samples a few times a second; between two samples power is taken to change evenly.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "executor/platform/sysfs.h"

namespace jllm::platform {

// What was taken, over the seconds for which that is known.
struct Energy {
  double joules = 0, seconds = 0;

  std::optional<double> mean_watts() const;  // none without seconds
};

inline Energy operator+(const Energy& a, const Energy& b) {
  return {a.joules + b.joules, a.seconds + b.seconds};
}
inline Energy operator-(const Energy& a, const Energy& b) {
  return {a.joules - b.joules, a.seconds - b.seconds};
}

class PowerMeter {
 public:
  // Samples further apart than `longest_gap` seconds tell nothing of the time between them.
  explicit PowerMeter(Sysfs sysfs, double longest_gap = 2);

  const std::vector<PowerRail>& rails() const { return rails_; }
  // What total() is: "VDD_IN", "sum of VDD_GPU_SOC, VDD_CPU_CV"; empty where there are no rails.
  std::string source() const;

  // Reads all rails. `now`: monotonic seconds.
  void sample(double now);

  // At the last sample; none where it could not be read.
  const std::vector<std::optional<double>>& watts() const { return watts_; }  // of rails()
  std::optional<double> total() const { return total_; }
  // Since the first sample.
  const Energy& energy() const { return energy_; }

 private:
  std::optional<double> sum() const;

  Sysfs sysfs_;
  std::vector<PowerRail> rails_;
  std::vector<std::optional<double>> watts_;
  std::optional<double> total_;
  double longest_gap_;
  double last_ = 0;  // when
  Energy energy_;
};

}  // namespace jllm::platform
