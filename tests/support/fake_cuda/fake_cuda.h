// What tests ask of the fake libcuda.so.1 beside the driver API. Found by dlsym in the library that
// is loaded (control.h): a test links nothing of it.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// From this call on, counting begins anew. 0: no call fails. Once: the k-th call alone returns an
// error (calls that free do their work all the same, as a driver that reports an earlier failure).
// From then on: every further call but those that free fails too, as after a device has failed.
void fake_cuda_fail_at(uint64_t k, int from_then_on);
// The k-th kernel to be executed from now on breaks the device: later calls report it. 0: none.
void fake_cuda_break_kernel(uint64_t k);
// The call that failed first since fake_cuda_fail_at(); null: none has.
const char* fake_cuda_failed_call(void);
uint64_t fake_cuda_calls(void);                   // since fake_cuda_fail_at()
uint64_t fake_cuda_calls_of(const char* symbol);  // "cuMemAlloc_v2"; since the library was loaded
uint64_t fake_cuda_kernels_run(void);

// From now on, calls that take memory or objects are counted as unwanted.
void fake_cuda_seal(int on);
uint64_t fake_cuda_unwanted_calls(void);

// What is still allocated, as text in `out`; returns how many objects.
uint64_t fake_cuda_live(char* out, uint64_t size);

// Violations are written to stderr and end the process, unless they are collected.
void fake_cuda_collect_violations(int on);
uint64_t fake_cuda_violations(char* out, uint64_t size);  // forgets them

// 0: blocks and threads run in their own order. Else in an order that the seed decides.
void fake_cuda_set_seed(uint64_t seed);
// Only kernels whose names, up to the last '_', stand in this list ("sample accept") are executed;
// null: all.
void fake_cuda_execute_only(const char* names);
// What fresh memory is filled with, 0xff at first.
void fake_cuda_set_junk(uint8_t byte);
// How long the device waits, us, before it begins what nobody waits for.
void fake_cuda_set_delay(uint32_t microseconds);
// The device's memory, bytes, and its compute capability (87).
void fake_cuda_set_memory(uint64_t bytes);
void fake_cuda_set_capability(uint32_t capability);
// The debug segment of a plan (JSON) names sources for its modules: `images` are those modules.
// Null where all is well, else what is wrong.
const char* fake_cuda_add_sources(const char* json, uint64_t size, const void* const* images,
                                  const uint64_t* image_sizes, uint32_t count);

#ifdef __cplusplus
}
#endif
