// model::build_program: which tensors the program asks for, which graphs it builds, and what
// missing, misshapen and unsupported tensors lead to.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>

#include "compiler/model/model.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"

namespace jllm::model {
namespace {

using gguf::TempFolder;
using gguf::value_of;

constexpr uint32_t kContext = 64;

ProgramOptions options() {
  ProgramOptions o;
  o.context = kContext;
  o.prefill_rows = {16, 32};
  return o;
}

std::pair<ExitCode, std::string> build_error(const gguf::File& file) {
  const Model model = value_of(load(file));
  llvm::Expected<ir::Program> program = build_program(model, options());
  if (program) return {ExitCode::kDone, ""};
  return take_error(program.takeError());
}

std::pair<ExitCode, std::string> build_error(const TinyLlama& tiny) {
  const TempFolder folder;
  const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
  return build_error(file);
}

// Builds the program of a model and keeps what it points into.
struct Built {
  explicit Built(const TinyLlama& tiny, const ProgramOptions& o = options())
      : file(write_and_open(tiny, folder.file("m.gguf"))),
        model(value_of(load(file))),
        program(value_of(build_program(model, o))) {}

  const ir::Tensor* find(const std::string& name) const {
    const auto it = std::find_if(program.tensors.begin(), program.tensors.end(),
                                 [&](const ir::Tensor& t) { return t.name == name; });
    return it == program.tensors.end() ? nullptr : &*it;
  }
  size_t count(ir::Op op) const {
    size_t n = 0;
    for (const ir::Node& node : program.graphs[0].nodes) n += node.op == op ? 1 : 0;
    return n;
  }

  TempFolder folder;
  gguf::File file;
  Model model;
  ir::Program program;
};

TEST(Tensors, GraphsAreDecodePrefillAndHead) {
  const Built built{TinyLlama()};
  ASSERT_EQ(built.program.graphs.size(), 4u);
  EXPECT_EQ(ir::graph_name(built.program.graphs[0]), "decode");
  EXPECT_EQ(ir::graph_name(built.program.graphs[1]), "prefill_16");
  EXPECT_EQ(ir::graph_name(built.program.graphs[2]), "prefill_32");
  EXPECT_EQ(ir::graph_name(built.program.graphs[3]), "head");
  EXPECT_EQ(built.program.graphs[2].rows, 32u);
  EXPECT_EQ(built.program.context, kContext);
}

TEST(Tensors, ATiedOutputIsTheEmbeddingItself) {
  const Built built{TinyLlama()};
  EXPECT_EQ(built.find("output.weight"), nullptr);
  const ir::Graph& decode = built.program.graphs[0];
  const ir::Node& output = decode.nodes[decode.nodes.size() - 2];
  ASSERT_EQ(output.op, ir::Op::kMatmul);
  EXPECT_EQ(output.inputs[1], decode.nodes[0].inputs[0]);
  EXPECT_EQ(output.outputs[0], built.program.bindings.logits);
}

TEST(Tensors, AnUntiedOutputIsATensorOfItsOwn) {
  TinyLlama tiny;
  tiny.tied = false;
  const Built built{tiny};
  const ir::Graph& decode = built.program.graphs[0];
  const ir::Node& output = decode.nodes[decode.nodes.size() - 2];
  EXPECT_EQ(&built.program[output.inputs[1]], built.find("output.weight"));
  EXPECT_NE(output.inputs[1], decode.nodes[0].inputs[0]);
}

TEST(Tensors, BiasesAreOptionalOneByOne) {
  TinyLlama tiny;
  EXPECT_EQ(Built(tiny).count(ir::Op::kAddBias), 0u);
  tiny.qkv_bias = true;
  EXPECT_EQ(Built(tiny).count(ir::Op::kAddBias), 3u * tiny.layers);
  tiny.output_bias = true;
  EXPECT_EQ(Built(tiny).count(ir::Op::kAddBias), 4u * tiny.layers);
  tiny.ffn_bias = true;
  EXPECT_EQ(Built(tiny).count(ir::Op::kAddBias), 7u * tiny.layers);
  tiny.without = {"blk.1.attn_k.bias"};
  EXPECT_EQ(Built(tiny).count(ir::Op::kAddBias), 7u * tiny.layers - 1);
}

// Any architecture may have q, k and v in one matrix.
TEST(Tensors, AFusedQkvMatrixIsTakenApart) {
  TinyLlama tiny;
  tiny.fused_qkv = true;
  tiny.qkv_bias = true;
  const Built built{tiny};
  EXPECT_EQ(built.count(ir::Op::kMatmul), Built(TinyLlama()).count(ir::Op::kMatmul));
  EXPECT_EQ(built.count(ir::Op::kAddBias), 3u * tiny.layers);
  const ir::Tensor* v = built.find("blk.1.attn_qkv.weight[96:128]");
  ASSERT_NE(v, nullptr);
  EXPECT_EQ(v->rows, 32u);
  EXPECT_EQ(v->source_offset, 96u * 64);
  tiny.shapes = {{"blk.1.attn_qkv.weight", {64, 127}}};
  const auto [code, text] = build_error(tiny);
  EXPECT_EQ(code, ExitCode::kInvalidFile);
  EXPECT_NE(text.find("blk.1.attn_qkv.weight has shape [64, 127], expected [64, 128]"),
            std::string::npos)
      << text;
}

TEST(Tensors, CachesHaveOneRowPerHeadAndPosition) {
  ProgramOptions o = options();
  o.kv_type_k = WeightType::kF16;
  o.kv_type_v = WeightType::kF32;
  const Built built(TinyLlama(), o);
  const ir::Tensor* k = built.find("cache_k.1");
  const ir::Tensor* v = built.find("cache_v.1");
  ASSERT_NE(k, nullptr);
  ASSERT_NE(v, nullptr);
  EXPECT_EQ(k->rows, 2u * kContext);
  EXPECT_EQ(k->cols, 16u);
  EXPECT_EQ(k->type, WeightType::kF16);
  EXPECT_EQ(v->type, WeightType::kF32);
  EXPECT_EQ(built.find("cache_k.2"), nullptr);
}

TEST(Tensors, HalfPrecisionVectorsBecomeF32) {
  for (const WeightType type : {WeightType::kF16, WeightType::kBF16}) {
    TinyLlama tiny;
    tiny.vector_type = type;
    const Built built{tiny};
    const ir::Tensor* norm = built.find("blk.0.attn_norm.weight");
    ASSERT_NE(norm, nullptr);
    EXPECT_EQ(norm->type, WeightType::kF32);
    EXPECT_EQ(norm->source->type(), type);
  }
}

TEST(Tensors, MissingOnesAreNamed) {
  for (const char* name : {"output_norm.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight",
                           "blk.1.attn_k.weight", "blk.1.attn_v.weight", "blk.0.attn_output.weight",
                           "blk.1.ffn_norm.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight",
                           "blk.1.ffn_down.weight"}) {
    TinyLlama tiny;
    tiny.without = {name};
    const auto [code, text] = build_error(tiny);
    EXPECT_EQ(code, ExitCode::kInvalidFile) << name;
    EXPECT_NE(text.find("tensor " + std::string(name) + " is missing"), std::string::npos) << text;
  }
}

TEST(Tensors, WrongShapesAreNamedWithBothShapes) {
  const std::tuple<const char*, std::vector<uint64_t>, const char*> cases[] = {
      {"blk.0.attn_q.weight",
       {64, 48},
       "blk.0.attn_q.weight has shape [64, 48], expected [64, 64]"},
      {"blk.1.attn_k.weight",
       {32, 64},
       "blk.1.attn_k.weight has shape [32, 64], expected [64, 32]"},
      {"blk.1.ffn_down.weight", {96}, "blk.1.ffn_down.weight has shape [96], expected [96, 64]"},
      {"blk.0.ffn_up.weight",
       {64, 96, 2},
       "blk.0.ffn_up.weight has shape [64, 96, 2], expected [64, 96]"},
      {"output_norm.weight", {63}, "output_norm.weight has shape [63], expected [64, 1]"},
      {"blk.0.attn_norm.weight", {64, 2}, "blk.0.attn_norm.weight has shape [64, 2]"},
  };
  for (const auto& [name, shape, part] : cases) {
    TinyLlama tiny;
    tiny.shapes = {{name, shape}};
    const auto [code, text] = build_error(tiny);
    EXPECT_EQ(code, ExitCode::kInvalidFile) << name;
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
}

TEST(Tensors, TheFirstOfSeveralProblemsIsReported) {
  TinyLlama tiny;
  tiny.without = {"blk.0.attn_q.weight", "blk.1.attn_q.weight"};
  EXPECT_NE(build_error(tiny).second.find("blk.0.attn_q.weight"), std::string::npos);
}

// The error for `model` with another type id of a tensor, and with other rows where not 0. The
// writer knows supported types only, so both are changed in the finished file: behind the name
// stand the number of dimensions, the dimensions and the id.
std::pair<ExitCode, std::string> error_with_type(const TinyLlama& model, uint32_t type_id,
                                                 uint64_t rows = 0) {
  const TempFolder folder;
  const std::string path = folder.file("m.gguf");
  write_model(model, path);
  std::ifstream in(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  const std::string name = "blk.1.ffn_up.weight";
  const size_t at = bytes.find(name);
  EXPECT_NE(at, std::string::npos);
  std::memcpy(&bytes[at + name.size() + 4 + 2 * 8], &type_id, sizeof type_id);
  if (rows != 0) std::memcpy(&bytes[at + name.size() + 4 + 8], &rows, sizeof rows);
  return build_error(value_of(gguf::File::open(folder.write("patched.gguf", bytes))));
}

TEST(Tensors, AForksTypeUnderAKnownIdIsToldByItsBytes) {
  TinyLlama tiny;
  tiny.embedding = 256;
  tiny.ffn = 512;
  tiny.types = {{"blk.1.ffn_up.weight", WeightType::kQ1_0}};
  const auto [code, text] = error_with_type(tiny, 40);
  EXPECT_EQ(code, ExitCode::kUnsupported);
  EXPECT_NE(text.find("blk.1.ffn_up.weight is stored as a fork's 1-bit type under the id of NVFP4"),
            std::string::npos)
      << text;
  tiny.types = {{"blk.1.ffn_up.weight", WeightType::kQ5_0}};
  EXPECT_NE(error_with_type(tiny, 40).second.find("has type nvfp4"), std::string::npos);
  // 528 rows of 66 bytes are as many as 512 of two blocks of 34, and too few for four of 18.
  tiny.types = {{"blk.1.ffn_up.weight", WeightType::kTQ2_0}};
  tiny.shapes = {{"blk.1.ffn_up.weight", {256, 528}}};
  const auto [fork_code, fork_text] = error_with_type(tiny, 42, 512);
  EXPECT_EQ(fork_code, ExitCode::kUnsupported);
  EXPECT_NE(fork_text.find("blk.1.ffn_up.weight is stored as a fork's Q2_0 with blocks of 128"),
            std::string::npos)
      << fork_text;
  tiny.types = {{"blk.1.ffn_up.weight", WeightType::kQ2_0}};
  tiny.shapes = {};
  EXPECT_EQ(build_error(tiny).second, "");
}

TEST(Tensors, AnUnsupportedTypeIsNamedWithItsTensor) {
  const auto [code, text] = error_with_type(TinyLlama(), 21);
  EXPECT_EQ(code, ExitCode::kUnsupported);
  EXPECT_NE(text.find("tensor blk.1.ffn_up.weight has type iq3_s"), std::string::npos) << text;
  EXPECT_NE(text.find("supported: f32, f16, q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, "
                      "q6_k, iq4_nl, iq4_xs, bf16, tq1_0, tq2_0, mxfp4, q1_0, q2_0; "
                      "of these, q3_k is nearest in size (3.44 bits a weight for 3.44)"),
            std::string::npos)
      << text;
}

TEST(Tensors, QuantisedVectorsAreUnsupported) {
  TinyLlama tiny;
  tiny.types = {{"output_norm.weight", WeightType::kQ8_0}};
  const auto [code, text] = build_error(tiny);
  EXPECT_EQ(code, ExitCode::kUnsupported);
  EXPECT_NE(text.find("tensor output_norm.weight has type q8_0"), std::string::npos) << text;
}

// A llama of two experts, with gate and up apart or as the rows of one tensor.
TinyLlama with_experts(bool merged) {
  constexpr uint64_t kExperts = 2, kEmbedding = 64, kWidth = 96;
  TinyLlama tiny;
  tiny.layers = 1;
  tiny.more_keys = [merged](gguf::Writer& w) {
    w.set_u32("llama.expert_count", kExperts);
    w.set_u32("llama.expert_used_count", 1);
    const auto add = [&](const char* name, const std::vector<uint64_t>& shape) {
      uint64_t bytes = 4;
      for (const uint64_t extent : shape) bytes *= extent;
      w.add_tensor(std::string("blk.0.") + name, shape, WeightType::kF32,
                   std::vector<uint8_t>(bytes));
    };
    add("ffn_gate_inp.weight", {kEmbedding, kExperts});
    if (merged) {
      add("ffn_gate_up_exps.weight", {kEmbedding, 2 * kWidth, kExperts});
    } else {
      add("ffn_gate_exps.weight", {kEmbedding, kWidth, kExperts});
      add("ffn_up_exps.weight", {kEmbedding, kWidth, kExperts});
    }
    add("ffn_down_exps.weight", {kWidth, kEmbedding, kExperts});
  };
  return tiny;
}

TEST(Tensors, GatesOfExpertsStandInFrontOfTheirUps) {
  for (const bool merged : {false, true}) {
    const Built built(with_experts(merged));
    std::vector<const ir::Tensor*> matrices;
    for (const ir::Node& node : built.program.graphs[0].nodes) {
      if (node.op == ir::Op::kExpertMatmul) matrices.push_back(&built.program[node.inputs[1]]);
    }
    ASSERT_EQ(matrices.size(), 3u);
    for (const ir::Tensor* matrix : matrices) EXPECT_EQ(matrix->experts, 2u);
    for (size_t part = 0; part < 2; ++part) {
      EXPECT_EQ(matrices[part]->rows, 2u * 96);
      EXPECT_EQ(matrices[part]->source_offset, merged ? part * 96 * 64 : 0);
      EXPECT_EQ(matrices[part]->source_step, (merged ? 2u : 1u) * 96 * 64);
    }
    EXPECT_EQ(matrices[2]->source_step, 64u * 96);
  }
}

}  // namespace
}  // namespace jllm::model
