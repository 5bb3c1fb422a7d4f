// The list of architectures, and the buffers that every program has.
#include "compiler/model/model.h"
#include "compiler/support/error.h"
#include "schema/step_state.h"

namespace jllm::model {

extern const Architecture kGemma2, kGemma3, kGranite, kGraniteMoe, kLfm2, kLlama, kNemotron, kOlmo2,
    kOlmoe, kPhi3, kQwen2, kQwen3, kQwen3Moe, kSmolLm3, kStableLm;

namespace {

constexpr const Architecture* kArchitectures[] = {
    &kLlama, &kGemma2, &kGemma3, &kGranite, &kGraniteMoe, &kLfm2,    &kNemotron, &kOlmo2,
    &kOlmoe, &kPhi3,   &kQwen2,  &kQwen3,   &kQwen3Moe,   &kSmolLm3, &kStableLm};

}  // namespace

llvm::Expected<const Architecture*> find_architecture(const std::string& name) {
  std::string known;
  for (const Architecture* architecture : kArchitectures) {
    if (name == architecture->name) return architecture;
    known += (known.empty() ? "" : ", ") + std::string(architecture->name);
  }
  return fail(ExitCode::kUnsupported, "architecture '{0}' is not supported; supported: {1}", name,
              known);
}

std::vector<std::string> architecture_names() {
  std::vector<std::string> names;
  for (const Architecture* architecture : kArchitectures) names.emplace_back(architecture->name);
  return names;
}

llvm::Expected<ir::Program> build_program(const Model& model, const ProgramOptions& options) {
  llvm::Expected<const Architecture*> architecture = find_architecture(model.params.architecture);
  if (!architecture) return architecture.takeError();
  if (llvm::Error error = check_kv_types(model.params, options)) return error;
  return (*architecture)->build(model, options);
}

void add_common_tensors(const Model& model, const ProgramOptions& options, ir::Program& program) {
  program.context = options.context;
  program.slots = options.slots;
  const auto persistent = [&](const char* name, uint64_t words, ir::TensorKind kind) {
    ir::Tensor tensor;
    tensor.name = name;
    tensor.kind = kind;
    tensor.rows = 1;
    tensor.cols = words;
    return program.add(std::move(tensor));
  };
  using ir::TensorKind;
  ir::Bindings& b = program.bindings;
  b.state = persistent("state", sizeof(StepState) / 4, TensorKind::kPersistent);
  b.tokens = persistent("tokens", options.context, TensorKind::kPersistent);
  b.logits = persistent("logits", model.params.vocab_size, TensorKind::kPersistent);
  b.hidden = persistent("hidden", model.params.embedding_length, TensorKind::kPersistent);
  b.ring = persistent("ring", kRingSlots * sizeof(RingSlot) / 4, TensorKind::kPinned);
  const uint64_t mask_words = (uint64_t{model.params.vocab_size} + 31) / 32;
  b.mask = persistent("token_mask", sizeof(TokenMask) / 4 + mask_words, TensorKind::kPersistent);
  if (!options.batch_rows.empty()) {
    b.batch = persistent("batch", sizeof(Batch) / 4, TensorKind::kPersistent);
  }
  if (!options.verify_rows.empty()) {
    b.draft = persistent("draft", sizeof(Draft) / 4, TensorKind::kPinned);
  }
}

}  // namespace jllm::model
