#include "tools/jllmc/self_test.h"

#include "compiler/support/error.h"
#include "tools/jllm/self_test.h"

namespace jllm::tool {

llvm::Expected<std::vector<uint8_t>> make_self_test_segment(const SelfTestRequest& request) {
  try {
    OpenPlan exact(request.exact), rough(request.rough);
    SelfTestOptions options;
    options.context = request.context;
    options.eight_bits = request.eight_bits;
    options.experts = request.experts;
    options.cache_of_quants = request.cache_of_quants;
    return make_self_test(exact, rough, options);
  } catch (const Failure& failure) {
    return fail(static_cast<jllm::ExitCode>(failure.code), "self-test: {0}", failure.what());
  }
}

}  // namespace jllm::tool
