#include "tools/plan_file/prefix_file.h"

#include <algorithm>
#include <cstring>

#include "jllm_version.h"
#include "schema/prefix.h"
#include "tools/plan_file/failure.h"
#include "tools/plan_file/replace_file.h"

namespace jllm::tool {
namespace {

constexpr char kUnreadable[] = "cannot be read, or has changed meanwhile";

static_assert(sizeof JLLM_VERSION <= sizeof PrefixFileHeader::program, "has room");

// What the file of these tokens begins with.
PrefixFileHeader header_of(uint64_t plan_hash, const Executor& executor, uint64_t tokens) {
  PrefixFileHeader header = {};
  header.magic = kPrefixFileMagic;
  header.version = kPrefixFileVersion;
  header.plan_hash = plan_hash;
  std::memcpy(header.program, JLLM_VERSION, sizeof JLLM_VERSION);
  header.token_count = static_cast<uint32_t>(tokens);
  header.cache_bytes = executor.prefix_bytes(header.token_count);
  header.file_size = sizeof header + tokens * 4 + header.cache_bytes + sizeof(uint64_t);
  return header;
}

std::string check_header(const PrefixFileHeader& found, const PrefixFileHeader& wanted,
                         uint64_t size) {
  if (found.magic != wanted.magic) return "is no prefix file";
  if (found.version != wanted.version) {
    return "has version " + std::to_string(found.version) + " of the format, not " +
           std::to_string(wanted.version);
  }
  if (found.file_size != size) {
    return "has " + std::to_string(size) + " bytes and says that it has " +
           std::to_string(found.file_size);
  }
  if (std::memcmp(found.program, wanted.program, sizeof found.program) != 0) {
    return "was made by another version of jllm";
  }
  if (found.plan_hash != wanted.plan_hash) return "is of another plan";
  if (found.token_count != wanted.token_count) {
    return "holds " + std::to_string(found.token_count) + " tokens, not these " +
           std::to_string(wanted.token_count);
  }
  const bool sizes = found.cache_bytes == wanted.cache_bytes && size == wanted.file_size;
  return sizes && found.reserved == 0 ? "" : "has sizes that are not the plan's";
}

// Of header and tokens, and of the pieces behind them.
class Check {
 public:
  Check(const PrefixFileHeader& header, const std::vector<uint32_t>& tokens) {
    std::vector<uint8_t> head(sizeof header + tokens.size() * 4);
    std::memcpy(head.data(), &header, sizeof header);
    if (!tokens.empty()) std::memcpy(&head[sizeof header], tokens.data(), tokens.size() * 4);
    add(head.data(), head.size());
  }
  void add(const uint8_t* data, uint64_t size) { hashes_.push_back(hash_bytes(data, size)); }
  uint64_t value() const {
    return hash_bytes(reinterpret_cast<const uint8_t*>(hashes_.data()), hashes_.size() * 8);
  }

 private:
  std::vector<uint64_t> hashes_;
};

}  // namespace

std::string read_prefix(PlanSource& file, uint64_t plan_hash, Executor& executor,
                        const std::vector<uint32_t>& tokens) {
  const PrefixFileHeader wanted = header_of(plan_hash, executor, tokens.size());
  PrefixFileHeader header;
  if (file.size() < sizeof header) {
    return "is cut off: it has " + std::to_string(file.size()) + " bytes";
  }
  if (file.read(0, sizeof header, &header) != Error::kOk) return kUnreadable;
  const std::string refusal = check_header(header, wanted, file.size());
  if (!refusal.empty()) return refusal;
  uint64_t place = sizeof header;
  const auto read = [&](void* out, uint64_t size) {
    const bool ok = size == 0 || file.read(place, size, out) == Error::kOk;
    place += size;
    return ok;
  };
  std::vector<uint32_t> found(tokens.size());
  if (!read(found.data(), found.size() * 4)) return kUnreadable;
  if (found != tokens) return "holds other tokens";
  Check check(header, tokens);
  std::vector<uint8_t> piece(std::min(kPrefixFilePiece, wanted.cache_bytes));
  uint64_t done = 0;
  do {
    const uint64_t n = std::min<uint64_t>(piece.size(), wanted.cache_bytes - done);
    if (!read(piece.data(), n)) return kUnreadable;
    check.add(piece.data(), n);
    if (done + n == wanted.cache_bytes) {  // the sequence is complete with these: prove it before
      uint64_t expected = 0;
      if (!read(&expected, sizeof expected)) return kUnreadable;
      if (check.value() != expected) return "is damaged: its hash is not what it says";
    }
    if (executor.load_prefix(tokens.data(), wanted.token_count, done, piece.data(), n) !=
        Error::kOk) {
      return std::string("cannot be loaded: ") + executor.last_error();
    }
    done += n;
  } while (done < wanted.cache_bytes);
  return "";
}

uint64_t write_prefix(const std::string& path, uint64_t plan_hash, Executor& executor,
                      const std::vector<uint32_t>& tokens) {
  const PrefixFileHeader header = header_of(plan_hash, executor, tokens.size());
  std::vector<uint8_t> piece(std::min(kPrefixFilePiece, header.cache_bytes));
  ReplaceFile file(path);
  Check check(header, tokens);
  const auto append = [&](const void* data, uint64_t size) {
    file.append({static_cast<const char*>(data), size});
  };
  append(&header, sizeof header);
  append(tokens.data(), tokens.size() * 4);
  uint64_t done = 0;
  do {
    const uint64_t n = std::min<uint64_t>(piece.size(), header.cache_bytes - done);
    const Error error = executor.save_prefix(header.token_count, done, piece.data(), n);
    if (error != Error::kOk) throw Failure(exit_code_of(error), executor.last_error());
    check.add(piece.data(), n);
    append(piece.data(), n);
    done += n;
  } while (done < header.cache_bytes);
  const uint64_t value = check.value();
  append(&value, sizeof value);
  file.commit();
  return header.file_size;
}

}  // namespace jllm::tool
