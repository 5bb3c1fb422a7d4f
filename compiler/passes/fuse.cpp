#include "compiler/passes/fuse.h"

#include <algorithm>
#include <map>
#include <optional>

#include "schema/kv_layout.h"

namespace jllm::passes {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::Program;
using ir::TensorId;

// Who reads each activation of one graph. Indices into the node list, which passes only
// shorten at the end (removed nodes are marked).
class Editor {
 public:
  explicit Editor(Graph& graph) : graph_(graph), removed_(graph.nodes.size(), false) {
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      for (const TensorId id : graph.nodes[i].inputs) consumers_[id].push_back(i);
    }
  }
  ~Editor() {
    size_t kept = 0;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (removed_[i]) continue;
      if (kept != i) graph_.nodes[kept] = std::move(graph_.nodes[i]);
      ++kept;
    }
    graph_.nodes.resize(kept);
  }

  size_t size() const { return graph_.nodes.size(); }
  Node& node(size_t i) { return graph_.nodes[i]; }
  const Node& node(size_t i) const { return graph_.nodes[i]; }
  bool alive(size_t i) const { return !removed_[i]; }

  // Readers of node i's only output that are still there.
  std::vector<size_t> users(size_t i) const { return readers(graph_.nodes[i].outputs.at(0)); }
  std::vector<size_t> readers(TensorId id) const {
    std::vector<size_t> result;
    const auto it = consumers_.find(id);
    if (it == consumers_.end()) return result;
    for (const size_t user : it->second) {
      if (!removed_[user]) result.push_back(user);
    }
    return result;
  }
  // The only reader of node i, if it has the operation `op` and reads i as input number `input`.
  std::optional<size_t> only_user(size_t i, Op op, size_t input = 0) const {
    const std::vector<size_t> all = users(i);
    if (all.size() != 1 || graph_.nodes[all[0]].op != op) return std::nullopt;
    if (graph_.nodes[all[0]].inputs[input] != graph_.nodes[i].outputs[0]) return std::nullopt;
    return all[0];
  }

  // Puts `fused` in the place of the last of `members` and removes the others.
  void replace(const std::vector<size_t>& members, Node fused) {
    put(*std::max_element(members.begin(), members.end()), members, std::move(fused));
  }
  // The same in the place of the first: its inputs are there already.
  void replace_first(const std::vector<size_t>& members, Node fused) {
    put(*std::min_element(members.begin(), members.end()), members, std::move(fused));
  }

  void add_inputs(size_t i, const std::vector<TensorId>& ids) {
    std::vector<TensorId>& inputs = graph_.nodes[i].inputs;
    inputs.insert(inputs.end(), ids.begin(), ids.end());
    for (const TensorId id : ids) consumers_[id].push_back(i);
  }

 private:
  void put(size_t place, const std::vector<size_t>& members, Node fused) {
    for (const size_t i : members) removed_[i] = i != place;
    for (const TensorId id : fused.inputs) consumers_[id].push_back(place);
    graph_.nodes[place] = std::move(fused);
  }

  Graph& graph_;
  std::vector<bool> removed_;
  std::map<TensorId, std::vector<size_t>> consumers_;
};

// One of q, k, v: matmul [-> add_bias] [-> rms_norm] [-> rope] [-> kv_append].
struct Branch {
  std::vector<size_t> members;
  TensorId weight = 0;
  std::optional<TensorId> bias;
  TensorId row = 0;  // behind the bias
  std::optional<size_t> norm, rope, append;
  size_t last = 0;
};

Branch follow_branch(Editor& e, size_t matmul) {
  Branch branch;
  branch.members = {matmul};
  branch.weight = e.node(matmul).inputs[1];
  branch.last = matmul;
  const auto extend = [&](Op op) -> std::optional<size_t> {
    const std::optional<size_t> next = e.only_user(branch.last, op);
    if (next) {
      branch.members.push_back(*next);
      branch.last = *next;
    }
    return next;
  };
  if (const std::optional<size_t> bias = extend(Op::kAddBias))
    branch.bias = e.node(*bias).inputs[1];
  branch.row = e.node(branch.last).outputs[0];
  branch.norm = extend(Op::kRmsNorm);
  branch.rope = extend(Op::kRope);
  const std::optional<size_t> append = e.only_user(branch.last, Op::kKvAppend);
  if (append) {
    branch.append = append;
    branch.members.push_back(*append);
  }
  return branch;
}

// A group of elements with a common scale cannot be appended one rotary pair at a time.
bool is_quantised_append(const Program& program, const Node& append) {
  return kv_is_quantised(static_cast<unsigned>(program[append.inputs[1]].type));
}

// The attention that reads the q of this branch and exactly these caches.
std::optional<size_t> attention_of(const Editor& e, const Branch& q, const Node& append_k,
                                   const Node& append_v) {
  const std::optional<size_t> attention = e.only_user(q.last, Op::kAttention);
  if (!attention) return std::nullopt;
  const std::vector<TensorId>& inputs = e.node(*attention).inputs;
  if (inputs.size() != 3 || inputs[1] != append_k.inputs[1] || inputs[2] != append_v.inputs[1]) {
    return std::nullopt;
  }
  return attention;
}

// Whether each head of q and k, and nothing of v, goes through a norm between product and rope.
bool has_head_norms(const Editor& e, const Branch& q, const Branch& k, const Branch& v) {
  const auto norms_heads = [&](const Branch& branch) {
    return branch.norm &&
           e.node(*branch.norm).attributes.groups == e.node(*branch.rope).attributes.heads;
  };
  return norms_heads(q) && norms_heads(k) && !v.norm &&
         e.node(*q.norm).attributes.epsilon == e.node(*k.norm).attributes.epsilon;
}

// rms_norm whose result feeds exactly the q, k and v branches. Where a cache is quantised, or heads
// are normalised, the node hands q, k and v to the attention, which sees whole heads: that
// normalises, rotates and appends.
bool fuse_qkv(const Program& program, Editor& e, size_t norm) {
  if (e.node(norm).op != Op::kRmsNorm) return false;
  const std::vector<size_t> users = e.users(norm);
  if (users.size() != 3) return false;
  std::optional<Branch> q, k, v;
  for (const size_t user : users) {
    if (e.node(user).op != Op::kMatmul) return false;
    Branch branch = follow_branch(e, user);
    std::optional<Branch>& slot = !branch.append ? q : branch.rope ? k : v;
    if (slot) return false;
    slot = std::move(branch);
  }
  if (!q || !k || !v || !q->rope) return false;
  const bool biases = q->bias.has_value();
  if (k->bias.has_value() != biases || v->bias.has_value() != biases) return false;
  const Node& rope_q = e.node(*q->rope);
  const Node& rope_k = e.node(*k->rope);
  if (rope_q.inputs[1] != rope_k.inputs[1]) return false;
  const bool head_norms = has_head_norms(e, *q, *k, *v);
  if (!head_norms && (q->norm || k->norm || v->norm)) return false;
  const Node& append_k = e.node(*k->append);
  const Node& append_v = e.node(*v->append);
  const bool hand_over = head_norms || is_quantised_append(program, append_k) ||
                         is_quantised_append(program, append_v);
  const std::optional<size_t> attention =
      hand_over ? attention_of(e, *q, append_k, append_v) : std::nullopt;
  if (hand_over && !attention) return false;

  Node fused{Op::kQkv, {}, {rope_q.outputs[0]}, rope_q.attributes, e.node(norm).label};
  fused.label = fused.label.substr(0, fused.label.rfind('.') + 1) + "attn_qkv";
  fused.attributes.kv_heads = rope_k.attributes.heads;
  fused.attributes.epsilon = e.node(norm).attributes.epsilon;
  fused.inputs = {e.node(norm).inputs[0], e.node(norm).inputs[1], q->weight, k->weight, v->weight,
                  rope_q.inputs[1]};
  if (head_norms) {
    Node& node = e.node(*attention);
    node.inputs[0] = q->row;
    node.attributes.pairs = rope_q.attributes.pairs;
    node.attributes.neox = rope_q.attributes.neox;
    node.attributes.magnitude = rope_q.attributes.magnitude;
    node.attributes.epsilon = e.node(*q->norm).attributes.epsilon;
    e.add_inputs(*attention, {k->row, v->row, e.node(*q->norm).inputs[1],
                              e.node(*k->norm).inputs[1], rope_q.inputs[1]});
    fused.attributes.pairs = 0;
    fused.outputs = {q->row, k->row, v->row};
  } else if (hand_over) {
    const TensorId rows[] = {append_k.inputs[0], append_v.inputs[0]};
    fused.outputs.insert(fused.outputs.end(), std::begin(rows), std::end(rows));
    e.add_inputs(*attention, {rows[0], rows[1]});
  } else {
    fused.inputs.insert(fused.inputs.end(), {append_k.inputs[1], append_v.inputs[1]});
  }
  if (biases) fused.inputs.insert(fused.inputs.end(), {*q->bias, *k->bias, *v->bias});
  std::vector<size_t> members = {norm};
  for (const Branch* branch : {&*q, &*k, &*v}) {
    members.insert(members.end(), branch->members.begin(), branch->members.end());
  }
  e.replace(members, std::move(fused));
  return true;
}

bool fuse_gate_up(Editor& e, size_t norm) {
  if (e.node(norm).op != Op::kRmsNorm) return false;
  const std::vector<size_t> users = e.users(norm);
  if (users.size() != 2 || e.node(users[0]).op != Op::kMatmul ||
      e.node(users[1]).op != Op::kMatmul) {
    return false;
  }
  const std::optional<size_t> glu = e.only_user(users[0], Op::kGlu, 0);
  if (!glu || e.only_user(users[1], Op::kGlu, 1) != glu) return false;
  Node fused{Op::kGateUp,
             {e.node(norm).inputs[0], e.node(norm).inputs[1], e.node(users[0]).inputs[1],
              e.node(users[1]).inputs[1]},
             e.node(*glu).outputs,
             e.node(norm).attributes,
             e.node(norm).label};
  fused.label = fused.label.substr(0, fused.label.rfind('.') + 1) + "ffn_gate_up";
  fused.attributes.activation = e.node(*glu).attributes.activation;
  e.replace({norm, users[0], users[1], *glu}, std::move(fused));
  return true;
}

bool fuse_head(Editor& e, size_t norm) {
  if (e.node(norm).op != Op::kRmsNorm) return false;
  const std::optional<size_t> matmul = e.only_user(norm, Op::kMatmul);
  if (!matmul) return false;
  Node fused{Op::kHead,
             {e.node(norm).inputs[0], e.node(norm).inputs[1], e.node(*matmul).inputs[1]},
             e.node(*matmul).outputs,
             e.node(norm).attributes,
             e.node(*matmul).label};
  e.replace({norm, *matmul}, std::move(fused));
  return true;
}

bool fuse_matmul_add(Editor& e, size_t matmul) {
  if (e.node(matmul).op != Op::kMatmul) return false;
  const std::optional<size_t> add = e.only_user(matmul, Op::kAdd);
  if (!add) return false;
  Node fused{Op::kMatmulAdd,
             {e.node(matmul).inputs[0], e.node(matmul).inputs[1], e.node(*add).inputs[1]},
             e.node(*add).outputs,
             {},
             e.node(matmul).label};
  e.replace({matmul, *add}, std::move(fused));
  return true;
}

// rope(q), rope(k), append(k), append(v) of one layer: the appends whose caches the same attention
// reads.
bool fuse_rope_append(const Program& program, Editor& e, size_t attention) {
  if (e.node(attention).op != Op::kAttention) return false;
  std::optional<size_t> rope_q, rope_k, append_k, append_v;
  for (size_t i = 0; i < attention; ++i) {
    if (!e.alive(i)) continue;
    const Node& node = e.node(i);
    if (node.op == Op::kRope && node.outputs[0] == e.node(attention).inputs[0]) rope_q = i;
    if (node.op == Op::kKvAppend && node.inputs[1] == e.node(attention).inputs[1]) append_k = i;
    if (node.op == Op::kKvAppend && node.inputs[1] == e.node(attention).inputs[2]) append_v = i;
  }
  if (!rope_q || !append_k || !append_v) return false;
  if (is_quantised_append(program, e.node(*append_k)) ||
      is_quantised_append(program, e.node(*append_v))) {
    return false;
  }
  for (size_t i = 0; i < *append_k; ++i) {
    const Node& node = e.node(i);
    if (e.alive(i) && node.op == Op::kRope && node.outputs[0] == e.node(*append_k).inputs[0])
      rope_k = i;
  }
  if (!rope_k || e.users(*rope_k).size() != 1 || e.users(*rope_q).size() != 1) return false;
  if (e.node(*rope_q).inputs[1] != e.node(*rope_k).inputs[1]) return false;
  const TensorId q = e.node(*rope_q).inputs[0];
  if (e.readers(q).size() != 1) return false;  // somebody else wants q as it was
  Node fused{Op::kRopeAppend,
             {q, e.node(*rope_k).inputs[0], e.node(*append_v).inputs[0], e.node(*rope_q).inputs[1],
              e.node(*append_k).inputs[1], e.node(*append_v).inputs[1]},
             {q},  // rotated in place
             e.node(*rope_q).attributes,
             e.node(*rope_q).label};
  fused.label = fused.label.substr(0, fused.label.rfind('.') + 1) + "rope_append";
  fused.attributes.kv_heads = e.node(*rope_k).attributes.heads;
  e.replace({*rope_q, *rope_k, *append_k, *append_v}, std::move(fused));
  e.node(attention).inputs[0] = q;
  return true;
}

// The kernel of several tokens takes several matrices, but none of f32.
bool is_f32(const Program& program, TensorId weight) {
  return program[weight].type == WeightType::kF32;
}

// The products that only this glu reads, as gate and as up.
struct Gated {
  size_t gate, up;
};
std::optional<Gated> products_of(const Editor& e, size_t glu, Op product) {
  if (e.node(glu).op != Op::kGlu) return std::nullopt;
  std::optional<size_t> parts[2];
  for (size_t i = 0; i < glu; ++i) {
    if (!e.alive(i) || e.node(i).op != product) continue;
    for (size_t part = 0; part < 2; ++part) {
      if (e.only_user(i, Op::kGlu, part) == glu) parts[part] = i;
    }
  }
  if (!parts[0] || !parts[1] || parts[0] == parts[1]) return std::nullopt;
  return Gated{*parts[0], *parts[1]};
}

// gate, up and glu of the same experts; of several tokens, of matrices of one type.
bool fuse_expert_glu(const Program& program, Editor& e, size_t glu, bool few_rows) {
  const std::optional<Gated> parts = products_of(e, glu, Op::kExpertMatmul);
  if (!parts) return false;
  const Node &gate = e.node(parts->gate), &up = e.node(parts->up);
  if (gate.inputs[0] != up.inputs[0] || gate.inputs[2] != up.inputs[2]) return false;
  if (!few_rows && program[gate.inputs[1]].type != program[up.inputs[1]].type) return false;
  Node fused{Op::kExpertGlu,
             {gate.inputs[0], gate.inputs[1], up.inputs[1], gate.inputs[2]},
             e.node(glu).outputs,
             gate.attributes,
             gate.label};
  fused.label = fused.label.substr(0, fused.label.rfind('.') + 1) + "ffn_gate_up_exps";
  fused.attributes.activation = e.node(glu).attributes.activation;
  e.replace({parts->gate, parts->up, glu}, std::move(fused));
  return true;
}

bool fuse_expert_sum(Editor& e, size_t sum) {
  if (e.node(sum).op != Op::kExpertSum || e.node(sum).inputs.size() != 2) return false;
  const std::optional<size_t> add = e.only_user(sum, Op::kAdd);
  if (!add) return false;
  Node fused = e.node(sum);
  fused.inputs.push_back(e.node(*add).inputs[1]);
  fused.outputs = e.node(*add).outputs;
  e.replace({sum, *add}, std::move(fused));
  return true;
}

// gate, up and glu over the same rows, of matrices of one type.
bool fuse_matmul_glu(const Program& program, Editor& e, size_t glu) {
  const std::optional<Gated> parts = products_of(e, glu, Op::kMatmul);
  if (!parts) return false;
  const Node &gate = e.node(parts->gate), &up = e.node(parts->up);
  const TensorId w_gate = gate.inputs[1], w_up = up.inputs[1];
  if (gate.inputs[0] != up.inputs[0] || program[w_gate].type != program[w_up].type ||
      is_f32(program, w_gate)) {
    return false;
  }
  Node fused{Op::kMatmulGlu,
             {gate.inputs[0], w_gate, w_up},
             e.node(glu).outputs,
             e.node(glu).attributes,
             gate.label};
  fused.label = fused.label.substr(0, fused.label.rfind('.') + 1) + "ffn_gate_up";
  e.replace({parts->gate, parts->up, glu}, std::move(fused));
  return true;
}

// The two or three matrices that a norm's result is multiplied with: q, k and v.
bool fuse_matmuls(const Program& program, Editor& e, size_t norm) {
  if (e.node(norm).op != Op::kRmsNorm && e.node(norm).op != Op::kLayerNorm) return false;
  const std::vector<size_t> users = e.users(norm);
  if (users.size() < 2 || users.size() > 3) return false;
  Node fused{Op::kMatmuls, {e.node(norm).outputs[0]}, {}, {}, e.node(users[0]).label};
  for (const size_t user : users) {
    const Node& node = e.node(user);
    if (node.op != Op::kMatmul || is_f32(program, node.inputs[1])) return false;
    fused.inputs.push_back(node.inputs[1]);
    fused.outputs.push_back(node.outputs[0]);
    if (user != users[0]) fused.label += "+" + node.label.substr(node.label.rfind('.') + 1);
  }
  e.replace_first(users, std::move(fused));
  return true;
}

}  // namespace

void fuse(Program& program) {
  for (Graph& graph : program.graphs) {
    Editor e(graph);
    const bool few_rows = graph.kind != ir::GraphKind::kPrefill;
    for (size_t i = 0; i < e.size(); ++i) {
      if (!e.alive(i)) continue;
      if (few_rows && (fuse_qkv(program, e, i) || fuse_gate_up(e, i) || fuse_head(e, i))) continue;
      if (fuse_rope_append(program, e, i)) continue;
      if (!few_rows && fuse_matmul_glu(program, e, i)) continue;
      if (fuse_expert_glu(program, e, i, few_rows) || fuse_expert_sum(e, i)) continue;
      fuse_matmul_add(e, i);
    }
    for (size_t i = 0; i < e.size() && !few_rows; ++i) {
      if (e.alive(i)) fuse_matmuls(program, e, i);
    }
  }
}

}  // namespace jllm::passes
