#include "tests/support/slots.h"

#include <algorithm>
#include <random>

namespace jllm::test {
namespace {

constexpr uint32_t kWanted = 24;  // tokens of each sequence

void select(RunningPlan& run, uint32_t slot) {
  ASSERT_EQ(run->select(slot), Error::kOk) << run->last_error();
}

void put_in(RunningPlan& run, uint32_t slot, const Tokens& prompt, const Sampling& sampling) {
  select(run, slot);
  run.set_sampling(sampling);
  run.rewind(0);
  run.prefill(prompt);
}

// The token that was asked for in the selected slot, and its logits.
void check_token(RunningPlan& run, const Plain& plain, size_t at) {
  const Result<SampledToken> token = run->next();
  ASSERT_TRUE(token.ok()) << run->last_error();
  ASSERT_EQ(token.value().id, plain.tokens[at]);
  ASSERT_EQ(run.logits(), plain.logits[at]);
}

}  // namespace

void check_batches(RunningPlan& run, const Sampling& sampling) {
  const uint32_t slots = run->slots();
  std::vector<Tokens> prompts;
  std::vector<Plain> plain;
  select(run, 0);
  for (uint32_t slot = 0; slot < slots; ++slot) {
    // A single token is left to the decode graph, the others end with the head graph.
    prompts.push_back(random_tokens(slot == 1 ? 1 : 5 + 7 * slot, run->vocab_size(), 40 + slot));
    plain.push_back(decode_plainly(run, prompts.back(), sampling, kWanted));
  }
  std::vector<size_t> done(slots, 0);
  std::mt19937 random(9);
  uint32_t joined = 0;
  for (uint32_t step = 0; step < 200; ++step) {
    if (joined < slots && step % 3 == 0) {
      put_in(run, joined, prompts[joined], sampling);
      ++joined;
    }
    std::vector<uint32_t> batch;
    for (uint32_t slot = 0; slot < joined; ++slot) {
      if (done[slot] < plain[slot].tokens.size() && random() % 5 != 0) batch.push_back(slot);
    }
    std::shuffle(batch.begin(), batch.end(), random);
    if (batch.empty()) continue;
    const auto n = static_cast<uint32_t>(batch.size());
    ASSERT_EQ(run->enqueue_batch(batch.data(), n), Error::kOk) << run->last_error();
    for (const uint32_t slot : batch) {
      SCOPED_TRACE(testing::Message()
                   << "slot " << slot << " of " << n << ", token " << done[slot]);
      select(run, slot);
      check_token(run, plain[slot], done[slot]++);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  for (uint32_t slot = 0; slot < slots; ++slot) {
    EXPECT_EQ(done[slot], plain[slot].tokens.size()) << "slot " << slot;
  }
  select(run, 0);
}

void check_copies(RunningPlan& run, const Sampling& sampling) {
  const Tokens prompt = random_tokens(45, run->vocab_size(), 60);
  select(run, 0);
  for (const uint32_t shared : {1u, 17u, 44u, 45u}) {
    SCOPED_TRACE(testing::Message() << shared << " tokens copied");
    Tokens other(prompt.begin(), prompt.begin() + shared);
    const Tokens rest = random_tokens(12, run->vocab_size(), 70 + shared);
    other.insert(other.end(), rest.begin(), rest.end());
    const Plain plain = decode_plainly(run, other, sampling, 8);
    const Plain first = decode_plainly(run, prompt, sampling, 8);
    const uint32_t to = run->slots() - 1;
    put_in(run, to, random_tokens(50, run->vocab_size(), 80), sampling);
    ASSERT_EQ(run->copy_prefix(0, shared), Error::kOk) << run->last_error();
    ASSERT_EQ(run->count(), shared);
    run.set_sampling(sampling);
    run.prefill(rest);
    for (size_t at = 0; at < plain.tokens.size(); ++at) {
      ASSERT_EQ(run->enqueue(), Error::kOk) << run->last_error();
      SCOPED_TRACE(testing::Message() << "token " << at);
      const Result<SampledToken> token = run->next();
      ASSERT_TRUE(token.ok()) << run->last_error();
      ASSERT_EQ(token.value().id, plain.tokens[at]);
    }
    // The other sequence is as it was.
    select(run, 0);
    ASSERT_EQ(run->count(), prompt.size() + first.tokens.size());
  }
  EXPECT_EQ(run->copy_prefix(0, 1), Error::kBadArgument);  // from itself
  EXPECT_EQ(run->copy_prefix(run->slots() - 1, 4096), Error::kBadArgument);
  EXPECT_EQ(run->copy_prefix(run->slots(), 1), Error::kBadArgument);
}

void check_ahead(RunningPlan& run, const Sampling& sampling, const uint32_t* end_token) {
  constexpr uint32_t kShared = 21, kSteps = 45;
  const uint32_t slots = run->slots(), vocab = run->vocab_size();
  struct Text {
    Tokens prompt;
    Plain plain;
    size_t taken = 0, asked = 0;  // of its tokens, those in flight included
    size_t end_at = SIZE_MAX;     // this one is the end token
  };
  std::vector<Text> texts(slots);
  select(run, 0);
  for (uint32_t slot = 0; slot < slots; ++slot) {
    Text& text = texts[slot];
    text.prompt = random_tokens(kShared, vocab, 100);
    const Tokens own = random_tokens(3 + 6 * slot, vocab, 101 + slot);
    text.prompt.insert(text.prompt.end(), own.begin(), own.end());
    text.plain = decode_plainly(run, text.prompt, sampling, kWanted);
  }
  for (uint32_t slot = 0; slot < slots; ++slot) put_in(run, slot, texts[slot].prompt, sampling);
  std::mt19937 random(13);
  uint32_t ended = 0, copied = 0;
  for (uint32_t step = 0; step < kSteps; ++step) {
    std::vector<uint32_t> batch;
    for (uint32_t slot = 0; slot < slots; ++slot) {
      if (texts[slot].asked < texts[slot].plain.tokens.size()) batch.push_back(slot);
    }
    if (!batch.empty()) {
      ASSERT_EQ(run->enqueue_batch(batch.data(), static_cast<uint32_t>(batch.size())), Error::kOk)
          << run->last_error();
    }
    for (const uint32_t slot : batch) ++texts[slot].asked;
    for (uint32_t slot = 0; slot < slots; ++slot) {
      SCOPED_TRACE(testing::Message() << "step " << step << ", slot " << slot);
      Text& text = texts[slot];
      const bool is_last = text.asked == text.plain.tokens.size();
      select(run, slot);
      // The first token has none in front of it; the last has none behind it.
      if (run->in_flight() < (is_last ? 1u : 2u)) continue;
      const Result<SampledToken> token = run->next();
      ASSERT_TRUE(token.ok()) << run->last_error();
      const bool ends = text.taken == text.end_at;
      if (ends) {
        ASSERT_EQ(token.value().done, kEndToken);
        ++ended;
      } else {
        ASSERT_EQ(token.value().id, text.plain.tokens[text.taken]);
      }
      ++text.taken;
      if (end_token != nullptr && text.end_at == SIZE_MAX && random() % 8 == 0) {
        // The tokens in flight are free of it, the next one is not.
        std::vector<uint32_t> words((vocab + 31) / 32, 0);
        words[*end_token / 32] |= 1u << *end_token % 32;
        ASSERT_EQ(run->set_mask(words.data()), Error::kOk) << run->last_error();
        text.end_at = text.asked;
      }
      if (!ends && text.taken < text.plain.tokens.size() && random() % 12 != 0) continue;
      // A new one in its place, while what was asked for of the old one is in flight.
      text.taken = text.asked = 0;
      text.end_at = SIZE_MAX;
      ASSERT_EQ(run->set_mask(nullptr), Error::kOk) << run->last_error();
      const uint32_t from = (slot + 1) % slots;
      const bool copies = random() % 2 == 0;
      if (copies) {
        select(run, from);
        copied += run->in_flight() > 0 ? 1 : 0;
        select(run, slot);
        ASSERT_EQ(run->copy_prefix(from, kShared), Error::kOk) << run->last_error();
      } else {
        run.rewind(kShared);
      }
      ASSERT_EQ(run->in_flight(), 0u);
      run.set_sampling(sampling);
      run.prefill(Tokens(text.prompt.begin() + kShared, text.prompt.end()));
    }
  }
  EXPECT_EQ(ended > 0, end_token != nullptr);
  EXPECT_GT(copied, 0u);
  for (uint32_t slot = 0; slot < slots; ++slot) {
    select(run, slot);
    run.rewind(0);
    ASSERT_EQ(run->set_mask(nullptr), Error::kOk) << run->last_error();
  }
  select(run, 0);
}

void check_masks(RunningPlan& run) {
  Sampling sampling;
  sampling.ignore_end = true;
  const uint32_t vocab = run->vocab_size(), last = run->slots() - 1;
  const Tokens prompt = random_tokens(12, vocab, 90);
  for (uint32_t slot = 0; slot <= last; ++slot) put_in(run, slot, prompt, sampling);
  std::mt19937 random(11);
  for (uint32_t step = 0; step < 12; ++step) {
    SCOPED_TRACE(testing::Message() << "step " << step);
    // A few tokens, in the last step one, and beyond it none.
    std::vector<uint32_t> words((vocab + 31) / 32, 0);
    for (uint32_t i = 0; i < (step == 11 ? 1u : 5u); ++i) {
      const uint32_t token = static_cast<uint32_t>(random() % vocab);
      words[token / 32] |= 1u << token % 32;
    }
    select(run, last);
    const bool free = step % 4 == 3;
    ASSERT_EQ(run->set_mask(free ? nullptr : words.data()), Error::kOk) << run->last_error();
    std::vector<uint32_t> batch = {last};
    if (last > 0) batch.push_back(0);
    ASSERT_EQ(run->enqueue_batch(batch.data(), static_cast<uint32_t>(batch.size())), Error::kOk);
    for (const uint32_t slot : batch) {
      select(run, slot);
      const Result<SampledToken> token = run->next();
      ASSERT_TRUE(token.ok()) << run->last_error();
      const Logits logits = run.logits();
      uint32_t best = UINT32_MAX;
      for (uint32_t i = 0; i < vocab; ++i) {
        const bool allowed = slot != last || free || (words[i / 32] >> i % 32 & 1);
        if (allowed && (best == UINT32_MAX || logits[i] > logits[best])) best = i;
      }
      ASSERT_EQ(token.value().id, best) << "slot " << slot;
    }
  }
  select(run, last);
  const std::vector<uint32_t> none((vocab + 31) / 32, 0);
  ASSERT_EQ(run->set_mask(none.data()), Error::kOk);
  const uint32_t guess = 1;
  EXPECT_EQ(run->enqueue_draft(&guess, 1).error(), Error::kBadArgument);
  ASSERT_EQ(run->enqueue(), Error::kOk);
  EXPECT_EQ(run->next().error(), Error::kBadLogits);
  ASSERT_EQ(run->set_mask(nullptr), Error::kOk);
  select(run, 0);
}

}  // namespace jllm::test
