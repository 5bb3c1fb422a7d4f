#!/usr/bin/env python3
"""Reads the JUnit file that `ctest --output-junit` wrote and prints what was skipped and why, what failed, and,
last, "N passed, N failed, N skipped" alone on a line. Exit status 1 when a test failed or none ran.

A test skipped by GTEST_SKIP() counts as skipped because gtest_discover_tests() sets SKIP_REGULAR_EXPRESSION;
the reason is what the test printed, which ctest keeps in <system-out>.
"""
import re
import sys
import xml.etree.ElementTree as ElementTree

# gtest prints "path/file.cpp:12: Skipped", then the text given to GTEST_SKIP() on the following lines.
GTEST_REASON = re.compile(r": Skipped\n(?P<reason>.*?)\n*(?=\n\[|\Z)", re.DOTALL)


def skip_message(case):
    skipped = case.find("skipped")
    return skipped.get("message", "") if skipped is not None else ""


def skip_reason(case):
    """The reason as the test gave it, in one line."""
    output = case.findtext("system-out") or ""
    match = GTEST_REASON.search(output)
    if match and match["reason"].strip():
        return " ".join(match["reason"].split())
    if case.get("status") == "disabled":
        return "disabled"
    # A script that left with its SKIP_RETURN_CODE says why in its last line.
    lines = output.split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), skip_message(case))


def outcome(case):
    status = case.get("status")
    if status == "run":
        return "passed"
    # "disabled" never started by its author's wish; ctest writes a program that is missing as "notrun" too, and
    # that is a failure. Only what was skipped on purpose carries SKIP_... as its message.
    if status == "disabled" or skip_message(case).startswith("SKIP_"):
        return "skipped"
    return "failed"


def main():
    if len(sys.argv) != 2:
        print("usage: ctest_summary.py RESULTS.xml", file=sys.stderr)
        return 2
    try:
        cases = list(ElementTree.parse(sys.argv[1]).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        print(f"no test results: {error}", file=sys.stderr)
        cases = []
    by_outcome = {"passed": [], "failed": [], "skipped": []}
    for case in cases:
        by_outcome[outcome(case)].append(case)

    for case in by_outcome["skipped"]:
        print(f"skipped: {case.get('name')}: {skip_reason(case)}")
    for case in by_outcome["failed"]:
        print(f"failed: {case.get('name')}")
    if not cases:
        print("no test ran", file=sys.stderr)
    print(", ".join(f"{len(found)} {name}" for name, found in by_outcome.items()))
    return 0 if cases and not by_outcome["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
