// An Engine without a model: each text that is begun gets the next of a list of replies, token by
// token, then the token that ends it; whoever asks for more gets kJunk. Notes what it was asked to
// do.
#pragma once

#include <algorithm>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "tools/jllm/serve/engine.h"

namespace jllm::test {

class ScriptedEngine : public serve::Engine {
 public:
  static constexpr uint32_t kEnd = 1;     // the token that ends a text
  static constexpr uint32_t kJunk = 2;    // made behind the end of a text
  static constexpr uint32_t kChunk = 16;  // tokens of a prompt that one replay consumes
  static constexpr uint32_t kWidth = 4;   // of its vectors

  ScriptedEngine(uint32_t slots, uint32_t context, uint32_t vocab_size)
      : slots_(slots), context_(context), vocab_size_(vocab_size) {}

  // The last one is repeated.
  std::vector<std::vector<uint32_t>> replies = {{}};
  bool by_seed_ = false;  // a request gets that of its seed's number
  uint32_t most_batched_ = 8;
  bool copies_ = true;
  bool runs_ahead_ = false;
  bool embeds_ = false;  // it makes embeddings
  bool fails = false;    // from the next step on
  std::mutex gate;       // no text begins while a test holds it

  // One word for each call: "rewind 0 to 12", "copy 1 from 0: 40", "consume 1", "generate 0",
  // "decode 0 1 2"; where it runs ahead "take 0".
  std::vector<std::string> calls() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return calls_;
  }
  bool called(const std::string& call) const {
    const std::vector<std::string> all = calls();
    return std::find(all.begin(), all.end(), call) != all.end();
  }

  uint32_t slots() const override { return static_cast<uint32_t>(slots_.size()); }
  uint32_t context() const override { return context_; }
  uint32_t vocab_size() const override { return vocab_size_; }
  uint32_t most_batched() const override { return most_batched_; }
  bool copies_prefixes() const override { return copies_; }
  bool speculates() const override { return true; }
  bool runs_ahead() const override { return runs_ahead_; }

  void rewind(uint32_t slot, uint32_t count) override {
    const std::lock_guard<std::mutex> lock(gate);
    note("rewind " + std::to_string(slot) + " to " + std::to_string(count));
    require(count <= slots_[slot].count);
    slots_[slot].count = count;
    slots_[slot].to_consume = 0;
    slots_[slot].made.clear();
  }
  void copy_prefix(uint32_t slot, uint32_t from, uint32_t count) override {
    note("copy " + std::to_string(slot) + " from " + std::to_string(from) + ": " +
         std::to_string(count));
    require(slots_[from].to_consume == 0 && count <= slots_[from].count);
    slots_[slot].count = count;
    slots_[slot].made.clear();
  }
  void begin(uint32_t slot, const Sampling& sampling, const uint32_t*, uint32_t n) override {
    Slot& s = slots_[slot];
    require(n > 0 && s.count + n <= context_ && s.made.empty());
    s.ended = false;
    s.to_consume = n;
    s.reply = replies[std::min(by_seed_ ? sampling.seed : begun_++, replies.size() - 1)];
    s.next = 0;
    s.masked = false;
  }
  uint32_t consume(uint32_t slot) override {
    note("consume " + std::to_string(slot));
    Slot& s = slots_[slot];
    const uint32_t n = std::min(s.to_consume, kChunk);
    s.to_consume -= n;
    s.count += n;
    return s.to_consume;
  }
  SampledToken generate(uint32_t slot, bool, uint32_t) override {
    note("generate " + std::to_string(slot));
    require(slots_[slot].made.empty());
    return token_of(slot);
  }
  bool has_tokens(uint32_t slot) override { return !slots_[slot].made.empty(); }
  void ask(const uint32_t* slots, uint32_t n) override {
    std::string call = "decode";
    for (uint32_t i = 0; i < n; ++i) {
      call += " " + std::to_string(slots[i]);
      slots_[slots[i]].made.push_back(token_of(slots[i]));
      require(slots_[slots[i]].made.size() <= (runs_ahead_ ? 2 : 1));
    }
    require(n <= most_batched_);
    note(call);
  }
  SampledToken take(uint32_t slot) override {
    if (runs_ahead_) note("take " + std::to_string(slot));
    require(!slots_[slot].made.empty());
    const SampledToken token = slots_[slot].made.front();
    slots_[slot].made.pop_front();
    return token;
  }
  uint32_t embedding_length() const override { return embeds_ ? kWidth : 0; }
  // How many tokens the slot has, over and over.
  void embed(uint32_t slot, float* vector) override {
    note("embed " + std::to_string(slot));
    if (fails) throw std::runtime_error("the device is gone");
    require(embeds_ && slots_[slot].to_consume == 0);
    std::fill(vector, vector + kWidth, static_cast<float>(slots_[slot].count));
  }
  void set_mask(uint32_t slot, const uint32_t* words) override {
    slots_[slot].masked = words != nullptr;
    if (words != nullptr) slots_[slot].mask.assign(words, words + (vocab_size_ + 31) / 32);
  }
  // The token that was made is the likeliest by 10.
  void read_logits(uint32_t slot, float* logits) override {
    std::fill(logits, logits + vocab_size_, 0.0f);
    logits[slots_[slot].last] = 10.0f;
  }

 private:
  struct Slot {
    uint32_t count = 0, to_consume = 0, last = 0;
    std::vector<uint32_t> reply, mask;
    size_t next = 0;
    bool masked = false, ended = false;
    std::deque<SampledToken> made;  // that take() has not handed out
  };

  SampledToken token_of(uint32_t slot) {
    if (fails) throw std::runtime_error("the device is gone");
    Slot& s = slots_[slot];
    require(s.to_consume == 0);
    if (s.ended) return {kJunk, kEndToken};
    const bool ends = s.next == s.reply.size();
    SampledToken token{ends ? kEnd : s.reply[s.next], ends ? kEndToken : kRunning};
    // A masked token gives way to the first that is allowed.
    for (uint32_t id = 0; s.masked && !allows(s, token.id) && id < vocab_size_; ++id) {
      if (allows(s, id)) token = {id, kRunning};
    }
    if (!ends) ++s.next;
    s.last = token.id;
    if (++s.count > context_) token.done = kContextFull;
    s.ended = token.done != kRunning;
    return token;
  }
  static bool allows(const Slot& slot, uint32_t id) {
    return ((slot.mask[id / 32] >> (id % 32)) & 1u) != 0;
  }
  static void require(bool holds) {
    if (!holds) throw std::logic_error("the engine was asked for what it cannot do");
  }
  void note(std::string call) {
    const std::lock_guard<std::mutex> lock(mutex_);
    calls_.push_back(std::move(call));
  }

  std::vector<Slot> slots_;
  uint32_t context_, vocab_size_;
  size_t begun_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> calls_;
};

}  // namespace jllm::test
