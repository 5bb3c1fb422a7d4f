// A small model whose KV cache may have any type, and devices whose budgets are made to measure.
#pragma once

#include "compiler/fit/verdict.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"

namespace jllm::fit {

using gguf::value_of;

constexpr uint64_t kMiB = 1024 * 1024;

struct SomeModel {
  explicit SomeModel(TinyLlama tiny = shape())
      : file(write_and_open(tiny, folder.file("m.gguf"))), planner(file) {}

  // Weights of about 5 MB in f32 and a cache that outgrows them.
  static TinyLlama shape() {
    TinyLlama tiny;
    tiny.embedding = 256;
    tiny.ffn = 512;
    tiny.head_dim = 64;
    tiny.context = 32768;
    return tiny;
  }

  uint64_t total(const target::Target& target, const PlanOptions& options) {
    return value_of(planner.footprint(target, options, {})).budget.total();
  }

  gguf::TempFolder folder;
  gguf::File file;
  Planner planner;
};

inline target::Target device(const char* name, uint64_t budget) {
  target::Target target = value_of(target::find(name));
  target.budget_bytes = target.budget_headless_bytes = budget;
  return target;
}

inline PlanOptions plan_of(uint32_t context, WeightType kv = WeightType::kF16) {
  PlanOptions options;
  options.context = context;
  options.kv_k = options.kv_v = kv;
  return options;
}

}  // namespace jllm::fit
