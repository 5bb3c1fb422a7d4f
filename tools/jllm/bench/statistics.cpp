#include "tools/jllm/bench/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace jllm::tool {

Moments moments(const std::vector<double>& values) {
  Moments m;
  for (const double v : values) m.mean += v / double(values.size());
  if (values.size() < 2) return m;
  for (const double v : values) m.deviation += (v - m.mean) * (v - m.mean);
  m.deviation = std::sqrt(m.deviation / double(values.size() - 1));
  return m;
}

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double place = share * double(values.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - double(below)) * (values[above] - values[below]);
}

Latency latency(const std::vector<double>& values) {
  return {quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1)};
}

}  // namespace jllm::tool
