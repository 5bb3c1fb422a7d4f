/* A library without the host backend says so of a host plan, and takes nothing.
 * usage: missing_backend_test PLAN.jllm (for the host), linked with the library for CUDA only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jllm/jllm.h"

int main(int argc, char** argv) {
  uint64_t bytes = 0;
  jllm_message message;
  jllm_plan* plan = NULL;
  jllm_executor* executor = NULL;
  jllm_requirements needs = JLLM_REQUIREMENTS_INIT;
  if (argc != 2 || jllm_plan_file_bytes(argv[1], &bytes, &message) != JLLM_OK) return 2;
  void* const tables = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64);
  if (jllm_plan_open_file(argv[1], tables, bytes, &plan, &message) != JLLM_OK) return 3;
  if (jllm_require(plan, NULL, &needs) != JLLM_OK || needs.arena_bytes != 0) return 4;
  void* const block = aligned_alloc(64, (size_t)(needs.executor_bytes + 63) / 64 * 64);
  const jllm_error error =
      jllm_create(plan, NULL, block, needs.executor_bytes, &executor, &message);
  printf("%s: %s\n", jllm_error_name(error), message.text);
  if (error != JLLM_TARGET_MISMATCH || executor != NULL) return 5;
  if (strstr(message.text, "JLLM_BACKENDS") == NULL) return 6;
  jllm_plan_close(plan);
  free(block);
  free(tables);
  return 0;
}
