// The whole line, GGUF in, plan out: what `jllmc compile` does behind its options.
#pragma once

#include <llvm/Support/Error.h>
#include <llvm/Support/raw_ostream.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "compiler/budget.h"
#include "compiler/gguf/adapter.h"
#include "compiler/plan.h"

namespace jllm {

// When a plan gets a self-test: kAuto where the model is small enough for it to take seconds.
enum class SelfTestChoice { kNever, kAuto, kAlways };
constexpr uint64_t kAutoSelfTestBytes = 1ull << 30;  // of weights

// What a self-test is made from: two plans of the same model for the host.
struct SelfTestRequest {
  std::string exact, rough;  // rough: one operand of every product is rounded to 8 bits
  uint32_t context = 0;      // positions of the plan that is to be tested
  bool eight_bits = false;  // the exact one rounds so, as the plan does, and the rough one does not
  bool experts = false;     // a router chooses some
  bool cache_of_quants = false;  // keys or values are stored in 8 bits or fewer
};

// Runs them and writes down what the plan must compute: the segment. (The compiler does not know
// the executor.)
using SelfTestMaker =
    std::function<llvm::Expected<std::vector<uint8_t>>(const SelfTestRequest& request)>;

enum class ReportFormat { kNone, kText, kJson };

struct CompileOptions {
  std::string input;
  std::string output;
  std::string target = "host";
  PlanOptions plan;
  std::string weights;  // a mix of types (gguf/type_mix.h) for what are floats; empty: as stored
  std::vector<gguf::AdapterRequest> adapters;  // merged into the weights
  std::string importance;    // file of an importance matrix for what is quantised; empty: none
  bool context_max = false;  // take the largest context that fits instead of plan.context
  BudgetOptions budget;
  std::string chat_format = "auto";  // or template, none, a built-in format's name
  bool desktop = false;    // budget of a system with a desktop; budget.limit goes before it
  std::string nvrtc;       // library or folder; empty: search
  std::string dump_after;  // one of kPlanStages: print its result and stop
  bool use_cache = true;
  bool split_weights = false;  // into a file of their own, which plans can share
  bool ptx =
      false;  // PTX instead of machine code: runs a target's code path on a newer device, in tests
  bool quiet = false;  // no warnings: somebody has given them
  SelfTestChoice self_test = SelfTestChoice::kNever;
  SelfTestMaker make_self_test;  // for all but kNever
  bool debug_info = false;       // kernel sources and the stages' results go into the plan too
  ReportFormat report = ReportFormat::kNone;
};

// Writes options.output; the report, or what --dump-after asks for, goes to `out`.
llvm::Error compile(const CompileOptions& options, llvm::raw_ostream& out);

}  // namespace jllm
