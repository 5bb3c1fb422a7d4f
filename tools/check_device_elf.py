#!/usr/bin/env python3
"""Checks that programs and libraries for the device run on JetPack 5 and later: built for aarch64, no symbol of a glibc
newer than 2.31, and nothing needed but glibc's own libraries and ours (no libstdc++, no libgcc_s). Prints a line a
file and leaves with status 1 when one does not pass.

usage: tools/check_device_elf.py [--glibc VERSION] FILE...        (needs readelf, of binutils)
"""
import argparse
import re
import subprocess
import sys

GLIBC = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "ld-linux-aarch64.so.1"}
OURS = r"libjllm_\w+\.so\.\d+"


def readelf(option, path):
    return subprocess.run(["readelf", "--wide", option, path], check=True, text=True, capture_output=True).stdout


def version(text):
    return tuple(int(part) for part in text.split("."))


def faults_of(path, floor):
    """The highest glibc version that the file asks for, and what is wrong with the file."""
    faults = []
    if not re.search(r"Machine:\s+AArch64", readelf("--file-header", path)):
        return "none", ["is not for aarch64"]
    # The versions of what is needed; those of what a library defines stand in another section.
    asked = re.search(r"Version needs section.*", readelf("--version-info", path), re.DOTALL)
    versions = set(re.findall(r"Name: GLIBC_([0-9.]+)", asked.group(0) if asked else ""))
    highest = max(versions, key=version, default="none")
    for name in sorted(versions, key=version):
        if version(name) > version(floor):
            faults.append(f"asks for GLIBC_{name}, newer than {floor}")
    for name in re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("--dynamic", path)):
        if name not in GLIBC and not re.fullmatch(OURS, name):
            faults.append(f"needs {name}")
    return highest, faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glibc", default="2.31", metavar="VERSION", help="the newest that may be asked for")
    parser.add_argument("files", nargs="+", metavar="FILE")
    arguments = parser.parse_args()
    failed = False
    for path in arguments.files:
        highest, faults = faults_of(path, arguments.glibc)
        failed |= bool(faults)
        print(f"{path}: GLIBC_{highest}" + "".join(f"\n  error: {fault}" for fault in faults))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
