#include "tools/plan_file/plan_file.h"

#include <algorithm>
#include <cstring>

#include "schema/weight_file.h"
#include "tools/plan_file/replace_file.h"
#include "tools/plan_file/signature.h"

namespace jllm::tool {
namespace {

constexpr uint64_t kPiece = 1u << 20;

}  // namespace

ExitCode exit_code_of(Error error) {
  switch (error) {
    case Error::kNotAPlan:
    case Error::kPlanVersion:
    case Error::kPlanTruncated:
    case Error::kPlanDamaged:
    case Error::kPlanInvalid:
      return kInvalidFile;
    case Error::kTargetMismatch:
    case Error::kUnknownKernel:
      return kUnsupported;
    case Error::kDeviceMemory:
    case Error::kPinnedMemory:
      return kDoesNotFit;
    case Error::kNoDriver:
    case Error::kNoDevice:
    case Error::kDriverTooOld:
    case Error::kDriverCall:
      return kDevice;
    default:
      return kFailed;
  }
}

PlanFile::PlanFile(const PlanPaths& paths) : paths_(paths) {
  open_head();
  verified_.emplace(view_, file_, false, path());
  if (!paths_.trusted_key.empty()) check_trust();
  open_weights();
}

void PlanFile::fail(const std::string& path, Error error, const std::string& text) const {
  throw Failure(exit_code_of(error), path + ": " + text);
}

void PlanFile::open_head() {
  const std::string& path = paths_.plan;
  Message message;
  if (file_.open(path.c_str(), &message) != Error::kOk) throw Failure(kFailed, message.text);
  const uint64_t first = std::min<uint64_t>(sizeof(PlanPrefix), file_.size());
  head_.resize(sizeof(PlanPrefix) / 8);
  if (file_.read(0, first, head_.data()) != Error::kOk)
    throw Failure(kFailed, path + ": cannot be read");
  const Result<uint64_t> size = PlanView::head_size(head(), first, file_.size(), &message);
  if (!size.ok()) fail(path, size.error(), message.text);
  head_.resize((size.value() + 7) / 8);
  if (file_.read(0, size.value(), head_.data()) != Error::kOk) {
    throw Failure(kFailed, path + ": cannot be read");
  }
  const Result<PlanView> view = PlanView::open(head(), size.value(), file_.size(), &message);
  if (!view.ok()) fail(path, view.error(), message.text);
  view_ = view.value();
}

void PlanFile::open_weights() {
  const fb::WeightFile* wanted = view_.plan().weight_file();
  if (wanted == nullptr) {
    if (paths_.weights.empty()) return;
    throw Failure(kUsage, path() + ": the plan holds its weights itself and takes no --weights");
  }
  if (paths_.weights.empty()) paths_.weights = folder_of(path()) + wanted->name()->str();
  const std::string& weights = paths_.weights;
  Message message;
  if (weight_file_.open(weights.c_str(), &message) != Error::kOk) {
    throw Failure(kFailed, std::string(message.text) + "\n  it holds the weights of " + path() +
                               ": put it beside the plan, or name it with --weights FILE");
  }
  uint8_t header[sizeof(WeightFileHeader)] = {};
  const uint64_t n = std::min<uint64_t>(sizeof header, weight_file_.size());
  if (weight_file_.read(0, n, header) != Error::kOk)
    throw Failure(kFailed, weights + ": cannot be read");
  const Error error = check_weight_file(view_, header, n, weight_file_.size(), &message);
  // Another plan's weights are no plan for another device: the file is at fault.
  if (error != Error::kOk) throw Failure(kInvalidFile, weights + ": " + message.text);
  verified_weights_.emplace(view_, weight_file_, true, weights);
  if (paths_.trusted_key.empty()) return;
  if (verified_weights_->check_gaps() == Error::kOk) return;
  throw Failure(kInvalidFile, refusal().empty() ? weights + ": cannot be read" : refusal());
}

void PlanFile::check_trust() {
  const std::optional<SignatureBlock> block = signature();
  if (!block) {
    throw Failure(kInvalidFile, path() + ": the plan is not signed, and only plans of " +
                                    paths_.trusted_key + " are trusted (jllmc sign signs one)");
  }
  check_signature(path(), head(), head_size(), *block, paths_.trusted_key);
  // Behind a right signature every hash in the tables is the signer's. What is small is proved at
  // once, so that nothing altered goes unnoticed; weights and code when they are loaded.
  Error error = verified_->check_gaps();
  std::vector<uint8_t> bytes;
  for (const fb::Segment* segment : *view_.plan().segments()) {
    if (error != Error::kOk) break;
    if (segment->kind() == fb::SegmentKind::Weights) continue;
    bytes.resize(segment->size());
    error = verified_->read(segment->offset(), segment->size(), bytes.data());
  }
  if (error != Error::kOk) {
    throw Failure(kInvalidFile, refusal().empty() ? path() + ": cannot be read" : refusal());
  }
}

std::optional<SignatureBlock> PlanFile::signature() {
  if ((view_.prefix().flags & kPlanSigned) == 0) return std::nullopt;
  SignatureBlock block;
  if (file_.read(segments_end(view_.prefix()), sizeof block, &block) != Error::kOk) {
    throw Failure(kFailed, path() + ": cannot read the signature");
  }
  return block;
}

PlanSource& PlanFile::source() {
  if (paths_.trusted_key.empty()) return file_;
  return *verified_;
}

PlanSource* PlanFile::weights() {
  if (view_.plan().weight_file() == nullptr) return nullptr;
  if (paths_.trusted_key.empty()) return &weight_file_;
  return &*verified_weights_;
}

std::string PlanFile::refusal() const {
  if (!verified_->refusal().empty()) return verified_->refusal();
  return verified_weights_ ? verified_weights_->refusal() : "";
}

void PlanFile::verify() {
  const auto check = [&](const std::string& file, VerifyingSource& source, Error error) {
    if (error == Error::kOk) return;
    throw Failure(kInvalidFile,
                  source.refusal().empty() ? file + ": cannot be read" : source.refusal());
  };
  check(path(), *verified_, verified_->check_gaps());
  if (verified_weights_) check(weights_path(), *verified_weights_, verified_weights_->check_gaps());
  std::vector<uint8_t> piece(kPiece);
  for (const fb::Segment* segment : *view_.plan().segments()) {
    VerifyingSource& source = segment->in_weight_file() ? *verified_weights_ : *verified_;
    const std::string& file = segment->in_weight_file() ? weights_path() : path();
    for (uint64_t done = 0; done < segment->size(); done += kPiece) {
      const uint64_t n = std::min(kPiece, segment->size() - done);
      check(file, source, source.read(segment->offset() + done, n, piece.data()));
    }
  }
  if (verified_weights_) check_content_hash();
}

// What the weight file is named by.
void PlanFile::check_content_hash() {
  std::vector<uint8_t> piece(kPiece);
  Sha256 hash;
  for (uint64_t offset = kWeightFileData; offset < weight_file_.size(); offset += kPiece) {
    const uint64_t n = std::min(kPiece, weight_file_.size() - offset);
    if (weight_file_.read(offset, n, piece.data()) != Error::kOk)
      throw Failure(kFailed, weights_path() + ": cannot be read");
    hash.update(piece.data(), n);
  }
  uint8_t digest[Sha256::kDigestBytes];
  hash.finish(digest);
  if (std::memcmp(digest, view_.plan().weight_file()->sha256()->data(), sizeof digest) == 0) return;
  throw Failure(kInvalidFile, weights_path() + ": its SHA-256 is not the one that the plan names");
}

}  // namespace jllm::tool
