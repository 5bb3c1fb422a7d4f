#!/usr/bin/env python3
"""One step of the device side's tests for aarch64, for ctest: builds it, runs it under qemu-aarch64, and compares what
its jllm says with what the workstation's says. Leaves with 77, and a reason, when something that it needs is missing.

usage: aarch64.py --source DIR --build DIR STEP [ARGUMENT...]
  build             cross-compiles (tools/cross_aarch64.sh)
  plans             compiles the plans that the other steps run
  elf               what the programs ask of the device (tools/check_device_elf.py)
  gtest NAME [ARG]  runs tests/NAME
  tokenize          every kept plan's tokenizer on the golden texts
  generate          texts and logits of the host backend
  signed            a plan that the workstation has signed, and the same altered
"""
import argparse
import array
import json
import os
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
MODEL = "examples/models/tiny-workshop-5m.q4_k_m.gguf"
STORIES = "models/stories260K.gguf"
# How far logits may lie from those of float64, on every processor; tests/e2e says why these.
OWN_MODEL_TOLERANCE = 1e-3
STORIES_TOLERANCE = 1e-4


class Failure(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Failure(message)


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIP)


class Sides:
    """The same program twice: the workstation's, and the device's under qemu."""

    def __init__(self, source, build):
        self.source, self.build = source, build
        self.device_build = os.path.join(source, "build-aarch64")
        self.plans = os.path.join(build, "test-plans")
        self.sysroot = os.path.join(source, ".deps", "sysroot-aarch64")
        self.environment = dict(os.environ, JLLM_TEST_PLANS=self.plans)

    def need_toolchain(self):
        script = os.path.join(self.source, "tools", "cross_aarch64.sh")
        found = subprocess.run([script, "--check"], text=True, capture_output=True)
        if found.returncode != 0:
            skip(found.stderr.strip())
        return script

    def need_device_build(self):
        self.need_toolchain()
        if not os.path.exists(os.path.join(self.device_build, "bin", "jllm")):
            raise Failure("there is no build-aarch64/bin/jllm: the step `build` makes it")

    def run(self, command, **options):
        print("+", " ".join(command), flush=True)
        return subprocess.run(command, check=True, env=self.environment, **options)

    def on_device(self, program, *arguments):
        self.need_device_build()
        qemu = shutil.which("qemu-aarch64")
        if qemu is None:
            skip("qemu-aarch64 is missing (package qemu-user)")
        return [qemu, "-L", self.sysroot, os.path.join(self.device_build, program), *arguments]

    def commands(self, *arguments):
        """`jllm ARGUMENT...` on the workstation and on the device."""
        return [[os.path.join(self.build, "bin", "jllm"), *arguments], self.on_device("bin/jllm", *arguments)]

    def jllm(self, *arguments):
        """Standard output of both."""
        return [self.run(c, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
                for c in self.commands(*arguments)]

    def logits(self, plan, tokens, out):
        """Of both: a row of floats a token."""
        results = []
        for command in self.commands("eval", plan, "--tokens", tokens, "--logits", out):
            self.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            with open(out, "rb") as file:
                results.append(array.array("f", file.read()))
        return results

    def example_plans(self):
        """(model file, plan file) of what is there."""
        models = [os.path.join(self.source, MODEL)]
        if data := os.environ.get("JLLM_TEST_DATA"):
            models.append(os.path.join(data, STORIES))
        return [(model, os.path.join(self.plans, os.path.basename(model) + ".jllm")) for model in models]


def build(sides):
    sides.run([sides.need_toolchain()])


def plans(sides):
    sides.need_toolchain()
    os.makedirs(sides.plans, exist_ok=True)
    for test in ("executor_test", "plan_view_test"):
        sides.run([os.path.join(sides.build, "tests", test), "--gtest_brief=1"])
    for model, plan in sides.example_plans():
        sides.run([os.path.join(sides.build, "bin", "jllmc"), "compile", model, "--target", "host", "-o", plan])


def shipped(folder):
    """Programs and shared libraries below a build folder, without tests."""
    for at, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if f not in ("CMakeFiles", "tests", "fake_cuda")]
        for name in files:
            path = os.path.join(at, name)
            with open(path, "rb") as file:
                # ELF, and of its kinds those that are loaded: executables (2) and shared objects (3).
                start = file.read(18)
            if start[:4] == b"\x7fELF" and start[16] in (2, 3):
                yield path


def elf(sides):
    sides.need_device_build()
    gate = os.path.join(sides.source, "tools", "check_device_elf.py")
    files = sorted(shipped(sides.device_build))
    check(files, "nothing is there to check")
    sides.run([gate, *files])
    # A program of the cross compiler's own glibc must not pass, nor one that leaves its C++ library to the device.
    with tempfile.TemporaryDirectory() as folder:
        code, program = os.path.join(folder, "a.cpp"), os.path.join(folder, "a")
        with open(code, "w") as file:
            file.write("#include <cstdlib>\n#include <iostream>\n"
                       "int main() { std::cout << arc4random(); }\n")
        sides.run(["aarch64-linux-gnu-g++", code, "-o", program])
        refused = subprocess.run([gate, program], text=True, capture_output=True)
        print(refused.stdout)
        check(refused.returncode == 1, "the check passes a program that needs a newer glibc")
        for fault in ("asks for GLIBC_2.36", "needs libstdc++.so.6"):
            check(fault in refused.stdout, f"the check does not say: {fault}")


def gtest(sides, name, *arguments):
    sides.run(sides.on_device(f"tests/{name}", "--gtest_brief=1", *arguments))


def golden_texts(sides):
    with open(os.path.join(sides.source, "tests", "golden", "pretokenizer.json")) as file:
        return json.load(file)["texts"]


def tokenize(sides):
    """All texts in one: pieces that meet at their borders are tests too."""
    tokenizers = set()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as text:
        text.write("\n".join(golden_texts(sides)))
        text.flush()
        for name in sorted(os.listdir(sides.plans)):
            plan = os.path.join(sides.plans, name)
            workstation, device = sides.jllm("tokenize", plan, "-f", text.name, "--special", "--json")
            check(workstation == device, f"{name}: other tokens than on the workstation")
            check(len(json.loads(device)["tokens"]) > 1000, f"{name}: the text has hardly a token")
            tokenizers.add(device)
    check(len(tokenizers) > 4, "the plans have hardly a tokenizer among them")


def certain_tokens(margins, tolerance):
    """How many golden tokens no two results within the tolerance can disagree about."""
    for i, margin in enumerate(margins):
        if margin <= 2 * tolerance:
            return i
    return len(margins)


def check_text(sides, plan, prompt, golden, certain):
    arguments = ["run", plan, "-p", prompt, "-n", str(len(golden)), "-t", "0", "--ignore-end", "--json"]
    texts = [json.loads(output)["tokens"] for output in sides.jllm(*arguments)]
    for where, tokens in zip(("the workstation", "the device"), texts):
        check(len(tokens) == len(golden), f"{where} made {len(tokens)} tokens")
        check(tokens[:certain] == golden[:certain], f"{where} says {tokens[:certain]}, not {golden[:certain]}")
    print(f"{certain} certain tokens; all {len(golden)} agree: {texts[0] == texts[1]}")


def check_logits(sides, plan, tokens, golden, tolerance):
    """Rows of logits (by position) of both sides against those of float64."""
    with tempfile.TemporaryDirectory() as folder:
        ids, out = os.path.join(folder, "tokens"), os.path.join(folder, "logits")
        with open(ids, "w") as file:
            file.write(" ".join(map(str, tokens)))
        for where, logits in zip(("workstation", "device"), sides.logits(plan, ids, out)):
            check(len(logits) % len(tokens) == 0, f"the logits of the {where} are not all there")
            vocabulary = len(logits) // len(tokens)
            differences = []
            for position, row in golden.items():
                check(len(row) == vocabulary, f"the {where} has {vocabulary} logits a token, not {len(row)}")
                actual = logits[position * vocabulary:(position + 1) * vocabulary]
                differences += [abs(a - b) for a, b in zip(actual, row)]
            print(f"logits of the {where} are off by at most {max(differences):.2e}, may by {tolerance:.0e}")
            # So that a NaN fails.
            check(all(d < tolerance for d in differences), f"the logits of the {where} are off")


def generate_own(sides, plan):
    with open(os.path.join(sides.source, "examples", "models", "golden.json")) as file:
        cases = [c for c in json.load(file)["cases"] if not c["prompt"].startswith("<|")]
    compared = 0
    for case in cases:
        certain = certain_tokens(case["margins"], OWN_MODEL_TOLERANCE)
        check_text(sides, plan, case["prompt"], case["next_tokens"], certain)
        last = {len(case["prompt_tokens"]) - 1: case["last_logits"]}
        check_logits(sides, plan, case["prompt_tokens"], last, OWN_MODEL_TOLERANCE)
        compared += certain
    check(compared > 100, "hardly a token is certain")


def generate_stories(sides, plan):
    """Its margins are all certain (tests/e2e/stories): 200 tokens, the same on both sides, and float64's logits."""
    workstation, device = sides.jllm("run", plan, "-p", "Once upon a time", "-n", "200", "-t", "0")
    check(workstation == device, "stories260K tells another story than on the workstation")
    check(len(workstation) > 200, "stories260K tells no story")
    with open(os.path.join(os.environ["JLLM_TEST_DATA"], "golden", "stories260K.fp64.json")) as file:
        case = json.load(file)["cases"][0]
    rows = {int(position): row for position, row in case["logits"].items()}
    sequence = (case["prompt"] + case["greedy"])[:max(rows) + 1]
    check_logits(sides, plan, sequence, rows, STORIES_TOLERANCE)


def generate(sides):
    for model, plan in sides.example_plans():
        if model.endswith(MODEL):
            generate_own(sides, plan)
        else:
            generate_stories(sides, plan)


def signed(sides):
    """What the device trusts: its jllm is linked with a libsodium of its own."""
    with tempfile.TemporaryDirectory() as folder:
        plan, key = os.path.join(folder, "a.jllm"), os.path.join(folder, "maker")
        shutil.copy(sides.example_plans()[0][1], plan)
        verify = sides.on_device("bin/jllm", "verify", plan, "--trusted-key", key + ".pub")
        for step in (["keygen", key], ["sign", plan, "--key", key + ".key"]):
            sides.run([os.path.join(sides.build, "bin", "jllmc"), *step])
        sides.run(verify)
        with open(plan, "r+b") as file:
            file.seek(os.path.getsize(plan) // 2)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))
        refused = subprocess.run(verify, text=True, capture_output=True)
        print(refused.stderr)
        check(refused.returncode == 4, "an altered plan is not refused")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--build", required=True)
    parser.add_argument("step", choices=("build", "plans", "elf", "gtest", "tokenize", "generate", "signed"))
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    try:
        globals()[arguments.step](Sides(arguments.source, arguments.build), *arguments.arguments)
    except (Failure, subprocess.CalledProcessError) as failure:
        print(f"failed: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
