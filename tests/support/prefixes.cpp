#include "tests/support/prefixes.h"

#include <algorithm>

namespace jllm::test {
namespace {

constexpr uint32_t kWanted = 4;  // tokens behind a prefix

// Whether both go on in the same way behind the same tokens.
void check_equal(RunningPlan& run, RunningPlan& other, const Tokens& rest,
                 const Sampling& sampling) {
  ASSERT_EQ(other->count(), run->count());
  for (RunningPlan* each : {&run, &other}) {
    each->set_sampling(sampling);
    each->prefill(rest);
  }
  for (uint32_t at = 0; at < kWanted; ++at) {
    SCOPED_TRACE(testing::Message() << "token " << at);
    const SampledToken expected = run.step(), found = other.step();
    ASSERT_EQ(found.id, expected.id);
    ASSERT_EQ(found.done, expected.done);
    ASSERT_EQ(other.logits(), run.logits());
    if (expected.done != kRunning) return;
  }
}

}  // namespace

std::vector<uint8_t> save_prefix(RunningPlan& run, uint32_t count, uint64_t piece) {
  std::vector<uint8_t> bytes(run->prefix_bytes(count), 0xee);
  uint64_t at = 0;
  do {
    const uint64_t n = std::min<uint64_t>(piece, bytes.size() - at);
    EXPECT_EQ(run->save_prefix(count, at, bytes.data() + at, n), Error::kOk) << run->last_error();
    at += n;
  } while (at < bytes.size());
  return bytes;
}

void load_prefix(RunningPlan& run, const Tokens& tokens, const std::vector<uint8_t>& bytes,
                 uint64_t piece) {
  const auto count = static_cast<uint32_t>(tokens.size());
  uint64_t at = 0;
  do {
    const uint64_t n = std::min<uint64_t>(piece, bytes.size() - at);
    ASSERT_EQ(run->load_prefix(tokens.data(), count, at, bytes.data() + at, n), Error::kOk)
        << run->last_error();
    at += n;
    ASSERT_EQ(run->count(), at < bytes.size() ? 0 : count);
  } while (at < bytes.size());
}

void check_saved_prefixes(RunningPlan& run, RunningPlan& other, const Sampling& sampling) {
  const uint32_t context = run->context();
  ASSERT_EQ(run->select(0), Error::kOk);
  ASSERT_EQ(other->select(other->slots() - 1), Error::kOk);
  for (const uint32_t count : {1u, 2u, 33u, context / 2 + 5, context - 20}) {
    // Saved at once, and by a sequence that has gone on to the end since.
    for (const bool late : {false, true}) {
      SCOPED_TRACE(testing::Message() << count << " tokens" << (late ? ", saved late" : ""));
      const Tokens prefix = random_tokens(count, run->vocab_size(), 30 + count);
      const Tokens rest = random_tokens(3, run->vocab_size(), 31 + count);
      run.rewind(0);
      run.prefill(prefix);
      if (late) run.prefill(random_tokens(context - count, run->vocab_size(), 32));
      const std::vector<uint8_t> bytes = save_prefix(run, count, 1000);
      EXPECT_EQ(save_prefix(run, count, UINT32_MAX), bytes);
      EXPECT_EQ(bytes.empty(), count == 1);
      other.rewind(0);
      other.prefill(random_tokens(context / 2 + 10, run->vocab_size(), 34));
      load_prefix(other, prefix, bytes, 777);
      EXPECT_EQ(save_prefix(other, count, 4096), bytes);
      check_equal(run, other, rest, sampling);
      if (testing::Test::HasFatalFailure()) return;
      // And once more from its end, which costs nothing.
      run.rewind(count);
      other.rewind(count);
      check_equal(run, other, rest, sampling);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  ASSERT_EQ(other->select(0), Error::kOk);
}

void check_prefix_refusals(RunningPlan& run) {
  const Tokens prefix = random_tokens(20, run->vocab_size(), 50);
  run.rewind(0);
  run.prefill(prefix);
  std::vector<uint8_t> bytes = save_prefix(run, 20, UINT32_MAX);
  const uint64_t size = bytes.size();
  EXPECT_EQ(run->save_prefix(21, 0, bytes.data(), 1), Error::kBadArgument);
  EXPECT_STREQ(run->last_error(), "cannot rewind to 21 tokens: the sequence has 20");
  const std::string fewer = "the caches have fewer bytes of 20 tokens";
  bytes.resize(size + 1);
  for (const auto& [offset, n] :
       {std::pair{uint64_t{0}, size + 1}, {size, uint64_t{1}}, {UINT64_MAX, uint64_t{0}}}) {
    EXPECT_EQ(run->save_prefix(20, offset, bytes.data(), n), Error::kBadArgument) << offset;
    EXPECT_EQ(run->last_error(), fewer);
    EXPECT_EQ(run->count(), 20u);
    run.rewind(0);
    run.prefill(prefix);
    EXPECT_EQ(run->load_prefix(prefix.data(), 20, offset, bytes.data(), n), Error::kBadArgument);
    EXPECT_EQ(run->last_error(), fewer);
    EXPECT_EQ(run->count(), 0u);
    run.prefill(prefix);
  }
  Tokens odd = prefix;
  odd[7] = run->vocab_size();
  EXPECT_EQ(run->load_prefix(odd.data(), 20, 0, bytes.data(), size), Error::kBadArgument);
  EXPECT_EQ(run->count(), 0u);
  const Tokens many(run->context() + 1, 1);
  const auto most = static_cast<uint32_t>(many.size());
  bytes.resize(run->prefix_bytes(most));
  EXPECT_EQ(run->load_prefix(many.data(), most, 0, bytes.data(), bytes.size()),
            Error::kContextFull);
  EXPECT_EQ(run->count(), 0u);
}

}  // namespace jllm::test
