#!/usr/bin/env python3
"""jllm serve with a system text of its own, which it keeps in a file from one start to the next (--prefix-cache).

usage: prefix_test.py JLLM JLLMC MODEL.gguf WORK_FOLDER
"""
import concurrent.futures
import os
import subprocess
import sys
import tempfile
import unittest

from servers import serving

JLLM, JLLMC, MODEL, WORK = sys.argv[1:5]
PLAN = os.path.join(WORK, "prefix_test.jllm")
SLOTS_PLAN = os.path.join(WORK, "prefix_slots_test.jllm")
CHAT = "/v1/chat/completions"


def serve(plan, *options):
    return serving(JLLM, "serve", plan, "--port", "0", "--threads", "1", *options)


def ask(text="My lamp stays dark. What should I do?", system=None):
    messages = [] if system is None else [{"role": "system", "content": system}]
    return {"messages": messages + [{"role": "user", "content": text}], "temperature": 0}


class Prefix(unittest.TestCase):
    """A system text of the server's own, kept in a file from one start to the next."""
    SYSTEM = "You help in a workshop." + " Say which tool to take and what to look out for." * 16

    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir=WORK)
        self.addCleanup(folder.cleanup)
        self.text, self.file = os.path.join(folder.name, "system.txt"), os.path.join(folder.name, "prefix")
        with open(self.text, "w", encoding="ascii") as file:
            file.write(self.SYSTEM + "\n")
        self.options = ("--system-file", self.text, "--prefix-cache", self.file)

    def start(self, *options, plan=PLAN):
        """What the server says of its prefix, how much of a question was kept, and the answer."""
        with serve(plan, *options) as server:
            status, reply = server.post(CHAT, ask())
            self.assertEqual(status, 200, reply)
            health = server.get("/health")[1].get("prefix")
            if health is not None:
                self.assertEqual(server.metric("jllm_prefix_tokens"), health["tokens"])
                self.assertEqual(health["file"], self.file)
            brought = server.post(CHAT, ask(system=self.SYSTEM))[1]
            self.assertEqual(brought["choices"], reply["choices"])
            self.assertEqual(server.end(), 0)
            cached = reply["usage"]["prompt_tokens_details"]["cached_tokens"]
            return health, cached, reply["choices"], server.log

    def content(self):
        with open(self.file, "rb") as file:
            return file.read()

    def test_first_and_later_starts(self):
        health, cached, expected, _ = self.start("--system-file", self.text)
        self.assertIsNone(health)
        self.assertEqual(cached, 0)
        for plan in (PLAN, SLOTS_PLAN):
            for source in ("computed", "file"):
                with self.subTest(plan=plan, source=source):
                    health, cached, choices, log = self.start(*self.options, plan=plan)
                    self.assertEqual(health["source"], source)
                    self.assertEqual(health["file_bytes"], os.path.getsize(self.file))
                    self.assertEqual(cached, health["tokens"])
                    self.assertGreater(cached, 200)
                    self.assertEqual(choices, expected)
                    self.assertIn(f"prefix: {cached} tokens", log)
        # The second plan found the file of the first.
        self.assertIsNone(health["refusal"])

    def test_a_file_that_does_not_fit_is_replaced(self):
        _, _, expected, _ = self.start(*self.options)
        whole = self.content()
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 1
        self.start(*self.options, plan=SLOTS_PLAN)
        for content, words in ((None, "is of another plan"), (whole[:-1], "bytes and says that it has"),
                               (damaged, "is damaged"),
                               (b"", "is cut off: it has 0 bytes"), (whole[::-1], "is no prefix file")):
            with self.subTest(words):
                if content is not None:
                    with open(self.file, "wb") as file:
                        file.write(content)
                health, _, choices, log = self.start(*self.options)
                self.assertIn(words, health["refusal"])
                self.assertIn(f"warning: {self.file} ", log)
                self.assertEqual(choices, expected)
                self.assertEqual(self.content(), whole)

    def test_a_place_that_cannot_be_written(self):
        self.file = os.path.join(os.path.dirname(self.file), "none", "prefix")
        health, cached, _, log = self.start("--system-file", self.text, "--prefix-cache", self.file)
        self.assertIn("No such file or directory", health["not_written"])
        self.assertEqual(cached, health["tokens"])
        self.assertIn("every start will compute the prefix", log)

    def test_slots_share_it(self):
        with serve(SLOTS_PLAN, *self.options) as server:
            tokens = server.get("/health")[1]["prefix"]["tokens"]
            with concurrent.futures.ThreadPoolExecutor(3) as pool:
                replies = list(pool.map(lambda i: server.post(CHAT, ask(f"{i} lamps stay dark")), range(3)))
            for status, reply in replies:
                self.assertEqual(status, 200)
                self.assertGreaterEqual(reply["usage"]["prompt_tokens_details"]["cached_tokens"], tokens)
            self.assertEqual(server.end(), 0)

    def test_a_text_that_does_not_fit(self):
        with open(self.text, "w", encoding="ascii") as file:
            file.write("tool " * 1000)
        result = subprocess.run([JLLM, "serve", PLAN, "--port", "0", *self.options], capture_output=True,
                                text=True, timeout=60)
        self.assertEqual(result.returncode, 2)
        self.assertIn("compile with a larger --context", result.stderr)


if __name__ == "__main__":
    for path, slots in ((PLAN, "1"), (SLOTS_PLAN, "3")):
        subprocess.run([JLLMC, "compile", MODEL, "--target", "host", "--slots", slots, "-o", path], check=True,
                       stdout=subprocess.DEVNULL)
    unittest.main(argv=[sys.argv[0]] + sys.argv[5:], verbosity=2)
