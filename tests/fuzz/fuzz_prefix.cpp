// Any bytes as a prefix file: what is taken makes a sequence that generates, what is refused none.
// The first byte says which of the numbers that hardly any input would have are made to fit.
#include <algorithm>

#include "jllm_version.h"
#include "schema/prefix.h"
#include "tests/fuzz/host_plan.h"
#include "tools/plan_file/prefix_file.h"

namespace jllm::fuzz {
namespace {

using tool::PrefixFileHeader;

uint64_t hash_of(const std::vector<uint8_t>& file, size_t head) {
  const uint64_t hashes[2] = {hash_bytes(file.data(), head),
                              hash_bytes(file.data() + head, file.size() - head - 8)};
  return hash_bytes(reinterpret_cast<const uint8_t*>(hashes), sizeof hashes);
}

// The tokens that the file has room for, at least one.
std::vector<uint32_t> tokens_of(const std::vector<uint8_t>& file, uint32_t wanted) {
  std::vector<uint32_t> tokens(1);
  if (file.size() < sizeof(PrefixFileHeader) + 4) return tokens;
  tokens.resize(std::clamp<uint64_t>(wanted, 1, (file.size() - sizeof(PrefixFileHeader)) / 4));
  std::memcpy(tokens.data(), file.data() + sizeof(PrefixFileHeader), tokens.size() * 4);
  return tokens;
}

void read_file(const PlanView& view, Executor& executor, uint8_t fits, std::vector<uint8_t> file) {
  if (file.empty()) file.resize(1);
  PrefixFileHeader header = {};
  std::memcpy(&header, file.data(), std::min(file.size(), sizeof header));
  header.plan_hash = view.prefix().plan_hash;
  std::memset(header.program, 0, sizeof header.program);
  std::memcpy(header.program, JLLM_VERSION, sizeof JLLM_VERSION);
  if (fits & 1) header.file_size = file.size();
  const std::vector<uint32_t> tokens = tokens_of(file, header.token_count);
  std::memcpy(file.data(), &header, std::min(file.size(), sizeof header));
  const size_t head = sizeof header + tokens.size() * 4;
  if ((fits & 2) && file.size() >= head + 8) {
    const uint64_t hash = hash_of(file, head);
    std::memcpy(file.data() + file.size() - 8, &hash, sizeof hash);
  }
  const AlignedCopy copy(file.data(), file.size());
  MemorySource source(copy.data(), copy.size());
  const std::string refusal = tool::read_prefix(source, view.prefix().plan_hash, executor, tokens);
  JLLM_FUZZ_CHECK(executor.count() == (refusal.empty() ? tokens.size() : 0));
  if (!refusal.empty()) return;
  for (int i = 0; i < 3; ++i) {
    const Result<SampledToken> token = executor.generate();
    JLLM_FUZZ_CHECK(token.ok() || executor.last_error()[0] != 0);
    if (!token.ok() || token.value().done != kRunning) return;
  }
}

void run(const uint8_t* data, size_t size) {
  static const std::vector<uint8_t> base = base_file("slots.head");
  if (size < 1) return;
  const AlignedCopy head(base.data(), base.size());
  with_host_plan(head.data(), head.size(), [&](const PlanView& view, Executor& executor) {
    read_file(view, executor, data[0], {data + 1, data + size});
  });
}

}  // namespace
}  // namespace jllm::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  jllm::fuzz::run(data, size);
  return 0;
}
