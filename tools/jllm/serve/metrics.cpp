#include "tools/jllm/serve/metrics.h"

#include <algorithm>
#include <cstdio>

namespace jllm::serve {
namespace {

std::string number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

std::string escaped(const std::string& value) {
  std::string text;
  for (const char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    if (c == '\n') {
      text += "\\n";
    } else {
      text += c;
    }
  }
  return text;
}

}  // namespace

void Histogram::add(double seconds) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  ++counts_[static_cast<size_t>(bound - kBounds.begin())];
  sum_ += seconds;
}

std::string Histogram::text(const std::string& name) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::string text;
  uint64_t below = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    below += counts_[i];
    text += name + "_bucket" + label({{"le", i < kBounds.size() ? number(kBounds[i]) : "+Inf"}}) +
            " " + std::to_string(below) + "\n";
  }
  return text + name + "_sum " + number(sum_) + "\n" + name + "_count " + std::to_string(below) +
         "\n";
}

double Histogram::sum() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return sum_;
}

uint64_t Histogram::count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  uint64_t count = 0;
  for (const uint64_t n : counts_) count += n;
  return count;
}

void PrometheusText::metric(const char* name, const char* type, const char* help) {
  name_ = name;
  text_ += "# HELP " + name_ + " " + help + "\n# TYPE " + name_ + " " + type + "\n";
}

void PrometheusText::sample(double value, const std::string& labels) {
  text_ += name_ + labels + " " + number(value) + "\n";
}

std::string label(std::initializer_list<std::pair<const char*, std::string>> labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    text += (text.empty() ? "{" : ",") + std::string(name) + "=\"" + escaped(value) + "\"";
  }
  return text + "}";
}

void Metrics::replied(const std::string& path, int status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++replies_[{path, status}];
}

void Metrics::write(PrometheusText* text) const {
  text->metric("jllm_requests_total", "counter", "Replies by path and status.");
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [key, count] : replies_) {
      text->sample(double(count),
                   label({{"path", key.first}, {"code", std::to_string(key.second)}}));
    }
  }
  const auto counter = [text](const char* name, const char* help, uint64_t value) {
    text->metric(name, "counter", help);
    text->sample(double(value));
  };
  counter("jllm_prompt_tokens_total", "Tokens of prompts, cached ones included.", prompt_tokens);
  counter("jllm_cached_tokens_total", "Tokens of prompts that were in the KV cache already.",
          cached_tokens);
  counter("jllm_generated_tokens_total", "Tokens made.", generated_tokens);
  counter("jllm_cancelled_total", "Requests whose client went away before the end.", cancelled);
  counter("jllm_timed_out_total", "Requests that reached --timeout.", timed_out);
  counter("jllm_refused_full_total", "Requests refused because the queue was full.", refused_full);
  counter("jllm_ended_by_memory_total", "Requests ended because memory ran low.", ended_by_memory);
  const auto histogram = [text](const char* name, const char* help, const Histogram& values) {
    text->metric(name, "histogram", help);
    text->histogram(values);
  };
  histogram("jllm_queue_seconds", "From a request's arrival to its slot.", queued);
  histogram("jllm_time_to_first_token_seconds", "From a request's arrival to its first token.",
            first_token);
  histogram("jllm_time_per_token_seconds", "Between two tokens of a request.", each_token);
  histogram("jllm_request_seconds", "From a request's arrival to its end.", request);
}

}  // namespace jllm::serve
