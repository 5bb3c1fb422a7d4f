#include "executor/text/grammar.h"

#include <algorithm>
#include <cassert>

namespace jllm::text {

// --- Grammar ---

Grammar::Grammar() : nodes_(1, Item{Kind::kEnd}) {}

Grammar::Node Grammar::add(const Item& item) {
  nodes_.push_back(item);
  return static_cast<Node>(nodes_.size() - 1);
}

Grammar::Node Grammar::range(uint8_t first, uint8_t last, Node next) {
  return add({Kind::kRange, first, last, next, 0});
}

Grammar::Node Grammar::literal(std::string_view text, Node next) {
  for (size_t i = text.size(); i-- > 0;) {
    const auto byte = static_cast<uint8_t>(text[i]);
    next = range(byte, byte, next);
  }
  return next;
}

Grammar::Node Grammar::either(Node a, Node b) { return add({Kind::kEither, 0, 0, a, b}); }

Grammar::Node Grammar::forward() { return add({Kind::kForward, 0, 0, kEnd, 0}); }

void Grammar::define(Node forward, Node meaning) {
  assert(nodes_[forward].kind == Kind::kForward);
  nodes_[forward].a = meaning;
}

Grammar::Rule Grammar::add_rule() {
  rules_.push_back(kEnd);
  return static_cast<Rule>(rules_.size() - 1);
}

void Grammar::define_rule(Rule rule, Node first) { rules_[rule] = first; }

Grammar::Node Grammar::call(Rule rule, Node next) { return add({Kind::kCall, 0, 0, rule, next}); }

// --- States ---

GrammarStates::GrammarStates(const Grammar& grammar) : grammar_(grammar) {
  frames_.push_back({0, 0, 0});
  number({});  // kDead
  Places start;
  seen_.clear();
  reach(grammar.root_, 0, &start);
  start_ = number(std::move(start));
}

uint32_t GrammarStates::frame(Grammar::Node node, uint32_t below) {
  const auto [found, is_new] =
      frame_ids_.try_emplace({node, below}, static_cast<uint32_t>(frames_.size()));
  if (is_new) frames_.push_back({node, below, frames_[below].depth + 1});
  return found->second;
}

// Adds the places that are reached from a node without a byte.
void GrammarStates::reach(Grammar::Node node, uint32_t below, Places* out) {
  const std::pair<Grammar::Node, uint32_t> here = {node, below};
  if (std::find(seen_.begin(), seen_.end(), here) != seen_.end()) return;
  seen_.push_back(here);
  const Grammar::Item& item = grammar_.nodes_[node];
  switch (item.kind) {
    case Grammar::Kind::kRange:
      out->places.push_back({node, below});
      return;
    case Grammar::Kind::kEither:
      reach(item.a, below, out);
      return reach(item.b, below, out);
    case Grammar::Kind::kForward:
      return reach(item.a, below, out);
    case Grammar::Kind::kCall: {
      if (frames_[below].depth >= kDepth) return;
      // Behind a call that ends its rule there is nothing to return to but what is below.
      const bool is_last = item.b == Grammar::kEnd && below != 0;
      return reach(grammar_.rules_[item.a], is_last ? below : frame(item.b, below), out);
    }
    case Grammar::Kind::kEnd:
      if (below == 0) {
        out->may_end = true;
        return;
      }
      const Frame to = frames_[below];
      return reach(to.node, to.below, out);
  }
}

GrammarStates::State GrammarStates::number(Places places) {
  std::sort(places.places.begin(), places.places.end());
  const auto [found, is_new] =
      ids_.try_emplace({places.places, places.may_end}, static_cast<State>(states_.size()));
  if (is_new) {
    states_.push_back(std::move(places));
    table_.resize(states_.size() * 256, kUnknown);
  }
  return found->second;
}

GrammarStates::State GrammarStates::find_step(State state, uint8_t byte) {
  Places next;
  seen_.clear();
  const std::vector<Place> places = states_[state].places;  // number() may move them
  for (const Place& place : places) {
    const Grammar::Item& item = grammar_.nodes_[place.range];
    if (byte >= item.first && byte <= item.last) reach(item.a, place.frame, &next);
  }
  const bool is_dead = next.places.empty() && !next.may_end;
  const State found = is_dead ? kDead : number(std::move(next));
  table_[state * size_t{256} + byte] = found;
  return found;
}

GrammarStates::State GrammarStates::step(State state, std::string_view text) {
  for (const char c : text) {
    state = step(state, static_cast<uint8_t>(c));
    if (state == kDead) break;
  }
  return state;
}

bool GrammarStates::must_end(State state) const {
  return states_[state].may_end && states_[state].places.empty();
}

// --- Tokens ---

TokenIndex::TokenIndex(const std::vector<std::string_view>& pieces)
    : vocab_size_(static_cast<uint32_t>(pieces.size())) {
  for (uint32_t id = 0; id < vocab_size_; ++id) {
    if (!pieces[id].empty()) entries_.push_back({pieces[id], id, 0});
    longest_ = std::max(longest_, pieces[id].size());
  }
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.id < b.id;
  });
  for (size_t i = 1; i < entries_.size(); ++i) {
    const std::string_view a = entries_[i - 1].bytes, b = entries_[i].bytes;
    const size_t most = std::min(a.size(), b.size());
    size_t n = 0;
    while (n < most && a[n] == b[n]) ++n;
    entries_[i].shared = static_cast<uint32_t>(n);
  }
}

void TokenIndex::allow(GrammarStates& states, GrammarStates::State state, uint32_t* words) const {
  std::fill(words, words + (vocab_size_ + size_t{31}) / 32, 0u);
  // behind[n]: the state behind the first n bytes of the entry; `known` of them hold.
  std::vector<GrammarStates::State> behind(longest_ + 1, GrammarStates::kDead);
  behind[0] = state;
  size_t known = 0;
  for (const Entry& entry : entries_) {
    known = std::min<size_t>(known, entry.shared);
    while (known < entry.bytes.size() && behind[known] != GrammarStates::kDead) {
      behind[known + 1] = states.step(behind[known], static_cast<uint8_t>(entry.bytes[known]));
      ++known;
    }
    const bool alive = known == entry.bytes.size() && behind[known] != GrammarStates::kDead;
    if (alive) words[entry.id / 32] |= 1u << entry.id % 32;
  }
}

}  // namespace jllm::text
