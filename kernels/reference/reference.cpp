// Reference operations: each is the formula of its declaration, accumulated in double.
#include "kernels/reference/reference.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numbers>

namespace jllm::reference {

Vector embed(std::span<const uint32_t> tokens, Floats table, size_t dim) {
  Vector out;
  for (uint32_t token : tokens) {
    Floats row = table.subspan(token * dim, dim);
    out.insert(out.end(), row.begin(), row.end());
  }
  return out;
}

Vector rms_norm(Floats in, Floats weight, float epsilon) {
  const size_t dim = weight.size();
  assert(in.size() % dim == 0);
  Vector out(in.size());
  for (size_t row = 0; row < in.size(); row += dim) {
    double sum = 0;
    for (size_t i = 0; i < dim; ++i) sum += double(in[row + i]) * in[row + i];
    const double factor = 1 / std::sqrt(sum / double(dim) + epsilon);
    for (size_t i = 0; i < dim; ++i) out[row + i] = float(in[row + i] * factor * weight[i]);
  }
  return out;
}

Vector layer_norm(Floats in, Floats weight, Floats bias, float epsilon) {
  const size_t dim = weight.size();
  assert(in.size() % dim == 0 && (bias.empty() || bias.size() == dim));
  Vector out(in.size());
  for (size_t row = 0; row < in.size(); row += dim) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < dim; ++i) sum += in[row + i];
    const double mean = sum / double(dim);
    for (size_t i = 0; i < dim; ++i) squares += (in[row + i] - mean) * (in[row + i] - mean);
    const double factor = 1 / std::sqrt(squares / double(dim) + epsilon);
    for (size_t i = 0; i < dim; ++i) {
      const double normed = (in[row + i] - mean) * factor * weight[i];
      out[row + i] = float(bias.empty() ? normed : normed + bias[i]);
    }
  }
  return out;
}

Vector matmul(Floats in, Floats weight, size_t k) {
  assert(in.size() % k == 0 && weight.size() % k == 0);
  const size_t rows = in.size() / k, n = weight.size() / k;
  Vector out(rows * n);
  for (size_t row = 0; row < rows; ++row) {
    for (size_t column = 0; column < n; ++column) {
      double sum = 0;
      for (size_t i = 0; i < k; ++i) sum += double(in[row * k + i]) * weight[column * k + i];
      out[row * n + column] = float(sum);
    }
  }
  return out;
}

Vector add_bias(Floats in, Floats bias) {
  Vector out(in.size());
  for (size_t i = 0; i < in.size(); ++i) out[i] = in[i] + bias[i % bias.size()];
  return out;
}

Vector rope(Floats in, Floats frequencies, size_t heads, size_t head_dim, bool neox,
            float magnitude, unsigned position) {
  const size_t pairs = frequencies.size();
  assert(2 * pairs <= head_dim && in.size() % (heads * head_dim) == 0);
  Vector out(in.begin(), in.end());
  for (size_t start = 0; start < in.size(); start += head_dim) {
    const size_t row = start / (heads * head_dim);
    for (size_t i = 0; i < pairs; ++i) {
      const float angle = float(position + row) * frequencies[i];
      const double c = std::cos(double(angle)) * magnitude, s = std::sin(double(angle)) * magnitude;
      const size_t first = start + (neox ? i : 2 * i),
                   second = start + (neox ? i + pairs : 2 * i + 1);
      out[first] = float(in[first] * c - in[second] * s);
      out[second] = float(in[first] * s + in[second] * c);
    }
  }
  return out;
}

void kv_append(Floats in, std::span<float> cache, size_t heads, size_t head_dim, size_t context,
               unsigned position) {
  assert(cache.size() == heads * context * head_dim && in.size() % (heads * head_dim) == 0);
  for (size_t i = 0; i < in.size(); ++i) {
    const size_t row = i / (heads * head_dim), head = i / head_dim % heads, element = i % head_dim;
    if (position + row >= context) continue;
    cache[(head * context + position + row) * head_dim + element] = in[i];
  }
}

Vector attention(Floats q, Floats k, Floats v, const AttentionShape& shape, float scale,
                 unsigned position) {
  const size_t dim = shape.head_dim, group = shape.heads / shape.kv_heads;
  assert(shape.heads % shape.kv_heads == 0 && q.size() % (shape.heads * dim) == 0);
  Vector out(q.size());
  for (size_t start = 0; start < q.size(); start += dim) {
    const size_t row = start / (shape.heads * dim), head = start / dim % shape.heads;
    const size_t cache = head / group * shape.context * dim;
    std::vector<double> weights(position + row + 1);
    double max = -std::numeric_limits<double>::infinity();
    for (size_t p = 0; p < weights.size(); ++p) {
      double dot = 0;
      for (size_t i = 0; i < dim; ++i) dot += double(q[start + i]) * k[cache + p * dim + i];
      weights[p] = dot * scale;
      if (shape.softcap != 0) weights[p] = shape.softcap * std::tanh(weights[p] / shape.softcap);
      const bool visible = shape.window == 0 || p + shape.window >= weights.size();
      if (!visible) weights[p] = -std::numeric_limits<double>::infinity();
      max = std::max(max, weights[p]);
    }
    double total = 0;
    for (double& weight : weights) total += weight = std::exp(weight - max);
    for (size_t i = 0; i < dim; ++i) {
      double sum = 0;
      for (size_t p = 0; p < weights.size(); ++p) sum += weights[p] * v[cache + p * dim + i];
      out[start + i] = float(sum / total);
    }
  }
  return out;
}

namespace {

double activate(double x, Activation activation) {
  if (activation == kSilu) return x / (1 + std::exp(-x));
  // (1 + tanh(u)) / 2 as 1 / (1 + exp(-2u)), which keeps its digits where tanh is near -1.
  const double u = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return x / (1 + std::exp(-2 * u));
}

double apply(double x, UnaryFunction function, double p) {
  switch (function) {
    case kScale:
      return p * x;
    case kSoftcap:
      return p * std::tanh(x / p);
    case kReluSquared:
      return x > 0 ? x * x : 0;
  }
  return 0;
}

}  // namespace

Vector short_conv(Floats in, Floats taps, size_t n, Vector* before) {
  const size_t rows = in.size() / (3 * n), width = taps.size() / n;
  Vector out(rows * n);
  for (size_t row = 0; row < rows; ++row) {
    const Floats b = in.subspan(row * 3 * n, n), c = in.subspan(row * 3 * n + n, n),
                 x = in.subspan(row * 3 * n + 2 * n, n);
    for (size_t i = 0; i < n; ++i) before->push_back(b[i] * x[i]);
    const size_t positions = before->size() / n;
    for (size_t i = 0; i < n; ++i) {
      double sum = 0;
      for (size_t back = 0; back < width && back < positions; ++back) {
        sum +=
            double(taps[i * width + width - 1 - back]) * (*before)[(positions - 1 - back) * n + i];
      }
      out[row * n + i] = float(c[i] * sum);
    }
  }
  return out;
}

Vector glu(Floats gate, Floats up, Activation activation) {
  Vector out(gate.size());
  for (size_t i = 0; i < gate.size(); ++i) {
    out[i] = float(activate(double(gate[i]), activation) * up[i]);
  }
  return out;
}

Vector unary(Floats in, UnaryFunction function, float parameter) {
  Vector out(in.size());
  for (size_t i = 0; i < in.size(); ++i) {
    out[i] = float(apply(double(in[i]), function, double(parameter)));
  }
  return out;
}

Vector add(Floats a, Floats b) {
  Vector out(a.size());
  for (size_t i = 0; i < a.size(); ++i) out[i] = a[i] + b[i];
  return out;
}

}  // namespace jllm::reference
