// Runs kernels that were built against tests/support/simt: one block after the other, its threads
// as fibers of one host thread. Waits of warps and of the block are where fibers change; a wait
// that cannot end is reported. With a seed, blocks, warps and lanes take turns in random order.
#pragma once

#include <cstdint>

#include "tests/support/simt/simt.h"

namespace jllm::fake {

struct Launch {
  const SimtKernel* kernel;
  const char* name;
  uint3 grid, block;
  uint32_t shared_bytes;
  void** arguments;
};

// Of one thread at a time. False when a violation was reported that ended the launch.
bool run_launch(const Launch& launch, uint64_t seed);

// The thread that runs, in words, for reports: "qkv block (0,0,0) thread 5".
const char* where();

// A thread's arrival at a memory access that the race check must know of (race.cpp).
struct Position {
  uint64_t block;       // a number of its own for every block that ever ran
  uint64_t first;       // the first of this launch
  uint32_t epoch;       // barriers passed by the block
  uint32_t warp_epoch;  // __syncwarp passed by the warp
  uint32_t thread;
};
Position position();
bool is_shared(const void* at, uint64_t* offset);
// A stack, or what tells a thread where it is.
bool is_private(const void* at);
bool is_running();

}  // namespace jllm::fake
