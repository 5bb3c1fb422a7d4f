// How to tile attention of several tokens (kernels/device/attention.cu) and what that needs.
#pragma once

#include <string>
#include <vector>

#include "kernels/catalogue.h"

namespace jllm::kernels {

// `rows` tokens that follow each other; types are those of schema/kv_layout.h.
struct AttentionProblem {
  uint32_t rows = 1, heads = 1, kv_heads = 1, head_dim = 64;
  unsigned k_type = 0, v_type = 0;
};

// The kernel's macros of these names: a block has `warps`, of which `split` share the positions
// that 16 * fragments query vectors see; `tile` positions at a time, `stages` tiles in shared
// memory.
struct AttentionTile {
  uint32_t warps = 4, split = 1, fragments = 1, tile = 64, stages = 2;

  uint32_t vectors() const { return warps / split * fragments * 16; }  // of a block
};

// The tile that suits the device; shared memory stays within the 99 KB that sm_80 and later all
// have.
AttentionTile attention_tile(const AttentionProblem& problem, uint32_t sm_count);
LaunchShape attention_shape(const AttentionTile& tile, const AttentionProblem& problem);  // fixed
std::vector<std::string> attention_defines(const AttentionTile& tile,
                                           const AttentionProblem& problem);

}  // namespace jllm::kernels
