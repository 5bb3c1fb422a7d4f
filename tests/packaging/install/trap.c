/* Preloaded into a program that promises to use no heap, no files and no threads: from main() on,
 * the first such call ends it with status 97 and says which it was. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int armed = 0;

__attribute__((constructor)) static void arm(void) { armed = 1; }

static void trap(const char* name) {
  if (!armed) return;
  armed = 0;
  if (write(2, name, strlen(name)) < 0 || write(2, " was called\n", 12) < 0) _exit(98);
  _exit(97);
}

/* What the loader takes before main(). */
static _Alignas(64) char early[1 << 20];
static size_t used = 0;
static void* take(size_t size) {
  void* memory = early + used;
  used += (size + 63) / 64 * 64;
  if (used > sizeof early) _exit(98);
  return memory;
}

void* malloc(size_t size) {
  trap("malloc");
  return take(size);
}
void* calloc(size_t n, size_t size) {
  trap("calloc");
  return take(n * size);
}
void* realloc(void* memory, size_t size) {
  void* grown = take(size);
  trap("realloc");
  if (memory != NULL) memcpy(grown, memory, size);
  return grown;
}
void free(void* memory) {
  if (memory != NULL) trap("free");
}
void* aligned_alloc(size_t alignment, size_t size) {
  (void)alignment;
  trap("aligned_alloc");
  return take(size);
}
int posix_memalign(void** out, size_t alignment, size_t size) {
  *out = aligned_alloc(alignment, size);
  return 0;
}

/* None of these returns: before main() nothing calls them through here. */
#define TRAPPED(name) \
  int name(void) {    \
    armed = 1;        \
    trap(#name);      \
    return -1;        \
  }
TRAPPED(open)
TRAPPED(open64)
TRAPPED(openat)
TRAPPED(fopen)
TRAPPED(fopen64)
TRAPPED(mmap)
TRAPPED(mmap64)
TRAPPED(dlopen)
TRAPPED(pthread_create)
