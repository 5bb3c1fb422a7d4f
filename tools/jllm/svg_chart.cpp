#include "tools/jllm/svg_chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "schema/plan_picture.h"

namespace jllm::tool {
namespace {

constexpr double kWidth = 760, kLeft = 84, kRight = 28;
constexpr double kHeader = 78;        // title and subtitle
constexpr double kPanelHeight = 290;  // with its title and x axis
constexpr double kPlotTop = 40, kPlotHeight = 190;
constexpr double kPlotWidth = kWidth - kLeft - kRight;

// Two pairs of colours that stay apart for colour-blind readers, for light and for dark pages.
constexpr const char* kStyle = R"(<style>
text{font:13px system-ui,"Segoe UI",Helvetica,Arial,sans-serif;fill:#24292f}
.title{font-size:17px;font-weight:600}.panel{font-size:14px;font-weight:600}
.dim{fill:#57606a}.end{text-anchor:end}.mid{text-anchor:middle}.small{font-size:12px}
.halo{stroke:#ffffff;stroke-width:3;paint-order:stroke}
.page{fill:#ffffff}.grid{stroke:#d8dee4;stroke-width:1}.axis{stroke:#8c959f;stroke-width:1}
.line{fill:none;stroke-width:2.2;stroke-linejoin:round}
.l0{stroke:#0072b2}.l1{stroke:#c2410c}.l2{stroke:#117a5b}.l3{stroke:#8e3b80}
.d0{fill:#0072b2}.d1{fill:#c2410c}.d2{fill:#117a5b}.d3{fill:#8e3b80}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3}.dim{fill:#9198a1}
.halo{stroke:#0d1117}
.page{fill:#0d1117}.grid{stroke:#262c36}.axis{stroke:#6e7681}
.l0{stroke:#58a6ff}.l1{stroke:#f0883e}.l2{stroke:#3fb98f}.l3{stroke:#d2a8ff}
.d0{fill:#58a6ff}.d1{fill:#f0883e}.d2{fill:#3fb98f}.d3{fill:#d2a8ff}}
</style>
)";
constexpr size_t kColours = 4;

// A coordinate, with a point whatever the locale.
std::string at(double value) {
  const long tenths = std::lround(value * 10);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10);
}

// A figure for people: four digits at most behind nothing, less where they say nothing.
std::string figure(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value >= 100 ? "%.0f" : "%.3g", value);
  return text;
}

std::string text_at(double x, double y, const std::string& style, const std::string& text) {
  return "<text x=\"" + at(x) + "\" y=\"" + at(y) + "\" class=\"" + style + "\">" +
         escape_xml(text) + "</text>\n";
}

std::string line_at(double x1, double y1, double x2, double y2, const char* style) {
  return "<line x1=\"" + at(x1) + "\" y1=\"" + at(y1) + "\" x2=\"" + at(x2) + "\" y2=\"" + at(y2) +
         "\" class=\"" + style + "\"/>\n";
}

std::string dot_at(double x, double y, size_t colour, const std::string& tip) {
  return "<circle cx=\"" + at(x) + "\" cy=\"" + at(y) + "\" r=\"3.6\" class=\"d" +
         std::to_string(colour) + "\"><title>" + escape_xml(tip) + "</title></circle>\n";
}

class PanelDrawer {
 public:
  PanelDrawer(const ChartPanel& panel, const std::string& x_label, double top)
      : panel_(panel), x_label_(x_label), top_(top) {
    double x_most = 0, y_most = 0;
    for (const ChartSeries& series : panel.series) {
      for (const auto& [x, y] : series.points) {
        x_most = std::max(x_most, x);
        y_most = std::max(y_most, y);
      }
    }
    x_ticks_ = chart_ticks(x_most);
    y_ticks_ = chart_ticks(y_most * 1.08);  // room for the figures above the points
  }

  std::string draw() const {
    const double bottom = top_ + kPlotTop + kPlotHeight;
    std::string svg = text_at(kLeft, top_ + 16, "panel", panel_.title) + legend();
    for (const double tick : y_ticks_) {
      svg += line_at(kLeft, y(tick), kLeft + kPlotWidth, y(tick), tick == 0 ? "axis" : "grid");
      svg += text_at(kLeft - 10, y(tick) + 4, "small dim end", figure(tick));
    }
    for (const double tick : x_ticks_) {
      svg += line_at(x(tick), bottom, x(tick), bottom + 5, "axis");
      svg += text_at(x(tick), bottom + 20, "small dim mid", figure(tick));
    }
    svg += text_at(kLeft + kPlotWidth / 2, bottom + 40, "small dim mid", x_label_);
    const double middle = top_ + kPlotTop + kPlotHeight / 2;
    svg += "<text transform=\"translate(20 " + at(middle) +
           ") rotate(-90)\" class=\"small dim mid\">" + escape_xml(panel_.y_label) + "</text>\n";
    for (size_t i = 0; i < panel_.series.size(); ++i) svg += series(i);
    return svg;
  }

 private:
  double x(double value) const { return kLeft + kPlotWidth * value / x_ticks_.back(); }
  double y(double value) const {
    return top_ + kPlotTop + kPlotHeight * (1 - value / y_ticks_.back());
  }

  // Right-aligned above the plot.
  std::string legend() const {
    std::string svg;
    double right = kLeft + kPlotWidth;
    for (size_t i = panel_.series.size(); i-- > 0;) {
      const std::string& name = panel_.series[i].name;
      svg += text_at(right, top_ + 16, "small end", name);
      right -= 7.2 * double(name.size()) + 14;
      svg += dot_at(right + 6, top_ + 12, i % kColours, name);
      right -= 22;
    }
    return svg;
  }

  // Whether another series has a higher point here.
  bool is_topped(double px, double py) const {
    for (const ChartSeries& other : panel_.series) {
      for (const auto& [ox, oy] : other.points) {
        if (ox == px && oy > py) return true;
      }
    }
    return false;
  }

  std::string series(size_t i) const {
    const ChartSeries& s = panel_.series[i];
    std::string path, dots;
    for (const auto& [px, py] : s.points) {
      path += (path.empty() ? "" : " ") + at(x(px)) + "," + at(y(py));
      dots += dot_at(x(px), y(py), i % kColours, s.name + ": " + figure(py) + " at " + figure(px));
      // The first series tells its figures, away from the others; theirs would lie in the way.
      if (i != 0) continue;
      const bool near_axis = x(px) < kLeft + 20;
      dots += text_at(near_axis ? x(px) + 6 : x(px), y(py) + (is_topped(px, py) ? 18 : -9),
                      near_axis ? "small halo" : "small mid halo", figure(py));
    }
    return "<polyline points=\"" + path + "\" class=\"line l" + std::to_string(i % kColours) +
           "\"/>\n" + dots;
  }

  const ChartPanel& panel_;
  const std::string& x_label_;
  double top_;
  std::vector<double> x_ticks_, y_ticks_;
};

}  // namespace

std::vector<double> chart_ticks(double most) {
  if (!(most > 0)) most = 1;
  const double rough = most / 5;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = power * 10;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (power * factor >= rough * (1 - 1e-9)) {
      step = power * factor;
      break;
    }
  }
  std::vector<double> ticks;
  for (int i = 0; ticks.empty() || ticks.back() < most * (1 - 1e-9); ++i) ticks.push_back(i * step);
  return ticks;
}

std::string draw_chart(const Chart& chart) {
  const double height = kHeader + kPanelHeight * double(chart.panels.size()) + 10;
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + at(kWidth) + " " +
                    at(height) + "\" width=\"" + at(kWidth) + "\" height=\"" + at(height) +
                    "\" role=\"img\">\n<title>" + escape_xml(chart.title) + "</title>\n" + kStyle +
                    "<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n";
  svg += text_at(24, 32, "title", chart.title);
  svg += text_at(24, 54, "small dim", chart.subtitle);
  double top = kHeader;
  for (const ChartPanel& panel : chart.panels) {
    svg += PanelDrawer(panel, chart.x_label, top).draw();
    top += kPanelHeight;
  }
  return svg + "</svg>\n";
}

}  // namespace jllm::tool
