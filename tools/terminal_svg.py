#!/usr/bin/env python3
"""Draws what a command prints on a terminal, colours included, as an SVG picture for the documentation.

usage: tools/terminal_svg.py [--as TEXT] COMMAND [ARGUMENT...] > FILE.svg      --as: the command line to show
"""
import html
import os
import pty
import re
import subprocess
import sys

COLOURS = {"0": "#d4d4d4", "2": "#8a8a8a", "31": "#f07178", "32": "#8fce7a", "33": "#e5c07b", "36": "#6cb6d9"}
CHARACTER, LINE, MARGIN = 7.8, 17, 14


def output_of(command):
    """What the command writes to a terminal of its own."""
    ours, terminal = pty.openpty()
    process = subprocess.Popen(command, stdout=terminal, stderr=subprocess.DEVNULL)
    os.close(terminal)
    text = b""
    try:
        while data := os.read(ours, 65536):
            text += data
    except OSError:  # how Linux says that the last writer has gone
        pass
    process.wait()
    return text.decode().replace("\r\n", "\n").strip("\n").split("\n")


def draw(lines):
    width = max(len(re.sub(r"\x1b\[\d+m", "", line)) for line in lines)
    w, h = width * CHARACTER + 2 * MARGIN, len(lines) * LINE + 2 * MARGIN
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{w:.0f}" height="{h:.0f}" viewBox="0 0 {w:.0f} {h:.0f}">')
    print('<rect width="100%" height="100%" rx="8" fill="#1e1e1e"/>')
    print('<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13" xml:space="preserve">')
    for row, line in enumerate(lines):
        colour, column = COLOURS["0"], 0
        for part in re.split(r"(\x1b\[\d+m)", line):
            code = re.fullmatch(r"\x1b\[(\d+)m", part)
            if code:
                colour = COLOURS.get(code.group(1), COLOURS["0"])
            elif part.strip():
                x, y = MARGIN + column * CHARACTER, MARGIN + (row + 0.8) * LINE
                print(f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" textLength="{len(part) * CHARACTER:.1f}" '
                      f'lengthAdjust="spacingAndGlyphs">{html.escape(part)}</text>')
            column += 0 if code else len(part)
    print("</g>\n</svg>")


def main():
    arguments = sys.argv[1:]
    shown = None
    if arguments[:1] == ["--as"]:
        shown, arguments = arguments[1], arguments[2:]
    if not arguments:
        sys.exit(__doc__)
    draw(["$ " + (shown or " ".join(arguments)), *output_of(arguments)])


if __name__ == "__main__":
    main()
