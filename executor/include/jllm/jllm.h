/* Replaying plans from C (C99). The rules of jllm/executor.h hold here too:
 *
 * Memory   The library never allocates: every object lives in a block that the caller hands over,
 *          of a size that the library tells, 64-byte aligned, and stays there until it is closed.
 *          Plans for CUDA take the arenas from the driver, in jllm_create() only.
 * Threads  A jllm_executor is used by one thread at a time. Any number of them may run at the same
 *          time over one jllm_plan, which never changes once it is open.
 * Errors   Functions that can fail return a jllm_error; JLLM_OK is 0. The reason, one line for
 *          people, stands in the jllm_message given (may be null) or in jllm_last_error().
 * Versions Structs that may grow begin with struct_size; the macros named *_INIT fill them in. A
 *          newer library takes what an older program was built with.
 *
 * Tokenizer and stream decoder, which need a heap, are in jllm_text.h. docs/embedding.md has whole
 * programs. */
#ifndef JLLM_JLLM_H_
#define JLLM_JLLM_H_

#include <stdint.h>

#if defined(__GNUC__)
#define JLLM_API __attribute__((visibility("default")))
#else
#define JLLM_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define JLLM_ABI_VERSION 1u /* grows when something is taken away or changes its meaning */

typedef uint32_t jllm_error;
enum {
  JLLM_OK = 0,
  /* The plan. */
  JLLM_NOT_A_PLAN = 0x101,
  JLLM_PLAN_VERSION = 0x102,
  JLLM_PLAN_TRUNCATED = 0x103,
  JLLM_PLAN_DAMAGED = 0x104,
  JLLM_PLAN_INVALID = 0x105,
  JLLM_TARGET_MISMATCH = 0x106, /* made for another device, or a backend that is not built in */
  JLLM_UNKNOWN_KERNEL = 0x107,
  JLLM_READ_FAILED = 0x201,
  /* Memory. */
  JLLM_HOST_MEMORY_TOO_SMALL = 0x301, /* a block of the caller's */
  JLLM_DEVICE_MEMORY = 0x302,
  JLLM_PINNED_MEMORY = 0x303,
  /* Device and driver. */
  JLLM_NO_DRIVER = 0x401,
  JLLM_NO_DEVICE = 0x402,
  JLLM_DRIVER_TOO_OLD = 0x403,
  JLLM_DRIVER_CALL = 0x404,
  JLLM_THREADS = 0x405,
  /* How the library is used. */
  JLLM_BAD_ARGUMENT = 0x501,
  JLLM_CONTEXT_FULL = 0x502,
  JLLM_NOTHING_TO_DO = 0x503,
  JLLM_BAD_LOGITS = 0x504
};

typedef struct jllm_message {
  char text[256];
} jllm_message;

typedef struct jllm_plan jllm_plan;
typedef struct jllm_executor jllm_executor;

JLLM_API uint32_t jllm_abi_version(void); /* JLLM_ABI_VERSION of the library */
JLLM_API const char* jllm_version(void);  /* "1.2.3" */
JLLM_API const char* jllm_error_name(jllm_error error);

/* --- Plans ------------------------------------------------------------------------------------ */

#define JLLM_ALIGNMENT 64u
#define JLLM_PLAN_BYTES 512u /* of the block for a plan that is in memory */

/* Opens and proves a plan that is in memory (linked in by `jllm embed`, or mapped), at a multiple
 * of 64 bytes. `data` must outlive the plan. */
JLLM_API jllm_error jllm_plan_open_memory(const void* data, uint64_t size, void* memory,
                                          uint64_t memory_size, jllm_plan** plan,
                                          jllm_message* message);

/* The same of a file: first the size of the block that its tables need, then the opening. The file
 * stays open until jllm_plan_close(). */
JLLM_API jllm_error jllm_plan_file_bytes(const char* path, uint64_t* bytes, jllm_message* message);
JLLM_API jllm_error jllm_plan_open_file(const char* path, void* memory, uint64_t memory_size,
                                        jllm_plan** plan, jllm_message* message);

/* No executor may be left that was created with it. */
JLLM_API void jllm_plan_close(jllm_plan* plan);

typedef struct jllm_plan_info {
  uint32_t struct_size;
  uint32_t is_host;          /* 1: runs on the processor, 0: on a CUDA device */
  uint32_t context;          /* positions */
  uint32_t vocab_size;       /* tokens */
  uint32_t longest_replay;   /* tokens that one step of a prompt consumes at most */
  uint32_t embedding_length; /* floats of jllm_embedding(); 0: the plan makes text */
  uint64_t device_bytes;     /* of all arenas */
  const char* model;         /* lives as long as the plan */
  const char* architecture;
  const char* weight_file; /* the name of a split plan's, without a folder; null: it has none */
} jllm_plan_info;
#define JLLM_PLAN_INFO_INIT \
  { sizeof(jllm_plan_info), 0, 0, 0, 0, 0, 0, 0, 0, 0 }

JLLM_API jllm_error jllm_plan_describe(const jllm_plan* plan, jllm_plan_info* info);

/* The text of a token, for programs without a heap: writes at most `capacity` bytes to `out` and
 * returns how many there are, 0 for control tokens. They may be a part of a character. Only of
 * plans opened in memory. */
JLLM_API uint32_t jllm_plan_piece(const jllm_plan* plan, uint32_t token, char* out,
                                  uint32_t capacity);

/* Segments for jllm_text.h and for programs' own use. 0 bytes: the plan has none of the kind. */
enum { JLLM_SEGMENT_TOKENIZER = 2, JLLM_SEGMENT_CHAT_FORMAT = 3 };
JLLM_API uint64_t jllm_plan_segment_bytes(const jllm_plan* plan, uint32_t kind);
JLLM_API jllm_error jllm_plan_read_segment(const jllm_plan* plan, uint32_t kind, void* out,
                                           uint64_t size);

/* --- Executors -------------------------------------------------------------------------------- */

typedef struct jllm_options {
  uint32_t struct_size;
  uint32_t threads;   /* host plans: 0 = one per CPU; 1 starts no thread */
  int32_t device;     /* CUDA: ordinal */
  uint32_t eager;     /* CUDA: 1 launches kernel by kernel instead of by graphs (debugging) */
  void* arena_memory; /* host plans: where the arenas lie; null: mapped from the system */
  uint64_t arena_memory_size;
  /* Path of the weight file, which split plans need (jllm_plan_info.weight_file names it); null:
   * the plan holds its weights. Read by jllm_create() only. */
  const char* weight_file;
} jllm_options;
#define JLLM_OPTIONS_INIT \
  { sizeof(jllm_options), 0, 0, 0, 0, 0, 0 }

typedef struct jllm_requirements {
  uint32_t struct_size;
  uint32_t alignment;      /* of both blocks: JLLM_ALIGNMENT */
  uint64_t executor_bytes; /* the block for jllm_create() */
  uint64_t arena_bytes;    /* jllm_options.arena_memory; 0: the plan takes none */
} jllm_requirements;
#define JLLM_REQUIREMENTS_INIT \
  { sizeof(jllm_requirements), 0, 0, 0 }

/* `options` may be null here and below: all defaults. */
JLLM_API jllm_error jllm_require(const jllm_plan* plan, const jllm_options* options,
                                 jllm_requirements* requirements);

/* Takes arenas, loads weights and code. On failure everything taken is given back. */
JLLM_API jllm_error jllm_create(const jllm_plan* plan, const jllm_options* options, void* memory,
                                uint64_t memory_size, jllm_executor** executor,
                                jllm_message* message);
JLLM_API void jllm_destroy(jllm_executor* executor); /* null is nothing */

typedef struct jllm_sampling {
  uint32_t struct_size;
  float temperature;    /* 0: the best token */
  uint32_t top_k;       /* 0: off */
  float top_p;          /* 1: off */
  float min_p;          /* 0: off */
  float repeat_penalty; /* 1: off */
  uint32_t repeat_last_n;
  uint32_t ignore_end; /* 1: end tokens do not end the sequence */
  uint64_t seed;
} jllm_sampling;
#define JLLM_SAMPLING_INIT \
  { sizeof(jllm_sampling), 0.0f, 0, 1.0f, 0.0f, 1.0f, 64, 0, 0 }

JLLM_API jllm_error jllm_set_sampling(jllm_executor* executor, const jllm_sampling* sampling);

/* Why a sequence ended with a token. */
enum { JLLM_RUNNING = 0, JLLM_END_TOKEN = 1, JLLM_END_OF_CONTEXT = 2 };

typedef struct jllm_token {
  uint32_t id;
  uint32_t done; /* JLLM_RUNNING, ... */
} jllm_token;

/* Appends tokens and runs them all through the model. */
JLLM_API jllm_error jllm_prefill(jllm_executor* executor, const uint32_t* tokens, uint32_t count);
/* The next token, and with it those that a draft got right: later calls return them. At most
 * `wanted` are then in the sequence that were not before; UINT32_MAX: any number. */
JLLM_API jllm_error jllm_generate(jllm_executor* executor, uint32_t wanted, jllm_token* token);
/* Tokens that jllm_generate() and jllm_step() guess ahead at most; 0: none. */
JLLM_API void jllm_set_speculation(jllm_executor* executor, uint32_t most);

/* Asking and waiting apart: up to 64 tokens may be in flight. */
JLLM_API jllm_error jllm_enqueue(jllm_executor* executor);
JLLM_API jllm_error jllm_next(jllm_executor* executor, jllm_token* token);

/* For loops that must come back in time. jllm_begin() puts a prompt down, and each jllm_step() does
 * one replay: at most jllm_plan_info.longest_replay tokens of the prompt, or one token. */
enum { JLLM_STEP_PROMPT = 0, JLLM_STEP_TOKEN = 1, JLLM_STEP_END = 2 };
typedef struct jllm_progress {
  uint32_t event;    /* JLLM_STEP_... */
  uint32_t consumed; /* JLLM_STEP_PROMPT: of `total` tokens */
  uint32_t total;
  jllm_token token; /* JLLM_STEP_TOKEN */
} jllm_progress;
JLLM_API jllm_error jllm_begin(jllm_executor* executor, const uint32_t* tokens, uint32_t count);
JLLM_API jllm_error jllm_step(jllm_executor* executor, jllm_progress* progress);

/* Keeps the first `count` tokens of the sequence; 0: a new one. */
JLLM_API jllm_error jllm_rewind(jllm_executor* executor, uint32_t count);
/* What the caches have of the sequence's first `count` tokens, for later, and for other executors
 * of the same plan: so many bytes, which are taken out and put back in pieces of any size. Saving
 * rewinds to `count`. With the last bytes loaded the sequence has these tokens; what the bytes are
 * is not checked. 0 bytes: a single token has none, or the plan is too old. */
JLLM_API uint64_t jllm_prefix_bytes(const jllm_executor* executor, uint32_t count);
JLLM_API jllm_error jllm_save_prefix(jllm_executor* executor, uint32_t count, uint64_t offset,
                                     void* out, uint64_t size);
JLLM_API jllm_error jllm_load_prefix(jllm_executor* executor, const uint32_t* tokens,
                                     uint32_t count, uint64_t offset, const void* in,
                                     uint64_t size);
/* Appends one token and computes the logits behind it: evaluation. */
JLLM_API jllm_error jllm_force(jllm_executor* executor, uint32_t token);
/* Logits behind the last token made or forced; `count` must be the vocabulary's size. */
JLLM_API jllm_error jllm_read_logits(jllm_executor* executor, float* logits, uint32_t count);

/* Of plans that make embeddings, in the place of tokens: the vector of the tokens put in, not
 * scaled to a length; `count` must be jllm_plan_info.embedding_length. */
JLLM_API jllm_error jllm_embedding(jllm_executor* executor, float* vector, uint32_t count);

JLLM_API uint32_t jllm_count(const jllm_executor* executor);     /* tokens of the sequence */
JLLM_API uint32_t jllm_in_flight(const jllm_executor* executor); /* asked for, not yet returned */

/* What jllm_create() took, bytes. */
typedef struct jllm_memory {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t weights, kv, scratch, state, pinned;
} jllm_memory;
#define JLLM_MEMORY_INIT \
  { sizeof(jllm_memory), 0, 0, 0, 0, 0, 0 }
JLLM_API jllm_error jllm_memory_use(const jllm_executor* executor, jllm_memory* memory);

JLLM_API const char* jllm_device_name(const jllm_executor* executor);
/* Why the last call failed. */
JLLM_API const char* jllm_last_error(const jllm_executor* executor);

#ifdef __cplusplus
}
#endif

#endif /* JLLM_JLLM_H_ */
