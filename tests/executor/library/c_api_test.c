/* The C interface as a C99 program meets it: every function of jllm.h, over a plan in memory and
 * over the same plan as a file, the ways that fail among them. usage: c_api_test PLAN.jllm
 * SPLIT.jllm VECTORS.jllm (the bundled model, for the host; the same with its weights in a file
 * beside it; the same as one that makes embeddings) */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jllm/jllm.h"

static int failures = 0;

#define CHECK(condition)                                                   \
  do {                                                                     \
    if (!(condition)) {                                                    \
      printf("%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                          \
    }                                                                      \
  } while (0)
#define CHECK_ERROR(call, expected)                                                  \
  do {                                                                               \
    const jllm_error error_ = (call);                                                \
    if (error_ != (expected)) {                                                      \
      printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #call, jllm_error_name(error_)); \
      ++failures;                                                                    \
    }                                                                                \
  } while (0)
#define CHECK_OK(call) CHECK_ERROR(call, JLLM_OK)

enum { kMany = 24, kLongPrompt = 100 };

/* A block of exactly `size` bytes at a multiple of 64. */
typedef struct {
  void* start;
  void* memory;
} Block;

static Block make_block(uint64_t size) {
  Block block;
  block.start = malloc((size_t)size + 64);
  if (block.start == NULL) abort();
  block.memory = (char*)block.start + (64 - (uintptr_t)block.start % 64);
  return block;
}

static void* read_file(const char* path, Block* block, uint64_t* size) {
  FILE* file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
    printf("cannot open %s\n", path);
    exit(1);
  }
  *size = (uint64_t)ftell(file);
  rewind(file);
  *block = make_block(*size);
  if (fread(block->memory, 1, (size_t)*size, file) != *size) exit(1);
  fclose(file);
  return block->memory;
}

typedef struct {
  Block block, arenas;
  jllm_executor* executor;
} Running;

static Running start(const jllm_plan* plan, int own_arenas) {
  Running running;
  jllm_message message;
  jllm_options options = JLLM_OPTIONS_INIT;
  jllm_requirements needs = JLLM_REQUIREMENTS_INIT;
  options.threads = 1;
  CHECK_OK(jllm_require(plan, &options, &needs));
  CHECK(needs.alignment == 64 && needs.executor_bytes > 0 && needs.arena_bytes > 0);
  running.block = make_block(needs.executor_bytes);
  running.arenas = make_block(needs.arena_bytes);
  if (own_arenas) {
    options.arena_memory = running.arenas.memory;
    options.arena_memory_size = needs.arena_bytes;
  }
  message.text[0] = '\0';
  CHECK_OK(jllm_create(plan, &options, running.block.memory, needs.executor_bytes,
                       &running.executor, &message));
  if (running.executor == NULL) {
    printf("%s\n", message.text);
    exit(1);
  }
  return running;
}

static void stop(Running running) {
  jllm_destroy(running.executor);
  free(running.block.start);
  free(running.arenas.start);
}

/* The first tokens behind a prompt, by prefill and generate. */
static void generate(jllm_executor* executor, const uint32_t* prompt, uint32_t n, uint32_t* out) {
  uint32_t i;
  jllm_sampling sampling = JLLM_SAMPLING_INIT;
  sampling.ignore_end = 1;
  CHECK_OK(jllm_set_sampling(executor, &sampling));
  CHECK_OK(jllm_rewind(executor, 0));
  CHECK_OK(jllm_prefill(executor, prompt, n));
  for (i = 0; i < kMany; ++i) {
    jllm_token token = {0, 0};
    CHECK_OK(jllm_generate(executor, kMany - i, &token));
    out[i] = token.id;
  }
}

static void test_plan_in_memory(const jllm_plan* plan) {
  jllm_plan_info info = JLLM_PLAN_INFO_INIT;
  char piece[64];
  uint32_t id, with_text = 0;
  CHECK_OK(jllm_plan_describe(plan, &info));
  CHECK(info.is_host == 1 && info.context == 256 && info.vocab_size > 100);
  CHECK(info.longest_replay > 1 && info.device_bytes > 0);
  CHECK(info.model != NULL && strcmp(info.architecture, "llama") == 0);
  for (id = 0; id < info.vocab_size; ++id) {
    with_text += jllm_plan_piece(plan, id, piece, sizeof piece) > 0 ? 1u : 0u;
  }
  CHECK(with_text > info.vocab_size / 2);
  CHECK(jllm_plan_piece(plan, info.vocab_size, piece, sizeof piece) == 0);
  /* An older program's struct: what it does not have stays as it is. */
  info.vocab_size = 7;
  info.struct_size = 12;
  CHECK_OK(jllm_plan_describe(plan, &info));
  CHECK(info.struct_size == 12 && info.context == 256 && info.vocab_size == 7);
  info.struct_size = 0;
  CHECK_ERROR(jllm_plan_describe(plan, &info), JLLM_BAD_ARGUMENT);
}

static void test_file_and_segment(const char* path, const jllm_plan* in_memory) {
  jllm_message message;
  jllm_plan* plan = NULL;
  uint64_t bytes = 0, size;
  Block block, segment;
  CHECK_OK(jllm_plan_file_bytes(path, &bytes, &message));
  CHECK(bytes > JLLM_PLAN_BYTES);
  block = make_block(bytes);
  CHECK_ERROR(jllm_plan_open_file(path, block.memory, bytes - 1, &plan, &message),
              JLLM_HOST_MEMORY_TOO_SMALL);
  CHECK(plan == NULL && strstr(message.text, "64-byte aligned") != NULL);
  CHECK_OK(jllm_plan_open_file(path, block.memory, bytes, &plan, NULL));
  size = jllm_plan_segment_bytes(plan, JLLM_SEGMENT_TOKENIZER);
  CHECK(size > 1000 && size == jllm_plan_segment_bytes(in_memory, JLLM_SEGMENT_TOKENIZER));
  segment = make_block(size);
  CHECK_ERROR(jllm_plan_read_segment(plan, JLLM_SEGMENT_TOKENIZER, segment.memory, size - 1),
              JLLM_BAD_ARGUMENT);
  CHECK_OK(jllm_plan_read_segment(plan, JLLM_SEGMENT_TOKENIZER, segment.memory, size));
  CHECK(memcmp((char*)segment.memory + 4, "JLTK", 4) == 0);
  CHECK(jllm_plan_segment_bytes(plan, 99) == 0);
  free(segment.start);
  {
    Running a = start(plan, 0), b = start(in_memory, 1);
    const uint32_t prompt[5] = {10, 20, 30, 40, 50};
    uint32_t from_file[kMany], from_memory[kMany];
    generate(a.executor, prompt, 5, from_file);
    generate(b.executor, prompt, 5, from_memory);
    CHECK(memcmp(from_file, from_memory, sizeof from_file) == 0);
    stop(a);
    stop(b);
  }
  jllm_plan_close(plan);
  free(block.start);

  CHECK_ERROR(jllm_plan_file_bytes("/nonexistent.jllm", &bytes, &message), JLLM_READ_FAILED);
  CHECK(strstr(message.text, "/nonexistent.jllm") != NULL);
}

/* The weights stand in a file beside the plan; they are the same, and so are the tokens. */
static void test_split_plan(const char* path, const jllm_plan* whole) {
  const uint32_t prompt[5] = {10, 20, 30, 40, 50};
  uint32_t expected[kMany], tokens[kMany];
  char weights[1024] = "";
  const char* slash = strrchr(path, '/');
  jllm_plan_info info = JLLM_PLAN_INFO_INIT;
  jllm_options options = JLLM_OPTIONS_INIT;
  jllm_requirements needs = JLLM_REQUIREMENTS_INIT;
  jllm_message message;
  jllm_plan* plan = NULL;
  jllm_executor* executor = NULL;
  uint64_t bytes = 0;
  Block tables, block;
  Running running = start(whole, 0);
  generate(running.executor, prompt, 5, expected);
  stop(running);
  CHECK_OK(jllm_plan_describe(whole, &info));
  CHECK(info.weight_file == NULL);

  CHECK_OK(jllm_plan_file_bytes(path, &bytes, &message));
  tables = make_block(bytes);
  CHECK_OK(jllm_plan_open_file(path, tables.memory, bytes, &plan, &message));
  CHECK_OK(jllm_plan_describe(plan, &info));
  CHECK(info.weight_file != NULL);
  if (info.weight_file == NULL || slash == NULL) return;
  snprintf(weights, sizeof weights, "%.*s/%s", (int)(slash - path), path, info.weight_file);
  options.threads = 1;
  CHECK_OK(jllm_require(plan, &options, &needs));
  block = make_block(needs.executor_bytes);
  CHECK_ERROR(jllm_create(plan, &options, block.memory, needs.executor_bytes, &executor, &message),
              JLLM_BAD_ARGUMENT);
  CHECK(strstr(message.text, info.weight_file) != NULL);
  options.weight_file = "/nonexistent.jllmw";
  CHECK_ERROR(jllm_create(plan, &options, block.memory, needs.executor_bytes, &executor, &message),
              JLLM_READ_FAILED);
  CHECK(strstr(message.text, "/nonexistent.jllmw") != NULL);
  options.weight_file = path; /* another file */
  CHECK(jllm_create(plan, &options, block.memory, needs.executor_bytes, &executor, &message) !=
        JLLM_OK);
  CHECK(executor == NULL);
  options.weight_file = weights;
  CHECK_OK(jllm_create(plan, &options, block.memory, needs.executor_bytes, &executor, &message));
  generate(executor, prompt, 5, tokens);
  CHECK(memcmp(tokens, expected, sizeof tokens) == 0);
  jllm_destroy(executor);
  jllm_plan_close(plan);
  free(block.start);
  free(tables.start);
}

static void test_refusals(const uint8_t* data, uint64_t size) {
  jllm_message message;
  jllm_plan* plan = NULL;
  Block handle = make_block(JLLM_PLAN_BYTES), copy = make_block(4096);
  CHECK_ERROR(jllm_plan_open_memory(data, size, handle.memory, JLLM_PLAN_BYTES - 1, &plan, NULL),
              JLLM_HOST_MEMORY_TOO_SMALL);
  CHECK_ERROR(
      jllm_plan_open_memory(data, size - 1, handle.memory, JLLM_PLAN_BYTES, &plan, &message),
      JLLM_PLAN_TRUNCATED);
  CHECK_ERROR(
      jllm_plan_open_memory(data + 1, size - 1, handle.memory, JLLM_PLAN_BYTES, &plan, &message),
      JLLM_BAD_ARGUMENT);
  memset(copy.memory, 0, 4096);
  CHECK_ERROR(
      jllm_plan_open_memory(copy.memory, 4096, handle.memory, JLLM_PLAN_BYTES, &plan, &message),
      JLLM_NOT_A_PLAN);
  CHECK(plan == NULL && message.text[0] != '\0');
  free(copy.start);
  free(handle.start);
}

static void test_create(const jllm_plan* plan) {
  struct {
    jllm_options known;
    uint64_t unknown;
  } newer = {JLLM_OPTIONS_INIT, 0};
  jllm_message message;
  jllm_executor* executor = NULL;
  jllm_options options = JLLM_OPTIONS_INIT;
  jllm_requirements needs = JLLM_REQUIREMENTS_INIT;
  Block block, arenas;
  options.threads = 1;
  CHECK_OK(jllm_require(plan, NULL, &needs));
  CHECK_OK(jllm_require(plan, &options, &needs));
  block = make_block(needs.executor_bytes);
  arenas = make_block(needs.arena_bytes);
  CHECK_ERROR(
      jllm_create(plan, &options, block.memory, needs.executor_bytes - 1, &executor, &message),
      JLLM_HOST_MEMORY_TOO_SMALL);
  CHECK(executor == NULL && strstr(message.text, "the executor needs") != NULL);
  options.arena_memory = arenas.memory;
  options.arena_memory_size = needs.arena_bytes - 1;
  CHECK_ERROR(jllm_create(plan, &options, block.memory, needs.executor_bytes, &executor, &message),
              JLLM_HOST_MEMORY_TOO_SMALL);
  CHECK(executor == NULL && strstr(message.text, "the arenas need") != NULL);
  options.struct_size = 0;
  CHECK_ERROR(jllm_create(plan, &options, block.memory, needs.executor_bytes, &executor, &message),
              JLLM_BAD_ARGUMENT);
  /* A program of tomorrow: fine as long as it asks for nothing that this library does not know. */
  newer.known.struct_size = sizeof newer;
  newer.known.threads = 1;
  CHECK_OK(
      jllm_create(plan, &newer.known, block.memory, needs.executor_bytes, &executor, &message));
  jllm_destroy(executor);
  newer.unknown = 1;
  CHECK_ERROR(
      jllm_create(plan, &newer.known, block.memory, needs.executor_bytes, &executor, &message),
      JLLM_BAD_ARGUMENT);
  CHECK(strstr(message.text, "newer library") != NULL);
  jllm_destroy(NULL);
  free(arenas.start);
  free(block.start);
}

/* begin() and step() give the tokens that prefill() and generate() give, in bounded parts. */
static void test_step(const jllm_plan* plan) {
  jllm_plan_info info = JLLM_PLAN_INFO_INIT;
  uint32_t prompt[kLongPrompt], expected[kMany], i, made = 0, consumed = 0, parts = 0;
  jllm_progress progress;
  Running running = start(plan, 1);
  jllm_executor* const executor = running.executor;
  CHECK_OK(jllm_plan_describe(plan, &info));
  for (i = 0; i < kLongPrompt; ++i) prompt[i] = 5 + i * 7 % (info.vocab_size - 5);
  generate(executor, prompt, kLongPrompt, expected);
  CHECK_OK(jllm_rewind(executor, 0));
  CHECK_OK(jllm_begin(executor, prompt, kLongPrompt));
  while (made < kMany) {
    CHECK_OK(jllm_step(executor, &progress));
    if (progress.event == JLLM_STEP_PROMPT) {
      CHECK(progress.total == kLongPrompt && progress.consumed > consumed);
      CHECK(progress.consumed - consumed <= info.longest_replay);
      consumed = progress.consumed;
      ++parts;
    } else {
      CHECK(progress.event == JLLM_STEP_TOKEN && consumed == kLongPrompt);
      CHECK(progress.token.id == expected[made]);
      ++made;
    }
  }
  CHECK(parts >= kLongPrompt / info.longest_replay);
  /* To the end of the context. */
  do {
    CHECK_OK(jllm_step(executor, &progress));
  } while (progress.event == JLLM_STEP_TOKEN && progress.token.done == JLLM_RUNNING);
  CHECK(progress.event == JLLM_STEP_TOKEN && progress.token.done == JLLM_END_OF_CONTEXT);
  CHECK_OK(jllm_step(executor, &progress));
  CHECK(progress.event == JLLM_STEP_END);
  stop(running);
}

/* Another executor goes on behind a saved prefix with the tokens of the one that computed it. */
static void test_prefix(const jllm_plan* plan) {
  enum { kPiece = 4096 };
  uint32_t prompt[kLongPrompt], expected[kMany], i;
  uint64_t size, at, n;
  char* bytes;
  Running a = start(plan, 0), b = start(plan, 1);
  for (i = 0; i < kLongPrompt; ++i) prompt[i] = 5 + i * 7 % 200;
  generate(a.executor, prompt, kLongPrompt, expected);
  size = jllm_prefix_bytes(a.executor, kLongPrompt);
  CHECK(size > kPiece);
  bytes = malloc(size);
  for (at = 0; at < size; at += n) {
    n = size - at < kPiece ? size - at : kPiece;
    CHECK_OK(jllm_save_prefix(a.executor, kLongPrompt, at, bytes + at, n));
  }
  CHECK(jllm_count(a.executor) == kLongPrompt);
  CHECK_ERROR(jllm_save_prefix(a.executor, kLongPrompt, size, bytes, 1), JLLM_BAD_ARGUMENT);
  CHECK_OK(jllm_load_prefix(b.executor, prompt, kLongPrompt, 0, bytes, 1));
  CHECK(jllm_count(b.executor) == 0);
  CHECK_OK(jllm_load_prefix(b.executor, prompt, kLongPrompt, 1, bytes + 1, size - 1));
  CHECK(jllm_count(b.executor) == kLongPrompt);
  for (i = 0; i < kMany; ++i) {
    jllm_token token = {0, 0};
    CHECK_OK(jllm_generate(b.executor, kMany - i, &token));
    CHECK(token.id == expected[i]);
  }
  free(bytes);
  stop(a);
  stop(b);
}

static void test_calls(const jllm_plan* plan) {
  const uint32_t prompt[4] = {10, 20, 30, 40}, bad = 0xffffff;
  uint32_t tokens[kMany], i;
  float* logits;
  jllm_plan_info info = JLLM_PLAN_INFO_INIT;
  jllm_memory memory = JLLM_MEMORY_INIT;
  jllm_sampling sampling = JLLM_SAMPLING_INIT;
  jllm_token token = {0, 0};
  Running running = start(plan, 0);
  jllm_executor* const executor = running.executor;
  CHECK_OK(jllm_plan_describe(plan, &info));
  CHECK(strstr(jllm_device_name(executor), "CPU") != NULL);
  CHECK_OK(jllm_memory_use(executor, &memory));
  CHECK(memory.weights > 0 && memory.kv > 0);
  CHECK(memory.weights + memory.kv + memory.scratch + memory.state + memory.pinned ==
        info.device_bytes);

  CHECK_ERROR(jllm_next(executor, &token), JLLM_NOTHING_TO_DO);
  CHECK_ERROR(jllm_prefill(executor, &bad, 1), JLLM_BAD_ARGUMENT);
  CHECK(strstr(jllm_last_error(executor), "vocabulary") != NULL);
  generate(executor, prompt, 4, tokens);
  CHECK(jllm_count(executor) == 4 + kMany && jllm_in_flight(executor) == 0);

  /* The same by asking and waiting apart, and by force(). */
  jllm_set_speculation(executor, 0);
  CHECK_OK(jllm_rewind(executor, 4));
  for (i = 0; i < 8; ++i) CHECK_OK(jllm_enqueue(executor));
  CHECK(jllm_in_flight(executor) == 8);
  for (i = 0; i < 8; ++i) {
    CHECK_OK(jllm_next(executor, &token));
    CHECK(token.id == tokens[i] && token.done == JLLM_RUNNING);
  }
  CHECK_OK(jllm_rewind(executor, 4));
  CHECK_OK(jllm_force(executor, tokens[0]));
  logits = malloc(info.vocab_size * sizeof(float));
  CHECK_ERROR(jllm_read_logits(executor, logits, info.vocab_size - 1), JLLM_BAD_ARGUMENT);
  CHECK_OK(jllm_read_logits(executor, logits, info.vocab_size));
  for (i = 0; i < info.vocab_size; ++i) {
    CHECK(isfinite(logits[i]));
    CHECK(logits[i] <= logits[tokens[1]]);
  }
  free(logits);

  sampling.temperature = -1;
  CHECK_ERROR(jllm_set_sampling(executor, &sampling), JLLM_BAD_ARGUMENT);
  CHECK_ERROR(jllm_rewind(executor, 200), JLLM_BAD_ARGUMENT);
  stop(running);
}

static void test_vectors(const char* path, const jllm_plan* text) {
  const uint32_t prompt[4] = {10, 20, 30, 40};
  float vector[256], again[256], other[256], sum = 0;
  uint32_t i;
  uint64_t size = 0;
  jllm_message message;
  jllm_token token = {0, 0};
  jllm_plan* plan = NULL;
  jllm_plan_info info = JLLM_PLAN_INFO_INIT;
  Block file, handle = make_block(JLLM_PLAN_BYTES);
  Running running;
  const void* data = read_file(path, &file, &size);
  CHECK_OK(jllm_plan_open_memory(data, size, handle.memory, JLLM_PLAN_BYTES, &plan, &message));
  if (plan == NULL) return;
  CHECK_OK(jllm_plan_describe(plan, &info));
  CHECK(info.embedding_length == 256);
  running = start(plan, 1);
  CHECK_ERROR(jllm_embedding(running.executor, vector, 256), JLLM_BAD_ARGUMENT);
  CHECK(strstr(jllm_last_error(running.executor), "no prompt") != NULL);
  CHECK_OK(jllm_prefill(running.executor, prompt, 4));
  CHECK_ERROR(jllm_embedding(running.executor, vector, 255), JLLM_BAD_ARGUMENT);
  CHECK_OK(jllm_embedding(running.executor, vector, 256));
  CHECK_OK(jllm_prefill(running.executor, prompt, 1));
  CHECK_OK(jllm_embedding(running.executor, other, 256));
  CHECK_OK(jllm_rewind(running.executor, 0));
  CHECK_OK(jllm_prefill(running.executor, prompt, 4));
  CHECK_OK(jllm_embedding(running.executor, again, 256));
  CHECK(memcmp(vector, again, sizeof vector) == 0);
  CHECK(memcmp(vector, other, sizeof vector) != 0);
  for (i = 0; i < 256; ++i) sum += vector[i] * vector[i];
  CHECK(isfinite(sum) && sum > 0);
  CHECK_ERROR(jllm_generate(running.executor, 1, &token), JLLM_BAD_ARGUMENT);
  CHECK(strstr(jllm_last_error(running.executor), "--embedding none") != NULL);
  stop(running);
  jllm_plan_close(plan);
  free(handle.start);
  free(file.start);

  CHECK_OK(jllm_plan_describe(text, &info));
  CHECK(info.embedding_length == 0);
  running = start(text, 0);
  CHECK_OK(jllm_prefill(running.executor, prompt, 4));
  CHECK_ERROR(jllm_embedding(running.executor, vector, 256), JLLM_BAD_ARGUMENT);
  CHECK(strstr(jllm_last_error(running.executor), "--embedding last") != NULL);
  stop(running);
}

int main(int argc, char** argv) {
  jllm_plan* plan = NULL;
  jllm_message message;
  uint64_t size = 0;
  Block file, handle = make_block(JLLM_PLAN_BYTES);
  const void* data;
  if (argc != 4) {
    printf("usage: %s PLAN.jllm SPLIT.jllm VECTORS.jllm\n", argv[0]);
    return 2;
  }
  CHECK(jllm_abi_version() == JLLM_ABI_VERSION);
  CHECK(strchr(jllm_version(), '.') != NULL);
  CHECK(strcmp(jllm_error_name(JLLM_CONTEXT_FULL), "context_full") == 0);
  data = read_file(argv[1], &file, &size);
  CHECK_OK(jllm_plan_open_memory(data, size, handle.memory, JLLM_PLAN_BYTES, &plan, &message));
  if (plan == NULL) {
    printf("%s\n", message.text);
    return 1;
  }
  test_plan_in_memory(plan);
  test_file_and_segment(argv[1], plan);
  test_split_plan(argv[2], plan);
  test_refusals(data, size);
  test_create(plan);
  test_step(plan);
  test_prefix(plan);
  test_calls(plan);
  test_vectors(argv[3], plan);
  jllm_plan_close(plan);
  free(handle.start);
  free(file.start);
  printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
