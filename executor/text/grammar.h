// Which bytes may come next in a text of a context-free language, and which tokens: what generated
// JSON is held to. A grammar is a network of byte ranges, choices and calls of rules; a state is
// the set of places in it that a text may have reached, each with the calls to return to. States
// are found once and then numbered, so that following a text soon takes one look-up per byte.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

namespace jllm::text {

// Built from the end: every node names the one behind it.
class Grammar {
 public:
  using Node = uint32_t;

  Grammar();

  // The end of the rule that a node belongs to.
  Node end() const { return kEnd; }
  // A byte in first..last, then `next`.
  Node range(uint8_t first, uint8_t last, Node next);
  Node literal(std::string_view text, Node next);
  // One of these.
  Node either(Node a, Node b);
  // A node to be said later: loops.
  Node forward();
  void define(Node forward, Node meaning);
  // The text of a rule, then `next`. Rules may call themselves, but not before any byte.
  using Rule = uint32_t;
  Rule add_rule();
  void define_rule(Rule rule, Node first);
  Node call(Rule rule, Node next);
  void set_root(Node root) { root_ = root; }

 private:
  friend class GrammarStates;
  enum class Kind : uint8_t { kEnd, kRange, kEither, kForward, kCall };
  struct Item {
    Kind kind;
    uint8_t first = 0, last = 0;
    uint32_t a = 0, b = 0;  // nodes; of a call: rule and next
  };
  static constexpr Node kEnd = 0;
  Node add(const Item& item);

  std::vector<Item> nodes_;
  std::vector<Node> rules_;
  Node root_ = kEnd;
};

// The states of one grammar, as far as texts have led to them. Not thread-safe.
class GrammarStates {
 public:
  using State = uint32_t;
  static constexpr State kDead = 0;  // no text of the language begins so

  explicit GrammarStates(const Grammar& grammar);

  State start() const { return start_; }
  State step(State state, uint8_t byte) {
    const uint32_t next = table_[state * size_t{256} + byte];
    return next != kUnknown ? next : find_step(state, byte);
  }
  State step(State state, std::string_view text);
  // Whether a text that has led here may end.
  bool may_end(State state) const { return states_[state].may_end; }
  // Whether it must.
  bool must_end(State state) const;
  size_t size() const { return states_.size(); }

 private:
  static constexpr uint32_t kUnknown = 0xffffffff;
  static constexpr uint32_t kDepth =
      256;  // calls within each other; a text that nests deeper is none

  // Where a rule was called: to go on at `node`, and so on. Frame 0 is the bottom.
  struct Frame {
    Grammar::Node node;
    uint32_t below, depth;
  };
  struct Place {
    Grammar::Node range;  // whose byte comes next
    uint32_t frame;
    bool operator<(const Place& other) const {
      return range != other.range ? range < other.range : frame < other.frame;
    }
    bool operator==(const Place& other) const {
      return range == other.range && frame == other.frame;
    }
  };
  struct Places {
    std::vector<Place> places;  // ascending
    bool may_end = false;
  };

  State find_step(State state, uint8_t byte);
  void reach(Grammar::Node node, uint32_t frame, Places* out);
  uint32_t frame(Grammar::Node node, uint32_t below);
  State number(Places places);

  const Grammar& grammar_;
  std::vector<Frame> frames_;
  std::map<std::pair<Grammar::Node, uint32_t>, uint32_t> frame_ids_;
  std::vector<Places> states_;
  std::map<std::pair<std::vector<Place>, bool>, State> ids_;
  std::vector<uint32_t> table_;                           // [state][256]
  std::vector<std::pair<Grammar::Node, uint32_t>> seen_;  // of one closure
  State start_ = kDead;
};

// The tokens of a vocabulary in the order of their bytes, to find those that a state allows.
class TokenIndex {
 public:
  // `pieces[id]`: the token's bytes; empty: never allowed. They must outlive the index.
  explicit TokenIndex(const std::vector<std::string_view>& pieces);

  // Sets bit id % 32 of words[id / 32] for every token whose bytes lead from `state` to a living
  // state, and clears the others.
  void allow(GrammarStates& states, GrammarStates::State state, uint32_t* words) const;
  uint32_t vocab_size() const { return vocab_size_; }

 private:
  struct Entry {
    std::string_view bytes;
    uint32_t id;
    uint32_t shared;  // bytes that it begins with as the entry before does
  };
  std::vector<Entry> entries_;  // ascending
  uint32_t vocab_size_ = 0;
  size_t longest_ = 0;
};

}  // namespace jllm::text
