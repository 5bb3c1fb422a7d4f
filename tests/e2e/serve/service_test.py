"""jllm serve as systemd sees it: datagrams to its socket; and `jllm health` as a container does."""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from servers import LIMIT, serving

JLLM, JLLMC, MODEL, WORK = sys.argv[1:5]
REPOSITORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
PLAN = os.path.join(WORK, "service_test.jllm")


class Service(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.settimeout(LIMIT)
        self.path = os.path.join(folder.name, "notify")
        self.socket.bind(self.path)

    def serve(self, *options, **environment):
        return serving(JLLM, "serve", PLAN, "--port", "0", "--threads", "1", *options, environment=environment)

    def message(self):
        return self.socket.recv(4096).decode()

    def health(self, url, *options):
        return subprocess.run([JLLM, "health", "--url", url, *options], capture_output=True, text=True, check=False,
                              timeout=LIMIT)

    def test_ready_alive_stopping(self):
        with self.serve(NOTIFY_SOCKET=self.path, WATCHDOG_USEC="4000000") as server:
            messages = [self.message() for _ in range(4)]
            # The scheduler lives before the socket listens: a heartbeat may be the first.
            self.assertIn(f"READY=1\nSTATUS=listening on {server.url}", messages)
            begin = time.monotonic()
            self.assertGreaterEqual(messages.count("WATCHDOG=1"), 3)
            while self.message() != "WATCHDOG=1":
                pass
            self.assertLess(time.monotonic() - begin, 4)
            server.process.send_signal(signal.SIGTERM)
            while not (message := self.message()).startswith("STOPPING=1"):
                self.assertEqual(message, "WATCHDOG=1")
            self.assertEqual(server.wait(), 0)

    def test_no_watchdog_no_heartbeat(self):
        with self.serve(NOTIFY_SOCKET=self.path) as server:
            self.assertTrue(self.message().startswith("READY=1"))
            self.assertEqual(server.post("/v1/completions", {"prompt": "One day", "max_tokens": 4})[0], 200)
            self.assertEqual(server.end(), 0)
            self.assertTrue(self.message().startswith("STOPPING=1"))

    def test_key_from_the_environment(self):
        with self.serve(JLLM_API_KEY="secret") as server:
            self.assertEqual(server.request("GET", "/v1/models")[0], 401)
            self.assertEqual(server.request("GET", "/v1/models", headers={"Authorization": "Bearer secret"})[0], 200)
            # Whether it is well is no secret.
            self.assertEqual(self.health(server.url).returncode, 0)

    def test_soak(self):
        """All that tools/soak.sh asks is answered as it expects; seconds say nothing about memory, so any growth is let pass."""
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([os.path.join(REPOSITORY, "tools/soak.sh"), "--plan", PLAN, "--jllm", JLLM,
                                   "--serve-option=--threads=1", "--minutes", "0.15", "--interval", "0.5", "--bound", "1e12",
                                   "-o", folder], capture_output=True, text=True, check=False, timeout=300)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(os.path.join(folder, "report.json"), encoding="utf-8") as file:
                report = json.load(file)
            self.assertGreater(report["requests"], 5)
            self.assertGreater(report["slopes_per_hour"]["descriptors"]["start"], 3)

    def test_health(self):
        with self.serve() as server:
            done = self.health(server.url)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn('"ok"', done.stdout)
            self.assertEqual(self.health(server.url, "-q").stdout, "")
            self.assertEqual(server.end(), 0)
            done = self.health(server.url)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(server.url, done.stderr)
        self.assertEqual(self.health("nonsense://").returncode, 1)


if __name__ == "__main__":
    subprocess.run([JLLMC, "compile", MODEL, "--target", "host", "-o", PLAN], check=True, stdout=subprocess.DEVNULL)
    unittest.main(argv=[sys.argv[0]] + sys.argv[5:], verbosity=2)
