// Error codes of the executor side, in numbered ranges, and the value-or-error that carries them.
// No exceptions, no heap: a Result is returned by value and must be looked at.
#pragma once

#include <cstdint>
#include <utility>

#include "schema/export.h"

namespace jllm {

enum class Error : uint32_t {
  kOk = 0,
  // Plan: the file itself.
  kNotAPlan = 0x101,        // wrong magic or shorter than the prefix
  kPlanVersion = 0x102,     // another major version, or a newer minor one
  kPlanTruncated = 0x103,   // sizes in the prefix do not match the file
  kPlanDamaged = 0x104,     // FlatBuffer verification or hash failed
  kPlanInvalid = 0x105,     // an index, bound or dimension is out of range
  kTargetMismatch = 0x106,  // made for another device or backend
  kUnknownKernel = 0x107,   // a host plan names an operation that this build lacks
  // Source: reading the plan's segments.
  kReadFailed = 0x201,
  // Memory.
  kHostMemoryTooSmall = 0x301,  // the block given to create() is smaller than required
  kDeviceMemory = 0x302,        // an arena could not be allocated
  kPinnedMemory = 0x303,
  // Device and driver.
  kNoDriver = 0x401,  // libcuda.so.1 is absent or lacks an entry point
  kNoDevice = 0x402,
  kDriverTooOld = 0x403,
  kDriverCall = 0x404,  // a driver call failed; the message names it
  kThreads = 0x405,     // worker threads could not be started
  // State: how the executor is used.
  kBadArgument = 0x501,
  kContextFull = 0x502,
  kNothingToDo = 0x503,  // a step without a prompt, or after the sequence ended
  kBadLogits = 0x504,    // the model produced NaN or no finite logit
};

// Short English name, "plan_truncated"; never null.
JLLM_EXPORT const char* error_name(Error error);

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Error error) : error_(error) {}         // NOLINT(google-explicit-constructor)
  bool ok() const { return error_ == Error::kOk; }
  Error error() const { return error_; }
  T& value() { return value_; }
  const T& value() const { return value_; }

 private:
  T value_{};
  Error error_ = Error::kOk;
};

}  // namespace jllm
