#!/usr/bin/env python3
"""Checks libjllm_executor.so as it is installed: its stripped size, and that it needs nothing of the system but
the functions listed below. No heap, no C++ runtime, no exceptions, no streams: whatever is not listed fails.

usage: check_library.py LIBRARY --limit BYTES [--strip PROGRAM] [--nm PROGRAM] [--readelf PROGRAM]
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

# What may be asked of the system, and what for.
ALLOWED = {
    "the linker's own": "_ITM_deregisterTMCloneTable _ITM_registerTMCloneTable __cxa_finalize __gmon_start__",
    "bytes and lines of text; they write where they are told": "memcpy memmove memset memcmp strlen strncmp strcmp"
    " snprintf vsnprintf __snprintf_chk __vsnprintf_chk __memcpy_chk __stack_chk_fail __stack_chk_guard",
    "the reason of a failed system call": "__errno_location strerror",
    "floating point": "exp expf log logf pow powf sin cos sinf cosf sincosf sqrtf nearbyintf",
    "a plan's file": "open open64 close fstat fstat64 __fxstat __fxstat64 pread pread64 posix_fadvise"
    " posix_fadvise64",
    "time": "clock_gettime nanosleep",
    "the CUDA driver, in create()": "dlopen dlsym",
    "the host backend's arenas, in create()": "mmap mmap64 munmap",
    "the host backend's threads": "pthread_create pthread_join pthread_sigmask pthread_attr_init"
    " pthread_attr_destroy pthread_attr_setstacksize sigfillset sched_getaffinity __sched_cpucount sysconf syscall"
    " getauxval",
    "waiting for a token": "sched_yield",
}
# Named so that a breach says what it is.
FORBIDDEN = [
    (r"(malloc|calloc|realloc|free|aligned_alloc|memalign|posix_memalign|valloc|strdup|brk|sbrk)$", "the heap"),
    (r"_Zn[wa]|_Zd[la]", "operator new or delete"),
    (r"__cxa_|__gxx_personality|_Unwind_", "exceptions"),
    (r"_ZNSo|_ZNSi|_ZSt|_ZNSt|_ZNKSt", "the C++ library"),
]
LIBRARIES = r"(libc|libm|libdl|libpthread|ld-linux[-a-z0-9_]*)\.so"


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def why(symbol):
    return next((what for pattern, what in FORBIDDEN if re.match(pattern, symbol)), "not in this test's list")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("--limit", type=int, required=True)
    for tool in ("strip", "nm", "readelf"):
        parser.add_argument("--" + tool, default=tool)
    options = parser.parse_args()
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        stripped = os.path.join(folder, "stripped.so")
        output(options.strip, "-o", stripped, options.library)
        size = os.path.getsize(stripped)
        symbols = [line.split() for line in output(options.nm, "-D", stripped).splitlines()]
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", output(options.readelf, "-d", stripped))
    print(f"{os.path.basename(options.library)}: {size} bytes stripped, at most {options.limit} are allowed")
    if size > options.limit:
        failures.append(f"{size - options.limit} bytes too large")
    undefined = sorted({s[-1].split("@")[0] for s in symbols if s[-2] in "Uw"})
    allowed = set(" ".join(ALLOWED.values()).split())
    failures += [f"needs {name}: {why(name)}" for name in undefined if name not in allowed]
    failures += [f"needs the library {name}" for name in needed if not re.match(LIBRARIES, name)]
    exported = sorted(s[-1] for s in symbols if s[-2] not in "Uw")
    # C: jllm_*; C++: classes of namespace jllm itself, not of those inside of it.
    strangers = [name for name in exported if not re.match(r"jllm_|_ZN?K?4jllm\d|_ZNK4jllm\d|_ZTV?N4jllm\d", name)]
    failures += [f"exports {name}" for name in strangers]
    if not any(name == "jllm_create" for name in exported) or len(undefined) < 10:
        failures.append("the tools did not find the library's symbols")
    print(f"  needs {len(undefined)} functions of {', '.join(needed)}; exports {len(exported)}")
    for failure in failures:
        print("  FAILED:", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
