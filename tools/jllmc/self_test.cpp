#include "tools/jllmc/self_test.h"

#include "compiler/support/error.h"
#include "tools/jllm/self_test.h"

namespace jllm::tool {

llvm::Expected<std::vector<uint8_t>> make_self_test_segment(const std::string& host_plan,
                                                            uint32_t context, bool eight_bits) {
  try {
    OpenPlan plan(host_plan);
    SelfTestOptions options;
    options.context = context;
    options.eight_bits = eight_bits;
    return make_self_test(plan, options);
  } catch (const Failure& failure) {
    return fail(static_cast<jllm::ExitCode>(failure.code), "self-test: {0}", failure.what());
  }
}

}  // namespace jllm::tool
