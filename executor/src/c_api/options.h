// Structs that begin with their size: what a program of another version knows of them.
#pragma once

#include <cstdint>
#include <cstring>

namespace jllm::c_api {

// Copies what the caller has of a struct over the defaults in *known. False where the caller's is
// larger and says something in the fields that this library does not know, or has no size.
template <typename Struct>
bool take(const Struct* given, Struct* known) {
  const uint32_t size = given->struct_size;
  const auto* bytes = reinterpret_cast<const uint8_t*>(given);
  if (size < sizeof given->struct_size) return false;
  for (uint32_t i = sizeof(Struct); i < size; ++i) {
    if (bytes[i] != 0) return false;
  }
  memcpy(static_cast<void*>(known), given, size < sizeof(Struct) ? size : sizeof(Struct));
  known->struct_size = sizeof(Struct);
  return true;
}

// Fills in as much of *out as the caller has, and nothing behind.
template <typename Struct>
bool give(Struct filled, Struct* out) {
  const uint32_t size = out->struct_size;
  if (size < sizeof out->struct_size) return false;
  filled.struct_size = size;
  memcpy(static_cast<void*>(out), &filled, size < sizeof(Struct) ? size : sizeof(Struct));
  return true;
}

}  // namespace jllm::c_api
