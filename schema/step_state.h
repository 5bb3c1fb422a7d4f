// The per-token state that lives on the device, at the start of the STATE arena. Kernels read and
// advance it; the host writes it only between replays. Shared by the executor, the host backend and
// the device sources (no includes but this comment's rules: fixed 32-bit fields, no pointers).
//
// tokens[] (u32[context], STATE arena) holds every token of the sequence by position: prompt and
// output.
//   position  tokens already consumed = KV rows that are valid
//   count     tokens known; position <= count <= context
// A prefill replay of R rows consumes min(R, count - position) tokens and advances position.
// A decode replay needs position == count - 1; it consumes one token and samples the next.
// A verify replay needs the same. It appends the drafted tokens (struct Draft), consumes them all
// as prefill does, and samples behind each row in turn, as decode replays one after another would:
// as long as a sampled token is the one drafted for its place, the next row counts too. position
// and count then stand where those decode replays would have left them. Rows of the KV cache
// behind position hold what was rejected; the next replays overwrite them.
// A batch replay is a decode replay of several sequences (slots) at once, a row for each.
#pragma once

namespace jllm {

constexpr unsigned kMaxEndTokens = 32;
constexpr unsigned kRingSlots = 64;  // power of two; tokens in flight between device and host
constexpr unsigned kMaxVerifyRows = 8;
constexpr unsigned kMaxDraft = kMaxVerifyRows - 1;  // the first row's token is no guess
constexpr unsigned kMaxSlots = 8;                   // sequences of a plan, rows of a batch

// Why sampling stopped; later replays leave position, count and the ring untouched.
enum StepDone : unsigned { kRunning = 0, kEndToken = 1, kContextFull = 2, kBadLogits = 3 };

struct StepState {
  unsigned position;
  unsigned count;
  unsigned context;   // capacity of tokens[] and of the KV cache, in positions
  unsigned done;      // StepDone
  unsigned sampled;   // tokens sampled since create: ring sequence number of the next one
  unsigned seed_low;  // Philox key
  unsigned seed_high;
  unsigned draws;  // tokens sampled since the seed was set: Philox counter
  // Sampling chain, in this order: repeat penalty, top-k, top-p, min-p, temperature, draw.
  float temperature;       // 0: greedy (argmax after the penalty, ties to the lowest id)
  float top_p;             // 1: off
  float min_p;             // 0: off
  float repeat_penalty;    // 1: off; logits > 0 are divided by it, others multiplied
  unsigned top_k;          // 0: off
  unsigned repeat_last_n;  // how many of the last tokens the penalty looks at
  unsigned end_token_count;
  unsigned ignore_end;  // 1: end tokens do not stop the sequence
  unsigned end_tokens[kMaxEndTokens];
};

// One slot of the HOST_PINNED ring. `sequence` is written last (release, system scope) and equals
// the token's number plus one, so that the host knows a slot is fresh.
struct RingSlot {
  unsigned sequence;
  unsigned token;
  unsigned done;  // StepDone after this token
  unsigned reserved;
};

// What a verify replay reads and answers, in HOST_PINNED memory. The host writes count and tokens
// before the replay, and the replay its answer and the ring slots of its other tokens before that
// of its first token. Behind the end of a sequence nothing is read or written.
struct Draft {
  unsigned count;              // at most the graph's rows - 1, and context - StepState::count
  unsigned tokens[kMaxDraft];  // guesses at the tokens behind the last known one
  unsigned sampled;            // ring slots that the replay writes: 1 to count + 1
};

// Whose rows a batch replay has, in the STATE arena of slot 0: row r is the next token of sequence
// slots[r]. Kernels that ask only how many rows there are take `rows` for a sequence's state.
struct Batch {
  StepState rows;             // position 0, count: rows that the replay has
  unsigned slots[kMaxSlots];  // all different; 0 behind the rows
};

// Which tokens may be sampled, in the STATE arena: bit i % 32 of words[i / 32] allows token i.
// `words` are ceil(vocab_size / 32) words that follow.
struct TokenMask {
  unsigned active;  // 0: all may
  unsigned reserved[3];
};

}  // namespace jllm
