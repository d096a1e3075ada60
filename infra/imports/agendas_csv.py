"""Reads agendas from a CSV file into commands, one per row. docs/import-agendas.md describes the format."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TypeVar

import msgspec

from domain.appointments import agenda as agendas
from domain.appointments.hospital import HospitalUnknown
from domain.appointments.publishing import AgendaExists, PublishAgenda, SlotDateHint
from domain.calendar import TIME_ZONE
from domain.decider import build
from domain.errors import Hint, InThePast, InvalidInput, LengthHint, NumberHint, Rejected, TooFarAhead, WrongTypeHint
from domain.identifiers import SlugHint
from infra.log.submission import IdempotencyKeyReused

FILE_MAX_BYTES = 32 * 1024 * 1024
ROWS_MAX = 100_000
LINE_MAX_CHARS = 4_096
SHOWN_MAX_CHARS = 40

REQUIRED = ("hospital", "specialty", "practitioner", "date", "start", "end", "minutes")
QUOTAS: dict[str, agendas.Channel] = {
    "quota_web": "WEB",
    "quota_phone": "PHONE",
    "quota_window": "WINDOW",
    "quota_assisted": "ASSISTED",
}
COLUMNS = (*REQUIRED, "release_at", *QUOTAS)

# Python's ISO parsers also accept weeks and missing hyphens, and `\d` matches digits of any script.
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(r"(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?")
_WHOLE = re.compile(r"-?[0-9]{1,9}")
# The line above the header that tells Excel how the cells are separated.
_SEPARATOR = re.compile(r'"?sep=(.*?)"?[\r\n]*', re.IGNORECASE)

# The domain's refusals in the words of somebody who made the file. The API uses the refusals' own texts.
REASONS: dict[type[Rejected], str] = {
    AgendaExists: "another agenda of this practitioner was already published for that date",
    HospitalUnknown: "there is no hospital {hospital}: register it first",
    IdempotencyKeyReused: "another version of this program imported this line as something else",
    InThePast: "that day is past",
    TooFarAhead: "an agenda can be published at most {limit} days ahead",
}
HINTS: dict[type[Hint], str] = {
    LengthHint: "the length must be {bound}",
    NumberHint: "the number must be {bound}",
    SlotDateHint: "the slots must start on {at} in La Paz",
    SlugHint: "a code consists of lower-case letters and digits joined by hyphens, like la-merced",
    WrongTypeHint: "is missing or has the wrong type",
}
T = TypeVar("T")


class FileRefused(Exception):
    """The file as a whole can't be used; the text says why."""


class Problem(msgspec.Struct, frozen=True):
    """An error in the row that begins at `line` (counted from 1 for the header).

    `column` is "" if the row as a whole is wrong; `code` is that of the refusal, "row" for a wrong shape,
    "doubled" for an agenda that is in the file twice.
    """

    line: int
    column: str
    code: str
    text: str

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column else ""
        return f"line {self.line}{column}: {self.text} ({self.code})"


class Row(msgspec.Struct, frozen=True):
    """A well-formed row, and the line of the file at which it begins."""

    line: int
    command: PublishAgenda


class _BadCell(Exception):
    def __init__(self, column: str, text: str) -> None:
        super().__init__(text)
        self.column = column


def read_content(path: Path) -> bytes:
    """The content of the file. Raises FileRefused if it is too large, OSError if it can't be read."""
    with path.open("rb") as file:
        content = file.read(FILE_MAX_BYTES + 1)
    if len(content) > FILE_MAX_BYTES:
        raise FileRefused(f"is larger than {FILE_MAX_BYTES // 1024 // 1024} MiB: split it")
    return content


def parse(content: bytes) -> Iterator[Row | Problem]:
    """The rows in order, each well-formed or as a Problem. Blank rows are left out.

    Raises FileRefused if the content is no table or has too many rows.
    """
    text = _decoded(content)
    lines = io.StringIO(text, newline="")
    header, header_line = _first_line(lines), 1
    delimiter = _said_delimiter(header)
    if delimiter:
        header, header_line = _first_line(lines), 2
    delimiter = delimiter or (";" if header.count(";") > header.count(",") else ",")
    columns = _columns(header, delimiter)
    count = 0
    for line, cells in _records(lines, delimiter, header_line):
        if isinstance(cells, Problem):
            yield cells
        elif any(cell.strip() for cell in cells):
            count += 1
            if count > ROWS_MAX:
                raise FileRefused(f"has more than {ROWS_MAX} rows: split it")
            yield _row(line, columns, cells)


def _decoded(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise FileRefused(f"is not UTF-8 (line {line}): save it as “CSV UTF-8”") from None
    if "\0" in text:
        raise FileRefused("is not UTF-8 text: save it as “CSV UTF-8”")
    if not text.strip():
        raise FileRefused("is empty")
    return text


def _first_line(lines: io.StringIO) -> str:
    line = lines.readline(LINE_MAX_CHARS + 1)
    if len(line) > LINE_MAX_CHARS:
        raise FileRefused(f"its first line is longer than {LINE_MAX_CHARS} characters: is it a CSV file?")
    return line


def _said_delimiter(line: str) -> str:
    """The delimiter of a line like `sep=;`; "" for other lines. Raises FileRefused for an unsupported delimiter."""
    said = _SEPARATOR.fullmatch(line)
    if said and said[1] not in {",", ";"}:
        raise FileRefused(f"its first line says sep={_shown(said[1])}: separate the cells by commas or semicolons")
    return said[1] if said else ""


def _columns(header: str, delimiter: str) -> list[str]:
    """The names of the columns, in order. Raises FileRefused if one is unknown or a required one is missing."""
    try:
        names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter, strict=True), [])]
    except csv.Error as error:
        raise FileRefused(f"its first line can't be read as CSV: {error}") from None
    lacking = [name for name in REQUIRED if name not in names]
    if lacking:
        raise FileRefused(f"its first line lacks the columns {', '.join(lacking)}")
    unknown = [_shown(name) for name in names if name not in COLUMNS]
    if unknown:
        raise FileRefused(f"there are no such columns: {', '.join(unknown)}; there are {', '.join(COLUMNS)}")
    doubled = [name for name in COLUMNS if names.count(name) > 1]
    if doubled:
        raise FileRefused(f"there are two columns {', '.join(doubled)}")
    return names


def _records(lines: io.StringIO, delimiter: str, header_line: int) -> Iterator[tuple[int, list[str] | Problem]]:
    """The records after the header, each with the line at which it begins. A quoted line break makes several lines.

    A record that is not CSV is the last one, because it is unknown where the next would begin.
    """
    reader = csv.reader(_bounded(lines), delimiter=delimiter, strict=True)
    while True:
        line = header_line + reader.line_num + 1
        try:
            cells = next(reader, None)
        except (csv.Error, FileRefused) as error:
            text = f"can't be read as CSV, nor can what follows: {error}; is a quote left open?"
            yield line, Problem(line, "", "row", text)
            return
        if cells is None:
            return
        yield line, cells


def _bounded(lines: io.StringIO) -> Iterator[str]:
    while line := lines.readline(LINE_MAX_CHARS + 1):
        if len(line) > LINE_MAX_CHARS:
            raise FileRefused(f"a line is longer than {LINE_MAX_CHARS} characters")
        yield line


def _row(line: int, columns: list[str], cells: list[str]) -> Row | Problem:
    if len(cells) != len(columns):
        return Problem(line, "", "row", f"has {len(cells)} cells, where the first line has {len(columns)}")
    try:
        return Row(line, command_of({name: cell.strip() for name, cell in zip(columns, cells, strict=True)}))
    except _BadCell as bad:
        return Problem(line, bad.column, "invalid_input", str(bad))
    except Rejected as refusal:
        return problem_of(line, refusal)


def command_of(cells: Mapping[str, str]) -> PublishAgenda:
    """The command of a row, given its cells by column. Times become slots; the rules are the domain's."""
    day = _cell(cells, "date", _date)
    start = _cell(cells, "start", _minute_of_day)
    end = _cell(cells, "end", _minute_of_day)
    minutes = _cell(cells, "minutes", _whole)
    release_at = _cell(cells, "release_at", _moment) if cells.get("release_at") else None
    quotas = {channel: _cell(cells, name, _whole) for name, channel in QUOTAS.items() if cells.get(name)}
    if end <= start:
        raise _BadCell("end", f"{cells['end']} is not after the start, {cells['start']}")
    fits = 1 <= minutes <= end - start
    # If not even one slot fits, make one, so that the domain checks its length first.
    starts = range(start, end - minutes + 1, minutes) if fits else [start]
    try:
        midnight = datetime.combine(day, time(), TIME_ZONE).astimezone(UTC)
        slots = [{"start": midnight + timedelta(minutes=minute), "minutes": minutes} for minute in starts]
    except OverflowError:
        raise _BadCell("date", f"{cells['date']} is beyond the calendar") from None
    command = build(
        PublishAgenda,
        **{name: _cell(cells, name, str) for name in ("hospital", "specialty", "practitioner")},
        date=day,
        slots=slots,
        quotas=quotas,
        release_at=release_at,
    )
    if not fits:
        raise _BadCell("minutes", f"no slot of {minutes} minutes fits from {cells['start']} to {cells['end']}")
    return command


def _cell(cells: Mapping[str, str], name: str, convert: Callable[[str], T]) -> T:
    if not cells[name]:
        raise _BadCell(name, "is empty")
    try:
        return convert(cells[name])
    except (ValueError, OverflowError) as error:
        raise _BadCell(name, f"{_shown(cells[name])} is not {error}") from None


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text if _DATE.fullmatch(text) else "")
    except ValueError:
        raise ValueError("a date that exists, like 2026-12-01") from None


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


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError("a whole number")
    return int(text)


def problem_of(line: int, refusal: Rejected) -> Problem:
    text = HINTS.get(type(refusal.hint)) if isinstance(refusal, InvalidInput) else REASONS.get(type(refusal))
    column = refusal.path.rpartition(".")[2]
    if refusal.path.startswith("quotas"):
        column = "quota_…"  # the domain does not name the slot
    return Problem(line, column, refusal.code, text.format_map(refusal.details) if text else str(refusal))


def _shown(text: str) -> str:
    """A text of the file's, safe to print: short, control characters escaped."""
    return repr(text if len(text) <= SHOWN_MAX_CHARS else text[:SHOWN_MAX_CHARS] + "…")
