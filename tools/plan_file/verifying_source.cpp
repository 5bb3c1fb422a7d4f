#include "tools/plan_file/verifying_source.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "schema/checked_math.h"
#include "schema/weight_file.h"

namespace jllm::tool {
namespace {

constexpr uint64_t kPiece = 1u << 20;  // hashed while it is in the processor's cache

}  // namespace

Error VerifyingSource::refuse(const std::string& why) {
  refusal_ = name_ + ": " + why;
  return Error::kPlanDamaged;
}

const fb::Segment* VerifyingSource::find(uint64_t offset) const {
  for (const fb::Segment* segment : *view_.plan().segments()) {
    if (segment->in_weight_file() != of_weight_file_ || offset < segment->offset()) continue;
    if (offset - segment->offset() < segment->size()) return segment;
  }
  return nullptr;
}

Error VerifyingSource::read(uint64_t offset, uint64_t size, void* dst) {
  if (size == 0) return Error::kOk;
  // Its header is no segment: check_weight_file() holds it against the plan.
  if (of_weight_file_ && range_inside(offset, size, kWeightFileData)) {
    return file_.read(offset, size, dst);
  }
  if (segment_ == nullptr || offset != next_) {
    segment_ = find(offset);
    if (segment_ == nullptr || segment_->offset() != offset) {
      segment_ = nullptr;
      return refuse("a segment was not read from its start");
    }
    next_ = offset;
    hash_ = Sha256();
  }
  const uint64_t end = segment_->offset() + segment_->size();
  if (size > end - offset) return refuse("a segment was read beyond its end");
  auto* bytes = static_cast<uint8_t*>(dst);
  for (uint64_t n = 0; size > 0; size -= n, bytes += n, next_ += n) {
    n = std::min(size, kPiece);
    const Error error = file_.read(next_, n, bytes);
    if (error != Error::kOk) return error;
    hash_.update(bytes, n);
  }
  if (next_ < end) return Error::kOk;
  const fb::Segment& segment = *segment_;
  segment_ = nullptr;
  uint8_t digest[Sha256::kDigestBytes];
  hash_.finish(digest);
  if (std::memcmp(digest, segment.sha256()->data(), sizeof digest) == 0) return Error::kOk;
  return refuse(std::string("the ") + fb::EnumNameSegmentKind(segment.kind()) + " segment at " +
                std::to_string(segment.offset()) + " is damaged: its SHA-256 differs");
}

Error VerifyingSource::check_zeros(uint64_t offset, uint64_t end) {
  std::vector<uint8_t> bytes(std::min(end - offset, kPiece));
  for (uint64_t n = 0; offset < end; offset += n) {
    n = std::min(end - offset, kPiece);
    const Error error = file_.read(offset, n, bytes.data());
    if (error != Error::kOk) return error;
    const auto last = bytes.begin() + static_cast<std::ptrdiff_t>(n);
    if (std::any_of(bytes.begin(), last, [](uint8_t byte) { return byte != 0; })) {
      return refuse("the bytes between its parts, at " + std::to_string(offset) +
                    ", are not the zeros that they should be");
    }
  }
  return Error::kOk;
}

Error VerifyingSource::check_gaps() {
  const PlanPrefix& prefix = view_.prefix();
  uint64_t place =
      of_weight_file_ ? sizeof(WeightFileHeader) : prefix.plan_offset + prefix.plan_size;
  // Segments lie in the order of their offsets: validate_plan().
  for (const fb::Segment* segment : *view_.plan().segments()) {
    if (segment->in_weight_file() != of_weight_file_) continue;
    const Error error = check_zeros(place, segment->offset());
    if (error != Error::kOk) return error;
    place = segment->offset() + segment->size();
  }
  if (of_weight_file_) return check_zeros(place, file_.size());
  const Error error = check_zeros(place, segments_end(prefix));
  if (error != Error::kOk || segments_end(prefix) == prefix.file_size) return error;
  return check_zeros(segments_end(prefix) + sizeof(SignatureBlock), prefix.file_size);
}

}  // namespace jllm::tool
