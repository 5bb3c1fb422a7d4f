// Reference operations of a mixture of experts.
#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

#include "kernels/reference/reference.h"

namespace jllm::reference {

Routes route(Floats logits, size_t experts, size_t slots, bool renormalise) {
  assert(logits.size() % experts == 0 && slots <= experts);
  Routes out;
  for (size_t row = 0; row < logits.size(); row += experts) {
    const Floats own = logits.subspan(row, experts);
    std::vector<uint32_t> order(experts);
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return own[a] > own[b]; });
    double total = 0;
    for (size_t i = 0; i < (renormalise ? slots : experts); ++i) {
      total += std::exp(double(own[order[i]]) - own[order[0]]);
    }
    for (size_t i = 0; i < slots; ++i) {
      out.chosen.push_back(order[i]);
      out.weights.push_back(float(std::exp(double(own[order[i]]) - own[order[0]]) / total));
    }
  }
  return out;
}

Vector expert_matmul(Floats in, Floats weight, size_t k, size_t n, std::span<const uint32_t> chosen,
                     size_t slots) {
  const size_t each = chosen.size() * k / in.size();  // slots that read the same vector
  assert(each == 1 || each == slots);
  (void)slots;
  Vector out;
  for (size_t i = 0; i < chosen.size(); ++i) {
    const Vector product =
        matmul(in.subspan(i / each * k, k), weight.subspan(chosen[i] * n * k, n * k), k);
    out.insert(out.end(), product.begin(), product.end());
  }
  return out;
}

Vector expert_sum(Floats in, Floats weights, size_t slots) {
  const size_t n = in.size() / weights.size();
  Vector out(weights.size() / slots * n);
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t row = i / n, column = i % n;
    double sum = 0;
    for (size_t s = 0; s < slots; ++s) {
      sum += double(in[(row * slots + s) * n + column]) * weights[row * slots + s];
    }
    out[i] = float(sum);
  }
  return out;
}

}  // namespace jllm::reference
