#!/usr/bin/env python3
"""Requests of several clients at once against a server of OpenAI's API, and how long they wait.

usage: tools/load_test.py URL [--clients 1,4,8] [--requests N] [--prompt N] [--tokens N] [--shared N] [--json]

Each client sends one streamed completion after the other: --requests in all for each number of clients, with a prompt
of --prompt words of its own behind --shared words that all have in common, and --tokens tokens to generate. Reported
are tokens per second of all clients together, the time to the first token, the time between two tokens, and the time
of a whole request: median, 95th and 99th percentile. The server must be on this machine (127.0.0.1).
Python's standard library is all that it needs; where Python itself is the bottleneck (many thousand tokens per second),
it says how much of a core it used.
"""
import argparse
import http.client
import json
import random
import statistics
import sys
import threading
import time
import urllib.parse


def percentile(values, share):
    """The smallest value that this share of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * len(ordered) * 1000) // 1000) - 1)] if ordered else float("nan")


class Request:
    """One streamed completion."""

    def __init__(self, address, prompt, tokens):
        self.first = self.whole = None
        self.gaps = []
        self.error = None
        self.tokens = 0
        start = time.perf_counter()
        connection = http.client.HTTPConnection(*address, timeout=600)
        try:
            # ignore_eos is llama-server's name of the same.
            body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_end": True, "ignore_eos": True,
                    "stream": True, "stream_options": {"include_usage": True}}
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            if reply.status != 200:
                self.error = f"{reply.status} {reply.read(300).decode(errors='replace')}"
                return
            last = None
            for line in reply:
                now = time.perf_counter()
                if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                    continue
                chunk = json.loads(line[6:])
                if chunk.get("usage"):
                    self.tokens = chunk["usage"]["completion_tokens"]
                if not chunk["choices"] or not chunk["choices"][0].get("text"):
                    continue
                if last is None:
                    self.first = now - start
                else:
                    self.gaps.append(now - last)
                last = now
            self.whole = time.perf_counter() - start
            if self.tokens == 0:
                self.error = "the stream ended without a usage"
        except OSError as error:
            self.error = str(error)
        finally:
            connection.close()


def words(count, seed):
    rng = random.Random(seed)
    return " ".join(rng.choice(("lamp", "wire", "tool", "river", "stone", "green", "quick", "seven")) for _ in range(count))


def measure(address, clients, options):
    waiting = iter(range(options.requests))
    lock = threading.Lock()
    done = []
    shared = words(options.shared, 0)

    def client():
        while True:
            with lock:
                number = next(waiting, None)
            if number is None:
                return
            request = Request(address, f"{shared} {number} {words(options.prompt, clients * 1000 + number)}", options.tokens)
            with lock:
                done.append(request)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    start, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    good = [request for request in done if request.error is None]
    result = {"clients": clients, "requests": len(done), "failed": len(done) - len(good), "seconds": seconds,
              "tokens_per_second": sum(request.tokens for request in good) / seconds, "own_cpu_share": cpu / seconds}
    for name, values in (("first_token", [request.first for request in good]),
                         ("between_tokens", [gap for request in good for gap in request.gaps]),
                         ("request", [request.whole for request in good])):
        result[name + "_ms"] = {"p50": 1e3 * statistics.median(values) if values else None,
                                "p95": 1e3 * percentile(values, 0.95), "p99": 1e3 * percentile(values, 0.99)}
    errors = sorted({request.error for request in done if request.error})
    return result, errors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--clients", default="1,4,8")
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--prompt", type=int, default=100, help="words of each prompt's own")
    parser.add_argument("--shared", type=int, default=0, help="words that all prompts begin with")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    url = urllib.parse.urlsplit(options.url)
    if url.hostname not in ("127.0.0.1", "localhost", "::1"):
        parser.error("only a server on this machine is put under load: http://127.0.0.1:PORT")
    address = (url.hostname, url.port or 80)
    results, failed = [], False
    for clients in [int(count) for count in options.clients.split(",")]:
        result, errors = measure(address, clients, options)
        results.append(result)
        for error in errors:
            failed = True
            print(f"{clients} clients: {error}", file=sys.stderr)
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        print(f"{options.requests} requests each, {options.shared} + {options.prompt} words, {options.tokens} tokens; ms")
        print(f"{'clients':>7} {'tok/s':>9} | {'first token p50':>15} {'p95':>8} {'p99':>8} | {'between p50':>11} {'p95':>7} "
              f"{'p99':>7} | {'request p50':>11} {'p95':>8} {'p99':>8} | {'own CPU':>7}")
        for r in results:
            first, gap, whole = r["first_token_ms"], r["between_tokens_ms"], r["request_ms"]
            print(f"{r['clients']:7} {r['tokens_per_second']:9.1f} | {first['p50']:15.2f} {first['p95']:8.2f} {first['p99']:8.2f} | "
                  f"{gap['p50']:11.2f} {gap['p95']:7.2f} {gap['p99']:7.2f} | {whole['p50']:11.1f} {whole['p95']:8.1f} "
                  f"{whole['p99']:8.1f} | {r['own_cpu_share']:6.0%}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
