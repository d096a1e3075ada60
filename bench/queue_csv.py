"""Histories of a queue as CSV files: one row per turn, and one for each period in which a counter was open.

docs/benchmarks.md describes the columns.
"""

import csv
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import get_args

from bench.day import Day, Opening, Outcome, Turn
from domain.calendar import TIME_ZONE, local_date
from domain.queues.wait_model import PRIORITIES

COLUMNS = ("service", "turn", "class", "taken_at", "called_at", "started_at", "ended_at", "counter", "outcome")
REQUIRED = ("taken_at", "started_at", "ended_at", "counter")
OPEN = "OPEN"
OUTCOMES = (*get_args(Outcome), OPEN)
ROWS_MAX = 2_000_000
AWAY = timedelta(minutes=15)  # a counter without a call for this time was not open

History = dict[str, list[Day]]  # days in order, by service


class HistoryRefused(Exception):
    """The file can't be replayed; the message gives the reason."""


def read_history(path: Path) -> History:
    """The days of each service. Raises HistoryRefused with the line at fault, and OSError."""
    days: dict[tuple[str, date], Day] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            lacking = [column for column in REQUIRED if column not in (rows.fieldnames or ())]
            if lacking:
                raise HistoryRefused(f"{path.name} has no column {lacking[0]}")
            for number, row in enumerate(rows, start=2):
                if number > ROWS_MAX:
                    raise HistoryRefused(f"{path.name} has more than {ROWS_MAX} rows")
                try:
                    _add(days, row, number)
                except ValueError as error:
                    raise HistoryRefused(f"{path.name}, line {rows.line_num}: {error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise HistoryRefused(f"{path.name} is no CSV file in UTF-8: {error}") from None
    history: History = {}
    for (service, _), day in sorted(days.items()):
        if not day.openings:
            day.openings = openings_of(day.turns)
        history.setdefault(service, []).append(day)
    return history


def _add(days: dict[tuple[str, date], Day], row: Mapping[str, str | None], number: int) -> None:
    cells = {name: (value or "").strip() for name, value in row.items() if name and isinstance(value, str | None)}
    started, ended = _instant(cells, "started_at"), _instant(cells, "ended_at")
    called = _instant(cells, "called_at") or started
    outcome = cells.get("outcome") or ("SERVED" if called else "LEFT" if ended else "NOT_CALLED")
    priority = cells.get("class") or "NORMAL"
    if outcome not in OUTCOMES or priority not in PRIORITIES:
        raise ValueError(
            f"there is no outcome {outcome}" if outcome not in OUTCOMES else f"there is no class {priority}"
        )
    counter = int(cells["counter"] or 0)
    if outcome == OPEN:
        if started is None or ended is None or ended < started:
            raise ValueError("a counter is open from started_at to ended_at")
        day = days.setdefault((cells.get("service", ""), local_date(started)), Day(turns=[], openings=[]))
        day.openings.append(Opening(counter=counter, since=started, until=ended))
        return
    taken = _instant(cells, "taken_at")
    if taken is None:
        raise ValueError("taken_at is missing")
    if (outcome in ("SERVED", "ABSENT")) != (called is not None) or (
        called is not None and (ended is None or not counter)
    ):
        raise ValueError("a turn that was called has started_at or called_at, ended_at and counter; no other has")
    if called is not None and ended is not None and not taken <= called <= ended:
        raise ValueError("a turn is taken, called and ended in this order")
    turn = Turn(
        number=number,
        priority=priority,
        taken_at=taken,
        called_at=called,
        started_at=started,
        ended_at=ended,
        counter=counter,
        outcome=outcome,  # type: ignore[arg-type]
    )
    days.setdefault((cells.get("service", ""), local_date(taken)), Day(turns=[], openings=[])).turns.append(turn)


def _instant(cells: Mapping[str, str], column: str) -> datetime | None:
    """An ISO 8601 time; in La Paz time unless it has an offset."""
    text = cells.get(column)
    if not text:
        return None
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=TIME_ZONE)


def openings_of(turns: Iterable[Turn]) -> list[Opening]:
    """Opening times of counters derived from their calls: from a call to the last end before a long pause."""
    called = sorted((turn.counter, turn.called_at, turn.ended_at) for turn in turns if turn.called_at and turn.ended_at)
    openings = []
    for counter, calls in groupby(called, key=lambda call: call[0]):
        first, *others = calls
        since, until = first[1], first[2]
        for _, begin, end in others:
            if begin - until > AWAY:
                openings.append(Opening(counter=counter, since=since, until=until))
                since = begin
            until = max(until, end)
        openings.append(Opening(counter=counter, since=since, until=until))
    return openings


def write_history(path: Path, history: History) -> None:
    """Write a history to a file. Raises OSError."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS)
        rows.writeheader()
        for service, days in history.items():
            for day in days:
                rows.writerows(_row(service, turn) for turn in day.turns)
                rows.writerows(
                    {
                        "service": service,
                        "started_at": opening.since.isoformat(),
                        "ended_at": opening.until.isoformat(),
                        "counter": opening.counter,
                        "outcome": OPEN,
                    }
                    for opening in day.openings
                )


def _row(service: str, turn: Turn) -> dict[str, str | int]:
    instants = {name: getattr(turn, name) for name in ("taken_at", "called_at", "started_at", "ended_at")}
    return {name: at.isoformat() for name, at in instants.items() if at} | {
        "service": service,
        "turn": turn.number,
        "class": turn.priority,
        "counter": turn.counter or "",
        "outcome": turn.outcome,
    }
