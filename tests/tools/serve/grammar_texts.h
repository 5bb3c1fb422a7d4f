// Texts of a grammar: whether one is, and some of them.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "executor/text/grammar.h"

namespace jllm::test {

using text::GrammarStates;

inline bool takes(GrammarStates& states, std::string_view text) {
  const GrammarStates::State state = states.step(states.start(), text);
  return state != GrammarStates::kDead && states.may_end(state);
}

// A walk through the grammar, bytes drawn with a leaning towards the end of things.
inline std::string draw(GrammarStates& states, std::mt19937& random, size_t most) {
  std::string text;
  GrammarStates::State state = states.start();
  while (!states.must_end(state)) {
    if (states.may_end(state) && text.size() > most / 4) break;
    std::vector<uint8_t> bytes;
    for (unsigned byte = 0; byte < 256; ++byte) {
      if (states.step(state, static_cast<uint8_t>(byte)) == GrammarStates::kDead) continue;
      const bool closes = byte == '"' || byte == '}' || byte == ']';
      const bool is_space = byte == ' ' || byte == '\n';
      const unsigned weight = is_space ? 1 : closes ? (text.size() > most / 2 ? 60 : 6) : 2;
      bytes.insert(bytes.end(), weight, static_cast<uint8_t>(byte));
    }
    if (bytes.empty()) {
      ADD_FAILURE() << "no way on, and no end, behind " << text;
      return text;
    }
    const uint8_t byte = bytes[random() % bytes.size()];
    text += static_cast<char>(byte);
    state = states.step(state, byte);
    if (text.size() > 100 * most) {
      ADD_FAILURE() << "no end in sight";
      return text;
    }
  }
  return text;
}

}  // namespace jllm::test
