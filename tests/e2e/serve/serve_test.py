#!/usr/bin/env python3
"""jllm serve as clients meet it: the bundled model, compiled for the host, behind sockets on 127.0.0.1.

usage: serve_test.py JLLM JLLMC MODEL.gguf WORK_FOLDER
"""
import concurrent.futures
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from servers import serving

JLLM, JLLMC, MODEL, WORK = sys.argv[1:5]
PLAN = os.path.join(WORK, "serve_test.jllm")
SLOTS_PLAN = os.path.join(WORK, "serve_slots_test.jllm")
VECTORS_PLAN = os.path.join(WORK, "serve_vectors_test.jllm")
QUESTION = "My lamp stays dark. What should I do?"
ANSWER_BEGINS = "Unplug it first and look inside."
CHAT = "/v1/chat/completions"
# On a machine that is hot there are 50 ms in front of every token: time enough to find a text under way.
HOT = ("--thermal", "60,90", "--memory-floor", "64M")
LONG = {"prompt": "Tom was a curious boy", "temperature": 0, "ignore_end": True, "max_tokens": 40}


def ask(text=QUESTION, **more):
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, **more}


def events(text):
    """The JSON of a stream's events, which must end with [DONE]."""
    lines = [line for line in text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines), text
    assert lines[-1] == "data: [DONE]", text
    return [json.loads(line[6:]) for line in lines[:-1]]


class Machine:
    """A machine's /proc and /sys, as far as the server reads them."""

    def __init__(self, celsius=20.0, mib=4000):
        self.folder = tempfile.mkdtemp(dir=WORK)
        self.set("sys/class/thermal/thermal_zone0/type", "cpu-thermal")
        self.set_celsius(celsius)
        self.set_available(mib)
        rail = "sys/class/hwmon/hwmon3/"
        for path, text in (("name", "ina3221"), ("in1_label", "VDD_IN"), ("in1_input", "5000"),
                           ("curr1_input", "1200")):
            self.set(rail + path, text)

    def set(self, path, text):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(text + "\n")
        os.replace(path + ".new", path)

    def set_celsius(self, celsius):
        self.set("sys/class/thermal/thermal_zone0/temp", str(int(celsius * 1000)))

    def set_available(self, mib):
        self.set("proc/meminfo", f"MemTotal: 8000000 kB\nMemAvailable: {mib * 1024} kB")

    @contextlib.contextmanager
    def serve(self, *options, plan=PLAN):
        try:
            with serving(JLLM, "serve", plan, "--port", "0", "--threads", "1", *options,
                         environment={"JLLM_SYSFS_ROOT": self.folder}) as server:
                yield server
        finally:
            shutil.rmtree(self.folder)


class Base(unittest.TestCase):
    PLAN = PLAN
    OPTIONS = ()
    CELSIUS = 20.0

    @classmethod
    def setUpClass(cls):
        cls._block = Machine(cls.CELSIUS).serve(*cls.OPTIONS, plan=cls.PLAN)
        cls.server = cls._block.__enter__()

    @classmethod
    def tearDownClass(cls):
        code = cls.server.end()
        cls._block.__exit__(None, None, None)
        assert code == 0, f"exit code {code}\n{cls.server.log}"

    def expect_error(self, reply, status, words, code=None):
        self.assertEqual(reply[0], status, reply)
        error = reply[1]["error"]
        self.assertEqual(set(error), {"message", "type", "param", "code"})
        for word in words:
            self.assertIn(word, error["message"])
        if code is not None:
            self.assertEqual(error["code"], code)


class Completions(Base):
    def test_chat(self):
        status, reply = self.server.post(CHAT, ask())
        self.assertEqual(status, 200, reply)
        self.assertEqual(reply["object"], "chat.completion")
        choice = reply["choices"][0]
        self.assertTrue(choice["message"]["content"].startswith(ANSWER_BEGINS), choice)
        self.assertEqual(choice["finish_reason"], "stop")
        usage = reply["usage"]
        self.assertEqual(usage["prompt_tokens"] + usage["completion_tokens"], usage["total_tokens"])

    def test_stream_says_the_same(self):
        whole = self.server.post(CHAT, ask())[1]
        _, headers, text = self.server.request(
            "POST", CHAT, ask(stream=True, stream_options={"include_usage": True}))
        self.assertEqual(headers["Content-Type"], "text/event-stream")
        chunks = events(text)
        self.assertEqual({chunk["object"] for chunk in chunks}, {"chat.completion.chunk"})
        self.assertEqual(len({chunk["id"] for chunk in chunks}), 1)
        self.assertEqual(chunks[0]["choices"][0]["delta"], {"role": "assistant", "content": ""})
        pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1]]
        self.assertGreater(len(pieces), 10)
        self.assertEqual("".join(pieces), whole["choices"][0]["message"]["content"])
        self.assertEqual(chunks[-2]["choices"][0]["finish_reason"], "stop")
        self.assertEqual(chunks[-1]["choices"], [])
        # How much of the prompt was in the cache depends on what was asked before.
        self.assertEqual({**chunks[-1]["usage"], "prompt_tokens_details": None},
                         {**whole["usage"], "prompt_tokens_details": None})

    def test_text(self):
        status, reply = self.server.post("/v1/completions",
                                         {"prompt": "Tom was", "temperature": 0, "max_tokens": 5})
        self.assertEqual(status, 200, reply)
        self.assertEqual(reply["object"], "text_completion")
        self.assertEqual(reply["usage"]["completion_tokens"], 5)
        self.assertEqual(reply["choices"][0]["finish_reason"], "length")
        tokens = self.server.post("/tokenize", {"content": "Tom was", "add_special": True})[1]["tokens"]
        again = self.server.post("/v1/completions",
                                 {"prompt": tokens, "temperature": 0, "max_tokens": 5})[1]
        self.assertEqual(again["choices"], reply["choices"])
        chunks = events(self.server.request(
            "POST", "/v1/completions",
            {"prompt": ["Tom was"], "temperature": 0, "max_tokens": 5, "stream": True})[2])
        self.assertEqual("".join(chunk["choices"][0]["text"] for chunk in chunks),
                         reply["choices"][0]["text"])

    def test_stop_strings(self):
        text = self.server.post(CHAT, ask())[1]["choices"][0]["message"]["content"]
        # Across tokens, at the beginning, and never reached.
        for stop, want in (["bent plug: sw", text[:text.index("bent plug: sw")]], ["Unplug", ""],
                           ["no such text", text]):
            reply = self.server.post(CHAT, ask(stop=stop))[1]
            self.assertEqual(reply["choices"][0]["message"]["content"], want)
            self.assertEqual(reply["choices"][0]["finish_reason"], "stop")
            chunks = events(self.server.request("POST", CHAT, ask(stop=["@@", stop], stream=True))[2])
            self.assertEqual("".join(c["choices"][0]["delta"].get("content", "") for c in chunks), want)

    def test_max_tokens(self):
        for name in ("max_tokens", "max_completion_tokens"):
            reply = self.server.post(CHAT, ask(**{name: 3}))[1]
            self.assertEqual(reply["usage"]["completion_tokens"], 3)
            self.assertEqual(reply["choices"][0]["finish_reason"], "length")

    def test_full_context_ends_the_text(self):
        reply = self.server.post("/v1/completions", {**LONG, "max_tokens": 10000})[1]
        self.assertEqual(reply["choices"][0]["finish_reason"], "length")
        # The last token is made of a full context.
        self.assertEqual(reply["usage"]["total_tokens"], 512 + 1)

    def test_seeds(self):
        def say(seed):
            return self.server.post("/v1/completions", {
                "prompt": "One day", "temperature": 1.5, "top_p": 1, "min_p": 0, "top_k": 0,
                "max_tokens": 40, "seed": seed})[1]["choices"][0]["text"]
        first = say(1)
        say(2)  # something else in between
        self.assertEqual(say(1), first)
        self.assertGreater(len({say(seed) for seed in range(2, 6)}), 1)

    def test_logprobs(self):
        reply = self.server.post(CHAT, ask(max_tokens=8, logprobs=True, top_logprobs=3))[1]
        content = reply["choices"][0]["logprobs"]["content"]
        self.assertEqual(len(content), 8)
        self.assertEqual("".join(token["token"] for token in content),
                         reply["choices"][0]["message"]["content"])
        for token in content:
            self.assertEqual(bytes(token["bytes"]).decode(), token["token"])
            top = token["top_logprobs"]
            self.assertEqual(len(top), 3)
            self.assertEqual(top[0]["token"], token["token"])  # greedy
            self.assertEqual(top[0]["logprob"], token["logprob"])
            self.assertEqual(sorted((t["logprob"] for t in top), reverse=True),
                             [t["logprob"] for t in top])
            self.assertLess(sum(2.718281828 ** t["logprob"] for t in top), 1 + 1e-5)
        chunks = events(self.server.request(
            "POST", CHAT, ask(max_tokens=8, logprobs=True, top_logprobs=3, stream=True))[2])
        streamed = [token for chunk in chunks if chunk["choices"][0]["logprobs"]
                    for token in chunk["choices"][0]["logprobs"]["content"]]
        self.assertEqual(streamed, content)
        old = self.server.post("/v1/completions", {"prompt": "Tom was", "temperature": 0,
                                                   "max_tokens": 4, "logprobs": 2})[1]
        old = old["choices"][0]["logprobs"]
        self.assertEqual([len(old[name]) for name in ("tokens", "token_logprobs", "top_logprobs",
                                                      "text_offset")], [4] * 4)
        self.assertEqual(old["text_offset"][2], len(old["tokens"][0] + old["tokens"][1]))

    def test_cached_prefix_changes_nothing(self):
        story = ask("Tell me a story about a girl named Mia and a strange noise.", max_tokens=30)
        first = self.server.post(CHAT, story)[1]
        again = self.server.post(CHAT, story)[1]
        self.assertEqual(again["choices"], first["choices"])
        # All but the last token of the prompt, whose logits are wanted.
        self.assertEqual(again["usage"]["prompt_tokens_details"]["cached_tokens"],
                         again["usage"]["prompt_tokens"] - 1)
        said = first["choices"][0]["message"]["content"]
        story["messages"] += [{"role": "assistant", "content": said},
                              {"role": "user", "content": "Who is Mia?"}]
        third = self.server.post(CHAT, story)[1]
        self.assertGreaterEqual(third["usage"]["prompt_tokens_details"]["cached_tokens"],
                                again["usage"]["prompt_tokens"])

    def test_messages(self):
        parts = [{"type": "text", "text": QUESTION[:10]}, {"type": "text", "text": QUESTION[10:]}]
        whole = self.server.post(CHAT, ask(max_tokens=5))[1]
        split = self.server.post(CHAT, {"messages": [{"role": "user", "content": parts}],
                                        "temperature": 0, "max_tokens": 5})[1]
        self.assertEqual(split["choices"], whole["choices"])
        for role in ("system", "developer"):
            reply = self.server.post(CHAT, {"messages": [
                {"role": role, "content": "Be brief."}, {"role": "user", "content": "Hello"}],
                "max_tokens": 1})
            self.assertEqual(reply[0], 200, reply)

    def test_tokens(self):
        reply = self.server.post("/tokenize", {"content": "Hello, größe 🌍", "with_pieces": True})[1]
        self.assertEqual(reply["count"], len(reply["tokens"]))
        self.assertEqual(len(reply["pieces"]), reply["count"])
        text = self.server.post("/detokenize", {"tokens": reply["tokens"]})[1]["content"]
        self.assertEqual(text, "Hello, größe 🌍")

    def test_models(self):
        models = self.server.get("/v1/models")[1]["data"]
        self.assertEqual([model["id"] for model in models], ["Tiny Workshop 5M"])
        self.assertEqual(self.server.get("/v1/models/nonsense")[0], 404)

    def test_health_and_metrics(self):
        made = self.server.metric("jllm_generated_tokens_total")
        self.server.post(CHAT, ask(max_tokens=4))
        self.assertEqual(self.server.metric("jllm_generated_tokens_total"), made + 4)
        status, health = self.server.get("/health")
        self.assertEqual((status, health["status"]), (200, "ok"))
        self.assertEqual(health["slots"]["busy"], 0)
        self.assertEqual(health["model"]["context"], 512)
        self.assertGreater(health["memory"]["available_bytes"], 0)
        self.assertGreater(health["device_care"]["looks"], 0)
        for name in ("jllm_queue_length", "jllm_backoff_level", "jllm_memory_available_bytes",
                     "jllm_time_to_first_token_seconds_count", "jllm_time_per_token_seconds_sum"):
            self.server.metric(name)


class Guide(Base):
    """docs/server.md says what is so."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../docs/server.md"),
                  encoding="utf-8") as file:
            cls.guide = file.read()

    def test_examples(self):
        if shutil.which("curl") is None:
            self.skipTest("no curl")
        lines = re.findall("^curl .*", self.guide, re.MULTILINE)
        self.assertGreater(len(lines), 5)
        with Machine().serve(plan=VECTORS_PLAN) as vectors:
            for line in lines:
                url = (vectors if "/v1/embeddings" in line else self.server).url
                with self.subTest(line=line):
                    result = subprocess.run(["sh", "-c", f"U={url}\n{line} -sS --fail-with-body"],
                                            capture_output=True, text=True, timeout=60, check=False)
                    self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
                    self.assertGreater(len(result.stdout), 10)

    def test_options(self):
        text = subprocess.run([JLLM, "serve", "--help"], capture_output=True, text=True, timeout=60,
                              check=True).stdout
        options = set(re.findall(r"^ {2}(?:-\w, | {4})(--[a-z-]+)", text, re.MULTILINE))
        self.assertGreater(len(options), 20)
        table = self.guide[self.guide.index("## Options"):]
        # -n, -t and the like stand in the guide by their short names.
        missing = {option for option in options if f"`{option}" not in table} - {
            "--tokens", "--temp", "--verbose"}
        self.assertEqual(missing, set())


class Refusals(Base):
    OPTIONS = ("--max-body", "64K")

    def test_requests(self):
        user = [{"role": "user", "content": "x"}]
        cases = [
            ("no JSON", ["JSON"]),
            ([], ["object"]),
            ({}, ["messages", "missing"]),
            ({"messages": []}, ["messages", "empty"]),
            ({"messages": [{"role": "robot", "content": "x"}]}, ["messages[0].role", "robot"]),
            ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, ["image_url"]),
            ({"messages": user + [{"role": "system", "content": "x"}]}, ["messages[1].role", "beginning"]),
            ({"messages": user + [{"role": "tool", "tool_call_id": "a", "content": "x"}]},
             ["messages[1].tool_call_id", "no call"]),
            ({"messages": user, "n": 2}, ["'n'", "1"]),
            ({"messages": user, "temperature": -1}, ["temperature", "0 to 100"]),
            ({"messages": user, "max_tokens": 0}, ["max_tokens"]),
            ({"messages": user, "max_tokens": "x"}, ["max_tokens", "integer"]),
            ({"messages": user, "stop": [""]}, ["stop"]),
            ({"messages": user, "top_logprobs": 2}, ["top_logprobs", "logprobs"]),
            ({"messages": user, "presence_penalty": 1}, ["presence_penalty", "repeat_penalty"]),
            ({"messages": user, "stream_options": {}}, ["stream_options", "stream"]),
            ({"messages": user, "response_format": {"type": "yaml"}}, ["response_format.type"]),
            ({"messages": user, "response_format": {"type": "json_schema", "json_schema": {
                "name": "n", "schema": {"type": "string", "pattern": "a"}}}}, ["'pattern' is not supported"]),
            ({"messages": user, "tools": [{"type": "function", "function": {"name": "f"}}]},
             ["tools", "chat format"]),
            ({"messages": [{"role": "user", "content": "word " * 600}]}, ["tokens", "512"]),
        ]
        for body, words in cases:
            with self.subTest(words=words):
                self.expect_error(self.server.post(CHAT, body), 400, words)
        self.expect_error(self.server.post(CHAT, {"messages": user, "model": "gpt-4"}), 404,
                          ["gpt-4", "Tiny Workshop 5M"], "model_not_found")
        self.expect_error(self.server.post("/v1/completions", {"prompt": ["a", "b"]}), 400, ["prompt"])
        self.expect_error(self.server.post("/v1/completions", {"prompt": [99999]}), 400, ["99999"])
        self.expect_error(self.server.post("/detokenize", {"tokens": [99999]}), 400, ["99999"])
        self.assertEqual(self.server.get("/health")[0], 200)

    def test_paths(self):
        self.expect_error(self.server.get("/v1/nonsense"), 404, ["/v1/nonsense"])
        self.expect_error(self.server.get(CHAT), 404, ["GET"])
        self.expect_error(self.server.post("/health", {}), 404, ["POST"])

    def test_long_bodies(self):
        body = json.dumps(ask("x" * 100000))
        self.expect_error(self.server.post(CHAT, body), 413, ["--max-body"])

        def chunks():
            for i in range(0, len(body), 1000):
                yield body[i:i + 1000].encode()
        self.expect_error(self.server.post(CHAT, chunks()), 413, ["--max-body"])
        self.assertEqual(self.server.get("/health")[0], 200)

    def test_long_headers(self):
        headers = {f"X-Header-{i}": "x" * 4000 for i in range(20)}
        status, _, _ = self.server.request("GET", "/health", headers=headers)
        self.assertEqual(status, 431)

    def test_no_http(self):
        with self.server.connect() as connection:
            connection.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
            self.assertIn(b"400", connection.recv(100))
        with self.server.connect():
            pass  # says nothing, and goes
        self.assertEqual(self.server.get("/health")[0], 200)

    def test_one_connection_for_many_requests(self):
        request = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
        with self.server.connect() as connection:
            connection.sendall(request * 3)  # before the first reply
            connection.settimeout(10)
            text = b""
            while text.count(b"HTTP/1.1 200") < 3:
                got = connection.recv(4096)
                self.assertTrue(got, text)
                text += got


class Keys(Base):
    OPTIONS = ("--api-key", "secret-key", "--cors-origin", "https://example.org")

    def test_keys(self):
        for headers in ({}, {"Authorization": "Bearer secret-kez"}, {"Authorization": "Bearer secret"},
                        {"Authorization": "secret-key"}, {"Authorization": "Bearer secret-keysecret-key"}):
            self.expect_error(self.server.post(CHAT, ask(max_tokens=1), headers), 401, ["key"],
                              "invalid_api_key")
        good = {"Authorization": "Bearer secret-key"}
        self.assertEqual(self.server.post(CHAT, ask(max_tokens=1), good)[0], 200)
        self.assertEqual(self.server.request("GET", "/metrics")[0], 401)
        self.assertEqual(self.server.get("/health"), (200, {"status": "ok"}))
        self.assertIn("slots", self.server.request("GET", "/health", headers=good)[2])

    def test_other_origins(self):
        headers = {"Origin": "https://example.org", "Authorization": "Bearer secret-key"}
        self.assertEqual(self.server.request("GET", "/health", headers=headers)[1]
                         ["Access-Control-Allow-Origin"], "https://example.org")
        headers["Origin"] = "https://example.com"
        self.expect_error(self.server.post(CHAT, ask(), headers), 403, ["example.com"], "forbidden_origin")
        headers["Origin"] = f"http://127.0.0.1:{self.server.port}"  # a page of its own
        self.assertEqual(self.server.post(CHAT, ask(max_tokens=1), headers)[0], 200)
        for host, allowed in (("localhost", True), ("[::1]", True), (socket.gethostname(), True),
                              (socket.gethostname() + ".local", True), ("rebound.example.net", False)):
            headers["Host"] = f"{host}:{self.server.port}"
            headers["Origin"] = f"http://{host}:{self.server.port}"
            reply = self.server.post(CHAT, ask(max_tokens=1), headers)
            if allowed:
                self.assertEqual(reply[0], 200, host)
            else:  # a foreign name that was made to lead here
                self.expect_error(reply, 403, ["rebound.example.net"], "forbidden_origin")
        status, given, _ = self.server.request("OPTIONS", CHAT, headers={"Origin": "https://example.org"})
        self.assertEqual(status, 204)
        self.assertIn("Authorization", given["Access-Control-Allow-Headers"])


class Queue(Base):
    OPTIONS = ("--queue", "1", *HOT)
    CELSIUS = 70.0

    def test_full_queue(self):
        def one(_):
            status, headers, text = self.server.request("POST", "/v1/completions", LONG)
            return status, headers, json.loads(text)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(one, range(8)))
        counts = {status: sum(1 for reply in replies if reply[0] == status) for status in (200, 429)}
        self.assertEqual(sum(counts.values()), 8, replies)
        self.assertGreaterEqual(counts[200], 2)  # one runs, one waits
        self.assertGreaterEqual(counts[429], 1)
        for status, headers, reply in replies:
            if status == 429:
                self.assertGreaterEqual(int(headers["Retry-After"]), 1)
                self.assertEqual(reply["error"]["code"], "queue_full")
        texts = {reply[2]["choices"][0]["text"] for reply in replies if reply[0] == 200}
        self.assertEqual(len(texts), 1)

    def test_client_that_goes_away(self):
        for stream in (True, False):
            before = self.server.metric("jllm_cancelled_total")
            body = json.dumps({**LONG, "stream": stream, "max_tokens": 500}).encode()
            # Two, so that one of them is cancelled in the queue.
            for _ in range(2):
                with self.server.connect() as connection:
                    connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                                       % (len(body), body))
                    if stream:
                        connection.recv(1)
            self.server.wait_until(lambda: self.server.metric("jllm_cancelled_total") == before + 2,
                                   "a request of a client that is gone goes on")
            self.assertEqual(self.server.get("/health")[1]["slots"]["busy"], 0)
        self.server.wait_until(lambda: 'code="499"} 2' in self.server.request("GET", "/metrics")[2],
                               "requests without a client are not counted as such")
        self.assertEqual(self.server.post(CHAT, ask(max_tokens=2))[0], 200)


class Slots(Base):
    PLAN = SLOTS_PLAN

    def test_texts_do_not_depend_on_each_other(self):
        def say(i):
            return self.server.post("/v1/completions", {
                "prompt": f"One day {'a boy ' * i}", "temperature": 1, "seed": i, "max_tokens": 30 + 10 * i})
        alone = [say(i) for i in range(8)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            together = list(pool.map(say, range(8)))
        self.assertEqual({status for status, _ in alone + together}, {200})
        for one, other in zip(alone, together):
            self.assertEqual(one[1]["choices"], other[1]["choices"])
        self.assertGreater(len({reply["choices"][0]["text"] for _, reply in alone}), 4)


class BusySlots(Base):
    PLAN = SLOTS_PLAN
    OPTIONS = HOT
    CELSIUS = 70.0

    def test_prefix_of_a_running_text(self):
        prompt = "Tom and Mia went to the old barn behind the house. " * 5
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(self.server.post, "/v1/completions", {**LONG, "prompt": prompt})
            self.server.wait_until(lambda: self.server.metric("jllm_generated_tokens_total") > 2, "no tokens")
            body = {"prompt": prompt + "There", "temperature": 0, "max_tokens": 8}
            status, reply = self.server.post("/v1/completions", body)
            self.assertEqual(self.server.get("/health")[1]["slots"]["busy"], 1)
            self.assertEqual(running.result()[0], 200)
        self.assertEqual(status, 200)
        usage = reply["usage"]
        self.assertGreater(usage["prompt_tokens_details"]["cached_tokens"], usage["prompt_tokens"] - 5)
        # What was copied is what would have been computed.
        for word in ("Once", "Then", "Now"):
            self.server.post("/v1/completions", {**body, "prompt": word + " " + prompt, "max_tokens": 1})
        self.assertEqual(self.server.post("/v1/completions", body)[1]["choices"], reply["choices"])


class Timeouts(Base):
    OPTIONS = ("--timeout", "0.5", *HOT)
    CELSIUS = 70.0

    def test_timeout(self):
        reply = self.server.post("/v1/completions", LONG)[1]
        self.assertEqual(reply["choices"][0]["finish_reason"], "timeout")
        self.assertGreater(reply["usage"]["completion_tokens"], 0)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(self.server.post, "/v1/completions", LONG)
            self.server.wait_until(lambda: self.server.get("/health")[1]["slots"]["busy"] == 1,
                                   "no request runs")
            waiting = self.server.post("/v1/completions", {**LONG, "stream": False})
            self.assertEqual(running.result()[0], 200)
        # What was in the queue until then may have got a slot at the last moment.
        if waiting[0] != 200:
            self.expect_error(waiting, 503, ["--timeout"], "timeout")
        self.assertEqual(self.server.metric("jllm_timed_out_total"), 3)


class Care(unittest.TestCase):
    def test_heat(self):
        machine = Machine(70)
        with machine.serve(*HOT) as server:
            begun = time.monotonic()
            reply = server.post("/v1/completions", {**LONG, "max_tokens": 10})[1]
            self.assertEqual(reply["usage"]["completion_tokens"], 10)
            self.assertGreater(time.monotonic() - begun, 10 * 0.05)
            health = server.get("/health")[1]
            self.assertEqual(health["device_care"]["level"], 1)
            self.assertEqual(health["thermal"], [{"zone": "cpu-thermal", "celsius": 70.0}])
            self.assertEqual(health["power"], [{"rail": "VDD_IN", "watts": 6.0}])
            energy = health["energy"]
            self.assertEqual(energy["of"], "VDD_IN")
            self.assertAlmostEqual(energy["mean_watts"], 6.0)
            self.assertGreater(energy["seconds"], 0.2)
            self.assertTrue(0 < energy["tokens"] <= 10)
            self.assertAlmostEqual(energy["tokens_per_joule"] * energy["joules"], energy["tokens"])
            self.assertAlmostEqual(server.metric("jllm_energy_joules_total"), energy["joules"])
            self.assertEqual(server.metric("jllm_energy_tokens_total"), energy["tokens"])
            self.assertEqual(health["memory"]["available_bytes"], 4000 << 20)
            self.assertEqual(server.metric("jllm_power_watts"), 6)
            self.assertEqual(server.metric("jllm_backoff_level"), 1)
            self.assertEqual(server.metric("jllm_temperature_celsius"), 70)
            self.assertGreaterEqual(server.metric("jllm_backoff_pauses_total"), 10)
            self.assertIn("cpu-thermal at 70.0 degrees", server.log)
            machine.set_celsius(40)
            server.wait_until(lambda: server.post("/v1/completions", {**LONG, "max_tokens": 1}) and
                              server.metric("jllm_backoff_level") == 0, "it is cool, and still pauses")
            self.assertEqual(server.end(), 0)

    def test_memory(self):
        machine = Machine(70)
        with machine.serve(*HOT) as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(server.post, "/v1/completions", {**LONG, "max_tokens": 400})
            server.wait_until(lambda: server.metric("jllm_generated_tokens_total") > 2, "no tokens")
            machine.set_available(10)
            reply = running.result()[1]
            self.assertEqual(reply["choices"][0]["finish_reason"], "memory")
            self.assertGreater(len(reply["choices"][0]["text"]), 0)
            status, error = server.post("/v1/completions", LONG)
            self.assertEqual((status, error["error"]["code"]), (503, "out_of_memory"))
            self.assertEqual(server.metric("jllm_ended_by_memory_total"), 2)
            machine.set_available(4000)
            server.wait_until(lambda: server.post(CHAT, ask(max_tokens=1))[0] == 200,
                              "there is memory again, and still no answer")
            self.assertEqual(server.end(), 0)


class Ends(unittest.TestCase):
    def serve(self, *options):
        return Machine(70).serve(*HOT, *options)

    def begin(self, pool, server):
        future = pool.submit(server.request, "POST", "/v1/completions", {**LONG, "stream": True})
        server.wait_until(lambda: server.get("/health")[1]["slots"]["busy"] == 1, "no request runs")
        return future

    def test_drain(self):
        with self.serve() as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
            self.assertEqual((server.metric("jllm_up"), server.metric("jllm_draining")), (1, 0))
            future = self.begin(pool, server)
            server.process.send_signal(signal.SIGTERM)
            server.wait_until(lambda: "ending when" in server.log, "the signal was not noticed")
            # Until what runs is done, others are told that there will be nothing more.
            status, headers, _ = server.request("POST", CHAT, ask(max_tokens=1))
            self.assertEqual(status, 503)
            self.assertIn("Retry-After", headers)
            self.assertEqual(server.get("/health")[1]["status"], "draining")
            self.assertEqual((server.metric("jllm_up"), server.metric("jllm_draining")), (1, 1))
            self.assertEqual(events(future.result()[2])[-1]["choices"][0]["finish_reason"], "length")
            self.assertEqual(server.wait(), 0)

    def test_drain_timeout(self):
        with self.serve("--drain-timeout", "0") as server, \
                concurrent.futures.ThreadPoolExecutor(1) as pool:
            future = self.begin(pool, server)
            self.assertEqual(server.end(signal.SIGINT), 0)
            self.assertEqual(events(future.result()[2])[-1]["choices"][0]["finish_reason"], "shutdown")

    def test_idle(self):
        with self.serve() as server:
            with server.connect():  # a connection that says nothing holds nothing up
                begun = time.monotonic()
                self.assertEqual(server.end(), 0)
                self.assertLess(time.monotonic() - begun, 10)

    def test_port_in_use(self):
        with self.serve() as server:
            result = subprocess.run([JLLM, "serve", PLAN, "--port", str(server.port)],
                                    capture_output=True, text=True, timeout=60)
            self.assertEqual(result.returncode, 1)
            self.assertIn("cannot listen on 127.0.0.1 port", result.stderr)


if __name__ == "__main__":
    for path, options in ((PLAN, []), (SLOTS_PLAN, ["--slots", "3"]), (VECTORS_PLAN, ["--embedding", "last"])):
        subprocess.run([JLLMC, "compile", MODEL, "--target", "host", *options, "-o", path], check=True,
                       stdout=subprocess.DEVNULL)
    unittest.main(argv=[sys.argv[0]] + sys.argv[5:], verbosity=2)
