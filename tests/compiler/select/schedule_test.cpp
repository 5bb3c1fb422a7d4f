// Schedules of tiny models against golden dumps: kernels, their constants and the launches of every
// graph. Grids and blocks are tuned in kernels/catalogue.cpp; the dumps leave them out and a test
// of their own holds them against the catalogue.
#include "compiler/select/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>

#include "compiler/plan.h"
#include "kernels/attention_shapes.h"
#include "kernels/catalogue.h"
#include "kernels/gemv_shapes.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"

namespace jllm::select {
namespace {

using gguf::value_of;

struct Planned {
  Planned(const TinyLlama& tiny, const std::string& target, const SelectOptions& select = {})
      : file(write_and_open(tiny, folder.file("m.gguf"))) {
    PlanOptions options;
    options.context = 64;
    options.prefill_chunk = 16;
    options.select = select;
    plan = value_of(plan_model(file, value_of(target::find(target)), options));
  }

  const Schedule& schedule() const { return plan.schedule; }
  const Launch& launch(const std::string& label, size_t graph = 0) const {
    for (const Launch& l : schedule().graphs[graph].launches) {
      if (l.label == label) return l;
    }
    throw std::runtime_error("no launch " + label);
  }
  const KernelSpec& kernel(const std::string& label) const {
    return schedule().kernels[launch(label).kernel];
  }
  size_t count(const std::string& source) const {
    size_t n = 0;
    for (const KernelSpec& k : schedule().kernels) n += k.source == source ? 1 : 0;
    return n;
  }

  gguf::TempFolder folder;
  gguf::File file;
  PlannedModel plan;
};

// The dump without blocks, shared memory and grids.
std::string dump_of(const Schedule& schedule) {
  std::string text;
  llvm::raw_string_ostream os(text);
  dump(schedule, os);
  // Of the sampler's, how many blocks the head has.
  const std::string plain =
      std::regex_replace(os.str(), std::regex("(VOCAB=[0-9]+) TOPS=[0-9]+"), "$1");
  return std::regex_replace(plain,
                            std::regex(" (block|shared|SPLITS|SPLIT|TILE_.|WARPS_.|DEPTH|STAGES|"
                                       "SHARED|THREADS|BLOCKS|IN_FLIGHT)=[0-9]+| ROWS=[124]\\b|"
                                       " *grid=\\([0-9,]+\\)"),
                            "");
}

TinyLlama one_layer() {
  TinyLlama tiny;
  tiny.layers = 1;
  return tiny;
}

TEST(Select, HostRunsPrimitiveOperations) {
  EXPECT_EQ(dump_of(Planned(one_layer(), "host").schedule()), R"(kernel 0 embed
kernel 1 rms_norm
kernel 2 matmul
kernel 3 rope
kernel 4 kv_append
kernel 5 attention
kernel 6 add
kernel 7 glu
kernel 8 sample_masked
kernel 9 finish_chunk
graph rows=1 launches=21
  token_embd               embed
  blk.0.attn_norm          rms_norm
  blk.0.attn_q             matmul
  blk.0.rope_q             rope
  blk.0.attn_k             matmul
  blk.0.rope_k             rope
  blk.0.append_k           kv_append
  blk.0.attn_v             matmul
  blk.0.append_v           kv_append
  blk.0.attention          attention
  blk.0.attn_output        matmul
  blk.0.attn_residual      add
  blk.0.ffn_norm           rms_norm
  blk.0.ffn_gate           matmul
  blk.0.ffn_up             matmul
  blk.0.ffn_act            glu
  blk.0.ffn_down           matmul
  blk.0.ffn_residual       add
  output_norm              rms_norm
  output                   matmul
  sample                   sample_masked
graph rows=16 launches=19
  token_embd               embed
  blk.0.attn_norm          rms_norm
  blk.0.attn_q             matmul
  blk.0.rope_q             rope
  blk.0.attn_k             matmul
  blk.0.rope_k             rope
  blk.0.append_k           kv_append
  blk.0.attn_v             matmul
  blk.0.append_v           kv_append
  blk.0.attention          attention
  blk.0.attn_output        matmul
  blk.0.attn_residual      add
  blk.0.ffn_norm           rms_norm
  blk.0.ffn_gate           matmul
  blk.0.ffn_up             matmul
  blk.0.ffn_act            glu
  blk.0.ffn_down           matmul
  blk.0.ffn_residual       add
  finish_chunk             finish_chunk
graph rows=1 launches=3
  output_norm              rms_norm
  output                   matmul
  sample                   sample_masked
)");
}

TEST(Select, DevicesRunFusedKernels) {
  EXPECT_EQ(dump_of(Planned(one_layer(), "h200").schedule()), R"(kernel 0 embed_0 TYPE=0 DIM=64
kernel 1 qkv_0 K=64 Q_TYPE=0 K_TYPE=0 V_TYPE=0 HEADS=4 KV_HEADS=2 HEAD_DIM=16 PAIRS=8 NEOX=0 MAGNITUDE_BITS=1065353216u HAS_BIAS=0 APPEND=1 CONTEXT=64 KV_K_TYPE=0 KV_V_TYPE=0 EPSILON_BITS=925353388u
kernel 2 attention_decode_0 HEADS=4 KV_HEADS=2 HEAD_DIM=16 CONTEXT=64 KV_K_TYPE=0 KV_V_TYPE=0 ROTATION=0 SCALE_BITS=1048576000u APPEND=0
kernel 3 matmul_add_0 TYPE=0 K=64 N=64 HAS_BIAS=0
kernel 4 gate_up_0 GATE_TYPE=0 UP_TYPE=0 K=64 N=96 EPSILON_BITS=925353388u ACTIVATION=0
kernel 5 matmul_add_1 TYPE=0 K=96 N=64 HAS_BIAS=0
kernel 6 head_0 TYPE=0 K=64 N=512 EPSILON_BITS=925353388u TOPS=1
kernel 7 sample_0 ADVANCE=1 VOCAB=512
kernel 8 rms_norm_0 DIM=64 EPSILON_BITS=925353388u
kernel 9 matmul_0 RESIDUAL=0 TILE=16
kernel 10 rope_append_0 HEADS=4 KV_HEADS=2 HEAD_DIM=16 PAIRS=8 NEOX=0 MAGNITUDE_BITS=1065353216u CONTEXT=64 KV_K_TYPE=0 KV_V_TYPE=0
kernel 11 attention_0 HEADS=4 KV_HEADS=2 HEAD_DIM=16 CONTEXT=64 KV_K_TYPE=0 KV_V_TYPE=0 ROTATION=0 SCALE_BITS=1048576000u WARPS=4 FRAGMENTS=1 TILE=32
kernel 12 matmul_1 RESIDUAL=1 TILE=16
kernel 13 glu_0 N=96 ACTIVATION=0
kernel 14 finish_chunk_0 DIM=64 ROWS=16
kernel 15 sample_1 ADVANCE=0 VOCAB=512
graph rows=1 launches=8
  token_embd               embed_0
  blk.0.attn_qkv           qkv_0
  blk.0.attention          attention_decode_0
  blk.0.attn_output        matmul_add_0
  blk.0.ffn_gate_up        gate_up_0
  blk.0.ffn_down           matmul_add_1
  output                   head_0
  sample                   sample_0
graph rows=16 launches=14
  token_embd               embed_0
  blk.0.attn_norm          rms_norm_0
  blk.0.attn_q             matmul_0
  blk.0.attn_k             matmul_0
  blk.0.attn_v             matmul_0
  blk.0.rope_append        rope_append_0
  blk.0.attention          attention_0
  blk.0.attn_output        matmul_1
  blk.0.ffn_norm           rms_norm_0
  blk.0.ffn_gate           matmul_0
  blk.0.ffn_up             matmul_0
  blk.0.ffn_act            glu_0
  blk.0.ffn_down           matmul_1
  finish_chunk             finish_chunk_0
graph rows=1 launches=2
  output                   head_0
  sample                   sample_1
)");
}

TEST(Select, ShapesComeFromTheCatalogue) {
  const Planned p(one_layer(), "h200");
  const uint32_t sms = p.plan.target.sm_count;
  const auto expect_shape = [&](const char* label, size_t graph,
                                const kernels::LaunchShape& shape) {
    SCOPED_TRACE(label);
    const Launch& l = p.launch(label, graph);
    const KernelSpec& k = p.schedule().kernels[l.kernel];
    EXPECT_EQ(l.grid[0], shape.grid_x);
    EXPECT_EQ(l.grid[1], shape.grid_y);
    EXPECT_EQ(l.grid[2], 1u);
    EXPECT_EQ(k.block, shape.block);
    EXPECT_EQ(k.shared_bytes, shape.shared_bytes);
  };
  const kernels::DecodeAttention attention = kernels::decode_attention(4, 2, 16, sms);
  const auto gemv = [&](const char* kernel, std::vector<unsigned> types, uint64_t k, uint64_t n) {
    const kernels::GemvProblem problem = {kernel, std::move(types), kernels::Activations::kExact, k,
                                          n};
    return kernels::gemv_shape(problem, kernels::choose_variant(problem, sms), sms);
  };
  constexpr unsigned kF32 = 0;
  expect_shape("token_embd", 0, kernels::row_shape(1, 64));
  expect_shape("blk.0.attn_qkv", 0, gemv("qkv", {kF32, kF32, kF32}, 64, (4 + 2 * 2) * 16));
  expect_shape("blk.0.attention", 0, attention.shape());
  const std::vector<std::string>& defines = p.kernel("blk.0.attention").defines;
  EXPECT_EQ(
      std::count(defines.begin(), defines.end(), "SPLITS=" + std::to_string(attention.splits)), 1);
  expect_shape("blk.0.attn_output", 0, gemv("matmul_add", {kF32}, 64, 64));
  expect_shape("blk.0.ffn_gate_up", 0, gemv("gate_up", {kF32, kF32}, 64, 96));
  expect_shape("blk.0.ffn_down", 0, gemv("matmul_add", {kF32}, 96, 64));
  expect_shape("output", 0, gemv("head", {kF32}, 64, 512));
  expect_shape("sample", 0, kernels::sample_shape());
  expect_shape("blk.0.attn_norm", 1, kernels::row_shape(16, 64));
  expect_shape("blk.0.rope_append", 1, kernels::elementwise_shape(16, (4 + 2 * 2) * 16 / 2, sms));
  const kernels::AttentionProblem rows = {16, 4, 2, 16, kF32, kF32};
  expect_shape("blk.0.attention", 1,
               kernels::attention_shape(kernels::attention_tile(rows, sms), rows));
  expect_shape("blk.0.ffn_act", 1, kernels::elementwise_shape(16, 96, sms));
  expect_shape("finish_chunk", 1, kernels::finish_chunk_shape());
}

TEST(Select, LayersShareKernels) {
  TinyLlama tiny;
  tiny.layers = 1;
  const size_t one = Planned(tiny, "h200").schedule().kernels.size();
  tiny.layers = 6;
  const Planned six(tiny, "h200");
  EXPECT_EQ(six.schedule().kernels.size(), one);
  EXPECT_EQ(six.launch("blk.0.attn_qkv").kernel, six.launch("blk.5.attn_qkv").kernel);
  // The output projection and ffn_down differ in their row length.
  EXPECT_NE(six.launch("blk.0.attn_output").kernel, six.launch("blk.0.ffn_down").kernel);
}

TEST(Select, AMixOfTypesMakesAKernelEach) {
  TinyLlama tiny;
  tiny.layers = 4;
  tiny.embedding = 256;
  tiny.ffn = 256;
  tiny.type = WeightType::kQ4_K;
  for (const char* name : {"blk.1.attn_v.weight", "blk.3.attn_v.weight", "blk.1.ffn_down.weight"}) {
    tiny.types[name] = WeightType::kQ6_K;
  }
  tiny.heads = 16;
  const Planned p(tiny, "h200");
  EXPECT_EQ(p.count("qkv"), 2u);
  EXPECT_EQ(p.launch("blk.0.attn_qkv").kernel, p.launch("blk.2.attn_qkv").kernel);
  EXPECT_EQ(p.launch("blk.1.attn_qkv").kernel, p.launch("blk.3.attn_qkv").kernel);
  EXPECT_NE(p.launch("blk.0.attn_qkv").kernel, p.launch("blk.1.attn_qkv").kernel);
  // attn_output and ffn_down have one shape here (256 x 256), but only ffn_down reads a byte image:
  // heads of 16 elements do not fill its groups. Q4_K and Q6_K make two of it.
  EXPECT_EQ(p.count("matmul_add"), 3u);
  EXPECT_NE(p.launch("blk.0.attn_output").kernel, p.launch("blk.0.ffn_down").kernel);
  EXPECT_NE(p.launch("blk.1.attn_output").kernel, p.launch("blk.1.ffn_down").kernel);
  const auto has = [&](const char* label, const std::string& define) {
    const std::vector<std::string>& defines = p.kernel(label).defines;
    return std::find(defines.begin(), defines.end(), define) != defines.end();
  };
  EXPECT_TRUE(has("blk.0.attn_qkv", "V_TYPE=12"));
  EXPECT_TRUE(has("blk.1.attn_qkv", "V_TYPE=14"));
  EXPECT_TRUE(has("blk.1.attn_qkv", "Q_TYPE=12"));
}

TEST(Select, ActivationsAndOverlapAreOptions) {
  TinyLlama tiny;
  tiny.embedding = 256;
  tiny.ffn = 256;
  tiny.heads = 16;
  tiny.type = WeightType::kQ4_K;
  const auto has = [](const Planned& p, const char* label, const std::string& define) {
    const std::vector<std::string>& defines = p.kernel(label).defines;
    return std::count(defines.begin(), defines.end(), define) == 1;
  };
  const Planned automatic(tiny, "h200");
  EXPECT_TRUE(has(automatic, "blk.0.ffn_gate_up", "ACTIVATIONS=2"));
  EXPECT_TRUE(has(automatic, "blk.0.ffn_gate_up", "OUT_IMAGE=2"));
  EXPECT_TRUE(has(automatic, "blk.0.ffn_down", "IN_IMAGE=1"));
  // Heads of 16 elements do not fill an image's groups of 32.
  EXPECT_FALSE(has(automatic, "blk.0.attention", "OUT_IMAGE=2"));
  EXPECT_FALSE(has(automatic, "blk.0.attn_output", "IN_IMAGE=1"));
  EXPECT_TRUE(automatic.kernel("blk.0.ffn_down").programmatic);
  EXPECT_FALSE(Planned(tiny, "orin-nano-8gb").kernel("blk.0.ffn_down").programmatic);
  const Planned q8(tiny, "h200", {ActivationMode::kQ8, false, {}});
  EXPECT_TRUE(has(q8, "blk.0.ffn_gate_up", "ACTIVATIONS=1"));
  EXPECT_TRUE(has(q8, "blk.0.ffn_gate_up", "OUT_IMAGE=1"));
  EXPECT_FALSE(q8.kernel("blk.0.ffn_down").programmatic);
  const Planned f32(tiny, "h200", {ActivationMode::kF32, true, {}});
  for (const KernelSpec& kernel : f32.schedule().kernels) {
    for (const std::string& define : kernel.defines) {
      EXPECT_EQ(define.find("ACTIVATIONS="), std::string::npos) << kernel.name;
      EXPECT_EQ(define.find("_IMAGE="), std::string::npos) << kernel.name;
    }
  }
}

// Norms hand the products what they multiply; elsewhere a launch of its own makes it.
TEST(Select, PromptChunksOfQuantisedModelsRunOnTensorCores) {
  TinyLlama tiny = one_layer();
  tiny.type = WeightType::kQ8_0;
  const Planned p(tiny, "h200");
  const size_t prefill = 1;
  ASSERT_EQ(p.schedule().graphs[prefill].kind, ir::GraphKind::kPrefill);
  std::string sources, arguments;
  for (const Launch& l : p.schedule().graphs[prefill].launches) {
    sources += p.schedule().kernels[l.kernel].source + " ";
    if (p.schedule().kernels[l.kernel].source == "gemm") {
      arguments += std::to_string(l.args.size()) + " ";
    }
  }
  EXPECT_EQ(sources,
            "embed rms_norm gemm rope_append attention halves gemm rms_norm gemm halves gemm "
            "finish_chunk ");
  EXPECT_EQ(arguments, "9 6 6 6 ");
  const auto has = [&](const char* label, const std::string& define) {
    const std::vector<std::string>& defines =
        p.schedule().kernels[p.launch(label, prefill).kernel].defines;
    return std::count(defines.begin(), defines.end(), define) == 1;
  };
  EXPECT_TRUE(has("blk.0.attn_norm", "OUT_HALVES=1"));
  EXPECT_TRUE(has("blk.0.attn_output", "RESIDUAL=1"));
  EXPECT_TRUE(has("blk.0.ffn_gate_up", "ACTIVATION=0"));
  const Launch& norm = p.launch("blk.0.attn_norm", prefill);
  const Launch& qkv = p.launch("blk.0.attn_q+attn_k+attn_v", prefill);
  EXPECT_EQ(qkv.args[1].tensor, norm.args[3].tensor) << "the image takes the rows' place";
  EXPECT_EQ(p.launch("blk.0.ffn_down", prefill).args[1].tensor,
            p.launch("blk.0.ffn_down/halves", prefill).args[2].tensor);
  // An f32 matrix wants f32 rows, and the others then an image of their own.
  tiny.types["blk.0.attn_v.weight"] = WeightType::kF32;
  const Planned mixed(tiny, "h200");
  const Launch& f32_norm = mixed.launch("blk.0.attn_norm", prefill);
  EXPECT_EQ(mixed.launch("blk.0.attn_v", prefill).args[1].tensor, f32_norm.args[3].tensor);
  EXPECT_NE(mixed.launch("blk.0.attn_q", prefill).args[1].tensor, f32_norm.args[3].tensor);
}

TEST(Select, SymbolsAreDistinct) {
  TinyLlama tiny;
  tiny.types["blk.1.attn_q.weight"] = WeightType::kF16;
  const Planned p(tiny, "h200");
  std::set<std::string> names;
  for (const KernelSpec& kernel : p.schedule().kernels) {
    EXPECT_TRUE(names.insert(kernel.name).second) << kernel.name;
    EXPECT_NE(kernels::find_source(kernel.source), nullptr) << kernel.source;
  }
}

TEST(Select, BiasesReachTheKernel) {
  TinyLlama tiny = one_layer();
  const Planned plain(tiny, "h200");
  tiny.qkv_bias = true;
  const Planned biased(tiny, "h200");
  EXPECT_EQ(biased.launch("blk.0.attn_qkv").args.size(),
            plain.launch("blk.0.attn_qkv").args.size() + 3);
  EXPECT_EQ(biased.count("qkv"), 1u);
  EXPECT_EQ(plain.count("add_bias"), 0u);
  EXPECT_EQ(biased.count("add_bias"), 2u) << "prompt chunks: one for q, one for k and v";
}

// One launch of a kernel has as many arguments as every other: the executor relies on it.
TEST(Select, AKernelsLaunchesHaveOneNumberOfArguments) {
  for (const char* target : {"host", "h200"}) {
    TinyLlama tiny;
    tiny.output_bias = true;
    tiny.ffn_bias = true;
    const Planned p(tiny, target);
    std::map<uint32_t, size_t> counts;
    for (const ScheduledGraph& graph : p.schedule().graphs) {
      for (const Launch& launch : graph.launches) {
        const auto [it, fresh] = counts.emplace(launch.kernel, launch.args.size());
        EXPECT_EQ(it->second, launch.args.size()) << target << " " << launch.label;
      }
    }
    EXPECT_EQ(counts.size(), p.schedule().kernels.size()) << "a kernel without a launch";
  }
}

// Rows that count were consumed before in the head graph: its kernels must not look at the state.
TEST(Select, TheHeadGraphDoesNotDependOnPositions) {
  TinyLlama tiny = one_layer();
  const Planned p(tiny, "host");
  const size_t head = p.schedule().graphs.size() - 1;
  ASSERT_EQ(p.schedule().graphs[head].kind, ir::GraphKind::kHead);
  EXPECT_EQ(p.launch("output", head).args[0].kind, Argument::Kind::kImmediate);
  EXPECT_EQ(p.launch("output", head).args[0].immediate, 0u);
  EXPECT_EQ(p.launch("output", 0).args[0].kind, Argument::Kind::kTensor);
}

}  // namespace
}  // namespace jllm::select
