#!/usr/bin/env python3
"""jllm embed: each kind of file, linked into a program, is the plan to the byte, aligned, with the right header."""
import os
import tempfile

from common import expect, options, run

PROGRAM = """
#include <stdint.h>
#include <stdio.h>
#include "%(name)s.h"
int main(void) {
  const uint32_t prompt[] = TINY_PROMPT;
  if (sizeof prompt / 4 != TINY_PROMPT_COUNT || TINY_EXECUTOR_BYTES == 0 || TINY_ARENA_BYTES == 0) return 3;
  if (TINY_CONTEXT != 256) return 4;
  if ((uintptr_t)tiny %% 4096 != 0) return 5;
  return fwrite(tiny, 1, TINY_SIZE, stdout) == TINY_SIZE ? 0 : 6;
}
"""


def main():
    o = options()
    jllm = os.path.join(o.build, "bin", "jllm")
    with open(o.plan, "rb") as file:
        plan = file.read()
    with tempfile.TemporaryDirectory() as folder:
        def path(name):
            return os.path.join(folder, name)

        for kind in ("S", "o", "c"):
            name = "plan_" + kind
            run(jllm, "embed", o.plan, "-o", path(f"{name}.{kind}"), "--symbol", "tiny", "-p", "Once", env=
                {**os.environ, "CC": o.cc})
            with open(path(f"main_{kind}.c"), "w", encoding="utf-8") as file:
                file.write(PROGRAM % {"name": name})
            run(o.cc, "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", path(f"main_{kind}.c"),
                path(f"{name}.{kind}"), "-o", path(name), "-I", folder)
            run("sh", "-c", f"'{path(name)}' > '{path('out')}'")
            with open(path("out"), "rb") as file:
                expect(file.read() == plan, f".{kind}: the program does not hold the plan")
        left = set(os.listdir(folder)) - {"out"}
        wanted = {name.format(kind) for kind in "Soc" for name in ("plan_{0}.{0}", "plan_{0}.h", "plan_{0}", "main_{0}.c")}
        expect(left == wanted, f"temporary files were left: {left ^ wanted}")

        # What fails leaves the files of before, and a run that is over leaves whole ones: see ReplaceFile's tests.
        with open(path("main_o.c"), "rb") as file:
            no_assembler = file.read()
        for name in ("kept.o", "kept.h"):
            with open(path(name), "wb") as file:
                file.write(no_assembler)
        run(jllm, "embed", o.plan, "-o", path("kept.o"), status=1, env={**os.environ, "CC": "/bin/false"})
        for name in ("kept.o", "kept.h"):
            with open(path(name), "rb") as file:
                expect(file.read() == no_assembler, f"{name} was written over by a run that failed")
        expect(not [name for name in os.listdir(folder) if name.startswith("kept.o.")], "a temporary folder was left")

        # The name comes from the file where none is given.
        run(jllm, "embed", o.plan, "-o", path("my-model.S"))
        with open(path("my-model.h"), encoding="utf-8") as file:
            expect("my_model[MY_MODEL_SIZE]" in file.read(), "the symbol is not the file's name")

        # What is refused, and what it says.
        refused = run(jllm, "embed", o.plan, "-o", path("plan.txt"), status=2)
        expect(".S, .o or .c" in refused, refused)
        refused = run(jllm, "embed", o.plan, "-o", path("plan.S"), "--symbol", "no-name", status=2)
        expect("--symbol no_name" in refused, refused)
        refused = run(jllm, "embed", o.plan, "-o", path("plan.o"), status=1, env={**os.environ, "CC": "no-such-cc"})
        expect("no-such-cc" in refused and "CC" in refused, refused)
        with open(path("damaged.jllm"), "wb") as file:
            file.write(plan[:1000] + b"?" + plan[1001:])
        refused = run(jllm, "embed", path("damaged.jllm"), "-o", path("plan.S"), status=4)
        expect("damaged" in refused, refused)
    print("ok")


main()
