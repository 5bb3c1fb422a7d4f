"""tools/terminal_cast.py: the picture in docs/ is that of its recording, and a recording is what a program has said."""
import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

REPOSITORY = sys.argv.pop(1)
TOOL = [sys.executable, "-B", os.path.join(REPOSITORY, "tools/terminal_cast.py")]
# Answers each line; one of them does not end by itself.
PROGRAM = """
import sys, time
for line in iter(sys.stdin.readline, ""):
    try:
        print("\\x1b[2mheard\\x1b[0m", line.strip(), flush=True)
        while "long" in line:
            print("on and on", flush=True)
            time.sleep(0.01)
    except KeyboardInterrupt:
        print("stopped", flush=True)
"""


class Cast(unittest.TestCase):
    def test_picture_of_the_documentation(self):
        media = os.path.join(REPOSITORY, "docs/media")
        drawn = subprocess.run([*TOOL, "draw", os.path.join(media, "chat.cast")], capture_output=True, text=True, check=True)
        with open(os.path.join(media, "chat.svg"), encoding="utf-8") as file:
            self.assertEqual(drawn.stdout, file.read())

    def test_record_and_draw(self):
        with tempfile.TemporaryDirectory() as folder:
            script, cast = os.path.join(folder, "script"), os.path.join(folder, "file.cast")
            with open(script, "w", encoding="ascii") as file:
                file.write("hello\n^C 60 a long one\n^D\n")
            subprocess.run([*TOOL, "record", script, "-o", cast, "--size", "40x10", "--as", "a program", "--", sys.executable,
                            "-c", PROGRAM], check=True, timeout=120)
            with open(cast, encoding="utf-8") as file:
                header, *events = [json.loads(line) for line in file]
            self.assertEqual((header["version"], header["width"], header["height"]), (2, 40, 10))
            self.assertEqual([event[0] for event in events], sorted(event[0] for event in events))
            text = "".join(event[2] for event in events)
            for words in ("heard\x1b[0m hello", "on and on", "stopped"):
                self.assertIn(words, text)
            drawn = subprocess.run([*TOOL, "draw", cast], capture_output=True, text=True, check=True).stdout
            parts = [part.text for part in xml.etree.ElementTree.fromstring(drawn).iter() if part.text]
            for words in ("$ a program", "heard", "stopped"):
                self.assertIn(words, " ".join(parts))
            self.assertNotIn("\x1b", drawn)


if __name__ == "__main__":
    unittest.main()
