// The types that kernels and the wrappers of ptx.cuh share.
#pragma once

#define JLLM_DEVICE __device__ __forceinline__

namespace jllm::device {

using Bytes = unsigned char;

constexpr unsigned kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

struct alignas(16) Uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) Uint2 {
  unsigned x, y;
};
struct alignas(16) Float4 {
  float x, y, z, w;
};

}  // namespace jllm::device
