#include "schema/result.h"

namespace jllm {

const char* error_name(Error error) {
  switch (error) {
    case Error::kOk:
      return "ok";
    case Error::kNotAPlan:
      return "not_a_plan";
    case Error::kPlanVersion:
      return "plan_version";
    case Error::kPlanTruncated:
      return "plan_truncated";
    case Error::kPlanDamaged:
      return "plan_damaged";
    case Error::kPlanInvalid:
      return "plan_invalid";
    case Error::kTargetMismatch:
      return "target_mismatch";
    case Error::kUnknownKernel:
      return "unknown_kernel";
    case Error::kReadFailed:
      return "read_failed";
    case Error::kHostMemoryTooSmall:
      return "host_memory_too_small";
    case Error::kDeviceMemory:
      return "device_memory";
    case Error::kPinnedMemory:
      return "pinned_memory";
    case Error::kNoDriver:
      return "no_driver";
    case Error::kNoDevice:
      return "no_device";
    case Error::kDriverTooOld:
      return "driver_too_old";
    case Error::kDriverCall:
      return "driver_call";
    case Error::kThreads:
      return "threads";
    case Error::kBadArgument:
      return "bad_argument";
    case Error::kContextFull:
      return "context_full";
    case Error::kNothingToDo:
      return "nothing_to_do";
    case Error::kBadLogits:
      return "bad_logits";
  }
  return "unknown";
}

}  // namespace jllm
