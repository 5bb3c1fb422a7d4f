#!/usr/bin/env python3
"""Installs into a fresh prefix and builds every example against it, as a user would, by find_package alone; runs
them on the bundled model and checks the text. The firmware loop runs with the heap, files and threads trapped."""
import os
import shutil
import tempfile

from common import ANSWER, PROMPT, environment, expect, install, options, run


def build_example(o, folder, prefix, name, *definitions):
    build = os.path.join(folder, name)
    run(o.cmake, "-G", "Ninja", "-S", os.path.join(o.source, "examples", name), "-B", build,
        f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_C_COMPILER={o.cc}", f"-DCMAKE_CXX_COMPILER={o.cxx}",
        "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror",
        "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror", *definitions)
    run(o.cmake, "--build", build)
    return os.path.join(build, name)


def main():
    o = options()
    with tempfile.TemporaryDirectory() as folder:
        prefix = os.path.join(folder, "prefix with a space")
        install(o, prefix)
        # The copy alone: nothing of the build tree may be needed.
        expect(run(os.path.join(prefix, "bin", "jllm"), "--version").startswith("jllm "), "the installed jllm")

        program = build_example(o, folder, prefix, "embed_c")
        text = run(program, o.plan, PROMPT, 24)
        expect(text.startswith(ANSWER), f"embed_c: {text}")
        text = run(program, o.plan + ".missing", PROMPT, status=1)
        expect("embed_c: " in text and "read_failed" in text, text)

        program = build_example(o, folder, prefix, "embed_cpp")
        text = run(program, o.plan, PROMPT, 24)
        expect(text.startswith(ANSWER) and "both the same" in text, f"embed_cpp: {text}")

        program = build_example(o, folder, prefix, "firmware_loop", f"-DPLAN={o.plan}")
        trap = os.path.join(folder, "trap.so")
        run(o.cc, "-shared", "-fPIC", "-fno-builtin", "-O1", "-w",
            os.path.join(o.source, "tests", "packaging", "install", "trap.c"), "-o", trap)
        # The trap traps: embed_c uses the heap.
        text = run(os.path.join(folder, "embed_c", "embed_c"), o.plan, PROMPT, status=97,
                   env=environment(LD_PRELOAD=trap))
        expect("was called" in text, text)
        text = run(program, env=environment(LD_PRELOAD=trap))
        expect(text.startswith(ANSWER), f"firmware_loop: {text}")
        # Its watchdog bites: no turn takes less than a microsecond.
        text = run(program, 1, status=1)
        expect("a turn took too long" in text, text)

        if shutil.which("pkg-config"):
            env = environment(PKG_CONFIG_PATH=os.path.join(prefix, "lib", "pkgconfig"))
            flags = run("pkg-config", "--cflags", "--libs", "jllm-executor", "jllm-text", env=env)
            program = os.path.join(folder, "by_pkg_config")
            run("sh", "-c", f"'{o.cc}' -std=c11 '{o.source}/examples/embed_c/main.c' {flags.strip()} -o '{program}'")
            text = run(program, o.plan, PROMPT, 24, env=environment(LD_LIBRARY_PATH=os.path.join(prefix, "lib")))
            expect(text.startswith(ANSWER), f"by pkg-config: {text}")
        else:
            print("pkg-config is not here: its files were not tried")
    print("ok")


main()
