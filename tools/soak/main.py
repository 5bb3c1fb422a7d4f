"""tools/soak.sh: see there."""
import argparse
import csv
import datetime
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time

import report
from load import Load
from sample import COLUMNS, Sampler

EXIT = {report.PASSED: 0, report.FAILED: 1, report.UNDECIDED: 3}
DRAIN_SECONDS = 60


def arguments():
    parser = argparse.ArgumentParser(prog="tools/soak.sh", formatter_class=argparse.RawDescriptionHelpFormatter, description=(
        "Keeps `jllm serve` busy for hours and says whether its memory stays flat.\n"
        "Exit status: 0 passed, 1 failed, 3 undecided (too short for the bound), 2 usage."))
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--plan", help="start a server of this plan and end it afterwards")
    where.add_argument("--url", help="take a server that runs: http://127.0.0.1:PORT, no other machine's")
    parser.add_argument("--jllm", default=os.path.join(os.path.dirname(__file__), "../../build/bin/jllm"),
                        help="program for --plan (default: build/bin/jllm)")
    parser.add_argument("--serve-option", action="append", default=[], metavar="OPTION",
                        help="further option for the server, as --serve-option=--threads=2; may be said again")
    parser.add_argument("--pid", type=int, help="process of the server at --url, for its descriptors and threads")
    parser.add_argument("--api-key-file", help="key of the server at --url, the file's first line")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--hours", type=float, default=24.0, help="how long (default 24)")
    length.add_argument("--minutes", type=float)
    parser.add_argument("--clients", type=int, default=4, help="how many ask at the same time (default 4)")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two samples (default 5)")
    parser.add_argument("--warm-up", type=float, metavar="MINUTES",
                        help="left out of the slope (default: a tenth of the time, 30 minutes at most)")
    parser.add_argument("--bound", type=float, default=1024.0, metavar="KIB",
                        help="growth of resident memory in KiB an hour that is let pass (default 1024)")
    parser.add_argument("--seed", type=int, default=1, help="of the clients' choices (default 1)")
    parser.add_argument("--title", default="soak", help="headline of the chart")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="for samples.csv, report.* and chart.svg")
    o = parser.parse_args()
    if o.clients < 1 or o.interval <= 0 or (o.minutes if o.minutes is not None else o.hours) <= 0:
        parser.error("--clients, --interval, --hours and --minutes must be above 0")
    if o.url and not re.fullmatch(r"http://(127\.0\.0\.1|localhost):\d+/?", o.url):
        parser.error("--url must be http://127.0.0.1:PORT: the clients put all the load on it that it can take")
    o.seconds = o.minutes * 60 if o.minutes is not None else o.hours * 3600
    o.warm_up_seconds = o.warm_up * 60 if o.warm_up is not None else min(o.seconds / 10, 1800)
    return o


# What the service's unit sets: measured is the server as it is run.
GLIBC_TUNABLES = "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"


class Server:
    """A server of our own; what it says goes to server.log."""

    def __init__(self, o):
        command = [o.jllm, "serve", o.plan, "--port", "0", *o.serve_option]
        self.log = open(os.path.join(o.output, "server.log"), "w", encoding="utf-8")
        # A session of its own: Ctrl-C is for this program, which then ends the server in order.
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, start_new_session=True,
                                        env={"GLIBC_TUNABLES": GLIBC_TUNABLES, **os.environ})
        line = self.process.stdout.readline()
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", line)
        if not found:
            code = self.end()
            sys.exit(f"{' '.join(command)}: exit code {code}, no port; see {self.log.name}")
        self.port = int(found.group(1))

    def end(self):
        """Its exit code, after SIGTERM and a time to drain; negative where it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.log.close()


def watch(o, sampler, load, server, ending):
    """Samples until the time is over; (rows, why it ended before)."""
    rows, begin = [], time.monotonic()
    with open(os.path.join(o.output, "samples.csv"), "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        while True:
            seconds = time.monotonic() - begin
            rows.append(sampler.row(seconds, load))
            writer.writerow(rows[-1])
            file.flush()
            if server and server.process.poll() is not None:
                return rows, "the server ended before the time was over"
            if seconds >= o.seconds:
                return rows, ""
            # Against the clock, not after each sample: those take time too.
            if ending.wait(max(0.0, min(o.interval - seconds % o.interval, o.seconds - seconds))):
                # A shorter run is still a run: it is judged by what was seen.
                return rows, ""


def first_line(path):
    with open(path, encoding="utf-8") as file:
        return file.readline().strip()


def main():
    o = arguments()
    os.makedirs(o.output, exist_ok=True)
    ending = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: ending.set())
    key = first_line(o.api_key_file) if o.api_key_file else ""
    server = Server(o) if o.plan else None
    port = server.port if server else int(o.url.rstrip("/").rsplit(":", 1)[1])
    load = Load(port, o.clients, o.seed, key)
    began = datetime.datetime.now(datetime.timezone.utc)
    print(f"{o.clients} clients at 127.0.0.1:{port} until "
          f"{(began + datetime.timedelta(seconds=o.seconds)):%Y-%m-%d %H:%M} UTC; samples in {o.output}/samples.csv", flush=True)
    code, ended = None, ""
    try:
        load.start()
        rows, ended = watch(o, Sampler(f"http://127.0.0.1:{port}", server.process.pid if server else o.pid, key), load, server,
                            ending)
        answered = load.stop(DRAIN_SECONDS)
    finally:
        if server:
            code = server.end()
    facts = {"title": o.title, "began": began.isoformat(timespec="seconds"), "machine": platform.platform(),
             "processors": os.cpu_count(), "command": sys.argv[1:], "clients": o.clients, "requests": load.requests,
             "kinds": dict(sorted(load.kinds.items())), "busy_replies": load.busy, "errors": load.errors,
             "first_errors": load.messages, "server_exit": code, "ended_early": ended, "answered": answered}
    result = report.make(rows, facts, o.warm_up_seconds, o.bound)
    report.write(o.output, rows, result)
    print(report.text(result), end="")
    return EXIT[result["verdict"]]


if __name__ == "__main__":
    sys.exit(main())
