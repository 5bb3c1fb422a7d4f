"""Servers of the tests: each on 127.0.0.1 with a port of its own, ended when its block ends."""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

LIMIT = 60  # seconds that anything here may take


class Server:
    """A running server; `log` is what it has said on standard error."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, **environment})
        line = self.process.stdout.readline()
        found = re.match(r"listening on http://127\.0\.0\.1:(\d+)", line)
        if not found:
            raise AssertionError(f"{command}: {line!r} {self.process.communicate()[1]!r}")
        self.port = int(found.group(1))
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.log += line

    def end(self, sign=signal.SIGTERM):
        """Ends it; its exit code."""
        self.process.send_signal(sign)
        return self.wait()

    def wait(self):
        try:
            return self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def close(self):
        self._reader.join()
        self.process.stdout.close()
        self.process.stderr.close()

    # --- without a client library -----------------------------------------------------------------

    def request(self, method, path, body=None, headers=None):
        """(status, headers, body as text)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return reply.status, dict(reply.getheaders()), reply.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def post(self, path, body, headers=None):
        """(status, body as JSON)"""
        status, _, text = self.request("POST", path, body, headers)
        return status, json.loads(text)

    def get(self, path):
        status, _, text = self.request("GET", path)
        return status, json.loads(text)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)

    def metric(self, name):
        """The sum of a metric's samples."""
        text = self.request("GET", "/metrics")[2]
        samples = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if re.match(re.escape(name) + r"[ {]", line)]
        if not samples:
            raise AssertionError(f"no metric {name} in\n{text}")
        return sum(samples)

    def wait_until(self, what, why):
        end = time.monotonic() + LIMIT
        while not what():
            if time.monotonic() > end:
                raise AssertionError(f"{why}: not within {LIMIT} s\n{self.log}")
            time.sleep(0.01)


@contextlib.contextmanager
def serving(*command, environment=None):
    server = Server([str(word) for word in command], environment or {})
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.wait()
        server.close()
