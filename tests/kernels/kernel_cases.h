// Every kernel with every weight type at representative shapes: what the compile test builds for
// each architecture. A new kernel or type adds its cases here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schema/row_layout.h"

namespace jllm::kernels {

struct KernelCase {
  std::string kernel;
  std::vector<std::string> defines;  // NAME=VALUE
  bool is_gemv = false;              // must not spill

  std::string label() const {
    std::string out = kernel;
    for (const std::string& define : defines) out += " " + define;
    return out;
  }
};

constexpr unsigned kAllTypes[] = {kRowF32,  kRowF16,  kRowBF16, kRowQ4_0,
                                  kRowQ5_0, kRowQ8_0, kRowQ4_K, kRowQ6_K};

inline unsigned block_of(unsigned type) {
  return type == kRowQ4_K || type == kRowQ6_K                       ? 256
         : type == kRowQ4_0 || type == kRowQ5_0 || type == kRowQ8_0 ? 32
                                                                    : 4;
}

inline std::string define(const char* name, uint64_t value) {
  return std::string(name) + "=" + std::to_string(value);
}

inline std::vector<KernelCase> all_kernel_cases() {
  std::vector<KernelCase> out;
  const auto add = [&](const char* kernel, std::vector<std::string> defines, bool is_gemv = false) {
    out.push_back({kernel, std::move(defines), is_gemv});
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
         define("KV_K_TYPE", kv), define("KV_V_TYPE", kv), epsilon, magnitude},
        true);
  };
  for (unsigned type : kAllTypes) {
    const unsigned block = block_of(type);
    for (uint64_t k : {uint64_t(2048), uint64_t(block == 4 ? 172 : 3 * block), uint64_t(14336)}) {
      add("matmul_add",
          {define("TYPE", type), define("K", k), "N=2048", define("HAS_BIAS", k == 2048)}, true);
    }
    add("gate_up",
        {define("GATE_TYPE", type), define("UP_TYPE", type), "K=4096", "N=14336", epsilon}, true);
    add("head", {define("TYPE", type), "K=2048", "N=128256", epsilon}, true);
    qkv(type, type, type, 2048, 32, 8, 64, 32, false, false, 1);
    qkv(type, type, type == kRowQ4_K ? kRowQ6_K : type, 1536, 12, 2, 128, 64, true, true, 0);
    add("embed", {define("TYPE", type), "DIM=2048"});
    for (unsigned residual : {0, 1}) {
      add("matmul", {define("TYPE", type), define("RESIDUAL", residual)});
      add("matmul", {define("TYPE", type), define("RESIDUAL", residual), "TILE=128"});
    }
  }
  add("gate_up", {"GATE_TYPE=12", "UP_TYPE=14", "K=2048", "N=8192", epsilon}, true);

  const struct {
    unsigned heads, kv_heads, head_dim, kv;
  } shapes[] = {{8, 4, 8, 0},   {32, 8, 64, 1},  {14, 2, 64, 1},  {32, 8, 128, 1},
                {8, 1, 256, 1}, {32, 32, 80, 1}, {32, 4, 128, 1}, {64, 8, 128, 0}};
  for (const auto& s : shapes) {
    const std::vector<std::string> common = {
        define("HEADS", s.heads), define("KV_HEADS", s.kv_heads), define("HEAD_DIM", s.head_dim),
        "CONTEXT=4096",           define("KV_K_TYPE", s.kv),      define("KV_V_TYPE", s.kv)};
    std::vector<std::string> defines = common;
    defines.push_back(scale);
    add("attention", defines);
    defines.push_back("SPLITS=8");
    add("attention_decode", defines);
    defines = common;
    defines.insert(defines.end(), {define("PAIRS", s.head_dim / 2), "NEOX=1", magnitude});
    add("rope_append", defines);
    add("rope", {define("HEADS", s.heads), define("HEAD_DIM", s.head_dim),
                 define("PAIRS", s.head_dim / 4), "NEOX=0", magnitude});
    add("kv_append", {define("HEADS", s.kv_heads), define("HEAD_DIM", s.head_dim), "CONTEXT=4096",
                      define("KV_TYPE", s.kv)});
  }
  add("rms_norm", {"DIM=2048", epsilon});
  for (const char* kernel : {"add_bias", "glu", "add"}) add(kernel, {"N=8192"});
  add("finish_chunk", {"DIM=2048", "ROWS=64"});
  for (unsigned advance : {0, 1}) {
    add("sample", {"VOCAB=128256", define("ADVANCE", advance)});
    add("sample", {"VOCAB=512", define("ADVANCE", advance)});
  }
  return out;
}

}  // namespace jllm::kernels
