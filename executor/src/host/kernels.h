// The inner loops that are compiled once per instruction set (folder isa/) and chosen at run time.
// Everything here works on plain memory; sharing of work and the launch arguments are the callers'.
#pragma once

#include <cstdint>

#include "schema/functions.h"
#include "schema/kv_layout.h"
#include "schema/weight_type.h"

namespace jllm::host {

// out[rows][n] = in[rows][k] * weight[n][k]^T for the columns begin <= column < end only.
// An element's value depends on neither the range nor the number of rows.
struct MatmulPart {
  const float* in;
  const uint8_t* weight;  // GGUF blocks of `type`, rows of k
  float* out;
  uint64_t rows, n, k;
  uint64_t begin, end;
  WeightType type;
};

// Rows of a KV cache, of one kv head for instance; schema/kv_layout.h has their form.
struct CacheRows {
  unsigned type;            // kKv...
  const uint8_t* values;    // of the first row
  const uint8_t* scales;    // of the first row; quantised caches only
  uint64_t row, scale_row;  // bytes

  CacheRows from(uint64_t first) const {
    return {type, values + first * row, scales + first * scale_row, row, scale_row};
  }
};

inline CacheRows cache_rows_of(const void* cache, uint64_t type, uint64_t rows, uint64_t head_dim) {
  const KvLayout layout = kv_layout(static_cast<unsigned>(type), rows, head_dim);
  const auto* bytes = static_cast<const uint8_t*>(cache);
  return {static_cast<unsigned>(type), bytes, bytes + layout.scales, layout.row, layout.scale_row};
}

// Softmax(q k^T * scale) v of one query and one head over `positions` >= 1 cached positions.
struct AttendPart {
  const float* q;  // [head_dim]; may be out
  CacheRows k, v;  // [positions][head_dim]
  float* out;      // [head_dim]
  float* scores;   // scratch [positions]
  uint64_t head_dim, positions;
  float scale;
  float softcap;  // 0: none
};

struct Kernels {
  // Decodes `count` weights (a multiple of the type's block) from GGUF blocks.
  void (*dequantise)(WeightType type, const uint8_t* blocks, float* out, uint64_t count);
  void (*matmul)(const MatmulPart& part);
  void (*attend)(const AttendPart& part);
  // in, weight, out: [dim].
  void (*rms_norm)(const float* in, const float* weight, float* out, uint64_t dim, float epsilon);
  // The same less the mean, and plus bias [dim] unless that is null.
  void (*layer_norm)(const float* in, const float* weight, const float* bias, float* out,
                     uint64_t dim, float epsilon);
  // gate, up, out: [count]; out may be either input.
  void (*glu)(const float* gate, const float* up, float* out, uint64_t count,
              Activation activation);
  // in, out: [count]; out may be in.
  void (*unary)(const float* in, float* out, uint64_t count, UnaryFunction function,
                float parameter);
};

// The best set for this processor.
const Kernels& kernels();

// One definition per compilation of isa/kernels.cpp. Those for x86 extensions are linked on x86-64
// only and must not be called where the processor lacks the extension; `name` is for tests and
// logs.
struct KernelSet {
  const char* name;
  bool (*supported)();
  const Kernels* kernels;
};

// All sets of this build, the best first; the last is supported everywhere.
const KernelSet* kernel_sets(unsigned* count);

namespace portable {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
namespace avx512 {
extern const Kernels kKernels;
}

}  // namespace jllm::host
