#!/usr/bin/env python3
"""Lines that tests ran, from the counters of a build with --coverage (gcov's JSON): a line a file, the lines that were not
run, and a sum per part. Leaves with status 1 when a part named with --at-least stays below its share.

usage: tools/coverage.py --source DIR --build DIR [--at-least FOLDER=PERCENT]... [--json FILE]
  FOLDER  relative to the source: executor, schema
  --json  the same for programs: {"files": {NAME: {"lines", "run", "missed": [...]}}, "folders": {NAME: {"lines", "run"}}}
"""
import argparse
import collections
import json
import os
import subprocess
import sys


def counters(build):
    for folder, _, files in os.walk(build):
        for name in files:
            if name.endswith(".gcda"):
                yield os.path.join(folder, name)


def executed_lines(source, build, gcov):
    """{file: {line: times}} of what lies below `source`. A line that several objects hold (headers, templates, one file
    compiled for several instruction sets) counts as run when it ran in any of them."""
    lines = collections.defaultdict(dict)
    for path in counters(os.path.abspath(build)):
        # --stdout prints one document a line; the folder of the object is where gcov finds its notes.
        output = subprocess.run([gcov, "--json-format", "--stdout", path], cwd=os.path.dirname(path), check=True,
                                capture_output=True).stdout
        for document in output.splitlines():
            data = json.loads(document)
            for file in data["files"]:
                name = os.path.join(data["current_working_directory"], file["file"])
                name = os.path.relpath(os.path.realpath(name), source)
                if name.startswith(("..", "build", ".deps")):
                    continue
                for line in file["lines"]:
                    number = line["line_number"]
                    lines[name][number] = max(lines[name].get(number, 0), line["count"])
    return lines


def ranges(numbers):
    """[1, 2, 3, 7] as "1-3 7"."""
    parts = []
    for n in numbers:
        if parts and parts[-1][1] == n - 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--build", required=True)
    parser.add_argument("--gcov", default="gcov")
    parser.add_argument("--at-least", action="append", default=[], metavar="FOLDER=PERCENT")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    source = os.path.realpath(arguments.source)
    lines = executed_lines(source, arguments.build, arguments.gcov)
    if not lines:
        print("no test has left a counter: build with the preset `coverage` and run its tests")
        return 1
    totals = {part: [0, 0] for part in (entry.split("=")[0] for entry in arguments.at_least)}
    files = {}
    for name in sorted(lines):
        parts = [part for part in totals if name.startswith(part + "/")]
        if not parts:
            continue
        counted = lines[name]
        missed = sorted(n for n, count in counted.items() if count == 0)
        files[name] = {"lines": len(counted), "run": len(counted) - len(missed), "missed": missed}
        for part in parts:
            totals[part][0] += len(counted) - len(missed)
            totals[part][1] += len(counted)
        share = 100 * (1 - len(missed) / max(1, len(counted)))
        print(f"{share:6.1f} %  {len(counted):5} lines  {name}" +
              (f"   not run: {ranges(missed)}" if missed else ""))
    if arguments.json:
        folders = {part: {"lines": of, "run": ran} for part, (ran, of) in totals.items()}
        with open(arguments.json, "w", encoding="utf-8") as out:
            json.dump({"files": files, "folders": folders}, out, indent=1)
    failed = False
    for entry in arguments.at_least:
        part, _, least = entry.partition("=")
        ran, of = totals[part]
        share = 100 * ran / max(1, of)
        failed |= share < float(least)
        print(f"{part}: {ran} of {of} lines, {share:.1f} %" + (f", less than {least} %" if share < float(least) else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
