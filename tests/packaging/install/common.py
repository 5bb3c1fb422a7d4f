"""What the tests of the install tree share: options, running programs, and failing with what they said."""
import argparse
import os
import subprocess
import sys

# The bundled model's answer to this is the likeliest by far at every token.
PROMPT = "<|im_start|>user\nWhat is a fuse?<|im_end|>\n<|im_start|>assistant\n"
ANSWER = "A fuse is a thin wire that melts when too much current flows."


def options():
    parser = argparse.ArgumentParser()
    for name in ("source", "build", "cmake", "plan", "cc", "cxx"):
        parser.add_argument("--" + name, required=True)
    return parser.parse_args()


def run(*words, status=0, **keywords):
    """Runs a program to its end and returns what it printed, both streams."""
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", **keywords)
    if done.returncode != status:
        print(f"{' '.join(map(str, words))}\nleft with status {done.returncode}, not {status}:\n{done.stdout}")
        sys.exit(1)
    return done.stdout


def expect(condition, what):
    if not condition:
        print("FAILED:", what)
        sys.exit(1)


def install(o, prefix):
    run(o.cmake, "--install", o.build, "--prefix", prefix, "--strip")


def environment(**values):
    return {**os.environ, **{name: str(value) for name, value in values.items()}}
