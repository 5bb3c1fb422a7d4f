// Repeated merging of neighbouring symbols, lowest rank first, leftmost among equals: the heart of
// both SPM and BPE. O(n log n) in the number of symbols.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "executor/text/vocabulary.h"

namespace jllm::text {

// Working memory for one call of encode(); its buffers are reused from word to word.
class Merger {
 public:
  explicit Merger(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  void clear() { nodes_.clear(); }
  // Appends the symbol (kNone: unknown to the vocabulary) of the next `size` >= 1 bytes. At most
  // 2^32 - 1 bytes between two calls of clear().
  void add(uint32_t symbol, uint32_t size);
  // Merges what was added, which stands for the bytes of `text`, and appends the tokens to *ids.
  void run(std::string_view text, std::vector<uint32_t>* ids);

 private:
  struct Node {
    uint32_t symbol;
    uint32_t begin;
    uint32_t size;  // 0 once merged into the node on its left
    uint32_t previous;
    uint32_t next;
  };
  struct Candidate {
    uint32_t rank;
    uint32_t left;  // node
    uint32_t left_symbol;
    uint32_t right_symbol;
    uint32_t result;

    // Order of std::push_heap: the "largest" is merged first.
    bool operator<(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };

  bool find_candidate(uint32_t left, Candidate* candidate) const;
  void push_candidate(uint32_t left);
  void merge();
  void emit(const Node& node, std::string_view text, std::vector<uint32_t>* ids) const;

  const Vocabulary& vocabulary_;
  std::vector<Node> nodes_;
  std::vector<Candidate> heap_;
};

}  // namespace jllm::text
