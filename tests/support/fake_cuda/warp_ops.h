// What a warp computes together: shuffles, votes, fragments and products, by the PTX layouts.
#pragma once

#include "tests/support/simt/simt.h"

namespace jllm::fake {

// `arguments` by lane; null where the mask has none.
void combine(SimtCollective kind, unsigned mask, void* const (&arguments)[32]);

}  // namespace jllm::fake
