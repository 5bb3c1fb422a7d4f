// Walks the section .nv.info, a list of {format u8, attribute u8, value u16 or size u16 + bytes}.
#include "tests/kernels/nvrtc/cubin_info.h"

#include <elf.h>

#include <cstring>
#include <string>

namespace jllm {
namespace {

constexpr uint8_t kSizedFormat = 4;   // a u16 size and as many bytes follow
constexpr uint8_t kFrameSize = 0x11;  // {symbol u32, bytes u32}

template <typename T>
T read(const std::vector<uint8_t>& bytes, size_t offset) {
  T value = {};
  if (offset + sizeof(T) <= bytes.size()) std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

}  // namespace

int frame_bytes(const std::vector<uint8_t>& cubin) {
  const auto header = read<Elf64_Ehdr>(cubin, 0);
  const auto names =
      read<Elf64_Shdr>(cubin, header.e_shoff + header.e_shstrndx * sizeof(Elf64_Shdr));
  int largest = -1;
  for (unsigned i = 0; i < header.e_shnum; ++i) {
    const auto section = read<Elf64_Shdr>(cubin, header.e_shoff + i * sizeof(Elf64_Shdr));
    const size_t name = names.sh_offset + section.sh_name;
    if (name >= cubin.size()) continue;
    if (std::string(reinterpret_cast<const char*>(cubin.data() + name)) != ".nv.info") continue;
    for (size_t at = section.sh_offset; at + 4 <= section.sh_offset + section.sh_size;) {
      const uint8_t format = cubin[at], attribute = cubin[at + 1];
      if (format == kSizedFormat && attribute == kFrameSize) {
        const int bytes = static_cast<int>(read<uint32_t>(cubin, at + 8));
        if (bytes > largest) largest = bytes;
      }
      at += 4 + (format == kSizedFormat ? read<uint16_t>(cubin, at + 2) : 0);
    }
  }
  return largest;
}

}  // namespace jllm
