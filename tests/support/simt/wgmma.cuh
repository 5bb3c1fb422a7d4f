// kernels/device/wgmma.cuh for the host: each warp multiplies its 16 rows at once, where the device
// would do so beside the warps.
#pragma once

#include "kernels/device/common.cuh"

namespace jllm::device {

JLLM_DEVICE unsigned long long group_operand(unsigned address) { return address; }
JLLM_DEVICE void start_products() { __syncwarp(); }
JLLM_DEVICE void end_products() {}
JLLM_DEVICE void wait_for_products() { __syncwarp(); }
JLLM_DEVICE void publish_to_products() {}

template <unsigned kSums>
JLLM_DEVICE void multiply_group(float (&d)[kSums], const unsigned (&a)[4], unsigned long long b) {
  SimtGroupProduct mine = {a, (unsigned)b, 2 * kSums, d};
  simt_warp(kSimtGroupProduct, kAllLanes, &mine);
}

}  // namespace jllm::device
