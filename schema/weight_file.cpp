#include "schema/weight_file.h"

#include <cinttypes>
#include <cstring>

namespace jllm {

Error check_weight_file(const PlanView& view, const uint8_t* bytes, uint64_t size,
                        uint64_t file_size, Message* message) {
  const fb::WeightFile* wanted = view.plan().weight_file();
  if (wanted == nullptr) {
    message->format("the plan holds its weights itself and takes no weight file");
    return Error::kBadArgument;
  }
  const char* name = wanted->name()->c_str();
  WeightFileHeader header = {};
  if (size >= sizeof header) memcpy(&header, bytes, sizeof header);
  if (header.magic != kWeightFileMagic) {
    message->format("not a weight file: it does not start with \"JLLW\" (the plan wants %.100s)",
                    name);
    return Error::kNotAPlan;
  }
  if (header.major != kWeightFileMajor || header.minor != 0) {
    message->format("weight file format %u.%u, this program reads %u.0; compile the model again",
                    header.major, header.minor, kWeightFileMajor);
    return Error::kPlanVersion;
  }
  if (header.file_size != file_size) {
    message->format("the weight file should be %" PRIu64 " bytes long but is %" PRIu64
                    "; is the copy complete?",
                    header.file_size, file_size);
    return Error::kPlanTruncated;
  }
  if (header.data_offset != kWeightFileData || header.reserved != 0) {
    message->format("the weight file's header is damaged");
    return Error::kPlanDamaged;
  }
  if (file_size != wanted->size() ||
      memcmp(header.sha256, wanted->sha256()->data(), kSha256Bytes) != 0) {
    message->format("these are other weights than the plan's: it wants %.100s, %" PRIu64 " bytes",
                    name, wanted->size());
    return Error::kTargetMismatch;
  }
  return Error::kOk;
}

}  // namespace jllm
