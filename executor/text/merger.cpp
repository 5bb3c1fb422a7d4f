// A linked list of symbols and a heap of possible merges. Outdated heap entries are recognised when
// they come up: their two symbols no longer stand where the entry says.
#include "executor/text/merger.h"

#include <algorithm>

namespace jllm::text {

void Merger::add(uint32_t symbol, uint32_t size) {
  const auto index = static_cast<uint32_t>(nodes_.size());
  uint32_t begin = 0;
  if (!nodes_.empty()) {
    begin = nodes_.back().begin + nodes_.back().size;
    nodes_.back().next = index;
  }
  nodes_.push_back({symbol, begin, size, index - 1, kNone});  // the first node's previous is kNone
}

bool Merger::find_candidate(uint32_t left, Candidate* candidate) const {
  const uint32_t right = nodes_[left].next;
  if (right == kNone) return false;
  Merge merge;
  if (!vocabulary_.find_merge(nodes_[left].symbol, nodes_[right].symbol, &merge)) return false;
  *candidate = {merge.rank, left, nodes_[left].symbol, nodes_[right].symbol, merge.result};
  return true;
}

void Merger::push_candidate(uint32_t left) {
  Candidate candidate;
  if (!find_candidate(left, &candidate)) return;
  heap_.push_back(candidate);
  std::push_heap(heap_.begin(), heap_.end());
}

void Merger::merge() {
  heap_.clear();
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    Candidate candidate;
    if (find_candidate(i, &candidate)) heap_.push_back(candidate);
  }
  std::make_heap(heap_.begin(), heap_.end());
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end());
    const Candidate candidate = heap_.back();
    heap_.pop_back();
    Node& left = nodes_[candidate.left];
    if (left.size == 0 || left.symbol != candidate.left_symbol || left.next == kNone ||
        nodes_[left.next].symbol != candidate.right_symbol) {
      continue;
    }
    Node& right = nodes_[left.next];
    left.symbol = candidate.result;
    left.size += right.size;
    left.next = right.next;
    right.size = 0;
    if (left.next != kNone) nodes_[left.next].previous = candidate.left;
    if (left.previous != kNone) push_candidate(left.previous);
    push_candidate(candidate.left);
  }
}

void Merger::run(std::string_view text, std::vector<uint32_t>* ids) {
  if (nodes_.empty()) return;
  merge();
  for (uint32_t i = 0; i != kNone; i = nodes_[i].next) emit(nodes_[i], text, ids);
}

void Merger::emit(const Node& node, std::string_view text, std::vector<uint32_t>* ids) const {
  if (node.symbol < vocabulary_.size()) {
    ids->push_back(node.symbol);
    return;
  }
  const std::string_view bytes = text.substr(node.begin, node.size);
  const auto token_of = [this](char byte) {
    return vocabulary_.byte_token(static_cast<uint8_t>(byte));
  };
  const bool complete =
      std::all_of(bytes.begin(), bytes.end(), [&](char byte) { return token_of(byte) != kNone; });
  const uint32_t unknown = vocabulary_.data().unknown();
  if (!complete && unknown != kNone) {
    ids->push_back(unknown);
    return;
  }
  for (const char byte : bytes) {
    if (token_of(byte) != kNone) ids->push_back(token_of(byte));
  }
}

}  // namespace jllm::text
