#!/usr/bin/env python3
"""jllm serve on a device that runs ahead: a CUDA plan of the bundled model on the fake driver (docs/fake-cuda.md). Texts that
run together, end in every way and follow each other in the slots are what each is alone.

usage: ahead_test.py FAKE_CUDA_RUN JLLM JLLMC MODEL.gguf WORK_FOLDER
"""
import concurrent.futures
import json
import os
import subprocess
import sys
import unittest

from servers import serving

FAKE, JLLM, JLLMC, MODEL, WORK = sys.argv[1:6]
PLAN = os.path.join(WORK, "ahead_test.jllm")
SLOTS = 3


class Ahead(unittest.TestCase):
    def test_texts_do_not_depend_on_each_other(self):
        subprocess.run([FAKE, JLLMC, "compile", MODEL, "--target", "orin-nano-8gb", "--slots", str(SLOTS), "-o", PLAN], check=True,
                       stdout=subprocess.DEVNULL, env={**os.environ, "HOME": ""})
        with serving(FAKE, JLLM, "serve", PLAN, "--port", "0") as server:
            def say(i):
                body = {"prompt": "One day " + ("a boy " if i % 2 else "the girl ") * (i % 3), "temperature": 0.8, "seed": i,
                        "max_tokens": 4 + 3 * (i % 4), "ignore_end": True}
                if i % 3 == 0:  # ends the text where it comes, with a token in flight behind it
                    body["stop"] = ["a", "e"]
                if i % 5 == 0:
                    body["stream"] = True
                    return server.request("POST", "/v1/completions", body)[2].split('"text":')[1:]
                return server.post("/v1/completions", body)[1]["choices"]

            def go_away(i):
                body = json.dumps({"prompt": "Tom was", "temperature": 0, "ignore_end": True, "max_tokens": 200 + i}).encode()
                with server.connect() as connection:
                    connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

            alone = [say(i) for i in range(9)]
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                leaving = pool.submit(go_away, 0)
                together = list(pool.map(say, range(9)))
            leaving.result()
            for i, (one, other) in enumerate(zip(alone, together)):
                self.assertEqual(self.texts(one), self.texts(other), i)
            server.wait_until(lambda: server.metric("jllm_cancelled_total") == 1, "a request of a client that is gone goes on")
            # What is in the slots is what was said: all but the last token of a prompt may come from there.
            again = [say(i) for i in range(9)]
            self.assertEqual([self.texts(one) for one in again], [self.texts(one) for one in alone])
            self.assertGreater(server.metric("jllm_cached_tokens_total"), 0)
            self.assertEqual(server.end(), 0)

    @staticmethod
    def texts(reply):
        return [choice["text"] if isinstance(choice, dict) else choice.split(",")[0] for choice in reply]


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[6:], verbosity=2)
