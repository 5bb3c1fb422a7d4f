// What the entry points of the driver share (driver*.cpp): their declarations, the checks that each
// begins with, and the capture that is under way.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "tests/support/fake_cuda/books.h"
#include "tests/support/fake_cuda/queue.h"

namespace jllm::fake {

using cuda::kSuccess;
using cuda::Status;
constexpr Status kInvalidValue = 1, kNotInitialised = 3, kInvalidContext = 201, kInvalidImage = 200,
                 kInvalidHandle = 400, kNotFound = 500, kCaptureUnsupported = 900;
constexpr uint64_t kContextBytes = uint64_t{64} << 20;  // what a context takes for itself

using Lock = std::lock_guard<std::mutex>;
using Nodes = std::vector<Operation>;

extern thread_local bool is_current;  // the context, in this thread

struct Capture {
  void* stream = nullptr;
  std::unique_ptr<Nodes> nodes;
};
extern Capture capture;

// To the graph that the stream is captured into, or to the device. The number of the operation.
uint64_t put(void* stream, const Operation& operation);
bool knows_stream(void* stream);

}  // namespace jllm::fake

// The start of every entry point but those that a driver answers without a context.
#define ENTRY(symbol) Call call(Entry::symbol)
#define NEEDS_CONTEXT()                                                           \
  do {                                                                            \
    if (books().contexts == 0 || !is_current) {                                   \
      return call.wrong(kInvalidContext, "no context is current in this thread"); \
    }                                                                             \
    if (queue().broken() != kSuccess) return queue().broken();                    \
    if (call.injected() != kSuccess) return call.injected();                      \
  } while (false)
#define NEEDS_STREAM(stream)                                                                      \
  do {                                                                                            \
    NEEDS_CONTEXT();                                                                              \
    if (!knows_stream(stream)) return call.wrong(kInvalidHandle, "no stream: %p", (void*)stream); \
  } while (false)
// What may not stand inside a capture: it would be lost, or ends the capture.
#define NOT_CAPTURED(stream)                                                      \
  do {                                                                            \
    if (capture.stream == (void*)(stream)) {                                      \
      return call.wrong(kCaptureUnsupported, "not while the stream is captured"); \
    }                                                                             \
  } while (false)

namespace jllm::cuda {

// Each entry point with the parameters that the executor's table has.
#pragma GCC visibility push(default)
extern "C" {
#define JLLM_DECLARE(field, symbol, parameters) Status symbol parameters;
JLLM_CUDA_API(JLLM_DECLARE)
JLLM_CUDA_OPTIONAL_API(JLLM_DECLARE)
#undef JLLM_DECLARE
}
#pragma GCC visibility pop

}  // namespace jllm::cuda
