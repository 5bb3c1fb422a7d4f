// Counts and their text for Prometheus.
#include "tools/jllm/serve/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace jllm::serve {
namespace {

using testing::HasSubstr;

TEST(Metrics, HistogramsCountWhatIsBelowEachBound) {
  Histogram histogram;
  for (const double seconds : {0.0005, 0.001, 0.002, 0.3, 1000.0}) histogram.add(seconds);
  PrometheusText text;
  text.metric("x", "histogram", "Some times.");
  text.histogram(histogram);
  EXPECT_THAT(text.text(), HasSubstr("# HELP x Some times.\n# TYPE x histogram\n"
                                     "x_bucket{le=\"0.001\"} 2\nx_bucket{le=\"0.0025\"} 3\n"));
  EXPECT_THAT(text.text(), HasSubstr("x_bucket{le=\"0.25\"} 3\nx_bucket{le=\"0.5\"} 4\n"));
  EXPECT_THAT(text.text(), HasSubstr("x_bucket{le=\"60\"} 4\nx_bucket{le=\"+Inf\"} 5\n"
                                     "x_sum 1000.3035\nx_count 5\n"));
  EXPECT_EQ(histogram.count(), 5u);
}

TEST(Metrics, LabelsAreEscaped) {
  EXPECT_EQ(label({{"a", "x\"y\\z\nw"}, {"b", ""}}), R"({a="x\"y\\z\nw",b=""})");
}

TEST(Metrics, RepliesAreCountedByPathAndStatus) {
  Metrics metrics;
  metrics.replied("/health", 200);
  metrics.replied("/health", 200);
  metrics.replied("/health", 503);
  metrics.generated_tokens = 7;
  PrometheusText text;
  metrics.write(&text);
  EXPECT_THAT(text.text(), HasSubstr("jllm_requests_total{path=\"/health\",code=\"200\"} 2\n"
                                     "jllm_requests_total{path=\"/health\",code=\"503\"} 1\n"));
  EXPECT_THAT(text.text(), HasSubstr("\njllm_generated_tokens_total 7\n"));
}

}  // namespace
}  // namespace jllm::serve
