// What the server has done, counted as it goes, and its text for Prometheus. Any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace jllm::serve {

class Histogram {
 public:
  void add(double seconds);
  // The lines of a metric whose name and help were written already.
  std::string text(const std::string& name) const;
  double sum() const;
  uint64_t count() const;

 private:
  static constexpr std::array<double, 15> kBounds = {
      0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
  mutable std::mutex mutex_;
  std::array<uint64_t, kBounds.size() + 1> counts_ = {};
  double sum_ = 0;
};

// Text in Prometheus's format, metric by metric.
class PrometheusText {
 public:
  // Opens a metric; its samples follow.
  void metric(const char* name, const char* type, const char* help);
  // `labels` are made by label().
  void sample(double value, const std::string& labels = "");
  void histogram(const Histogram& histogram) { text_ += histogram.text(name_); }
  const std::string& text() const { return text_; }

 private:
  std::string name_, text_;
};

// `{name="value",...}`, escaped.
std::string label(std::initializer_list<std::pair<const char*, std::string>> labels);

struct Metrics {
  std::atomic<uint64_t> prompt_tokens{0}, cached_tokens{0}, generated_tokens{0};
  std::atomic<uint64_t> cancelled{0}, timed_out{0}, refused_full{0}, ended_by_memory{0};
  Histogram first_token, each_token, queued, request;

  void replied(const std::string& path, int status);
  void write(PrometheusText* text) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> replies_;
};

}  // namespace jllm::serve
