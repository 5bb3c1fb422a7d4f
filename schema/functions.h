// The functions that element-wise operations apply, by the numbers that plans, host operations and
// device kernels use for them (NVRTC-clean).
#pragma once

namespace jllm {

// Of the gate in glu: out = activation(gate) * up.
enum Activation : unsigned {
  kSilu = 0,  // x / (1 + exp(-x))
  kGelu = 1,  // x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
};

// Of unary, with one parameter p.
enum UnaryFunction : unsigned {
  kScale = 0,        // p * x
  kSoftcap = 1,      // p * tanh(x / p)
  kReluSquared = 2,  // max(x, 0)^2; p is not read
};

}  // namespace jllm
