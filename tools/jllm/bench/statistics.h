// What is said of a list of samples.
#pragma once

#include <vector>

namespace jllm::tool {

struct Moments {
  double mean = 0, deviation = 0;  // deviation of a sample (n - 1), 0 for a single one
};
Moments moments(const std::vector<double>& values);

// The value below which `share` (0 to 1) of the values lie, linear between two neighbours; 0 of
// none.
double quantile(std::vector<double> values, double share);
inline double median(const std::vector<double>& values) { return quantile(values, 0.5); }

// Of the times between tokens. Jitter is p99 - p50: how much later than usual a token is once in a
// hundred times.
struct Latency {
  double p50 = 0, p99 = 0, max = 0;
  double jitter() const { return p99 - p50; }
};
Latency latency(const std::vector<double>& values);

}  // namespace jllm::tool
