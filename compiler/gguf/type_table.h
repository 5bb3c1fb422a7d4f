// Names and block shapes of every tensor type id of the GGUF format, also of those that jllm does
// not compute with, so that errors and listings can name them.
#pragma once

#include <cstdint>
#include <string>

#include "schema/weight_type.h"

namespace jllm::gguf {

// Lower-case name ("q5_k"), "type 99" for an id that is not in the table.
std::string type_name(uint32_t id);

// Block shape as the format defines it, {0, 0} when the id is unknown, removed or ambiguous.
BlockShape stored_block_shape(uint32_t id);

}  // namespace jllm::gguf
