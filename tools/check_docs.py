#!/usr/bin/env python3
"""Checks the documents: every relative link and anchor of a Markdown file leads somewhere, every `docs/...` that a text
names is there, and docs/README.md links each page of docs/ exactly once. Prints each breach as FILE:LINE and leaves
with status 1.

usage: tools/check_docs.py [REPOSITORY]
"""
import os
import re
import sys
import urllib.parse

INDEX = "docs/README.md"
FENCE = re.compile(r"^\s*(```|~~~)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*\s*$")
LINK = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
CODE = re.compile(r"`[^`]*`")
ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
NAMED = re.compile(r"(?<![\w./-])(docs/[\w./-]+\.(?:md|svg|png))(?![\w/])")
SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def documents(repo):
    """Markdown files relative to the repository, without builds and what was fetched."""
    found = []
    for folder, folders, files in os.walk(repo):
        folders[:] = sorted(f for f in folders
                            if not f.startswith((".", "build")) and f not in ("release", "node_modules"))
        found += [os.path.relpath(os.path.join(folder, f), repo) for f in files if f.endswith(".md")]
    return sorted(found)


def prose(path):
    """(line number, text) of the lines outside of fenced code."""
    fenced = False
    with open(path, encoding="utf-8") as source:
        for number, line in enumerate(source, 1):
            if FENCE.match(line):
                fenced = not fenced
            elif not fenced:
                yield number, line.rstrip("\n")


def slug(heading, seen):
    """The anchor that GitHub gives a heading; the second of the same text gets -1, and so on."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    text = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
    count = seen.get(text, 0)
    seen[text] = count + 1
    return f"{text}-{count}" if count else text


def anchors(path):
    seen, found = {}, set()
    for _, line in prose(path):
        heading = HEADING.match(line)
        if heading:
            found.add(slug(heading[1], seen))
        found.update(ANCHOR.findall(line))
    return found


class Checker:
    def __init__(self, repo):
        self.repo = repo
        self.links = 0
        self.breaches = []
        self.known = {}

    def anchors_of(self, path):
        if path not in self.known:
            self.known[path] = anchors(os.path.join(self.repo, path))
        return self.known[path]

    def link(self, document, target):
        """Why this link leads nowhere, or None."""
        if SCHEME.match(target) or target.startswith("//"):
            return None
        path, _, fragment = urllib.parse.unquote(target).partition("#")
        place = os.path.normpath(os.path.join(os.path.dirname(document), path)) if path else document
        if place.startswith("..") or os.path.isabs(path):
            return f"{target} leaves the repository"
        if not os.path.exists(os.path.join(self.repo, place)):
            return f"{target} is not there"
        if fragment and place.endswith(".md") and fragment not in self.anchors_of(place):
            return f"{place} has no heading #{fragment}"
        return None

    def document(self, document):
        for number, line in prose(os.path.join(self.repo, document)):
            # A link inside of code is none, and code inside of a link's text does not hide the link.
            targets = LINK.findall(CODE.sub(lambda code: "`" + "x" * (len(code[0]) - 2) + "`", line))
            reasons = [self.link(document, target) for target in targets]
            named = NAMED.findall(line)
            reasons += [f"{name} is not there" for name in named
                        if not os.path.exists(os.path.join(self.repo, name))]
            self.links += len(targets) + len(named)
            self.breaches += [f"{document}:{number}: {reason}" for reason in reasons if reason]

    def index(self):
        """Every page of docs/ once in the index, so that none is lost and none is listed twice."""
        index = os.path.join(self.repo, INDEX)
        if not os.path.isfile(index):
            self.breaches.append(f"{INDEX}:1: is not there")
            return
        listed = {}
        for number, line in prose(index):
            for target in LINK.findall(line):
                listed.setdefault(target.partition("#")[0], []).append(number)
        for name in sorted(os.listdir(os.path.dirname(index))):
            if not name.endswith(".md") or name == os.path.basename(INDEX):
                continue
            lines = listed.get(name, [])
            if len(lines) != 1:
                self.breaches.append(f"{INDEX}:{lines[1] if lines else 1}: links {name} {len(lines)} times, not once")


def main():
    repo = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), ".."))
    checker = Checker(repo)
    found = documents(repo)
    for document in found:
        checker.document(document)
    checker.index()
    print("\n".join(checker.breaches + [f"{len(found)} documents, {checker.links} links, "
                                        f"{len(checker.breaches)} breaches"]))
    # No link at all means that the script looked in the wrong place.
    return 1 if checker.breaches or not checker.links else 0


if __name__ == "__main__":
    sys.exit(main())
