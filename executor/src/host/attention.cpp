// Attention on the host: heads are shared among the workers; a head's rows follow one another,
// because they share one line of the score scratch.
#include "executor/src/host/kernels.h"
#include "executor/src/host/ops.h"

namespace jllm::host {

void run_attention(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<AttentionArgs>(slots);
  const uint64_t rows = valid_rows(args.state, args.rows);
  const uint64_t group = args.heads / args.kv_heads;
  const auto k_type = static_cast<WeightType>(args.k_type);
  const auto v_type = static_cast<WeightType>(args.v_type);
  const uint64_t cache_elements = args.context * args.head_dim;  // of one kv head
  const auto* k = static_cast<const uint8_t*>(args.k);
  const auto* v = static_cast<const uint8_t*>(args.v);

  const Range heads = share_of(args.heads, worker);
  for (uint64_t head = heads.begin; head < heads.end; ++head) {
    const uint64_t cache = head / group * cache_elements;
    for (uint64_t row = 0; row < rows; ++row) {
      const uint64_t offset = (row * args.heads + head) * args.head_dim;
      AttendPart part = {};
      part.q = args.q + offset;
      part.k = k + cache * block_shape(k_type).bytes;
      part.v = v + cache * block_shape(v_type).bytes;
      part.out = args.out + offset;
      part.scores = args.scores + head * args.context;
      part.head_dim = args.head_dim;
      part.positions = args.state->position + row + 1;
      part.k_half = k_type == WeightType::kF16;
      part.v_half = v_type == WeightType::kF16;
      part.scale = float_of_slot(args.scale_bits);
      kernels().attend(part);
    }
  }
}

}  // namespace jllm::host
