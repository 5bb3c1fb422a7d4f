#include "compiler/emit/weight_file.h"

#include <fcntl.h>
#include <llvm/ADT/StringExtras.h>
#include <llvm/Support/FileSystem.h>
#include <llvm/Support/Path.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "compiler/gguf/watch.h"
#include "compiler/support/error.h"
#include "schema/weight_file.h"

namespace jllm::emit {
namespace {

constexpr const char* kSuffix = ".jllmw";
constexpr size_t kNameDigits = 16;
constexpr size_t kMaxStem = 200;  // with hash and ending well below what file systems take

std::string stem_of(llvm::StringRef gguf_path) {
  std::string stem = llvm::sys::path::stem(gguf_path).take_front(kMaxStem).str();
  return stem.empty() || stem.front() == '.' ? "weights" + stem : stem;
}

// All of `size` bytes, or false.
bool read_at(int fd, uint64_t offset, uint8_t* out, uint64_t size) {
  while (size > 0) {
    const ssize_t n = pread(fd, out, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    out += n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<uint64_t>(n);
  }
  return true;
}

}  // namespace

std::string weight_file_name(llvm::StringRef gguf_path, const std::array<uint8_t, 32>& sha256) {
  const std::string digits = llvm::toHex(llvm::ArrayRef<uint8_t>(sha256), true);
  return stem_of(gguf_path) + "-" + digits.substr(0, kNameDigits) + kSuffix;
}

WeightFileWriter::Candidate::~Candidate() { ::close(fd); }

bool WeightFileWriter::Candidate::matches(uint64_t offset, llvm::ArrayRef<uint8_t> bytes) {
  buffer.resize(bytes.size());
  return read_at(fd, offset, buffer.data(), bytes.size()) &&
         std::memcmp(buffer.data(), bytes.data(), bytes.size()) == 0;
}

llvm::Expected<WeightFileWriter> WeightFileWriter::create(llvm::StringRef plan_path,
                                                          llvm::StringRef gguf_path,
                                                          uint64_t size) {
  const std::string folder = llvm::sys::path::parent_path(plan_path).str();
  WeightFileWriter writer(folder.empty() ? "." : folder, gguf_path.str(), size);
  writer.find_candidates();
  writer.place_ = kWeightFileData;
  if (writer.candidates_.empty()) {
    if (llvm::Error error = writer.start_writing(nullptr)) return error;
  }
  return writer;
}

void WeightFileWriter::find_candidates() {
  const std::string prefix = stem_of(gguf_path_) + "-";
  std::error_code error;
  for (llvm::sys::fs::directory_iterator it(folder_, error), end; it != end && !error;
       it.increment(error)) {
    const llvm::StringRef name = llvm::sys::path::filename(it->path());
    if (!name.startswith(prefix) || !name.endswith(kSuffix)) continue;
    const int fd = ::open(it->path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    auto candidate = std::make_unique<Candidate>(fd);
    candidate->path = it->path();
    struct stat info = {};
    const bool is_one = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
                        static_cast<uint64_t>(info.st_size) == size_;
    if (is_one) candidates_.push_back(std::move(candidate));
  }
}

llvm::Error WeightFileWriter::start_writing(Candidate* like) {
  llvm::Expected<OutputFile> file =
      OutputFile::create(folder_ + "/" + stem_of(gguf_path_) + kSuffix);
  if (!file) return file.takeError();
  file_.emplace(std::move(*file));
  std::vector<uint8_t> piece(kWeightFileData, 0);  // the header comes last
  if (llvm::Error error = file_->write(piece.data(), piece.size())) return error;
  piece.resize(1u << 20);
  while (file_->size() < place_) {
    const uint64_t n = std::min<uint64_t>(piece.size(), place_ - file_->size());
    if (!read_at(like->fd, file_->size(), piece.data(), n)) {
      return fail(ExitCode::kFailed, "{0}: cannot read: {1}", like->path, std::strerror(errno));
    }
    if (llvm::Error error = file_->write(piece.data(), n)) return error;
  }
  return llvm::Error::success();
}

llvm::Error WeightFileWriter::write(llvm::ArrayRef<uint8_t> bytes) {
  hash_.update(bytes);
  for (size_t i = 0; i < candidates_.size();) {
    if (candidates_[i]->matches(place_, bytes)) {
      ++i;
      continue;
    }
    const std::unique_ptr<Candidate> other = std::move(candidates_[i]);
    candidates_.erase(candidates_.begin() + static_cast<std::ptrdiff_t>(i));
    if (!candidates_.empty()) continue;
    if (llvm::Error error = start_writing(other.get())) return error;
  }
  place_ += bytes.size();
  return file_ ? file_->write(bytes.data(), bytes.size()) : llvm::Error::success();
}

llvm::Error WeightFileWriter::pad_to(uint64_t offset) {
  return write(std::vector<uint8_t>(offset - place_, 0));
}

llvm::Expected<WrittenWeightFile> WeightFileWriter::finish() {
  if (llvm::Error error = pad_to(size_)) return error;
  WrittenWeightFile written;
  const auto digest = hash_.final();
  std::copy_n(reinterpret_cast<const uint8_t*>(digest.data()), written.sha256.size(),
              written.sha256.begin());
  written.path = folder_ + "/" + weight_file_name(gguf_path_, written.sha256);
  if (folder_ == ".") written.path.erase(0, 2);
  std::vector<uint8_t> head(kWeightFileData, 0);
  WeightFileHeader header = {};
  header.magic = kWeightFileMagic;
  header.major = kWeightFileMajor;
  header.data_offset = kWeightFileData;
  header.file_size = size_;
  std::copy(written.sha256.begin(), written.sha256.end(), header.sha256);
  std::memcpy(head.data(), &header, sizeof header);
  for (const std::unique_ptr<Candidate>& candidate : candidates_) {
    // Its name and header, too, must be what they should: else it is not what plans will look for.
    written.reused |=
        llvm::sys::path::filename(candidate->path) == llvm::sys::path::filename(written.path) &&
        candidate->matches(0, head);
  }
  if (written.reused) return written;
  if (!file_) {
    if (llvm::Error error = start_writing(candidates_.front().get())) return error;
  }
  if (llvm::Error error = file_->write_at(0, head.data(), head.size())) return error;
  if (llvm::Error error = gguf::check_sources()) return error;
  if (llvm::Error error = file_->commit_as(written.path)) return error;
  return written;
}

}  // namespace jllm::emit
