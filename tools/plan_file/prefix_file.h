// The beginning of a sequence in a file, so that a program that starts again need not compute it:
// the tokens, and what the KV cache has of them. Good for the very plan and version of the program
// that made it, nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jllm/executor.h"

namespace jllm::tool {

constexpr uint32_t kPrefixFileMagic = 0x43504C4A;  // "JLPC"
constexpr uint32_t kPrefixFileVersion = 1;         // must match
constexpr uint64_t kPrefixFilePiece = 1u << 20;    // that the caches' bytes are hashed in

// The first bytes of the file (little-endian). Behind them come the tokens, u32 each, and what
// Executor::save_prefix() gives for them. The last 8 bytes are hash_bytes() of the hashes of header
// and tokens, and of each piece of the caches' bytes.
struct PrefixFileHeader {
  uint32_t magic;
  uint32_t version;
  uint64_t file_size;
  // PlanPrefix.plan_hash, of tables that hold the hashes of all segments: so of backend, kernels,
  // weights, and types and places of the caches.
  uint64_t plan_hash;
  char program[16];  // version, zeros behind it
  uint32_t token_count;
  uint32_t reserved;  // 0
  uint64_t cache_bytes;
};
static_assert(sizeof(PrefixFileHeader) == 56, "the header is a file format");

// Makes the selected sequence these tokens. Returns why it did not, as words behind the file's
// name; empty: it did. The sequence may be empty then, but has nothing of a file that was not
// proved.
std::string read_prefix(PlanSource& file, uint64_t plan_hash, Executor& executor,
                        const std::vector<uint32_t>& tokens);

// Rewinds the selected sequence to these tokens, which it begins with, and writes them; whole or
// not at all, and on disk when this returns. Returns the file's size; throws Failure.
uint64_t write_prefix(const std::string& path, uint64_t plan_hash, Executor& executor,
                      const std::vector<uint32_t>& tokens);

}  // namespace jllm::tool
