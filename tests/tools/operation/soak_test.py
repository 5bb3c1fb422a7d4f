"""tools/soak.sh: its statistics, its verdicts, and a run against servers made for it, one of which leaks."""
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import unittest
import xml.etree.ElementTree
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REPOSITORY = sys.argv.pop(1)
SCRIPT = os.path.join(REPOSITORY, "tools/soak.sh")
sys.path.insert(0, os.path.join(REPOSITORY, "tools/soak"))
import report  # noqa: E402
from statistics_of_series import slope, student_quantile  # noqa: E402

KIB = 1024


class Statistics(unittest.TestCase):
    def test_student(self):
        # From printed tables.
        for freedom, expected in ((2, 4.303), (10, 2.228), (22, 2.074), (120, 1.980)):
            self.assertAlmostEqual(student_quantile(0.975, freedom), expected, places=3)

    def test_a_line_is_found(self):
        found = slope([(i / 100, 5000 + 30 * i / 100) for i in range(1000)])
        for name, expected in (("slope", 30), ("low", 30), ("high", 30), ("start", 5000)):
            self.assertAlmostEqual(found[name], expected, places=6)
        self.assertEqual(found["batches"], 24)

    def test_the_interval_holds(self):
        # Noise that remembers itself, as memory does (each sample keeps 0.9 of the one before): of 400 series without any
        # growth some 5 % may have an interval without zero. With samples taken for independent it would be over half.
        rng, outside = random.Random(7), 0
        for _ in range(400):
            value, series = 0.0, []
            for i in range(1200):
                value = 0.9 * value + rng.gauss(0, 1)
                series.append((i / 100, value))
            found = slope(series)
            outside += not found["low"] <= 0 <= found["high"]
        # 95 % intervals that are a little short: expected 20 to 40 of 400; six standard deviations beyond is wrong.
        self.assertLess(outside, 70)
        self.assertGreater(outside, 2)

    def test_too_few(self):
        self.assertIsNone(slope([(0, 1), (1, 2), (2, 3)]))
        self.assertIsNone(slope([(1, 1)] * 9))


class Verdicts(unittest.TestCase):
    FACTS = {"errors": 0, "first_errors": [], "server_exit": 0, "ended_early": "", "answered": True}

    def verdict(self, low=0.0, high=1.0, **facts):
        return report.judge({**self.FACTS, **facts}, {"low": low, "high": high}, 100)[0]

    def test_each(self):
        self.assertEqual(self.verdict(), "passed")
        self.assertEqual(self.verdict(low=-500, high=-400), "passed")
        self.assertEqual(self.verdict(low=101, high=102), "failed")
        self.assertEqual(self.verdict(low=0, high=101), "undecided")
        self.assertEqual(self.verdict(errors=1, first_errors=["what"]), "failed")
        self.assertEqual(self.verdict(server_exit=6), "failed")
        self.assertEqual(self.verdict(server_exit=-9), "failed")
        self.assertEqual(self.verdict(ended_early="gone"), "failed")
        self.assertEqual(self.verdict(answered=False), "failed")
        self.assertEqual(report.judge(self.FACTS, None, 100)[0], "undecided")


class Handler(BaseHTTPRequestHandler):
    """As much of `jllm serve` as the clients look at. server.leak: bytes by which its figure grows with each reply."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, text, **headers):
        body = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path != "/metrics":
            return self.reply(200, "{}")
        with self.server.lock:
            count = self.server.count
        return self.reply(200, f"# HELP x\njllm_generated_tokens_total {10 * count}\njllm_resident_bytes "
                               f"{50e6 + self.server.leak * count:.0f}\njllm_temperature_celsius{{zone=\"a\"}} 40\n")

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.count += 1
            count = self.server.count
        if self.server.broken and count % 10 == 0:
            return self.reply(500, "broken")
        if count % 25 == 0:
            return self.reply(429, "full", Retry_After="0.01")
        try:
            body = json.loads(data)
        except ValueError:
            return self.reply(400, "no JSON")
        if body.get("messages") == [] or body.get("n", 1) != 1 or len(data) > 50000:
            return self.reply(400, "no")
        if body.get("stream"):
            return self.reply(200, 'data: {"choices": []}\n\n' * 3 + "data: [DONE]\n\n")
        return self.reply(200, json.dumps({"choices": [{"finish_reason": "stop", "message": {"content": "a"}}],
                                           "usage": {"completion_tokens": 1}}))


class Runs(unittest.TestCase):
    def soak(self, leak=0, broken=False, status=0, arguments=()):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.lock, server.count, server.leak, server.broken = threading.Lock(), 0, leak, broken
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            with tempfile.TemporaryDirectory() as folder:
                done = subprocess.run([SCRIPT, "--url", f"http://127.0.0.1:{server.server_address[1]}", "--minutes", "0.08",
                                       "--interval", "0.1", "--clients", "3", "-o", folder, *arguments],
                                      capture_output=True, text=True, check=False, timeout=120)
                self.assertEqual(done.returncode, status, done.stdout + done.stderr)
                with open(os.path.join(folder, "report.json"), encoding="utf-8") as file:
                    result = json.load(file)
                with open(os.path.join(folder, "samples.csv"), encoding="utf-8") as file:
                    self.assertEqual(len(list(csv.DictReader(file))), result["samples"])
                chart = xml.etree.ElementTree.parse(os.path.join(folder, "chart.svg")).getroot()
                self.assertTrue(any("resident" in (part.text or "") for part in chart))
                with open(os.path.join(folder, "report.txt"), encoding="utf-8") as file:
                    self.assertTrue(file.read().startswith(result["verdict"]))
                return result
        finally:
            server.shutdown()
            server.server_close()

    def test_flat_passes(self):
        result = self.soak()
        self.assertEqual(result["errors"], 0, result["first_errors"])
        self.assertGreater(result["requests"], 20)
        self.assertGreater(result["busy_replies"], 0)
        self.assertGreater(len(result["kinds"]), 5)
        self.assertGreater(result["tokens_per_second"], 0)
        self.assertEqual(result["slopes_per_hour"]["resident_kib"]["slope"], 0)

    def test_a_leak_fails(self):
        result = self.soak(leak=100 * KIB, status=1)
        self.assertGreater(result["slopes_per_hour"]["resident_kib"]["low"], 1024)

    def test_wrong_replies_fail(self):
        result = self.soak(broken=True, status=1)
        self.assertGreater(result["errors"], 0)
        self.assertIn("500", result["first_errors"][0])

    def test_only_this_machine(self):
        for url in ("http://192.168.1.2:80", "http://127.0.0.1.example.org:80", "https://127.0.0.1:80"):
            done = subprocess.run([SCRIPT, "--url", url, "-o", "unused"], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2, url)
            self.assertIn("127.0.0.1", done.stderr)

    def test_a_server_that_does_not_start(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([SCRIPT, "--plan", "none.jllm", "--jllm", "/bin/false", "-o", folder], capture_output=True,
                                  text=True, check=False, timeout=60)
            self.assertEqual(done.returncode, 1)
            self.assertIn("server.log", done.stderr)


if __name__ == "__main__":
    unittest.main()
