/* A model in a firmware's main loop: the plan is linked in, every buffer is static, nothing is
 * allocated, no file is opened, no thread is started, and each turn of the loop comes back in time
 * to feed a watchdog. jllm_embed_plan() in CMakeLists.txt makes model.h and the array `model`.
 * usage: firmware_loop [MICROSECONDS]     the longest that a turn may take (default: no limit) */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "jllm/jllm.h"
#include "model.h"

enum { kAnswer = 48 };

static _Alignas(64) unsigned char plan_block[JLLM_PLAN_BYTES];
static _Alignas(64) unsigned char executor_block[MODEL_EXECUTOR_BYTES];
static _Alignas(64) unsigned char arenas[MODEL_ARENA_BYTES];
static const uint32_t prompt[MODEL_PROMPT_COUNT] = MODEL_PROMPT;

/* The serial line of a board. */
static void print(const char* text, size_t size) {
  while (size > 0) {
    const ssize_t n = write(STDOUT_FILENO, text, size);
    if (n <= 0) return;
    text += n;
    size -= (size_t)n;
  }
}

static void stop(const char* what, const char* why) {
  print(what, strlen(what));
  print(": ", 2);
  print(why, strlen(why));
  print("\n", 1);
  _exit(1);
}

/* Stands in for the watchdog: ends the program when it was not fed for too long. */
static int64_t fed_at, longest_turn, allowed_turn;

static int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void feed_watchdog(void) {
  const int64_t now = now_us();
  if (now - fed_at > longest_turn) longest_turn = now - fed_at;
  if (allowed_turn > 0 && now - fed_at > allowed_turn) stop("watchdog", "a turn took too long");
  fed_at = now;
}

static jllm_executor* start(const jllm_plan** plan_out) {
  static jllm_message message;
  jllm_plan* plan;
  jllm_executor* executor;
  jllm_options options = JLLM_OPTIONS_INIT;
  options.threads = 1; /* this one */
  options.arena_memory = arenas;
  options.arena_memory_size = sizeof arenas;
  if (jllm_plan_open_memory(model, sizeof model, plan_block, sizeof plan_block, &plan, &message) !=
          JLLM_OK ||
      jllm_create(plan, &options, executor_block, sizeof executor_block, &executor, &message) !=
          JLLM_OK) {
    stop("start", message.text);
  }
  *plan_out = plan;
  return executor;
}

static void print_token(const jllm_plan* plan, uint32_t token) {
  char text[128];
  const uint32_t size = jllm_plan_piece(plan, token, text, sizeof text);
  print(text, size < sizeof text ? size : sizeof text);
}

int main(int argc, char** argv) {
  const jllm_plan* plan;
  jllm_executor* executor = start(&plan);
  jllm_progress progress;
  int made = 0;
  if (argc > 1) allowed_turn = atoll(argv[1]);
  if (jllm_begin(executor, prompt, MODEL_PROMPT_COUNT) != JLLM_OK) {
    stop("begin", jllm_last_error(executor));
  }
  fed_at = now_us();
  /* The main loop. What else the firmware does in a turn would stand here too. */
  while (made < kAnswer) {
    if (jllm_step(executor, &progress) != JLLM_OK) stop("step", jllm_last_error(executor));
    if (progress.event == JLLM_STEP_END) break;
    if (progress.event == JLLM_STEP_TOKEN) {
      print_token(plan, progress.token.id);
      ++made;
    }
    feed_watchdog();
  }
  print("\n", 1);
  jllm_destroy(executor);
  return longest_turn > 0 ? 0 : 1;
}
