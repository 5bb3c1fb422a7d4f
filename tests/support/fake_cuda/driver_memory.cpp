// The driver API: memory and what moves its bytes.
#include "tests/support/fake_cuda/driver.h"

namespace jllm::cuda {

using namespace fake;

Status cuMemGetInfo_v2(size_t* free, size_t* total) {
  ENTRY(cuMemGetInfo_v2);
  NEEDS_CONTEXT();
  const Lock lock(books().mutex);
  const uint64_t used = books().used + kContextBytes;
  *total = books().total;
  *free = used < books().total ? books().total - used : 0;
  return kSuccess;
}

Status cuMemAlloc_v2(DevicePtr* out, size_t bytes) {
  ENTRY(cuMemAlloc_v2);
  NEEDS_CONTEXT();
  if (bytes == 0) return call.wrong(kInvalidValue, "of 0 bytes");
  const Lock lock(books().mutex);
  Allocation a;
  if (!books().allocate(bytes, false, &a)) return kErrorOutOfMemory;
  *out = a.address;
  return kSuccess;
}
Status cuMemFree_v2(DevicePtr memory) {
  ENTRY(cuMemFree_v2);
  queue().wait_for_all();
  const Lock lock(books().mutex);
  if (memory != 0 && !books().release(memory, false)) {
    return call.wrong(kInvalidValue, "nothing is allocated at %llx", memory);
  }
  return call.done();
}
Status cuMemHostAlloc(void** out, size_t bytes, unsigned flags) {
  ENTRY(cuMemHostAlloc);
  NEEDS_CONTEXT();
  if (bytes == 0 || flags > 7)
    return call.wrong(kInvalidValue, "%zu bytes, flags %u", bytes, flags);
  const Lock lock(books().mutex);
  Allocation a;
  if (!books().allocate(bytes, true, &a)) return kErrorOutOfMemory;
  *out = a.host;
  return kSuccess;
}
Status cuMemFreeHost(void* memory) {
  ENTRY(cuMemFreeHost);
  queue().wait_for_all();
  const Lock lock(books().mutex);
  if (!books().release(reinterpret_cast<uint64_t>(memory), true)) {
    return call.wrong(kInvalidValue, "no pinned memory at %p", memory);
  }
  return call.done();
}
Status cuMemHostGetDevicePointer_v2(DevicePtr* out, void* memory, unsigned flags) {
  ENTRY(cuMemHostGetDevicePointer_v2);
  NEEDS_CONTEXT();
  const Lock lock(books().mutex);
  const Allocation* a = books().find(reinterpret_cast<uint64_t>(memory), 1, true);
  if (a == nullptr || flags != 0) {
    return call.wrong(kInvalidValue, "no pinned memory at %p, or flags %u", memory, flags);
  }
  *out =
      a->address + static_cast<uint64_t>(static_cast<char*>(memory) - static_cast<char*>(a->host));
  return kSuccess;
}

Status cuMemcpyHtoDAsync_v2(DevicePtr to, const void* from, size_t bytes, Stream stream) {
  ENTRY(cuMemcpyHtoDAsync_v2);
  NEEDS_STREAM(stream);
  NOT_CAPTURED(stream);
  bool pinned = false;
  {
    const Lock lock(books().mutex);
    if (books().find(to, bytes, false) == nullptr) {
      return call.wrong(kInvalidValue, "%zu bytes at %llx are not allocated", bytes, to);
    }
    pinned = books().find(reinterpret_cast<uint64_t>(from), bytes, true) != nullptr;
  }
  Operation operation = {};
  operation.kind = Operation::Kind::kCopy;
  operation.to = reinterpret_cast<void*>(to);
  operation.from = from;
  operation.bytes = bytes;
  // Of pinned memory it is read when the device comes to it, of other memory before this returns.
  const uint64_t number = queue().put(operation);
  if (!pinned) queue().wait_for(number);
  return kSuccess;
}
Status cuMemcpyDtoHAsync_v2(void* to, DevicePtr from, size_t bytes, Stream stream) {
  ENTRY(cuMemcpyDtoHAsync_v2);
  NEEDS_STREAM(stream);
  NOT_CAPTURED(stream);
  bool pinned = false;
  {
    const Lock lock(books().mutex);
    if (books().find(from, bytes, false) == nullptr) {
      return call.wrong(kInvalidValue, "%zu bytes at %llx are not allocated", bytes, from);
    }
    pinned = books().find(reinterpret_cast<uint64_t>(to), bytes, true) != nullptr;
  }
  Operation operation = {};
  operation.kind = Operation::Kind::kCopy;
  operation.to = to;
  operation.from = reinterpret_cast<const void*>(from);
  operation.bytes = bytes;
  const uint64_t number = queue().put(operation);
  if (!pinned) queue().wait_for(number);
  return kSuccess;
}
Status cuMemcpyDtoDAsync_v2(DevicePtr to, DevicePtr from, size_t bytes, Stream stream) {
  ENTRY(cuMemcpyDtoDAsync_v2);
  NEEDS_STREAM(stream);
  NOT_CAPTURED(stream);
  {
    const Lock lock(books().mutex);
    for (const DevicePtr memory : {to, from}) {
      if (books().find(memory, bytes, false) == nullptr) {
        return call.wrong(kInvalidValue, "%zu bytes at %llx are not allocated", bytes, memory);
      }
    }
  }
  if (from < to + bytes && to < from + bytes) {
    return call.wrong(kInvalidValue, "%zu bytes at %llx and %llx overlap", bytes, from, to);
  }
  Operation operation = {};
  operation.kind = Operation::Kind::kCopy;
  operation.to = reinterpret_cast<void*>(to);
  operation.from = reinterpret_cast<const void*>(from);
  operation.bytes = bytes;
  queue().put(operation);
  return kSuccess;
}
Status cuMemsetD8Async(DevicePtr to, unsigned char value, size_t bytes, Stream stream) {
  ENTRY(cuMemsetD8Async);
  NEEDS_STREAM(stream);
  {
    const Lock lock(books().mutex);
    if (books().find(to, bytes, false) == nullptr) {
      return call.wrong(kInvalidValue, "%zu bytes at %llx are not allocated", bytes, to);
    }
  }
  Operation operation = {};
  operation.kind = Operation::Kind::kSet;
  operation.to = reinterpret_cast<void*>(to);
  operation.value = value;
  operation.bytes = bytes;
  put(stream, operation);
  return kSuccess;
}

}  // namespace jllm::cuda
