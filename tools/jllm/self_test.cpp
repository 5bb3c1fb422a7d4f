#include "tools/jllm/self_test.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

namespace jllm::tool {
namespace {

constexpr double kHalfRounding = 1.0 / 2048 / 1.7320508;
constexpr double kEightBitRounding = 2.4 / 127 / 3.4641016;  // of 32 values the largest is 2.4
constexpr double kFromLargest = 2;
constexpr double kMostOfDeviation = 0.5;
constexpr uint32_t kLargest = 8;  // logits that are kept: the largest
constexpr uint32_t kSpread = 8;   // and some from all over the vocabulary
constexpr const char* kText =
    "The quick brown fox jumps over the lazy dog, 0123456789 times in a row, and then it rests.";

using Row = std::vector<float>;

// Hashes rows one after another.
class RowHash {
 public:
  void add(const Row& row) {
    const uint64_t words[2] = {value_, hash_bytes(reinterpret_cast<const uint8_t*>(row.data()),
                                                  row.size() * sizeof(float))};
    value_ = hash_bytes(reinterpret_cast<const uint8_t*>(words), sizeof words);
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0;
};

// Greedy tokens behind the prompt; `take` sees what was sampled and the logits, and says how the
// sequence goes on.
void generate(
    Session& session, const std::vector<uint32_t>& prompt, uint32_t steps,
    const std::function<uint32_t(uint32_t step, uint32_t token, const Row& logits)>& take) {
  Executor& executor = session.executor();
  Sampling greedy;
  greedy.ignore_end = true;
  session.check(executor.set_sampling(greedy));
  session.check(executor.rewind(0));
  session.check(executor.prefill(prompt.data(), static_cast<uint32_t>(prompt.size())));
  Row logits(executor.vocab_size());
  for (uint32_t step = 0; step < steps; ++step) {
    session.check(executor.enqueue());
    const Result<SampledToken> sampled = executor.next();
    session.check(sampled.error());
    session.check(executor.read_logits(logits.data()));
    const uint32_t token = take(step, sampled.value().id, logits);
    if (token == sampled.value().id) continue;
    session.check(executor.rewind(executor.count() - 1));
    session.check(executor.prefill(&token, 1));
  }
}

double deviation(const Row& row) {
  const double mean = std::accumulate(row.begin(), row.end(), 0.0) / double(row.size());
  double squares = 0;
  for (const float x : row) squares += (double{x} - mean) * (double{x} - mean);
  return std::sqrt(squares / double(row.size()));
}

// Of what the rough plan does to logits, as the header derives it.
double share_of(const SelfTestOptions& options) {
  const double share =
      options.eight_bits ? std::sqrt(2.0) : std::sqrt(3.0) * kHalfRounding / kEightBitRounding;
  if (options.experts) return std::max(share, 1.0);
  return options.cache_of_quants ? std::max(share, std::sqrt(share)) : share;
}

// The largest first, then some from all over the vocabulary, others in each step.
std::vector<uint32_t> choose_ids(const Row& row, uint32_t step, uint32_t steps) {
  std::vector<uint32_t> ids(row.size());
  std::iota(ids.begin(), ids.end(), 0u);
  const size_t largest = std::min<size_t>(kLargest, ids.size());
  std::partial_sort(
      ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(largest), ids.end(),
      [&](uint32_t a, uint32_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
  ids.resize(largest);
  for (uint32_t i = 0; i < kSpread; ++i) {
    const uint64_t place = uint64_t{i} * steps + step, places = uint64_t{kSpread} * steps;
    ids.push_back(static_cast<uint32_t>(row.size() * (2 * place + 1) / (2 * places)));
  }
  return ids;
}

std::vector<uint32_t> make_prompt(OpenPlan& plan, uint32_t size) {
  const uint32_t vocab = plan.view().plan().model()->vocab_size();
  std::vector<uint32_t> tokens = plan.tokenizer().encode(kText, {true, false});
  // Ids beyond the vocabulary's table or too few: any will do, as long as they are the same.
  while (tokens.size() < size) {
    tokens.push_back(static_cast<uint32_t>((tokens.size() * 7919 + 1) % vocab));
  }
  tokens.resize(size);
  for (uint32_t& token : tokens) token %= vocab;
  return tokens;
}

const fb::SelfTest& open_segment(const std::vector<uint8_t>& bytes, const OpenPlan& plan) {
  const auto refuse = [&] {
    throw Failure(kInvalidFile, plan.path() + ": the plan's self-test is damaged");
  };
  flatbuffers::Verifier verifier(bytes.data(), bytes.size());
  if (bytes.size() < 8 || !fb::VerifySelfTestBuffer(verifier)) refuse();
  const fb::SelfTest& test = *fb::GetSelfTest(bytes.data());
  const fb::Model& model = *plan.view().plan().model();
  const uint64_t tokens = uint64_t{test.prompt()->size()} + test.steps()->size();
  if (test.prompt()->size() == 0 || test.steps()->size() == 0 || tokens > model.context()) refuse();
  for (const uint32_t token : *test.prompt()) {
    if (token >= model.vocab_size()) refuse();
  }
  for (const fb::SelfTestStep* step : *test.steps()) {
    if (step->token() >= model.vocab_size() || step->ids()->size() != step->logits()->size())
      refuse();
    for (const uint32_t id : *step->ids()) {
      if (id >= model.vocab_size()) refuse();
    }
  }
  return test;
}

}  // namespace

std::vector<uint8_t> make_self_test(OpenPlan& exact, OpenPlan& rough,
                                    const SelfTestOptions& options) {
  const fb::Model& model = *exact.view().plan().model();
  const uint32_t context = std::min({options.context, model.context(), kSelfTestContext});
  if (context < 2) throw Failure(kUnsupported, "a context of one position is too small");
  const std::vector<uint32_t> prompt =
      make_prompt(exact, std::min(kSelfTestPrompt, std::max(1u, context / 2)));
  const uint32_t steps = std::min(kSelfTestSteps, context - static_cast<uint32_t>(prompt.size()));
  std::vector<uint32_t> tokens;
  std::vector<Row> rows;
  RowHash hash;
  {
    Session session(exact, ExecutorOptions());
    generate(session, prompt, steps, [&](uint32_t, uint32_t token, const Row& row) {
      hash.add(row);
      tokens.push_back(token);
      rows.push_back(row);
      return token;
    });
  }
  double largest = 0;  // that the rough plan moves a logit
  {
    Session session(rough, ExecutorOptions());
    generate(session, prompt, steps, [&](uint32_t i, uint32_t, const Row& row) {
      for (const uint32_t id : choose_ids(rows[i], i, steps)) {
        largest = std::max(largest, std::fabs(double{row[id]} - double{rows[i][id]}));
      }
      return tokens[i];
    });
  }
  const double moved = kFromLargest * share_of(options) * largest;
  flatbuffers::FlatBufferBuilder b;
  std::vector<flatbuffers::Offset<fb::SelfTestStep>> made;
  for (uint32_t i = 0; i < steps; ++i) {
    const Row& row = rows[i];
    const double deviates = deviation(row);
    // Where nothing was rounded to 8 bits, the logits themselves still are made of halves.
    const double bound = std::clamp(moved, kHalfRounding * deviates, kMostOfDeviation * deviates);
    const std::vector<uint32_t> ids = choose_ids(row, i, steps);
    std::vector<float> logits;
    for (const uint32_t id : ids) logits.push_back(row[id]);
    const float margin = ids.size() > 1 ? row[ids[0]] - row[ids[1]] : 0.0f;
    made.push_back(fb::CreateSelfTestStep(b, tokens[i], margin, static_cast<float>(bound),
                                          b.CreateVector(ids), b.CreateVector(logits)));
  }
  fb::FinishSelfTestBuffer(
      b, fb::CreateSelfTest(b, b.CreateVector(prompt), b.CreateVector(made), 0, hash.value()));
  return {b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize()};
}

SelfTestVerdict run_self_test(OpenPlan& plan, Session& session) {
  std::vector<uint8_t> bytes;
  if (!plan.read_segment(fb::SegmentKind::SelfTest, "self-test", &bytes)) {
    throw Failure(kUnsupported, plan.path() +
                                    ": the plan has no self-test; compile it again with --selftest "
                                    "always");
  }
  const fb::SelfTest& test = open_segment(bytes, plan);
  SelfTestVerdict verdict;
  verdict.steps = test.steps()->size();
  verdict.may_miss = test.may_miss();
  RowHash hash;
  generate(session, {test.prompt()->begin(), test.prompt()->end()}, verdict.steps,
           [&](uint32_t i, uint32_t token, const Row& row) {
             const fb::SelfTestStep& step = *test.steps()->Get(i);
             hash.add(row);
             // Both of two logits may be off.
             const bool close = step.margin() <= 2 * step.tolerance();
             const bool other = token != step.token();
             verdict.close_tokens += other && close ? 1 : 0;
             verdict.wrong_tokens += other && !close ? 1 : 0;
             double worst = 0;
             for (uint32_t k = 0; k < step.ids()->size(); ++k) {
               const double off =
                   std::fabs(double{row[step.ids()->Get(k)]} - step.logits()->Get(k));
               const double share = off == 0 ? 0 : off / double{step.tolerance()};
               if (!(share <= worst)) worst = share;  // also for what is no number
             }
             if (!(worst <= verdict.largest_error)) verdict.largest_error = worst;
             if ((other && !close) || !(worst <= 1)) ++verdict.missed;
             return step.token();
           });
  verdict.exact = hash.value() == test.logits_hash();
  return verdict;
}

}  // namespace jllm::tool
