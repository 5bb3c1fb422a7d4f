#include "tools/jllm/serve/json_constraint.h"

#include <algorithm>
#include <map>
#include <utility>

#include "tools/jllm/serve/json_grammar.h"
#include "tools/jllm/serve/tool_grammar.h"

namespace jllm::serve {
namespace {

using text::GrammarStates;

constexpr int64_t kNoToken = -1;

// A text of a grammar, between two tokens that its bytes do not tell of, if there are any: they may
// be control tokens.
class GrammarConstraint final : public Constraint {
 public:
  GrammarConstraint(text::Grammar grammar, const text::Tokenizer& tokenizer,
                    const std::vector<std::string>& pieces, const text::TokenIndex& index,
                    int64_t open = kNoToken, int64_t close = kNoToken)
      : grammar_(std::move(grammar)),
        states_(grammar_),
        tokenizer_(tokenizer),
        pieces_(pieces),
        index_(index),
        state_(states_.start()),
        open_(open),
        close_(close) {}

  void fill(uint32_t* words, uint32_t count) override {
    if (open_ != kNoToken) {
      std::fill(words, words + count, 0u);
      return set(words, open_);
    }
    const auto known = masks_.find(state_);
    if (known != masks_.end()) {
      std::copy(known->second.begin(), known->second.end(), words);
      return;
    }
    index_.allow(states_, state_, words);
    if (states_.may_end(state_) && close_ != kNoToken) {
      set(words, close_);
    } else if (states_.may_end(state_)) {
      for (const uint32_t id : tokenizer_.end_of_generation()) set(words, id);
    }
    if (masks_.size() < kMasks) masks_.emplace(state_, std::vector<uint32_t>(words, words + count));
  }

  bool accept(uint32_t token) override {
    if (open_ != kNoToken) {
      const bool opens = token == open_;
      open_ = kNoToken;
      return opens;
    }
    closed_ = token == close_ && states_.may_end(state_);
    if (closed_) return true;
    if (tokenizer_.is_end_of_generation(token)) return states_.may_end(state_);
    if (token >= pieces_.size() || pieces_[token].empty()) return false;
    const GrammarStates::State next = states_.step(state_, pieces_[token]);
    if (next != GrammarStates::kDead) state_ = next;
    return next != GrammarStates::kDead;
  }

  bool done() const override { return closed_ || (close_ == kNoToken && states_.must_end(state_)); }

 private:
  // A string of free text, where most tokens of most answers are, comes back to the same states.
  static constexpr size_t kMasks = 64;

  static void set(uint32_t* words, int64_t id) { words[id / 32] |= 1u << id % 32; }

  text::Grammar grammar_;
  GrammarStates states_;
  const text::Tokenizer& tokenizer_;
  const std::vector<std::string>& pieces_;
  const text::TokenIndex& index_;
  GrammarStates::State state_;
  std::map<GrammarStates::State, std::vector<uint32_t>> masks_;
  int64_t open_;  // to come before anything else
  const int64_t close_;
  bool closed_ = false;
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
  return std::make_unique<GrammarConstraint>(json_object_grammar(), tokenizer_, pieces_, index_);
}

std::unique_ptr<Constraint> JsonConstraints::schema(std::string_view schema) const {
  const auto json = nlohmann::ordered_json::parse(schema, nullptr, false);
  if (json.is_discarded()) throw SchemaError("#: not JSON");
  return std::make_unique<GrammarConstraint>(json_schema_grammar(json), tokenizer_, pieces_,
                                             index_);
}

int64_t JsonConstraints::mark_token(std::string_view mark) const {
  const std::vector<uint32_t> tokens = tokenizer_.encode(mark, {false, true});
  const bool is_one = tokens.size() == 1 && tokenizer_.piece(tokens[0], true) == mark;
  return is_one ? int64_t{tokens[0]} : kNoToken;
}

std::unique_ptr<Constraint> JsonConstraints::call(text::ToolNotation notation,
                                                  std::string_view functions) const {
  const auto json = nlohmann::ordered_json::parse(functions);
  const CallMarks marks = call_marks(notation);
  const int64_t open = mark_token(marks.open), close = mark_token(marks.close);
  return std::make_unique<GrammarConstraint>(
      tool_call_grammar(notation, json, open == kNoToken, close == kNoToken), tokenizer_, pieces_,
      index_, open, close);
}

}  // namespace jllm::serve
