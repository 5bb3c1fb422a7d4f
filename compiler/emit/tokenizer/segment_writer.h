// The bytes of a finished draft.
#pragma once

#include <cstdint>
#include <vector>

#include "compiler/emit/tokenizer/draft.h"

namespace jllm::emit {

// A FlatBuffer of schema/tokenizer.fbs. Sorts draft->merges.
std::vector<uint8_t> write_segment(Draft* draft);

}  // namespace jllm::emit
