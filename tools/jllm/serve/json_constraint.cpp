#include "tools/jllm/serve/json_constraint.h"

#include <algorithm>
#include <map>
#include <utility>

#include "tools/jllm/serve/json_grammar.h"

namespace jllm::serve {
namespace {

using text::GrammarStates;

class JsonConstraint final : public Constraint {
 public:
  JsonConstraint(text::Grammar grammar, const text::Tokenizer& tokenizer,
                 const std::vector<std::string>& pieces, const text::TokenIndex& index)
      : grammar_(std::move(grammar)),
        states_(grammar_),
        tokenizer_(tokenizer),
        pieces_(pieces),
        index_(index),
        state_(states_.start()) {}

  void fill(uint32_t* words, uint32_t count) override {
    const auto known = masks_.find(state_);
    if (known != masks_.end()) {
      std::copy(known->second.begin(), known->second.end(), words);
      return;
    }
    index_.allow(states_, state_, words);
    for (const uint32_t id : tokenizer_.end_of_generation()) {
      if (states_.may_end(state_)) words[id / 32] |= 1u << id % 32;
    }
    if (masks_.size() < kMasks) masks_.emplace(state_, std::vector<uint32_t>(words, words + count));
  }

  bool accept(uint32_t token) override {
    if (tokenizer_.is_end_of_generation(token)) return states_.may_end(state_);
    if (token >= pieces_.size() || pieces_[token].empty()) return false;
    const GrammarStates::State next = states_.step(state_, pieces_[token]);
    if (next != GrammarStates::kDead) state_ = next;
    return next != GrammarStates::kDead;
  }

  bool done() const override { return states_.must_end(state_); }

 private:
  // A string of free text, where most tokens of most answers are, comes back to the same states.
  static constexpr size_t kMasks = 64;

  text::Grammar grammar_;
  GrammarStates states_;
  const text::Tokenizer& tokenizer_;
  const std::vector<std::string>& pieces_;
  const text::TokenIndex& index_;
  GrammarStates::State state_;
  std::map<GrammarStates::State, std::vector<uint32_t>> masks_;
};

std::vector<std::string> pieces_of(const text::Tokenizer& tokenizer) {
  std::vector<std::string> pieces(tokenizer.vocab_size());
  for (uint32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.is_control(id) && !tokenizer.is_end_of_generation(id)) {
      pieces[id] = tokenizer.piece(id, false);
    }
  }
  return pieces;
}

}  // namespace

JsonConstraints::JsonConstraints(const text::Tokenizer& tokenizer)
    : tokenizer_(tokenizer),
      pieces_(pieces_of(tokenizer)),
      index_({pieces_.begin(), pieces_.end()}) {}

std::unique_ptr<Constraint> JsonConstraints::object() const {
  return std::make_unique<JsonConstraint>(json_object_grammar(), tokenizer_, pieces_, index_);
}

std::unique_ptr<Constraint> JsonConstraints::schema(std::string_view schema) const {
  const auto json = nlohmann::ordered_json::parse(schema, nullptr, false);
  if (json.is_discarded()) throw SchemaError("#: not JSON");
  return std::make_unique<JsonConstraint>(json_schema_grammar(json), tokenizer_, pieces_, index_);
}

}  // namespace jllm::serve
