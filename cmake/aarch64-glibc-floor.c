// What Debian 12's libstdc++.a takes from a glibc newer than 2.31, for programs linked against 2.31
// (JetPack 5). tools/cross_aarch64.sh compiles it into the sysroot; cmake/aarch64-linux-gnu.cmake
// links it into every program.
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

// glibc 2.32: true while a program has one thread only. False is always right: atomic instructions
// are used then.
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;

// glibc 2.36: std::random_device draws from it. Never fails there, so that it must not return here
// without a number.
__attribute__((visibility("hidden"))) uint32_t arc4random(void) {
  uint32_t value;
  if (getrandom(&value, sizeof(value), 0) != (ssize_t)sizeof(value)) abort();
  return value;
}
