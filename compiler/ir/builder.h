// Builds one graph of a Program from primitive operations. Architecture files use only this.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compiler/ir/graph.h"

namespace jllm::ir {

class GraphBuilder {
 public:
  GraphBuilder(Program& program, GraphKind kind, uint32_t rows);

  uint32_t rows() const { return graph_.rows; }
  // Prefix of the labels and names that follow ("blk.3").
  void set_scope(std::string scope) { scope_ = std::move(scope); }

  TensorId embed(TensorId table);
  // `groups` vectors per row are normalised one by one, with the same weight.
  TensorId rms_norm(TensorId x, TensorId weight, float epsilon, const char* name,
                    uint32_t groups = 1);
  TensorId layer_norm(TensorId x, TensorId weight, std::optional<TensorId> bias, float epsilon,
                      const char* name);
  TensorId matmul(TensorId x, TensorId weight, const char* name);
  TensorId matmul_into(TensorId x, TensorId weight, TensorId out, const char* name);
  TensorId add_bias(TensorId x, TensorId bias, const char* name);
  void add_bias_in_place(TensorId x, TensorId bias, const char* name);
  // attributes: heads, head_dim, pairs, neox, magnitude
  TensorId rope(TensorId x, TensorId frequencies, const Attributes& attributes, const char* name);
  void kv_append(TensorId x, TensorId cache, uint32_t heads, uint32_t head_dim, const char* name);
  // attributes: heads, kv_heads, head_dim, scale, window, softcap
  TensorId attention(TensorId q, TensorId k_cache, TensorId v_cache, const Attributes& attributes);
  // bcx [T][3 n]: b, c, x of each row; taps [n][taps]; state [positions][n]: the last b * x.
  TensorId short_conv(TensorId bcx, TensorId taps, TensorId state);
  TensorId glu(TensorId gate, TensorId up, Activation function = kSilu);
  TensorId unary(TensorId x, UnaryFunction function, float parameter, const char* name);
  void unary_in_place(TensorId x, UnaryFunction function, float parameter, const char* name);
  TensorId add(TensorId a, TensorId b, const char* name);
  // The experts of each token, and their weights: the largest of the softmax of `logits`.
  struct Routes {
    TensorId chosen, weights;
    uint32_t slots;
  };
  Routes route(TensorId logits, uint32_t slots, bool renormalise);
  // Every token, or each of its slots where x has as many vectors, times its experts.
  TensorId expert_matmul(TensorId x, TensorId weight, const Routes& routes, const char* name);
  TensorId expert_sum(TensorId x, const Routes& routes);
  void finish_chunk(TensorId x);
  // x, an activation of one row, is the program's result: it stays when the graph has ended.
  void keep_as_embedding(TensorId x);
  void sample(TensorId logits, bool advance);
  void draft();
  void accept(TensorId logits);

  // Moves the graph into the program.
  void finish();

 private:
  TensorId activation(uint64_t cols, const char* name);
  void emit(Op op, std::vector<TensorId> inputs, std::vector<TensorId> outputs,
            const Attributes& attributes, const char* name);
  std::string scoped(const char* name) const;

  Program& program_;
  Graph graph_;
  std::string scope_;
};

}  // namespace jllm::ir
