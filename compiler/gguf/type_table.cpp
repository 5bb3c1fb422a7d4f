// The table of GGUF tensor types. Supported types take their shape from schema/weight_type.h.
#include "compiler/gguf/type_table.h"

#include <iterator>

namespace jllm::gguf {
namespace {

struct Row {
  const char* name;
  BlockShape shape;
};

// Indexed by id. Removed ids keep their name and lose their shape. 40 has no shape either: forks
// use the number for another layout, so a size computed from it proves nothing.
constexpr Row kRows[] = {
    {"f32", {1, 4}},        {"f16", {1, 2}},        {"q4_0", {32, 18}},     {"q4_1", {32, 20}},
    {"q4_2", {0, 0}},       {"q4_3", {0, 0}},       {"q5_0", {32, 22}},     {"q5_1", {32, 24}},
    {"q8_0", {32, 34}},     {"q8_1", {32, 36}},     {"q2_k", {256, 84}},    {"q3_k", {256, 110}},
    {"q4_k", {256, 144}},   {"q5_k", {256, 176}},   {"q6_k", {256, 210}},   {"q8_k", {256, 292}},
    {"iq2_xxs", {256, 66}}, {"iq2_xs", {256, 74}},  {"iq3_xxs", {256, 98}}, {"iq1_s", {256, 50}},
    {"iq4_nl", {32, 18}},   {"iq3_s", {256, 110}},  {"iq2_s", {256, 82}},   {"iq4_xs", {256, 136}},
    {"i8", {1, 1}},         {"i16", {1, 2}},        {"i32", {1, 4}},        {"i64", {1, 8}},
    {"f64", {1, 8}},        {"iq1_m", {256, 56}},   {"bf16", {1, 2}},       {"q4_0_4_4", {0, 0}},
    {"q4_0_4_8", {0, 0}},   {"q4_0_8_8", {0, 0}},   {"tq1_0", {256, 54}},   {"tq2_0", {256, 66}},
    {"iq4_nl_4_4", {0, 0}}, {"iq4_nl_4_8", {0, 0}}, {"iq4_nl_8_8", {0, 0}}, {"mxfp4", {32, 17}},
    {"nvfp4", {0, 0}},      {"q1_0", {128, 18}},    {"q2_0", {64, 18}},
};

constexpr bool matches_schema() {
  for (uint32_t id = 0; id < std::size(kRows); ++id) {
    const BlockShape supported = block_shape(static_cast<WeightType>(id));
    if (supported.elements != 0 && (supported.elements != kRows[id].shape.elements ||
                                    supported.bytes != kRows[id].shape.bytes)) {
      return false;
    }
  }
  return true;
}
static_assert(matches_schema(), "the two tables of block shapes must agree");

}  // namespace

std::string type_name(uint32_t id) {
  return id < std::size(kRows) ? kRows[id].name : "type " + std::to_string(id);
}

BlockShape stored_block_shape(uint32_t id) {
  return id < std::size(kRows) ? kRows[id].shape : BlockShape{0, 0};
}

}  // namespace jllm::gguf
