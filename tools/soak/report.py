"""What a soak run's samples say: slopes, a verdict against a bound, as JSON, text and a chart."""
import html
import json
import os
from statistics import fmean

from statistics_of_series import slope

PASSED, FAILED, UNDECIDED = "passed", "failed", "undecided"
SERIES = ("resident_kib", "anonymous_kib", "gpu_mib", "nvmap_kib", "available_kib", "descriptors", "threads")


def points(rows, column, since=0.0):
    return [(row["seconds"] / 3600, row[column]) for row in rows
            if row[column] is not None and row["seconds"] >= since]


def judge(facts, memory, bound):
    """(verdict, reasons): growth is judged by the interval of its slope, not by the slope alone."""
    reasons = []
    if facts["errors"]:
        reasons.append(f"{facts['errors']} requests went wrong; the first: {facts['first_errors'][0]}")
    if facts["server_exit"] not in (None, 0):
        reasons.append(f"the server ended with exit code {facts['server_exit']}")
    if facts["ended_early"]:
        reasons.append(facts["ended_early"])
    if not facts["answered"]:
        reasons.append("requests were left without an answer")
    if memory and memory["low"] > bound:
        reasons.append(f"resident memory grows by more than {bound:g} KiB an hour")
    if reasons:
        return FAILED, reasons
    if memory is None:
        return UNDECIDED, ["too few samples after the warm-up for a slope"]
    if memory["high"] > bound:
        return UNDECIDED, [f"the interval of the slope reaches beyond {bound:g} KiB an hour: run it longer"]
    return PASSED, [f"no request went wrong, and memory grows by less than {bound:g} KiB an hour"]


def make(rows, facts, warm_up, bound):
    slopes = {column: slope(points(rows, column, warm_up)) for column in SERIES}
    verdict, reasons = judge(facts, slopes["resident_kib"], bound)

    def mean(column):
        values = [row[column] for row in rows if row[column] is not None and row["seconds"] >= warm_up]
        return round(fmean(values), 2) if values else None
    hot = [row["hottest_celsius"] for row in rows if row["hottest_celsius"] is not None]
    return {**facts, "hours": round(rows[-1]["seconds"] / 3600, 4) if rows else 0, "samples": len(rows),
            "warm_up_seconds": warm_up, "bound_kib_per_hour": bound,
            "slopes_per_hour": {name: value for name, value in slopes.items() if value},
            "tokens_per_second": mean("tokens_per_second"), "hottest_celsius": max(hot, default=None),
            "verdict": verdict, "reasons": reasons}


def text(report):
    lines = [f"{report['verdict']}: " + "; ".join(report["reasons"]), "",
             f"{report['hours']:.2f} h, {report['samples']} samples; {report['requests']} requests by {report['clients']} "
             f"clients, {report['busy_replies']} times a full queue, {report['errors']} errors",
             f"{report['tokens_per_second'] or 0:.1f} tokens/s on average"
             + (f", {report['hottest_celsius']:.1f} degrees Celsius at most" if report["hottest_celsius"] else ""), "",
             f"slope an hour after {report['warm_up_seconds'] / 60:.1f} minutes of warm-up, with its 95 % interval:"]
    for name, value in report["slopes_per_hour"].items():
        lines.append(f"  {name:15} {value['slope']:+12.2f}   {value['low']:+12.2f} to {value['high']:+.2f}   "
                     f"(at the beginning {value['start']:.0f})")
    return "\n".join([*lines, "", "first errors:", *report["first_errors"]] if report["first_errors"] else lines) + "\n"


# --- the chart --------------------------------------------------------------------------------------

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 860, 130, 90, 34, 44, 46
PANELS = (("resident_kib", "resident memory, MiB", 1 / 1024, "#1f6fb4"), ("gpu_mib", "GPU memory, MiB", 1, "#6a3d9a"),
          ("tokens_per_second", "tokens/s", 1, "#2a8f4f"), ("hottest_celsius", "hottest sensor, Celsius", 1, "#c2452d"))


def length(hours):
    return f"{hours:.1f} h" if hours >= 10 else f"{hours * 60:.1f} min"


def panel(rows, column, title, scale, colour, top, fit):
    """One row of the chart: the samples, and where there is one the fitted line behind them."""
    series = [(x, y * scale) for x, y in points(rows, column)]
    end = max(series[-1][0], 1e-9)
    low, high = min(y for _, y in series), max(y for _, y in series)
    room = max((high - low) * 0.1, abs(high) * 0.005, 0.5)
    low, high = max(low - room, 0.0) if low >= 0 else low - room, high + room

    def place(x, y):
        return f"{LEFT + x / end * (WIDTH - LEFT - RIGHT):.1f},{top + PANEL - (y - low) / (high - low) * PANEL:.1f}"
    # More points than pixels only make the file large.
    step = max(1, len(series) // 1500)
    out = [f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{html.escape(title)}</text>',
           f'<rect x="{LEFT}" y="{top}" width="{WIDTH - LEFT - RIGHT}" height="{PANEL}" fill="none" stroke="#999"/>']
    for share in (0.0, 0.5, 1.0):
        y = top + PANEL * (1 - share)
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{low + share * (high - low):.1f}</text>')
        out.append(f'<text x="{LEFT + share * (WIDTH - LEFT - RIGHT):.1f}" y="{top + PANEL + 15}" text-anchor="middle">'
                   f'{length(share * end)}</text>')
    out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.2" points="'
               + " ".join(place(x, y) for x, y in series[::step]) + '"/>')
    if fit:
        begin = fit["since"] / 3600
        ends = [place(x, (fit["start"] + fit["slope"] * x) * scale) for x in (begin, end)]
        out.append(f'<polyline fill="none" stroke="#000" stroke-dasharray="5 4" points="{" ".join(ends)}"/>')
        out.append(f'<text x="{WIDTH - RIGHT}" y="{top - 8}" text-anchor="end">{fit["slope"]:+.1f} KiB/h '
                   f'({fit["low"]:+.1f} to {fit["high"]:+.1f})</text>')
    return out


def chart(rows, report):
    out, top = [], TOP
    for column, title, scale, colour in PANELS:
        if len(points(rows, column)) < 2:
            continue
        fit = report["slopes_per_hour"].get(column) if column == "resident_kib" else None
        out += panel(rows, column, title, scale, colour, top, fit and {**fit, "since": report["warm_up_seconds"]})
        top += PANEL + GAP
    heading = f"{report['title']}: {report['verdict']}"
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}" '
                      'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="11">',
                      f"<title>{html.escape(heading)}</title>", '<rect width="100%" height="100%" fill="#fff"/>',
                      f'<text x="{LEFT}" y="16" font-size="13">{html.escape(heading)}</text>', *out, "</svg>"]) + "\n"


def write(folder, rows, report):
    for name, content in (("report.json", json.dumps(report, indent=1) + "\n"), ("report.txt", text(report)),
                          ("chart.svg", chart(rows, report))):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(content)
