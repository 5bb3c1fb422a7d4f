// Plans that are whole but for single numbers of their launches: bytes can hardly be turned so that
// a FlatBuffer stays one, this goes where validation ends. An input is the number of a base plan
// and edits of 12 bytes: launch, argument, what to do, a number.
#include <array>

#include "plan_edit_generated.h"
#include "schema/prefix.h"
#include "tests/fuzz/host_plan.h"

namespace jllm::fuzz {
namespace {

struct Edit {
  uint16_t launch;
  uint8_t argument;
  uint8_t kind;
  uint64_t number;
};

const std::vector<std::vector<uint8_t>>& bases() {
  static const std::vector<std::vector<uint8_t>> read = {
      base_file("llama.head"), base_file("stablelm.head"), base_file("lfm2.head"),
      base_file("olmoe.head"), base_file("olmoe-q8_0.head")};
  return read;
}

void edit_argument(const Edit& edit, fbedit::Arg* arg, const fbedit::Arg& other) {
  switch (edit.kind % 10) {
    case 0:
      return arg->mutate_value(edit.number);
    case 1:
      return arg->mutate_value(edit.number & 0xffff);
    case 2:
      return arg->mutate_value(arg->value() + 1);
    case 3:
      return arg->mutate_value(arg->value() - 1);
    case 4:
      return arg->mutate_value(arg->value() << (edit.number & 63));
    case 5:
      return arg->mutate_value(arg->value() >> (edit.number & 63));
    case 6:
      return arg->mutate_value(other.value());
    case 7:
      return arg->mutate_bytes(edit.number);
    case 8:
      *arg = other;
      return;
    default:
      return arg->mutate_kind(static_cast<fbedit::ArgKind>(edit.number & 1));
  }
}

void edit_model(const Edit& edit, fbedit::Plan* plan) {
  const auto number = static_cast<uint32_t>(edit.number);
  switch (edit.kind % 5) {
    case 0:
      plan->mutable_model()->mutate_context(number);
      return;
    case 1:
      plan->mutable_model()->mutate_vocab_size(number);
      return;
    case 2:
      plan->mutable_bindings()->mutate_tokens(edit.number);
      return;
    case 3:
      plan->mutable_bindings()->mutate_logits(edit.number);
      return;
    default:
      plan->mutable_bindings()->mutate_step_state(edit.number);
      return;
  }
}

void apply(const Edit& edit, fbedit::Plan* plan) {
  if (edit.launch == 0xffff) return edit_model(edit, plan);
  uint32_t index = edit.launch;
  for (uint32_t g = 0; g < plan->graphs()->size(); ++g) {
    fbedit::Graph* graph = plan->mutable_graphs()->GetMutableObject(g);
    const uint32_t count = graph->launches()->size();
    if (index >= count) {
      index -= count;
      continue;
    }
    if (edit.argument == 0xff) {
      graph->mutate_rows(static_cast<uint32_t>(edit.number & 0xff));
      return;
    }
    fbedit::Launch* launch = graph->mutable_launches()->GetMutableObject(index);
    const uint32_t arguments = launch->args()->size();
    if (arguments == 0) return;
    if (edit.argument == 0xfe) {  // another operation, or another of its uses
      launch->mutate_kernel(static_cast<uint32_t>(edit.number % plan->kernels()->size()));
      return;
    }
    auto* args = launch->mutable_args();
    const fbedit::Arg other =
        *args->Get(static_cast<flatbuffers::uoffset_t>(edit.number % arguments));
    edit_argument(edit, args->GetMutableObject(edit.argument % arguments), other);
    return;
  }
}

void run(const uint8_t* data, size_t size) {
  if (size < 1) return;
  const std::vector<uint8_t>& base = bases()[data[0] % bases().size()];
  const AlignedCopy head(base.data(), base.size());
  auto* plan = fbedit::GetMutablePlan(head.data() + sizeof(PlanPrefix));
  for (size_t at = 1; at + 12 <= size && at < 1 + 12 * 64; at += 12) {
    Edit edit = {0, data[at + 2], data[at + 3], 0};
    std::memcpy(&edit.launch, data + at, 2);
    std::memcpy(&edit.number, data + at + 4, 8);
    apply(edit, plan);
  }
  run_host_plan(head.data(), head.size());
}

}  // namespace
}  // namespace jllm::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  jllm::fuzz::run(data, size);
  return 0;
}
