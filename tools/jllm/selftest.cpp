// jllm selftest: whether this device computes what the compiler's host backend did.
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/jllm/arguments.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/generation.h"
#include "tools/jllm/self_test.h"

namespace jllm::tool {
namespace {

void print_text(const SelfTestVerdict& v) {
  std::printf("self-test %s: %u tokens", v.passed() ? "passed" : "FAILED", v.steps);
  if (v.wrong_tokens > 0) std::printf(", %u of them wrong", v.wrong_tokens);
  if (v.close_tokens > 0) std::printf(", %u the other of two that are as likely", v.close_tokens);
  std::printf("; logits off by at most %.1f %% of what rounding may do%s\n", v.largest_error * 100,
              v.exact ? ", every bit the same" : "");
  if (v.may_miss > 0) {
    std::printf("%u of %u steps were off, %u may be (mixture of experts)\n", v.missed, v.steps,
                v.may_miss);
  }
  if (!v.passed()) {
    std::printf(
        "This device does not compute what the plan was made to compute. jllm verify tells whether "
        "the file is whole;\nif it is, suspect driver, memory or clocks, and compile the plan "
        "again "
        "for this very device.\n");
  }
}

void print_json(const SelfTestVerdict& v, OpenPlan& plan, Session& session) {
  nlohmann::ordered_json document;
  document["plan"] = plan.path();
  document["device"] = session.executor().device_name();
  document["passed"] = v.passed();
  document["steps"] = v.steps;
  document["missed"] = v.missed;
  document["may_miss"] = v.may_miss;
  document["wrong_tokens"] = v.wrong_tokens;
  document["close_tokens"] = v.close_tokens;
  document["largest_error"] = std::isfinite(v.largest_error)
                                  ? nlohmann::ordered_json(v.largest_error)
                                  : nlohmann::ordered_json(nullptr);
  document["exact"] = v.exact;
  std::printf("%s\n",
              document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

}  // namespace

int selftest_command(int argc, char** argv) {
  PlanPaths paths;
  DeviceOptions device;
  bool as_json = false;
  Arguments arguments("jllm selftest PLAN.jllm [--json] [options]",
                      "Computes the prompt that the plan brings along and compares tokens and "
                      "logits with those of the compiler's\nhost backend. Exit status 0: they "
                      "agree, up to rounding; 1: they do not; 5: the plan has no self-test.");
  add_plan(&arguments, &paths);
  add_options(&arguments, &device);
  arguments.flag("", "--json", &as_json, "print one JSON document");
  if (!arguments.parse(argc, argv)) return kDone;
  OpenPlan plan(paths);
  plan.require_text();
  Session session(plan, executor_options(device));
  const SelfTestVerdict verdict = run_self_test(plan, session);
  if (as_json) {
    print_json(verdict, plan, session);
  } else {
    print_text(verdict);
  }
  return verdict.passed() ? kDone : kFailed;
}

}  // namespace jllm::tool
