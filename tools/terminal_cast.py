#!/usr/bin/env python3
"""Records a program at a terminal, typing what a script says, and draws the recording as an SVG picture that moves.

usage: tools/terminal_cast.py record SCRIPT -o FILE.cast [--size 96x32] [--as TEXT] -- COMMAND [ARGUMENT...]
       tools/terminal_cast.py draw FILE.cast > FILE.svg

A script has a line for each line that is typed; the next is typed when the program has been quiet for a while. `^D` ends the
input. `^C 120 TEXT` types TEXT and stops the program's answer when 120 bytes of it have come. Recordings are asciinema's
format, version 2; times are as they were. Pictures show the whole session at once where nothing moves.
"""
import argparse
import fcntl
import html
import json
import os
import pty
import re
import select
import struct
import sys
import termios
import time

from terminal_svg import CHARACTER, COLOURS, LINE, MARGIN

QUIET_SECONDS, LIMIT_SECONDS = 0.9, 60
TYPING_SECONDS = 0.045


class Session:
    def __init__(self, command, columns, rows):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execvp(command[0], command)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.begin = time.monotonic()
        self.events = []

    def listen(self, quiet, until=None):
        """Takes what comes until nothing has for `quiet` seconds, or `until` bytes are here; false at the end."""
        size, end = 0, time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < end and (until is None or size < until):
            if not select.select([self.terminal], [], [], quiet)[0]:
                return True
            try:
                data = os.read(self.terminal, 4096)
            except OSError:  # how Linux says that the last writer has gone
                return False
            self.events.append([round(time.monotonic() - self.begin, 4), "o", data.decode("utf-8", "replace")])
            size += len(data)
        return True

    def type(self, text):
        for character in text:
            os.write(self.terminal, character.encode())
            self.listen(TYPING_SECONDS)


def record(o):
    columns, rows = (int(number) for number in o.size.split("x"))
    with open(o.script, encoding="utf-8") as file:
        lines = file.read().splitlines()
    session = Session(o.command, columns, rows)
    session.listen(2 * QUIET_SECONDS)
    for line in lines:
        stop = re.fullmatch(r"\^C (\d+) (.*)", line)
        if line == "^D":
            os.write(session.terminal, b"\x04")
        else:
            session.type(stop.group(2) if stop else line)
            os.write(session.terminal, b"\r")
        if stop:
            session.listen(QUIET_SECONDS, int(stop.group(1)))
            os.write(session.terminal, b"\x03")
        session.listen(QUIET_SECONDS)
    session.listen(QUIET_SECONDS)
    _, status = os.waitpid(session.pid, 0)
    header = {"version": 2, "width": columns, "height": rows, "timestamp": int(time.time()),
              "command": o.shown or " ".join(o.command), "env": {"TERM": "xterm"}}
    with open(o.output, "w", encoding="utf-8") as file:
        for line in [header, *session.events]:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return os.waitstatus_to_exitcode(status)


class Screen:
    """As much of a terminal as line editors use, without an end below: (time, colour) and character of each cell."""

    TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b[=>]|\x1b\][^\a]*\a|[\s\S]")

    def __init__(self, columns):
        self.columns, self.row, self.column, self.colour = columns, 0, 0, COLOURS["0"]
        self.cells = {}

    def put(self, seconds, text):
        for match in self.TOKEN.finditer(text):
            token = match.group(0)
            if match.group(2):
                self.control(match.group(2), match.group(1))
            elif token == "\r":
                self.column = 0
            elif token == "\n":
                self.row += 1
            elif token == "\b":
                self.column = max(0, self.column - 1)
            elif token >= " " and len(token) == 1:
                if self.column == self.columns:
                    self.row, self.column = self.row + 1, 0
                self.cells[self.row, self.column] = (seconds, self.colour, token)
                self.column += 1

    def control(self, letter, numbers):
        first = int(re.match(r"\d*", numbers).group(0) or 0)
        if letter == "m":
            for code in numbers.split(";"):
                self.colour = COLOURS.get(code or "0", COLOURS["0"])
        elif letter == "C":
            self.column = min(self.columns - 1, self.column + max(1, first))
        elif letter == "D":
            self.column = max(0, self.column - max(1, first))
        elif letter == "A":
            self.row = max(0, self.row - max(1, first))
        elif letter in "KJ":
            for cell in [cell for cell in self.cells if cell[0] == self.row and cell[1] >= self.column]:
                del self.cells[cell]

    def runs(self):
        """(row, column, seconds, colour, text): neighbours that came at the same time in the same colour."""
        runs = []
        for (row, column), (seconds, colour, character) in sorted(self.cells.items()):
            last = runs[-1] if runs else None
            if last and last[0] == row and last[1] + len(last[4]) == column and last[2:4] == [seconds, colour]:
                last[4] += character
            else:
                runs.append([row, column, seconds, colour, character])
        # Without the blanks around them: not every viewer keeps those, and all stretch what is left.
        return [[row, column + len(text) - len(text.lstrip()), seconds, colour, text.strip()]
                for row, column, seconds, colour, text in runs if text.strip()]


def draw(o):
    with open(o.cast, encoding="utf-8") as file:
        header, *events = [json.loads(line) for line in file]
    screen = Screen(header["width"])
    screen.put(0.0, f"$ {header['command']}\r\n")
    for seconds, _, text in events:
        screen.put(seconds, text)
    runs = screen.runs()
    width = header["width"] * CHARACTER + 2 * MARGIN
    height = (max(run[0] for run in runs) + 1) * LINE + 2 * MARGIN
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
          f'viewBox="0 0 {width:.0f} {height:.0f}">')
    print(f"<title>{html.escape(header['command'])}</title>")
    # Each text is hidden until its time; what knows no animation shows all.
    print("<style>text { animation: wait 0s step-end } @keyframes wait { from, to { visibility: hidden } } "
          "@media (prefers-reduced-motion: reduce) { text { animation: none } }</style>")
    print('<rect width="100%" height="100%" rx="8" fill="#1e1e1e"/>')
    print('<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13" xml:space="preserve">')
    for row, column, seconds, colour, text in runs:
        print(f'<text x="{MARGIN + column * CHARACTER:.1f}" y="{MARGIN + (row + 0.8) * LINE:.1f}" fill="{colour}" '
              f'textLength="{len(text) * CHARACTER:.1f}" lengthAdjust="spacingAndGlyphs" '
              f'style="animation-duration:{seconds:.2f}s">{html.escape(text)}</text>')
    print("</g>\n</svg>")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("record")
    one.add_argument("script")
    one.add_argument("-o", "--output", required=True)
    one.add_argument("--size", default="96x32")
    one.add_argument("--as", dest="shown", help="the command line to show")
    one.add_argument("command", nargs="+")
    one.set_defaults(run=record)
    one = commands.add_parser("draw")
    one.add_argument("cast")
    one.set_defaults(run=draw)
    o = parser.parse_args()
    return o.run(o)


if __name__ == "__main__":
    sys.exit(main())
