#!/usr/bin/env python3
"""tools/check_docs.py on made-up documents: whole ones pass, and each kind of breach is named with its place.

usage: check_docs_test.py PATH/TO/check_docs.py
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = sys.argv.pop(1)
WHOLE = {
    "docs/README.md": "# Index\n[a](a.md), [b, `code`](b.md#two-words-1)\n",
    "docs/a.md": "# A\n[up](../README.md#top--bottom) [here](#a) [web](https://example.org/x#y) `[no](link.md)`\n",
    "docs/b.md": "# Two words\n## Two words\n```\n[in code](nowhere.md)\n# no heading\n```\n",
    "README.md": "# Top & bottom\ndocs/a.md, ![b](docs/b.md)\n",
}


def check(**changes):
    """Exit status and output for the whole documents with files changed (`__` for `/`), None for removed."""
    files = {**WHOLE, **{name.replace("__", "/") + ".md": text for name, text in changes.items()}}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            if text is not None:
                path = pathlib.Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
        run = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, check=False)
    return run.returncode, run.stdout + run.stderr


class CheckDocs(unittest.TestCase):
    def breach(self, expected, **changes):
        status, output = check(**changes)
        self.assertEqual((status, output.splitlines()[:-1]), (1, [expected]), output)

    def test_whole_documents_pass(self):
        self.assertEqual(check(), (0, "4 documents, 8 links, 0 breaches\n"))

    def test_files_that_are_not_there(self):
        self.breach("docs/b.md:2: c.md is not there", docs__b="# Two words\n[c](c.md)\n## Two words\n")
        self.breach("README.md:2: docs/c.svg is not there", README="# Top & bottom\n`docs/c.svg`\n")
        self.breach("docs/b.md:3: ../../x leaves the repository",
                    docs__b="# Two words\n## Two words\n[x](../../x)\n")

    def test_anchors_that_are_not_there(self):
        self.breach("docs/README.md:2: docs/b.md has no heading #two-words-1", docs__b="# Two words\n")
        self.breach("docs/b.md:3: docs/b.md has no heading #no-heading",
                    docs__b="# Two words\n## Two words\n[x](#no-heading)\n```\n# no heading\n```\n")

    def test_the_index_has_each_page_once(self):
        self.breach("docs/README.md:1: links c.md 0 times, not once", docs__c="# C\n")
        self.breach("docs/README.md:3: links a.md 2 times, not once",
                    docs__README=WHOLE["docs/README.md"] + "[again](a.md#a)\n")
        self.breach("docs/README.md:1: is not there", docs__README=None)

    def test_an_empty_folder_is_a_mistake(self):
        status, _ = check(docs__README="# Index\n", docs__a=None, docs__b=None, README=None)
        self.assertEqual(status, 1)


if __name__ == "__main__":
    unittest.main()
