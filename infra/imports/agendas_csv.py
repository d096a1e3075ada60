"""Agendas in CSV files: a row is one agenda, whose slots follow each other. docs/imports.md describes the columns."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta

from domain.appointments import agenda as agendas
from domain.appointments.publishing import PublishAgenda
from domain.calendar import TIME_ZONE
from domain.decider import build
from infra.imports.cells import BadCell, cell, whole
from infra.imports.cells import day as day_of
from infra.imports.table import Table

QUOTAS: dict[str, agendas.Channel] = {
    "quota_web": "WEB",
    "quota_phone": "PHONE",
    "quota_window": "WINDOW",
    "quota_assisted": "ASSISTED",
}

# Python's ISO parsers also accept weeks and missing hyphens, and `\d` matches digits of any script.
_TIME = re.compile(r"(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?")


def command_of(cells: Mapping[str, str]) -> PublishAgenda:
    """The command of a row, given its cells by column. Times become slots; the rules are the domain's."""
    day = cell(cells, "date", day_of)
    start = cell(cells, "start", _minute_of_day)
    end = cell(cells, "end", _minute_of_day)
    minutes = cell(cells, "minutes", whole)
    release_at = cell(cells, "release_at", _moment) if cells.get("release_at") else None
    quotas = {channel: cell(cells, name, whole) for name, channel in QUOTAS.items() if cells.get(name)}
    if end <= start:
        raise BadCell("end", f"{cells['end']} is not after the start, {cells['start']}")
    fits = 1 <= minutes <= end - start
    # If not even one slot fits, make one, so that the domain checks its length first.
    starts = range(start, end - minutes + 1, minutes) if fits else [start]
    try:
        midnight = datetime.combine(day, time(), TIME_ZONE).astimezone(UTC)
        slots = [{"start": midnight + timedelta(minutes=minute), "minutes": minutes} for minute in starts]
    except OverflowError:
        raise BadCell("date", f"{cells['date']} is beyond the calendar") from None
    command = build(
        PublishAgenda,
        **{name: cell(cells, name, str) for name in ("hospital", "specialty", "practitioner")},
        date=day,
        slots=slots,
        quotas=quotas,
        release_at=release_at,
    )
    if not fits:
        raise BadCell("minutes", f"no slot of {minutes} minutes fits from {cells['start']} to {cells['end']}")
    return command


def _minute_of_day(text: str) -> int:
    """0 to 1440: an agenda may end at 24:00."""
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError("a time like 08:30")
    return int(found[1]) * 60 + int(found[2]) if found[1] else 24 * 60


def _moment(text: str) -> datetime:
    """An instant in UTC; the time of La Paz unless the text has an offset."""
    try:
        moment = datetime.fromisoformat(text if _MOMENT.fullmatch(text) else "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=TIME_ZONE)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("a moment like 2026-12-01T07:00 or 2026-12-01T07:00-04:00") from None


AGENDAS = Table(
    required=("hospital", "specialty", "practitioner", "date", "start", "end", "minutes"),
    optional=("release_at", *QUOTAS),
    command_of=command_of,
    thing=lambda command: f"the agenda {command.agenda}",
    dates=frozenset({"date"}),
)
