#!/usr/bin/env python3
"""Checks who includes whom. The layers and what each may include are the table below; everything else in the
tree may include every layer but the tests. Prints each breach as FILE:LINE and leaves with status 1.

usage: tools/check_layers.py [REPOSITORY]
"""
import os
import re
import sys

LAYERS = ("schema", "files", "executor", "compiler", "kernels", "tools", "tests", "examples")
MAY_INCLUDE = {
    "schema": {"schema"},
    "files": {"files"},
    "executor": {"executor", "schema"},
    "kernels": {"kernels", "schema"},
    "compiler": {"compiler", "files", "kernels", "schema"},
}
# Libraries that only some layers may know: the executor must stay small enough for a device, and device code
# must compile with NVRTC alone. (Generated plan headers come from schema.)
LIBRARIES = {
    "llvm/": {"compiler", "tools", "tests"},
    "gtest/": {"tests"},
    "gmock/": {"tests"},
    "cuda_runtime": set(),
}
SUFFIXES = (".h", ".hpp", ".c", ".cc", ".cpp", ".cu", ".cuh", ".inc")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def layer_of(path):
    """The layer of a path relative to the repository, or None when it is outside of all."""
    first = path.split("/", 1)[0]
    return first if first in LAYERS else None


def resolve(repo, including, name, quoted):
    """The repository's file that `#include name` means, relative to the repository; None: not one of ours."""
    places = [os.path.dirname(including)] if quoted else []
    places += ["", "executor/include"]
    for place in places:
        path = os.path.normpath(os.path.join(place, name))
        if os.path.isfile(os.path.join(repo, path)):
            return path
    # A header that is not there (generated, or not written yet) still says by its first folder whose it is.
    return name if quoted and layer_of(name) else None


def breach(repo, including, name, quoted):
    """Why this include is not allowed, or None."""
    layer = layer_of(including)
    for prefix, allowed in LIBRARIES.items():
        if name.startswith(prefix) and layer not in allowed:
            return f"{layer} must not include {prefix}"
    target = resolve(repo, including, name, quoted)
    included = layer_of(target) if target else None
    if included is None:
        return None
    if included == "tests" and layer != "tests":
        return "nothing but tests may include tests"
    if layer in MAY_INCLUDE and included not in MAY_INCLUDE[layer]:
        return f"{layer} may include only {', '.join(sorted(MAY_INCLUDE[layer]))}"
    return None


def sources(repo):
    for layer in LAYERS:
        for folder, folders, files in os.walk(os.path.join(repo, layer)):
            folders.sort()
            for name in sorted(files):
                if name.endswith(SUFFIXES):
                    yield os.path.relpath(os.path.join(folder, name), repo)


def main():
    repo = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), ".."))
    files = includes = breaches = 0
    for path in sources(repo):
        files += 1
        with open(os.path.join(repo, path), encoding="utf-8", errors="replace") as source:
            for number, line in enumerate(source, 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                includes += 1
                reason = breach(repo, path, match[2], match[1] == '"')
                if reason:
                    breaches += 1
                    print(f"{path}:{number}: #include {match[2]}: {reason}")
    print(f"{files} files, {includes} includes, {breaches} breaches")
    # No file at all means that the script looked in the wrong place.
    return 1 if breaches or not files else 0


if __name__ == "__main__":
    sys.exit(main())
