#include "tools/plan_file/sign.h"

#include <cstring>
#include <vector>

#include "tools/plan_file/replace_file.h"
#include "tools/plan_file/signature.h"

namespace jllm::tool {

void sign_plan(const PlanPaths& paths, const std::string& key_file, const std::string& out) {
  PlanFile plan(paths);
  plan.verify();  // a signature speaks for the contents
  std::vector<uint8_t> head(plan.head(), plan.head() + plan.head_size());
  PlanPrefix prefix = plan.view().prefix();
  const uint64_t end = segments_end(prefix);
  prefix.flags = kPlanSigned;
  prefix.minor = kPlanMinor;  // which knows of signatures
  prefix.file_size = end + kSegmentAlignment;
  prefix.segments_size = prefix.file_size - prefix.segments_offset;
  std::memcpy(head.data(), &prefix, sizeof prefix);
  const SignatureBlock block = sign_head(head.data(), head.size(), key_file);
  std::vector<uint8_t> last(kSegmentAlignment, 0);
  std::memcpy(last.data(), &block, sizeof block);
  ReplaceFile file(out);
  file.write(0, head.data(), head.size());
  file.copy(plan.source(), head.size(), end);
  file.write(end, last.data(), last.size());
  file.commit();
}

}  // namespace jllm::tool
