#include "schema/plan_picture.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <string_view>

namespace jllm {
namespace {

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

[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...) {
  va_list arguments, again;
  va_start(arguments, pattern);
  va_copy(again, arguments);
  std::string text(static_cast<size_t>(std::vsnprintf(nullptr, 0, pattern, arguments)), '\0');
  std::vsnprintf(text.data(), text.size() + 1, pattern, again);
  va_end(again);
  va_end(arguments);
  return text;
}

std::string rectangle(double x, double y, double w, double h, const char* colour,
                      const std::string& tip) {
  return format(
             "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\" "
             "stroke=\"#fff\" stroke-width=\"0.6\"><title>",
             x, y, std::max(w, 0.8), std::max(h, 0.8), colour) +
         escape_xml(tip) + "</title></rect>\n";
}

// The square of a colour's meaning.
std::string key_square(double x, double y, const char* colour) {
  return format("<rect x=\"%.2f\" y=\"%.2f\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", x, y,
                colour);
}

std::string label(double x, double y, const char* style, const std::string& text) {
  return format("<text x=\"%.2f\" y=\"%.2f\" class=\"%s\">", x, y, style) + escape_xml(text) +
         "</text>\n";
}

// "blk.3.ffn_up.weight" and "prefill_64/blk.3.ffn_norm" belong to "ffn_up.weight" and "ffn_norm".
std::string group_of(std::string_view name) {
  const size_t slash = name.rfind('/');
  if (slash != std::string_view::npos && name.find("blk.") > slash) name = name.substr(slash + 1);
  const size_t block = name.find("blk.");
  if (block == std::string_view::npos) return std::string(name);
  const size_t dot = name.find('.', block + 4);
  return dot == std::string_view::npos ? std::string() : std::string(name.substr(dot + 1));
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
        std::string(arena_kind_name(arena->kind())) + "  " + format_bytes(arena->size());
    const char* fill = kColours[colour++ % kColourCount];
    svg += rectangle(x, kBarTop, w, kBarHeight, fill, text);
    svg += key_square(key, kBarTop + kBarHeight + 16, fill);
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
                          format("scratch of %s, %u rows: %s; %u launches from left to right",
                                 graph_kind_name(graph.kind()), graph.rows(),
                                 format_bytes(size).c_str(), graph.launches()->size()));
  svg += format("<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" fill=\"#f2f4f7\"/>\n", kMargin,
                kMapTop, kInner, kMapHeight);
  for (const fb::Buffer* buffer : *plan.buffers()) {
    if (buffer->graph() != static_cast<int32_t>(index)) continue;
    const double x = kMargin + double(buffer->first_use()) / launches * kInner;
    const double w = double(buffer->last_use() - buffer->first_use() + 1) / launches * kInner;
    const double h = double(buffer->size()) / double(size) * kMapHeight;
    const double y =
        kMapTop + kMapHeight - double(buffer->offset()) / double(size) * kMapHeight - h;
    const size_t colour = colours[group_of(buffer->name()->c_str())] % kColourCount;
    svg += rectangle(x, y, w, h, kColours[colour],
                     buffer->name()->str() + ": " + format_bytes(buffer->size()) + " at " +
                         std::to_string(buffer->offset()) + ", launches " +
                         std::to_string(buffer->first_use()) + " to " +
                         std::to_string(buffer->last_use()));
  }
  double key = kMargin;
  double row = kMapTop + kMapHeight + 26;
  for (const auto& [name, number] : colours) {
    const double w = 28 + 7.2 * double(name.size());
    if (key + w > kMargin + kInner) {
      key = kMargin;
      row += 20;
    }
    svg += key_square(key, row - 10, kColours[number % kColourCount]);
    svg += label(key + 18, row, "small", name);
    key += w;
  }
  return svg;
}

}  // namespace

const char* arena_kind_name(fb::ArenaKind kind) {
  switch (kind) {
    case fb::ArenaKind::Weights:
      return "weights";
    case fb::ArenaKind::Kv:
      return "kv cache";
    case fb::ArenaKind::Scratch:
      return "scratch";
    case fb::ArenaKind::State:
      return "state";
    case fb::ArenaKind::HostPinned:
      return "pinned host";
  }
  return "?";
}

const char* graph_kind_name(fb::GraphKind kind) {
  switch (kind) {
    case fb::GraphKind::Decode:
      return "decode";
    case fb::GraphKind::Prefill:
      return "prefill";
    case fb::GraphKind::Head:
      return "head";
    case fb::GraphKind::Verify:
      return "verify";
    case fb::GraphKind::Batch:
      return "batch";
  }
  return "?";
}

int largest_graph(const fb::Plan& plan, fb::GraphKind kind) {
  int best = -1;
  for (uint32_t i = 0; i < plan.graphs()->size(); ++i) {
    const fb::Graph& graph = *plan.graphs()->Get(i);
    if (graph.kind() != kind) continue;
    const bool more =
        best < 0 || graph.rows() > plan.graphs()->Get(static_cast<uint32_t>(best))->rows();
    if (more) best = static_cast<int>(i);
  }
  return best;
}

std::string escape_xml(std::string_view text) {
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

std::string format_bytes(uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  if (bytes < uint64_t{1} << 20) return format("%.1f KiB", double(bytes) / 1024);
  return format("%.1f MiB", double(bytes) / 1048576);
}

std::string draw_plan(const fb::Plan& plan) {
  constexpr double kHeight = kMapTop + kMapHeight + 90;
  std::string svg = format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" font-family=\"sans-serif\" "
      "role=\"img\" aria-label=\"memory map of the plan\">\n"
      "<style>.title{font-size:20px;font-weight:bold}.head{font-size:14px}.small{font-size:12px}"
      "</style>\n"
      "<rect width=\"%g\" height=\"%g\" fill=\"#fff\"/>\n",
      kWidth, kHeight, kWidth, kHeight);
  svg += label(kMargin, 44, "title",
               plan.model()->name()->str() + " on " + plan.target()->device_name()->str());
  svg += label(kMargin, 72, "head", format("planned memory, context %u", plan.model()->context()));
  svg += draw_bar(plan);
  int graph = largest_graph(plan, fb::GraphKind::Prefill);
  if (graph < 0) graph = largest_graph(plan, fb::GraphKind::Decode);
  if (graph >= 0) svg += draw_scratch(plan, static_cast<uint32_t>(graph));
  return svg + "</svg>\n";
}

}  // namespace jllm
