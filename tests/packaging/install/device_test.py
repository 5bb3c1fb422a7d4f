#!/usr/bin/env python3
"""The smallest device build, --preset device with the CUDA backend alone, without signatures and server: it configures,
builds and links, and says what it was built without. And CMake does not leave signatures out unasked."""
import os
import sys
import tempfile

from common import expect, options, run


def check_refusal(o, *words, status, says):
    said = run(*words, status=status)
    for text in says:
        expect(text in said, f"{' '.join(words[1:])}: {text} is not in: {said}")


def main():
    o = options()
    with tempfile.TemporaryDirectory() as folder:
        configure = [o.cmake, "--preset", "device", "-S", o.source, "-B", os.path.join(folder, "build"),
                     f"-DCMAKE_C_COMPILER={o.cc}", f"-DCMAKE_CXX_COMPILER={o.cxx}"]
        said = run(*configure, "-DSODIUM_INCLUDE_DIR=", "-DSODIUM_LIBRARY=", status=1, cwd=o.source)
        expect("libsodium-dev" in said and "JLLM_SIGNATURES=OFF" in said, said)
        # Not optimised: that would take twice as long.
        run(*configure, "-DJLLM_SIGNATURES=OFF", "-DJLLM_BACKENDS=cuda", "-DJLLM_SERVE=OFF", "-DCMAKE_BUILD_TYPE=None",
            cwd=o.source)
        run("ninja", "-C", os.path.join(folder, "build"), "jllm")
        jllm = os.path.join(folder, "build", "bin", "jllm")
        said = run(jllm, "--help")
        expect("usage: jllm COMMAND" in said and "selftest" in said, said)
        plan, key = os.path.join(folder, "a.jllm"), os.path.join(folder, "maker")
        jllmc = os.path.join(o.build, "bin", "jllmc")
        run(jllmc, "keygen", key)
        run(jllmc, "sign", o.plan, "--key", key + ".key", "-o", plan)
        check_refusal(o, jllm, "run", plan, "-p", "a", status=5, says=["host backend", "JLLM_BACKENDS"])
        check_refusal(o, jllm, "serve", plan, status=2, says=["no command serve", "JLLM_SERVE=ON", "tools/get_httplib.sh"])
        check_refusal(o, jllm, "verify", plan, "--trusted-key", key + ".pub", status=5, says=["JLLM_SIGNATURES=ON"])


if __name__ == "__main__":
    main()
    sys.exit(0)
