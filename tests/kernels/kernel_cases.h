// Every kernel with every weight type at representative shapes: what the compile test builds for
// each architecture. A new kernel or type adds its cases here.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/attention_shapes.h"
#include "kernels/catalogue.h"
#include "kernels/gemm_shapes.h"
#include "kernels/gemv_shapes.h"
#include "schema/functions.h"
#include "schema/kv_layout.h"
#include "schema/row_layout.h"
#include "schema/weight_type.h"

namespace jllm::kernels {

struct KernelCase {
  std::string kernel;
  std::vector<std::string> defines;  // NAME=VALUE
  bool must_not_spill = false;

  std::string label() const {
    std::string out = kernel;
    for (const std::string& define : defines) out += " " + define;
    return out;
  }
};

constexpr unsigned kAllTypes[] = {kRowF32,  kRowF16,  kRowBF16, kRowQ4_0, kRowQ4_1, kRowQ5_0,
                                  kRowQ5_1, kRowQ8_0, kRowQ4_K, kRowQ5_K, kRowQ6_K, kRowQ1_0};

// Made of the same parts as those: fewer cases.
constexpr unsigned kFurtherTypes[] = {kRowQ2_K,  kRowQ3_K,  kRowIQ4_NL, kRowIQ4_XS,
                                      kRowMXFP4, kRowTQ2_0, kRowQ2_0};

inline unsigned block_of(unsigned type) {
  const unsigned elements = block_shape(static_cast<WeightType>(type)).elements;
  return elements == 1 ? 4 : elements;
}

constexpr unsigned kKvTypes[] = {kKvF32, kKvF16, kKvQ8_0, kKvQ4_0};

struct CacheShape {
  unsigned heads, kv_heads, head_dim;
};

inline std::vector<KernelCase> all_kernel_cases() {
  std::vector<KernelCase> out;
  const auto add = [&](const char* kernel, std::vector<std::string> defines,
                       bool must_not_spill = false) {
    out.push_back({kernel, std::move(defines), must_not_spill});
  };
  const std::string epsilon = "EPSILON_BITS=0x3727c5ac", magnitude = "MAGNITUDE_BITS=0x3f800000",
                    scale = "SCALE_BITS=0x3e000000";
  const auto qkv = [&](unsigned q, unsigned k, unsigned v, uint64_t dim, unsigned heads,
                       unsigned kv_heads, unsigned head_dim, unsigned pairs, bool neox, bool bias,
                       unsigned kv) {
    add("qkv",
        {define("K", dim), define("Q_TYPE", q), define("K_TYPE", k), define("V_TYPE", v),
         define("HEADS", heads), define("KV_HEADS", kv_heads), define("HEAD_DIM", head_dim),
         define("PAIRS", pairs), define("NEOX", neox), define("HAS_BIAS", bias), "CONTEXT=4096",
         define("APPEND", kv != kKvF32), define("KV_K_TYPE", kv), define("KV_V_TYPE", kv), epsilon,
         magnitude},
        true);
  };
  for (unsigned type : kAllTypes) {
    const unsigned block = block_of(type);
    // Activations as f32, int8 and int8 with residual.
    for (unsigned mode = 0; mode < (has_int8_products(type) ? 3 : 1); ++mode) {
      const std::string activations = define("ACTIVATIONS", mode);
      for (uint64_t k : {uint64_t(2048), uint64_t(block == 4 ? 172 : 3 * block), uint64_t(14336)}) {
        for (unsigned rows : {1, 2}) {
          add("matmul_add",
              {define("TYPE", type), define("K", k), "N=2048", define("HAS_BIAS", k == 2048),
               activations, define("ROWS", rows), define("SPLIT", k == 2048 ? 2 : 1),
               define("IN_IMAGE", mode != 0 && rows == 1), define("RESIDUAL", k == 2048)},
              true);
        }
      }
      for (unsigned image = 0; image < 3; ++image) {
        add("gate_up",
            {define("GATE_TYPE", type), define("UP_TYPE", type), "K=4096", "N=14336", epsilon,
             define("ACTIVATION", kSilu), activations, define("OUT_IMAGE", image)},
            true);
      }
      add("head", {define("TYPE", type), "K=2048", "N=128256", epsilon, activations, "TOPS=1"},
          true);
      for (const uint32_t tokens : {2u, 8u}) {
        GemvProblem problem = {"matmul_add", {type}, static_cast<Activations>(mode), 4096, 4096};
        problem.tokens = tokens;
        std::vector<std::string> defines =
            gemv_defines(problem, with_tokens(problem, choose_variant(problem, 132), 132));
        defines.insert(defines.end(), {define("TYPE", type), "K=4096", "N=4096", "HAS_BIAS=0"});
        add("matmul_add", defines, true);
      }
    }
    // As in Qwen 3 30B-A3B.
    for (const bool gated : {false, true}) {
      const Activations mode =
          has_int8_products(type) ? Activations::kInt8Pair : Activations::kExact;
      const std::vector<unsigned> types(gated ? 2 : 1, type);
      for (const uint32_t sm_count : {8u, 132u}) {
        const GemvProblem problem = {"expert_matmul", types, mode, gated ? 2048u : 768u,
                                     gated ? 768u : 2048u};
        std::vector<std::string> defines =
            gemv_defines(problem, choose_expert_variant(problem, 8, sm_count));
        defines.insert(defines.end(),
                       {define("TYPE", type), define("K", problem.k), define("N", problem.n),
                        "SLOTS=8", define("IN_PER_SLOT", !gated)});
        if (gated) {
          defines.insert(defines.end(), {define("UP_TYPE", type), define("ACTIVATION", kSilu)});
        }
        add("expert_matmul", defines, true);
      }
    }
    qkv(type, type, type, 2048, 32, 8, 64, 32, false, false, 1);
    qkv(type, type, type == kRowQ4_K ? kRowQ6_K : type, 1536, 12, 2, 128, 64, true, true, 0);
    add("embed", {define("TYPE", type), "DIM=2048"});
    if (!has_gemm(type)) continue;
    const auto gemm = [&](const GemmTile& tile, const GemmProblem& problem,
                          const std::vector<std::string>& more) {
      if (!fits(tile, problem)) return;
      std::vector<std::string> defines = gemm_defines(tile, problem);
      defines.insert(defines.end(), more.begin(), more.end());
      add("gemm", defines, true);
    };
    for (const GemmTile& tile : gemm_tiles()) {
      gemm(tile, {512, 2048, {type}, {2048}}, {"RESIDUAL=1"});
    }
    for (const uint32_t compute_capability : {87u, 90u}) {
      const auto chosen = [&](const GemmProblem& problem, const std::vector<std::string>& more) {
        gemm(gemm_tile(problem, 132, compute_capability), problem, more);
      };
      chosen({512, 2048, {type, type}, {8192, 8192}, true}, {define("ACTIVATION", kSilu)});
      if (type == kRowQ4_K) chosen({512, 2048, {type, type, kRowQ6_K}, {2048, 512, 512}}, {});
      chosen({4096, 2048, {type, type}, {768, 768}, true, 128}, {define("ACTIVATION", kSilu)});
      chosen({4096, 768, {type}, {2048}, false, 128}, {});
    }
  }
  for (unsigned type : kFurtherTypes) {
    for (unsigned mode = 0; mode < 3; ++mode) {
      add("matmul_add",
          {define("TYPE", type), "K=2048", "N=2048", "HAS_BIAS=0", define("ACTIVATIONS", mode)},
          true);
    }
    add("matmul_add",
        {define("TYPE", type), define("K", 3 * block_of(type)), "N=2048", "HAS_BIAS=1",
         "ACTIVATIONS=2", "RESIDUAL=0"},
        true);
    const auto chosen = [&](const char* kernel, std::vector<unsigned> types, uint32_t tokens,
                            std::vector<std::string> defines) {
      GemvProblem problem = {kernel, std::move(types), Activations::kInt8Pair, 4096, 14336};
      problem.tokens = tokens;
      const GemvVariant variant = with_tokens(problem, choose_variant(problem, 8), 8);
      const std::vector<std::string> more = gemv_defines(problem, variant);
      defines.insert(defines.end(), more.begin(), more.end());
      defines.insert(defines.end(), {"K=4096", "N=14336"});
      add(kernel, defines, true);
    };
    for (const uint32_t tokens : {1u, 2u, 8u}) {
      chosen("matmul_add", {type}, tokens, {define("TYPE", type), "HAS_BIAS=0"});
    }
    chosen("gate_up", {type, type}, 1,
           {define("GATE_TYPE", type), define("UP_TYPE", type), epsilon,
            define("ACTIVATION", kSilu), "OUT_IMAGE=2"});
    chosen("head", {type}, 1, {define("TYPE", type), epsilon, "TOPS=1"});
    qkv(type, type, type, 2048, 32, 8, 64, 32, false, false, 1);
    add("embed", {define("TYPE", type), "DIM=2048"});
    for (const uint32_t compute_capability : {87u, 90u}) {
      const auto gemm = [&](const GemmProblem& problem, const char* more) {
        std::vector<std::string> defines =
            gemm_defines(gemm_tile(problem, 132, compute_capability), problem);
        defines.push_back(more);
        add("gemm", defines, true);
      };
      gemm({512, 2048, {type}, {2048}}, "RESIDUAL=1");
      gemm({64, 2048, {type}, {2048}}, "RESIDUAL=1");
      gemm({512, 2048, {type, type}, {8192, 8192}, true}, "ACTIVATION=0");
    }
  }
  // What the cost model chooses on small and on large devices.
  for (const unsigned type : {kRowF16, kRowQ4_K, kRowQ6_K}) {
    const Activations mode = has_int8_products(type) ? Activations::kInt8Pair : Activations::kExact;
    const std::string image = define("OUT_IMAGE", static_cast<unsigned>(mode));
    for (const uint32_t sm_count : {8u, 132u}) {
      const auto chosen = [&](GemvProblem problem, std::vector<std::string> defines) {
        const std::vector<std::string> variant =
            gemv_defines(problem, choose_variant(problem, sm_count));
        defines.insert(defines.end(), variant.begin(), variant.end());
        add(problem.kernel.c_str(), std::move(defines), true);
      };
      chosen({"matmul_add", {type}, mode, 8192, 3072},
             {define("TYPE", type), "K=8192", "N=3072", "HAS_BIAS=0"});
      chosen({"gate_up", {type, type}, mode, 3072, 8192},
             {define("GATE_TYPE", type), define("UP_TYPE", type), "K=3072", "N=8192", epsilon,
              define("ACTIVATION", kSilu), image});
      chosen({"head", {type}, mode, 4096, 128256},
             {define("TYPE", type), "K=4096", "N=128256", epsilon, "TOPS=1"});
    }
  }
  for (unsigned residual : {0, 1}) {
    for (unsigned tile : {16, 64}) {
      add("matmul", {define("RESIDUAL", residual), define("TILE", tile)});
    }
  }
  for (Activation activation : {kSilu, kGelu}) {
    add("gate_up",
        {"GATE_TYPE=12", "UP_TYPE=14", "K=2048", "N=8192", epsilon,
         define("ACTIVATION", activation)},
        true);
    add("glu", {"N=8192", define("ACTIVATION", activation)});
  }

  const auto attention = [&](const CacheShape& s, unsigned k, unsigned v, unsigned rotation) {
    std::vector<std::string> defines = {define("HEADS", s.heads),
                                        define("KV_HEADS", s.kv_heads),
                                        define("HEAD_DIM", s.head_dim),
                                        "CONTEXT=4096",
                                        define("KV_K_TYPE", k),
                                        define("KV_V_TYPE", v),
                                        scale,
                                        define("ROTATION", rotation)};
    // Of a long prompt on many multiprocessors and on few, and of a short one.
    for (const auto& [rows, sms] : {std::pair{512u, 132u}, {512u, 8u}, {64u, 132u}}) {
      const AttentionProblem problem = {rows, s.heads, s.kv_heads, s.head_dim, k, v};
      std::vector<std::string> all = defines;
      for (const auto& more : attention_defines(attention_tile(problem, sms), problem)) {
        all.push_back(more);
      }
      add("attention", all, k != kKvF32 && v != kKvF32);
    }
    const bool append = kv_is_quantised(k) || kv_is_quantised(v);
    defines.insert(defines.end(), {"SPLITS=8", define("APPEND", append)});
    add("attention_decode", defines, k != kKvF32 && v != kKvF32);
  };
  const auto append = [&](const CacheShape& s, unsigned type, unsigned rotation) {
    add("kv_append", {define("HEADS", s.kv_heads), define("HEAD_DIM", s.head_dim), "CONTEXT=4096",
                      define("KV_TYPE", type), define("ROTATION", rotation)});
  };
  const std::pair<CacheShape, unsigned> plain[] = {{{8, 4, 8}, kKvF32},    {{32, 8, 64}, kKvF16},
                                                   {{14, 2, 64}, kKvF16},  {{32, 8, 128}, kKvF16},
                                                   {{8, 1, 256}, kKvF16},  {{32, 32, 80}, kKvF16},
                                                   {{32, 4, 128}, kKvF16}, {{64, 8, 128}, kKvF32}};
  for (const auto& [s, kv] : plain) {
    attention(s, kv, kv, 0);
    append(s, kv, 0);
    add("rope_append",
        {define("HEADS", s.heads), define("KV_HEADS", s.kv_heads), define("HEAD_DIM", s.head_dim),
         "CONTEXT=4096", define("KV_K_TYPE", kv), define("KV_V_TYPE", kv),
         define("PAIRS", s.head_dim / 2), "NEOX=1", magnitude});
    add("rope", {define("HEADS", s.heads), define("HEAD_DIM", s.head_dim),
                 define("PAIRS", s.head_dim / 4), "NEOX=0", magnitude});
  }
  for (unsigned k : kKvTypes) {
    for (unsigned v : kKvTypes) attention({32, 8, 128}, k, v, kv_rotation(k, 128));
  }
  for (const CacheShape& s : {CacheShape{14, 2, 64}, {8, 1, 256}, {6, 6, 96}, {4, 2, 32}}) {
    for (unsigned type : {kKvQ8_0, kKvQ4_0}) {
      const unsigned rotation = kv_rotation(type, s.head_dim);
      attention(s, type, type, rotation);
      append(s, type, rotation);
    }
  }
  attention({32, 8, 64}, kKvQ4_0, kKvF16, 0);
  {  // as in Gemma 2
    const std::vector<std::string> defines = {
        "HEADS=8",     "KV_HEADS=4", "HEAD_DIM=256", "CONTEXT=8192", "KV_K_TYPE=1",
        "KV_V_TYPE=1", scale,        "ROTATION=0",   "WINDOW=4096",  "SOFTCAP_BITS=0x42480000"};
    const auto with = [&](std::vector<std::string> more) {
      more.insert(more.begin(), defines.begin(), defines.end());
      return more;
    };
    const AttentionProblem problem = {512, 8, 4, 256, kKvF16, kKvF16};
    add("attention", with(attention_defines(attention_tile(problem, 132), problem)), true);
    add("attention_decode", with({"SPLITS=8", "APPEND=0"}));
  }
  for (unsigned type : {kKvF16, kKvQ4_0}) {  // as in Qwen 3
    add("attention_decode",
        {"HEADS=16", "KV_HEADS=8", "HEAD_DIM=128", "CONTEXT=4096", define("KV_K_TYPE", type),
         define("KV_V_TYPE", type), scale, define("ROTATION", kv_rotation(type, 128)), "SPLITS=32",
         "APPEND=1", "HEAD_NORM=1", "PAIRS=64", "NEOX=1", magnitude, epsilon},
        true);
  }
  append({32, 8, 64}, kKvQ4_0, 0);
  add("rms_norm", {"DIM=2048", epsilon});
  add("rms_norm", {"DIM=4096", epsilon, "OUT_HALVES=1"});
  add("halves", {"DIM=8192"});
  for (const char* rows : {"ROWS=1", "ROWS=512"}) {
    add("short_conv", {"N=2048", "TAPS=3", "RECENT=128", rows, "SEGMENT=16"}, true);
  }
  for (unsigned per_slot : {0, 1}) {
    add("halves", {"DIM=768", "SLOTS=8", define("IN_PER_SLOT", per_slot)});
  }
  for (const auto& [experts, slots] : {std::pair{8, 2}, {40, 8}, {128, 8}}) {
    for (unsigned renormalise : {0, 1}) {
      add("route",
          {define("EXPERTS", experts), define("SLOTS", slots), define("RENORMALISE", renormalise)});
    }
    for (unsigned residual : {0, 1}) {
      add("expert_sum", {"N=2048", define("SLOTS", slots), define("RESIDUAL", residual)});
    }
    add("expert_lists",
        {define("EXPERTS", experts), define("SLOTS", slots), "TILE=64", "TILES=192"});
  }
  for (unsigned bias : {0, 1}) add("layer_norm", {"DIM=2048", define("HAS_BIAS", bias), epsilon});
  for (const char* kernel : {"add_bias", "add"}) add(kernel, {"N=8192"});
  for (UnaryFunction function : {kScale, kSoftcap, kReluSquared}) {
    add("unary", {"N=8192", define("FUNCTION", function), "PARAMETER_BITS=0x41f00000"});
  }
  add("finish_chunk", {"DIM=2048", "ROWS=64"});
  for (unsigned advance : {0, 1}) {
    add("sample", {"VOCAB=128256", define("ADVANCE", advance)});
    add("sample", {"VOCAB=512", define("ADVANCE", advance)});
    add("sample", {"VOCAB=512", define("ADVANCE", advance), "TOPS=264"});
  }
  for (const unsigned rows : {2u, 8u}) {
    add("accept", {"VOCAB=128256", define("ROWS", rows)});
    add("accept", {"VOCAB=128256", define("ROWS", rows), "TOPS=264"});
    add("draft", {define("ROWS", rows)});
  }
  for (const auto& [type, mode] : {std::pair{kRowQ4_K, Activations::kInt8Pair},
                                   {kRowQ8_0, Activations::kInt8Pair},
                                   {kRowF16, Activations::kExact}}) {
    for (const uint32_t tokens : {2u, 8u}) {
      GemvProblem problem = {"qkv", {type, type, type}, mode, 2048, (32 + 2 * 8) * 64};
      problem.tokens = tokens;
      std::vector<std::string> defines =
          gemv_defines(problem, with_tokens(problem, choose_variant(problem, 132), 132));
      for (const char* define :
           {"K=2048", "HEADS=32", "KV_HEADS=8", "HEAD_DIM=64", "PAIRS=32", "NEOX=0", "HAS_BIAS=0",
            "CONTEXT=4096", "APPEND=1", "KV_K_TYPE=1", "KV_V_TYPE=1", "BATCH=1"}) {
        defines.emplace_back(define);
      }
      defines.insert(defines.end(),
                     {kernels::define("Q_TYPE", type), kernels::define("K_TYPE", type),
                      kernels::define("V_TYPE", type), epsilon, magnitude});
      // Eight rows have a frame of 64 bytes that is no spill (ptxas counts none).
      add("qkv", defines, tokens < 8);
    }
  }
  // Of several sequences: what looks at them, in a few of its shapes.
  for (const char* kernel :
       {"embed", "rope", "rope_append", "kv_append", "attention_decode", "short_conv", "sample"}) {
    std::vector<KernelCase> some;
    for (const KernelCase& one : out) {
      if (one.kernel == kernel) some.push_back(one);
    }
    for (size_t i = 0; i < some.size(); i += some.size() / 4 + 1) {
      KernelCase batch = some[i];
      batch.defines.emplace_back("BATCH=1");
      out.push_back(std::move(batch));
    }
  }
  return out;
}

}  // namespace jllm::kernels
