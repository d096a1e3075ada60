"""The page of `igob bench graphql --report`: one HTML file with inline charts that loads nothing."""

import math
import statistics
from collections.abc import Callable
from html import escape
from typing import NamedTuple

from bench.graphql import Result, by_contender, errors_by_contender, unhurried_by_contender
from bench.load import Rate

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 36, 40  # margins
LEGEND_LINE = 18
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")  # distinguishable by colour-blind readers
TICKS_MAX = 6
PERCENTILES = ("p50", "p90", "p99", "p99.9", "worst")

STYLE = """body { font: 16px/1.5 system-ui, sans-serif; max-width: 760px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em .7em; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left } svg { width: 100%; height: auto } svg text { font-size: 12px; fill: #444 }
caption { text-align: left; font-weight: bold }"""  # noqa: E501


class Line(NamedTuple):
    """A line of a chart: values for some of the places on the x axis."""

    name: str
    points: dict[str, float]
    colour: int = 0
    dashed: bool = False


def ticks(highest: float) -> list[float]:
    """A few round values from 0 to at least `highest`."""
    highest = highest or 1.0
    size = 10 ** math.floor(math.log10(highest / (TICKS_MAX - 1)))
    step = next(size * nice for nice in (1, 2, 5, 10) if size * nice * (TICKS_MAX - 1) >= highest * 0.999)
    return [step * n for n in range(math.ceil(highest / step * 0.999) + 1)]


def decades(lowest: float, highest: float) -> list[float]:
    """Powers of ten around the values, for a logarithmic axis."""
    first, last = math.floor(math.log10(lowest)), math.ceil(math.log10(highest))
    return [10.0**n for n in range(first, max(last, first + 1) + 1)]


def picture(lines: list[Line], places: list[str], *, x: str, y: str, tenfold: bool = False) -> str:
    """An SVG chart of the lines over the places, in their order. `tenfold`: the y axis is logarithmic."""
    values = [max(value, 0.01) if tenfold else value for line in lines for value in line.points.values()]
    marks = decades(min(values), max(values)) if tenfold else ticks(max(values))
    up = _scale(marks, tenfold=tenfold)
    across = {place: LEFT + (n + 0.5) * (WIDTH - LEFT - RIGHT) / len(places) for n, place in enumerate(places)}
    parts = [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(mark):.1f}" y2="{up(mark):.1f}" stroke="#ddd"/>'
        f'<text x="{LEFT - 8}" y="{up(mark) + 4:.1f}" text-anchor="end">{mark:,g}</text>'
        for mark in marks
    ]
    parts += [
        f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{escape(place)}</text>'
        for place, at in across.items()
    ]
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x)}</text>')
    parts.append(f'<text x="{LEFT}" y="{TOP - 20}" text-anchor="middle">{escape(y)}</text>')
    for number, line in enumerate(lines):
        parts.append(_drawn(number, line, across, up))
    height = HEIGHT + LEGEND_LINE * len(lines) + 8
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(y)}">{"".join(parts)}</svg>'


def _scale(marks: list[float], *, tenfold: bool) -> Callable[[float], float]:
    bottom, room = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP

    def up(value: float) -> float:
        if tenfold:
            return bottom - room * math.log10(max(value, marks[0]) / marks[0]) / math.log10(marks[-1] / marks[0])
        return bottom - room * value / marks[-1]

    return up


def _drawn(number: int, line: Line, across: dict[str, float], up: Callable[[float], float]) -> str:
    """The line with its dots, and its row in the legend."""
    colour = COLOURS[line.colour % len(COLOURS)]
    dashes = ' stroke-dasharray="5 4"' if line.dashed else ""
    dots = [(across[place], up(line.points[place]), line.points[place]) for place in across if place in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in dots)
    legend = HEIGHT + LEGEND_LINE * number + 12
    circles = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{escape(line.name)}: {v:,g}</title></circle>'
        for x, y, v in dots
    ]
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>{"".join(circles)}'
        f'<line x1="{LEFT}" x2="{LEFT + 30}" y1="{legend - 4}" y2="{legend - 4}" stroke="{colour}" stroke-width="2"'
        f'{dashes}/><text x="{LEFT + 38}" y="{legend}">{escape(line.name)}</text>'
    )


def _lines(result: Result, of: Callable[[Rate], float], suffix: str = "") -> list[Line]:
    """A line for each contender and number of processes: medians over the rounds by number of connections."""
    lines: dict[str, Line] = {}
    for who, rounds in by_contender(result).items():
        for name, rates in rounds.items():
            processes, connections = name.split(" × ")
            called = f"{who}, {processes} {'process' if processes == '1' else 'processes'}{suffix}"
            line = lines.setdefault(called, Line(called, {}, len(lines)))
            line.points[connections] = statistics.median(of(rate) for rate in rates)
    return list(lines.values())


def _waits(result: Result) -> list[Line]:
    """For each such line p99, and p50 dashed, adjacent so that they share a colour."""
    found = []
    p50s = _lines(result, lambda rate: rate.p50_ms, ", p50")
    for p50, p99 in zip(p50s, _lines(result, lambda rate: rate.p99_ms, ", p99"), strict=True):
        found += [p99, p50._replace(dashed=True)]
    return found


def _percentiles(rate: Rate) -> dict[str, float]:
    each = (rate.p50_ms, rate.p90_ms, rate.p99_ms, rate.p99_9_ms, rate.worst_ms)
    return dict(zip(PERCENTILES, each, strict=True))


def _row(cells: list[str], tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _rates_table(who: str, rounds: dict[str, list[Rate]]) -> str:
    columns = ["processes × connections", "bookings/s", "least", "most", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms"]
    rows = [_row(columns, "th")]
    for name, rates in rounds.items():
        each = [rate.bookings_per_s for rate in rates]
        waits = zip(*(list(_percentiles(rate).values())[:4] for rate in rates), strict=True)
        counts = [f"{one:,.0f}" for one in (statistics.median(each), min(each), max(each))]
        rows.append(_row([name, *counts, *(f"{statistics.median(wait):.1f}" for wait in waits)]))
    return f"<table><caption>{escape(who)}</caption>{''.join(rows)}</table>"


def _cost_table(result: Result) -> str:
    """CPU seconds over all rounds, by process."""
    rows = [_row(["", "clients", "server", "PostgreSQL", "the clients' share"], "th")]
    for who, rounds in by_contender(result).items():
        spent = [
            sum(rate.cpu_s.get(name, 0.0) for rates in rounds.values() for rate in rates)
            for name in ("generator", "server", "postgresql")
        ]
        rows.append(_row([who, *(f"{one:.1f} s" for one in spent), f"{spent[0] / (sum(spent) or 1):.0%}"]))
    return f"<table>{''.join(rows)}</table>"


def _errors(result: Result) -> str:
    rows = [
        _row([who, code, f"{count:,}"])
        for who, errors in errors_by_contender(result).items()
        for code, count in (errors or {"none": 0}).items()
    ]
    return f"<table>{_row(['', 'code', 'times'], 'th')}{''.join(rows)}</table>"


def page(result: Result) -> str:
    """The whole page."""
    places = sorted({name.split(" × ")[1] for rounds in by_contender(result).values() for name in rounds}, key=int)
    unhurried = unhurried_by_contender(result)
    open_lines = [
        Line(f"{who}, {rate.bookings_per_s:,.0f} bookings/s", _percentiles(rate), number)
        for number, (who, rates) in enumerate(unhurried.items())
        for rate in rates
    ]
    best = f"igob: {result.graphql_bookings_per_s:,.0f} bookings/s at {result.best_at} (processes × connections)."
    if result.ratio_to_peer:
        best += f" {result.peer}: {result.peer_bookings_per_s:,.0f}. Ratio {result.ratio_to_peer}."
    tables = "".join(_rates_table(who, rounds) for who, rounds in by_contender(result).items())
    body = f"""<h1>Bookings over HTTP</h1>
<p>{escape(best)}</p><p>{escape(f"{result.measured_at}, {result.commit}. {result.machine.described()}")}</p>
<h2>Bookings a second, clients that wait for their answer</h2>
{picture(_lines(result, lambda rate: rate.bookings_per_s), places, x="connections", y="bookings/s")}
<h2>How long they wait</h2>
{picture(_waits(result), places, x="connections", y="ms", tenfold=True)}
<h2>Clients that do not wait</h2>
<p>Requests are due at a fixed rate; a wait counts from when its request was due.</p>
{picture(open_lines, list(PERCENTILES), x="percentile", y="ms", tenfold=True)}
<h2>Medians of the rounds</h2>{tables}
<h2>Who took the CPU time</h2>
<p>Clients, server and PostgreSQL share the machine: what the clients take is lacking elsewhere.</p>
{_cost_table(result)}<h2>Errors</h2>{_errors(result)}"""
    head = f'<meta charset="utf-8"><title>Bookings over HTTP</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'
