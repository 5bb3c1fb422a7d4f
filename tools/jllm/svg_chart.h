// Line charts as a self-contained SVG picture: panels below each other over one x axis each, with
// ticks, units and a legend, readable on light and on dark pages.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace jllm::tool {

struct ChartSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x, y; both at least 0
};

struct ChartPanel {
  std::string title;
  std::string y_label;  // with its unit
  std::vector<ChartSeries> series;
};

struct Chart {
  std::string title;
  std::string subtitle;
  std::string x_label;  // with its unit
  std::vector<ChartPanel> panels;
};

std::string draw_chart(const Chart& chart);

// Round numbers from 0 to at least `most`, four to seven of them.
std::vector<double> chart_ticks(double most);

}  // namespace jllm::tool
