/* A plan's answer to a prompt, in C: the least that a program needs.
 * usage: embed_c PLAN.jllm PROMPT [TOKENS] */
#include <stdio.h>
#include <stdlib.h>

#include "jllm/jllm.h"
#include "jllm/jllm_text.h"

/* The library allocates nothing: it says what it needs, and gets it here. */
static void* block_of(uint64_t size) {
  void* block = aligned_alloc(JLLM_ALIGNMENT, (size_t)((size + 63) / 64 * 64));
  if (block == NULL) abort();
  return block;
}

static int fail(jllm_error error, const char* why) {
  fprintf(stderr, "embed_c: %s (%s)\n", why, jllm_error_name(error));
  return 1;
}

static void print_text(const char* text, uint64_t size) {
  fwrite(text, 1, (size_t)size, stdout);
  fflush(stdout);
}

/* Puts the prompt in and prints what comes out, a token at a time. */
static jllm_error answer(jllm_executor* executor, const jllm_tokenizer* tokenizer,
                         const uint32_t* prompt, uint32_t count, uint32_t most) {
  const char* text;
  uint64_t size;
  jllm_token token = {0, JLLM_RUNNING};
  jllm_decoder* decoder;
  jllm_error error = jllm_decoder_open(tokenizer, 0, &decoder);
  if (error == JLLM_OK) error = jllm_prefill(executor, prompt, count);
  for (uint32_t i = 0; error == JLLM_OK && token.done == JLLM_RUNNING && i < most; ++i) {
    error = jllm_generate(executor, most - i, &token);
    if (error == JLLM_OK) error = jllm_decoder_push(decoder, token.id, &text, &size);
    if (error == JLLM_OK) print_text(text, size);
  }
  if (error == JLLM_OK) error = jllm_decoder_finish(decoder, &text, &size);
  if (error == JLLM_OK) print_text(text, size);
  jllm_decoder_close(decoder);
  return error;
}

static int run(const jllm_plan* plan, const char* text, uint32_t most) {
  jllm_message message;
  jllm_tokenizer* tokenizer;
  jllm_executor* executor;
  uint32_t tokens[1024];
  uint64_t count = 0;
  jllm_requirements needs = JLLM_REQUIREMENTS_INIT;
  jllm_error error = jllm_tokenizer_open(plan, &tokenizer, &message);
  if (error != JLLM_OK) return fail(error, message.text);
  size_t size = 0;
  while (text[size] != '\0') ++size;
  error = jllm_tokenize(tokenizer, text, size, JLLM_ADD_SPECIAL | JLLM_PARSE_SPECIAL, tokens, 1024,
                        &count);
  if (error != JLLM_OK || count > 1024) return fail(error, "the prompt is too long");

  error = jllm_require(plan, NULL, &needs);
  if (error != JLLM_OK) return fail(error, "requirements");
  void* block = block_of(needs.executor_bytes);
  error = jllm_create(plan, NULL, block, needs.executor_bytes, &executor, &message);
  if (error != JLLM_OK) return fail(error, message.text);
  error = answer(executor, tokenizer, tokens, (uint32_t)count, most);
  if (error != JLLM_OK) fail(error, jllm_last_error(executor));
  printf("\n");
  jllm_destroy(executor);
  free(block);
  jllm_tokenizer_close(tokenizer);
  return error == JLLM_OK ? 0 : 1;
}

int main(int argc, char** argv) {
  jllm_message message;
  jllm_plan* plan;
  uint64_t bytes;
  if (argc < 3) {
    fprintf(stderr, "usage: embed_c PLAN.jllm PROMPT [TOKENS]\n");
    return 2;
  }
  jllm_error error = jllm_plan_file_bytes(argv[1], &bytes, &message);
  if (error != JLLM_OK) return fail(error, message.text);
  void* block = block_of(bytes);
  error = jllm_plan_open_file(argv[1], block, bytes, &plan, &message);
  if (error != JLLM_OK) return fail(error, message.text);
  const int status = run(plan, argv[2], argc > 3 ? (uint32_t)atoi(argv[3]) : 64);
  jllm_plan_close(plan);
  free(block);
  return status;
}
