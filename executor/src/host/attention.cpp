// Attention on the host: heads are shared among the workers; a head's rows follow one another,
// because they share one line of the score scratch.
#include "executor/src/host/kernels.h"
#include "executor/src/host/kv_cache.h"
#include "executor/src/host/ops.h"

namespace jllm::host {

void run_attention(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<AttentionArgs>(slots);
  const uint64_t rows = valid_rows(args.state, args.rows);
  const uint64_t group = args.heads / args.kv_heads;
  const uint64_t cache_rows = args.kv_heads * args.context;
  const CacheRows k = cache_rows_of(args.k, args.k_type, cache_rows, args.head_dim);
  const CacheRows v = cache_rows_of(args.v, args.v_type, cache_rows, args.head_dim);

  const Range heads = share_of(args.heads, worker);
  for (uint64_t head = heads.begin; head < heads.end; ++head) {
    const uint64_t head_row = head / group * args.context;
    for (uint64_t row = 0; row < rows; ++row) {
      const uint64_t offset = (row * args.heads + head) * args.head_dim;
      AttendPart part = {};
      part.q = args.q + offset;
      const uint64_t end = args.state->position + row + 1;
      const uint64_t first = args.window != 0 && end > args.window ? end - args.window : 0;
      part.k = k.from(head_row + first);
      part.v = v.from(head_row + first);
      part.out = args.out + offset;
      part.scores = args.scores + head * args.context;
      part.head_dim = args.head_dim;
      part.positions = end - first;
      part.scale = float_of_slot(args.scale_bits);
      part.softcap = float_of_slot(args.softcap_bits);
      if (args.rotation != 0) {
        // The place of the result holds the query until the scores are known.
        rotate_row(part.q, part.out, args.head_dim, args.rotation);
        part.q = part.out;
      }
      kernels().attend(part);
    }
  }
}

}  // namespace jllm::host
