#include "tests/fuzz/host_plan.h"

#include "jllm/plan_source.h"
#include "schema/plan_view.h"

namespace jllm::fuzz {
namespace {

// What would only take long, or more memory than a fuzzer has, is not run.
constexpr uint64_t kMaxArenas = 2u << 20;
constexpr uint64_t kMaxExecutor = 1u << 20;
constexpr uint32_t kMaxShares = 64;
constexpr uint64_t kMaxLaunches = 2000;

class MadeUp final : public PlanSource {
 public:
  explicit MadeUp(uint64_t size) : size_(size) {}
  uint64_t size() const override { return size_; }
  Error read(uint64_t offset, uint64_t size, void* dst) override {
    auto* bytes = static_cast<uint8_t*>(dst);
    for (uint64_t i = 0; i < size; ++i) {
      // Every fourth byte small: a float's exponent, so that not all weights are huge.
      const uint64_t at = (offset + i) * 0x9E3779B97F4A7C15u >> 56;
      bytes[i] = static_cast<uint8_t>(i % 4 == 3 ? (at & 0x80) | 0x3d : at);
    }
    return Error::kOk;
  }

 private:
  uint64_t size_;
};

bool is_small(const PlanView& view) {
  uint64_t arenas = 0, launches = 0;
  for (const fb::Arena* arena : *view.plan().arenas()) {
    if (arena->size() > kMaxArenas) return false;
    arenas += arena->size();
  }
  for (const fb::Graph* graph : *view.plan().graphs()) {
    launches += graph->launches()->size();
    for (const fb::Launch* launch : *graph->launches()) {
      if (launch->grid_x() > kMaxShares) return false;
    }
  }
  return arenas <= kMaxArenas && launches <= kMaxLaunches;
}

void generate(Executor& executor) {
  const uint32_t vocab = executor.vocab_size();
  const uint32_t prompt[] = {1 % vocab, 2 % vocab, 3 % vocab, vocab - 1, 0};
  const uint32_t room = executor.context() < 5 ? executor.context() : 5;
  if (executor.prefill(prompt, room) != Error::kOk) return;
  std::vector<float> logits(vocab);
  for (uint32_t wanted = 6; wanted > 0; --wanted) {
    const Result<SampledToken> token = executor.generate(wanted);
    if (!token.ok() || token.value().done != kRunning) break;
  }
  (void)executor.read_logits(logits.data());
  Sampling sampling;
  sampling.temperature = 0.8f;
  sampling.top_k = 3;
  sampling.repeat_penalty = 1.1f;
  sampling.repeat_last_n = 64;
  if (executor.set_sampling(sampling) != Error::kOk) return;
  if (executor.count() > 2 && executor.rewind(2) != Error::kOk) return;
  if (executor.force(0) != Error::kOk) return;
  if (executor.enqueue() == Error::kOk) (void)executor.next().ok();
}

}  // namespace

void run_host_plan(uint8_t* head, size_t size) {
  with_host_plan(head, size, [](const PlanView&, Executor& executor) { generate(executor); });
}

void with_host_plan(uint8_t* head, size_t size,
                    const std::function<void(const PlanView&, Executor&)>& use) {
  Message message;
  PlanPrefix prefix = {};
  if (size >= sizeof prefix) {
    std::memcpy(&prefix, head, sizeof prefix);
    const Result<uint64_t> need = PlanView::head_size(head, size, prefix.file_size, &message);
    if (!need.ok() || need.value() > size) return;
    prefix.plan_hash = hash_bytes(head + prefix.plan_offset, prefix.plan_size);
    std::memcpy(head, &prefix, sizeof prefix);
  }
  message.text[0] = 0;
  const Result<PlanView> view = PlanView::open(head, size, prefix.file_size, &message);
  JLLM_FUZZ_CHECK(view.ok() || message.text[0] != 0);
  if (!view.ok() || !view.value().is_host() || !is_small(view.value())) return;
  ExecutorOptions options;
  options.threads = 1;
  const uint64_t bytes = Executor::required_bytes(view.value(), options);
  if (bytes > kMaxExecutor) return;
  const std::vector<uint8_t> block(bytes);
  const AlignedCopy memory(block.data(), bytes);
  MadeUp source(prefix.file_size);
  const Result<Executor*> executor =
      Executor::create(view.value(), source, memory.data(), bytes, options, &message);
  JLLM_FUZZ_CHECK(executor.ok() || message.text[0] != 0);
  if (!executor.ok()) return;
  use(view.value(), *executor.value());
  executor.value()->destroy();
}

}  // namespace jllm::fuzz
