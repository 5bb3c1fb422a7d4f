// Integer products of activations and panels, compiled once per instruction set (folder isa/) and
// chosen at run time. Activations become the same integers everywhere and the sums of their
// products are exact; the sets differ in nothing but whether they round between a multiplication
// and an addition of floats (only `portable` on x86-64 does).
#pragma once

#include <cstdint>

#include "schema/host_ops.h"
#include "schema/weight_type.h"

namespace jllm::host {

// Groups begin .. end of the image of in[rows][k], or with rows = 1 of the images of all rows, one
// behind the other; `planes` is 1 or 2.
struct QuantisePart {
  const float* in;
  ActivationGroup* image;
  uint64_t rows, k, planes;
  uint64_t begin, end;  // in 32 elements, row by row
};

// out[rows][n] = in[rows][k] * weight[n][k]^T for the panels begin <= panel < end only. An
// element's value depends neither on the range nor on the number of rows.
struct ProductPart {
  const ActivationGroup* image;  // of `image_rows` rows, not less than `rows`
  const uint8_t* weight;         // panels of `type`
  float* out;
  uint64_t rows, image_rows, n, k, planes;
  uint64_t begin, end;
  WeightType type;
};

struct Products {
  void (*quantise)(const QuantisePart& part);
  void (*multiply)(const ProductPart& part);
};

// The best set for this processor.
const Products& products();

struct ProductSet {
  const char* name;
  bool (*supported)();
  const Products* products;
};

// All sets of this build, the best first; the last is supported everywhere.
const ProductSet* product_sets(unsigned* count);

// Row `row` of a matrix in panels, decoded to out[k]. For single rows: an embedding.
void decode_panel_row(WeightType type, const uint8_t* panels, uint64_t row, uint64_t k, float* out);

namespace portable {
extern const Products kProducts;
}
namespace avx2 {
extern const Products kProducts;
}
namespace avx_vnni {
extern const Products kProducts;
}
namespace avx512_vnni {
extern const Products kProducts;
}
namespace dotprod {
extern const Products kProducts;
}

}  // namespace jllm::host
