// The memory map of a plan as a picture: the arenas as one bar to scale, and underneath the scratch
// buffers of the largest prefill graph as rectangles, launches from left to right and bytes from
// bottom to top.
#include <llvm/Support/FormatVariadic.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "compiler/inspect/inspect.h"
#include "compiler/report/report.h"

namespace jllm::inspect {
namespace {

using llvm::formatv;

constexpr double kWidth = 1080;
constexpr double kMargin = 40;
constexpr double kInner = kWidth - 2 * kMargin;
constexpr double kBarTop = 92, kBarHeight = 46;
constexpr double kMapTop = 236, kMapHeight = 360;

// Colours that stay apart for colour-blind readers (Okabe and Ito 2008; Tol's muted scheme behind
// them).
constexpr const char* kColours[] = {"#0072b2", "#e69f00", "#009e73", "#cc79a7",
                                    "#56b4e9", "#d55e00", "#f0e442", "#999999",
                                    "#332288", "#882255", "#44aa99", "#ddcc77"};
constexpr size_t kColourCount = sizeof kColours / sizeof kColours[0];

std::string escape(llvm::StringRef text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 32 ? ' ' : c;
    }
  }
  return out;
}

std::string rectangle(double x, double y, double w, double h, const char* colour,
                      const std::string& tip) {
  return formatv(
      "<rect x=\"{0:F2}\" y=\"{1:F2}\" width=\"{2:F2}\" height=\"{3:F2}\" fill=\"{4}\" "
      "stroke=\"#fff\" stroke-width=\"0.6\"><title>{5}</title></rect>\n",
      x, y, std::max(w, 0.8), std::max(h, 0.8), colour, escape(tip));
}

std::string label(double x, double y, const char* style, const std::string& text) {
  return formatv("<text x=\"{0:F2}\" y=\"{1:F2}\" class=\"{2}\">{3}</text>\n", x, y, style,
                 escape(text));
}

// "blk.3.ffn_up.weight" and "prefill_64/blk.3.ffn_norm" belong to "ffn_up.weight" and "ffn_norm".
std::string group_of(llvm::StringRef name) {
  const size_t slash = name.rfind('/');
  if (slash != llvm::StringRef::npos && name.find("blk.") > slash) name = name.substr(slash + 1);
  const size_t block = name.find("blk.");
  if (block == llvm::StringRef::npos) return name.str();
  return name.substr(block + 4).split('.').second.str();
}

std::string draw_bar(const fb::Plan& plan) {
  std::string svg;
  uint64_t total = 0;
  for (const fb::Arena* arena : *plan.arenas()) total += arena->size();
  double x = kMargin;
  double key = kMargin;
  size_t colour = 0;
  for (const fb::Arena* arena : *plan.arenas()) {
    const double w = double(arena->size()) / double(std::max<uint64_t>(total, 1)) * kInner;
    const std::string text =
        formatv("{0}  {1}", arena_kind_name(arena->kind()), report::format_bytes(arena->size()))
            .str();
    const char* fill = kColours[colour++ % kColourCount];
    svg += rectangle(x, kBarTop, w, kBarHeight, fill, text);
    svg += formatv("<rect x=\"{0:F2}\" y=\"{1:F2}\" width=\"12\" height=\"12\" fill=\"{2}\"/>\n",
                   key, kBarTop + kBarHeight + 16, fill);
    svg += label(key + 18, kBarTop + kBarHeight + 26, "small", text);
    key += 28 + 7.2 * double(text.size());
    x += w;
  }
  return svg;
}

std::string draw_scratch(const fb::Plan& plan, uint32_t index) {
  const fb::Graph& graph = *plan.graphs()->Get(index);
  const double launches = std::max<double>(1, graph.launches()->size());
  uint64_t size = 1;
  std::map<std::string, size_t> colours;
  for (const fb::Buffer* buffer : *plan.buffers()) {
    if (buffer->graph() != static_cast<int32_t>(index)) continue;
    size = std::max(size, buffer->offset() + buffer->size());
    colours.emplace(group_of(buffer->name()->c_str()), colours.size());
  }
  std::string svg = label(kMargin, kMapTop - 18, "head",
                          formatv("scratch of {0}, {1} rows: {2}; {3} launches from left to right",
                                  graph_kind_name(graph.kind()), graph.rows(),
                                  report::format_bytes(size), graph.launches()->size())
                              .str());
  svg += formatv("<rect x=\"{0}\" y=\"{1}\" width=\"{2}\" height=\"{3}\" fill=\"#f2f4f7\"/>\n",
                 kMargin, kMapTop, kInner, kMapHeight);
  for (const fb::Buffer* buffer : *plan.buffers()) {
    if (buffer->graph() != static_cast<int32_t>(index)) continue;
    const double x = kMargin + double(buffer->first_use()) / launches * kInner;
    const double w = double(buffer->last_use() - buffer->first_use() + 1) / launches * kInner;
    const double h = double(buffer->size()) / double(size) * kMapHeight;
    const double y =
        kMapTop + kMapHeight - double(buffer->offset()) / double(size) * kMapHeight - h;
    const size_t colour = colours[group_of(buffer->name()->c_str())] % kColourCount;
    svg += rectangle(x, y, w, h, kColours[colour],
                     formatv("{0}: {1} at {2}, launches {3} to {4}", buffer->name()->c_str(),
                             report::format_bytes(buffer->size()), buffer->offset(),
                             buffer->first_use(), buffer->last_use())
                         .str());
  }
  double key = kMargin;
  double row = kMapTop + kMapHeight + 26;
  for (const auto& [name, number] : colours) {
    const double w = 28 + 7.2 * double(name.size());
    if (key + w > kMargin + kInner) {
      key = kMargin;
      row += 20;
    }
    svg += formatv("<rect x=\"{0:F2}\" y=\"{1:F2}\" width=\"12\" height=\"12\" fill=\"{2}\"/>\n",
                   key, row - 10, kColours[number % kColourCount]);
    svg += label(key + 18, row, "small", name);
    key += w;
  }
  return svg;
}

}  // namespace

std::string draw_svg(const fb::Plan& plan) {
  constexpr double kHeight = kMapTop + kMapHeight + 90;
  std::string svg = formatv(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" "
      "font-family=\"sans-serif\" "
      "role=\"img\" aria-label=\"memory map of the plan\">\n"
      "<style>.title{{font-size:20px;font-weight:bold}.head{{font-size:14px}.small{{font-size:12px}"
      "</style>\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>\n",
      kWidth, kHeight);
  svg += label(
      kMargin, 44, "title",
      formatv("{0} on {1}", plan.model()->name()->c_str(), plan.target()->device_name()->c_str())
          .str());
  svg += label(kMargin, 72, "head",
               formatv("planned memory, context {0}", plan.model()->context()).str());
  svg += draw_bar(plan);
  int graph = largest_graph(plan, fb::GraphKind::Prefill);
  if (graph < 0) graph = largest_graph(plan, fb::GraphKind::Decode);
  if (graph >= 0) svg += draw_scratch(plan, static_cast<uint32_t>(graph));
  return svg + "</svg>\n";
}

}  // namespace jllm::inspect
