#include "tools/jllm/bench/measure.h"

#include <ctime>

namespace jllm::tool {

double cpu_seconds() {
  timespec now = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return double(now.tv_sec) + double(now.tv_nsec) * 1e-9;
}

std::string Test::name() const {
  std::string text = prompt > 0 ? "pp" + std::to_string(prompt) : "tg" + std::to_string(generate);
  if (depth > 0) text += " @ d" + std::to_string(depth);
  return text;
}

std::optional<double> Test::tokens_per_joule() const {
  const std::optional<double> watts = energy.mean_watts();
  if (!watts || !(*watts > 0)) return std::nullopt;
  return median_rate() / *watts;
}

Bench::Bench(const PlanView& plan, Session& session, PowerSampler* power)
    : session_(session),
      executor_(session.executor()),
      ahead_(plan.is_host() ? 1 : 4),
      power_(power),
      logits_(executor_.vocab_size()) {
  Sampling greedy;
  greedy.ignore_end = true;
  session_.check(executor_.set_sampling(greedy));
}

void Bench::repeat(Test* test) {
  fill(test->depth);
  if (test->generate > 0) {
    // The first token measured comes from a decode step, as all the others do.
    if (test->depth == 0) feed(1);
    session_.check(executor_.rewind(executor_.count()));
  }
  const Nvtx::Range range(nvtx_, test->name());
  // Rails are read outside of the time that counts.
  const platform::Energy before = power_ != nullptr ? power_->read() : platform::Energy{};
  const double start = now_seconds();
  const double cpu = cpu_seconds();
  if (test->prompt > 0) {
    feed(test->prompt);
    step();
  } else {
    take(test->generate, &test->token_seconds);
  }
  test->seconds.push_back(now_seconds() - start);
  test->cpu_seconds += cpu_seconds() - cpu;
  if (power_ != nullptr) test->energy = test->energy + (power_->read() - before);
}

void Bench::fill(uint32_t depth) {
  session_.check(executor_.rewind(0));
  if (depth == 0) return;
  feed(depth);
  session_.check(executor_.read_logits(logits_.data()));  // only to wait
}

void Bench::feed(uint32_t count) {
  const std::vector<uint32_t> tokens = random_tokens(count);
  session_.check(executor_.prefill(tokens.data(), count));
}

std::vector<uint32_t> Bench::random_tokens(uint32_t count) {
  std::vector<uint32_t> tokens(count);
  for (uint32_t& token : tokens) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    token = static_cast<uint32_t>((state_ >> 33) % executor_.vocab_size());
  }
  return tokens;
}

void Bench::step() { take(1, nullptr); }

void Bench::first_token() {
  fill(0);
  feed(1);
  step();
}

std::vector<uint32_t> Bench::take(uint32_t count, std::vector<double>* token_seconds) {
  std::vector<uint32_t> tokens;
  double last = now_seconds();
  for (uint32_t asked = 0, taken = 0; taken < count; ++taken) {
    while (asked < count && executor_.in_flight() < ahead_) {
      session_.check(executor_.enqueue());
      ++asked;
    }
    const Result<SampledToken> token = executor_.next();
    session_.check(token.error());
    tokens.push_back(token.value().id);
    if (token_seconds == nullptr) continue;
    const double now = now_seconds();
    token_seconds->push_back(now - last);
    last = now;
  }
  return tokens;
}

}  // namespace jllm::tool
