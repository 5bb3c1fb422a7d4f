#!/usr/bin/env python3
"""Two folders, the same bytes: copies the sources to two places of different depth, builds the device's release in each
(tools/release.sh --device) and compares programs and bills of materials."""
import os
import shutil
import subprocess
import sys
import tempfile

REPO = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))


def copy_sources(to):
    def ignored(folder, names):
        top = os.path.samefile(folder, REPO)
        return [name for name in names if name in (".git", "__pycache__") or
                top and (name.startswith("build") or name in (".deps", "release", "tests") or name.startswith(".carry"))]
    shutil.copytree(REPO, to, ignore=ignored)
    # What setup.sh unpacked for users without root's rights.
    if os.path.isdir(os.path.join(REPO, ".deps")):
        os.symlink(os.path.join(REPO, ".deps"), os.path.join(to, ".deps"))


def release(source):
    out = os.path.join(source, "release")
    # Optimising takes most of the time and knows nothing of folders.
    environment = dict(os.environ, JLLM_RELEASE_OPTIMISE="-O0 -DNDEBUG")
    subprocess.run([os.path.join(source, "tools", "release.sh"), "--device", "-o", out], env=environment, check=True)
    files = {}
    for name in sorted(os.listdir(out)):
        with open(os.path.join(out, name), "rb") as file:
            files[name] = file.read()
    return files


def main():
    with tempfile.TemporaryDirectory() as folder:
        places = [os.path.join(folder, "a"), os.path.join(folder, "a-much-longer-name", "and", "deeper")]
        results = []
        for place in places:
            copy_sources(place)
            results.append(release(place))
        first, second = results
        if set(first) != {"SHA256SUMS", "jllm", "jllm.cdx.json"} or set(second) != set(first):
            sys.exit(f"unexpected files: {sorted(first)}, {sorted(second)}")
        for name, contents in first.items():
            if contents != second[name]:
                sys.exit(f"{name} differs between the two folders")
            if folder.encode() in contents:
                sys.exit(f"{name} holds the path of its build")
        print(f"{len(first)} files are the same, jllm has {len(first['jllm'])} bytes")


if __name__ == "__main__":
    main()
