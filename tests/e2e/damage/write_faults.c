// Preloaded into a program, fails or ends it at one of its calls that change files:
// JLLM_FAULT=CALL:WHAT, counting pwrite, fsync, linkat and rename from 1. WHAT: enospc, eio, short
// (half of a write is done, the next one is refused), int, term or kill (the signal comes before
// the call), cut or touch (JLLM_FAULT_FILE loses its second half, or its first byte is written
// over). At the end of the program, JLLM_FAULT_COUNT names a file that gets the number of
// calls.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static long calls;
static int disk_is_full;

static void change_file(const char* path, int cut) {
  struct stat info;
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &info) != 0) abort();
  if (cut ? ftruncate(fd, info.st_size / 2) != 0 : write(fd, "g", 1) != 1) abort();
  close(fd);
}

// 0: go on. 1: fail with errno. 2: do half.
static int fault(void) {
  const char* plan = getenv("JLLM_FAULT");
  ++calls;
  if (disk_is_full) {
    errno = ENOSPC;
    return 1;
  }
  if (plan == NULL || strtol(plan, NULL, 10) != calls) return 0;
  const char* what = strchr(plan, ':') + 1;
  if (strcmp(what, "enospc") == 0) {
    disk_is_full = 1;
    errno = ENOSPC;
    return 1;
  }
  if (strcmp(what, "eio") == 0) {
    errno = EIO;
    return 1;
  }
  if (strcmp(what, "short") == 0) {
    disk_is_full = 1;
    return 2;
  }
  const char* file = getenv("JLLM_FAULT_FILE");
  if (file != NULL) {
    change_file(file, strcmp(what, "cut") == 0);
    return 0;
  }
  raise(strcmp(what, "int") == 0 ? SIGINT : strcmp(what, "term") == 0 ? SIGTERM : SIGKILL);
  return 0;
}

typedef ssize_t (*PwriteFunction)(int, const void*, size_t, off_t);
typedef int (*FsyncFunction)(int);
typedef int (*LinkatFunction)(int, const char*, int, const char*, int);
typedef int (*RenameFunction)(const char*, const char*);

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  const PwriteFunction real = (PwriteFunction)dlsym(RTLD_NEXT, "pwrite");
  const int what = fault();
  if (what == 1) return -1;
  return real(fd, data, what == 2 && size > 1 ? size / 2 : size, offset);
}

ssize_t pwrite64(int fd, const void* data, size_t size, off_t offset) {
  return pwrite(fd, data, size, offset);
}

int fsync(int fd) {
  const FsyncFunction real = (FsyncFunction)dlsym(RTLD_NEXT, "fsync");
  return fault() == 1 ? -1 : real(fd);
}

int linkat(int from, const char* old, int to, const char* new, int flags) {
  const LinkatFunction real = (LinkatFunction)dlsym(RTLD_NEXT, "linkat");
  return fault() == 1 ? -1 : real(from, old, to, new, flags);
}

int rename(const char* old, const char* new) {
  const RenameFunction real = (RenameFunction)dlsym(RTLD_NEXT, "rename");
  return fault() == 1 ? -1 : real(old, new);
}

__attribute__((destructor)) static void tell(void) {
  const char* path = getenv("JLLM_FAULT_COUNT");
  FILE* file = path != NULL ? fopen(path, "w") : NULL;
  if (file == NULL) return;
  fprintf(file, "%ld\n", calls);
  fclose(file);
}
