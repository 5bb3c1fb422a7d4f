// A plan's memory as a picture, and how its parts are called in words: the arenas as one bar to
// scale, and underneath the scratch buffers of the largest prefill graph as rectangles, launches
// from left to right and bytes from bottom to top. For programs; the executor needs none of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "schema/plan_generated.h"

namespace jllm {

// A self-contained SVG; names of the plan are escaped in it.
std::string draw_plan(const fb::Plan& plan);

const char* arena_kind_name(fb::ArenaKind kind);
const char* graph_kind_name(fb::GraphKind kind);
// Index of the graph with the most rows of a kind, -1 when there is none.
int largest_graph(const fb::Plan& plan, fb::GraphKind kind);

// Text for an XML element or attribute; control characters become spaces.
std::string escape_xml(std::string_view text);

// "512 B", "1.5 KiB", "93.2 MiB".
std::string format_bytes(uint64_t bytes);

}  // namespace jllm
