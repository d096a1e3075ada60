"""Reads tables from CSV files into commands, one per row. docs/imports.md describes the format.

Columns are read in layout.py and cells in cells.py; the kinds of tables are in agendas_csv.py, registrations.py and
taxes_csv.py.
"""

import codecs
import csv
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from domain.errors import Rejected
from infra.imports.cells import BadCell, day_first
from infra.imports.layout import LINE_MAX_CHARS, FileRefused, Layout, read_layout
from infra.imports.problems import Problem, problem_of

FILE_MAX_BYTES = 128 * 1024 * 1024
ROWS_MAX = 1_000_000
DECODED_AT_ONCE_BYTES = 1024 * 1024

C = TypeVar("C")


class Row(msgspec.Struct, Generic[C], frozen=True, gc=False):
    """A well-formed row, and the line of the file at which it begins."""

    line: int
    command: C


class Table(msgspec.Struct, Generic[C], frozen=True):
    """A kind of table.

    Attributes:
        required: the columns that every file has.
        optional: the columns that a file may have.
        command_of: the command of a row, given its cells by column. Raises BadCell, Rejected.
        thing: what a command is about, such as "the agenda la-merced/2026-12-01/p-0012": it is in a file only once.
        also: something else of the command that is in a file only once; "" if it has none.
        dates: the columns with days. A header like `due (d/m/y)` says how they are written.
        choices: sets of columns, of each of which a file has at least one.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    command_of: Callable[[Mapping[str, str]], C]
    thing: Callable[[C], str]
    also: Callable[[C], str] = lambda _: ""
    dates: frozenset[str] = frozenset()
    choices: tuple[tuple[tuple[str, ...], ...], ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.required, *self.optional)


def read_content(path: Path) -> bytes:
    """The content of the file. Raises FileRefused if it is too large, OSError if it can't be read."""
    with path.open("rb") as file:
        content = file.read(FILE_MAX_BYTES + 1)
    if len(content) > FILE_MAX_BYTES:
        raise FileRefused(f"is larger than {FILE_MAX_BYTES // 1024 // 1024} MiB: split it")
    return content


def parse(content: bytes, table: Table[C]) -> Iterator[Row[C] | Problem]:
    """The rows in order, each well-formed or as a Problem. Blank rows are left out.

    Raises FileRefused if the content is no table or has too many rows.
    """
    lines = _decoded(content)
    layout = read_layout(lines, table.required, table.optional, table.dates, table.choices)
    count = 0
    for line, cells in _records(lines, layout):
        if isinstance(cells, Problem):
            yield cells
        elif "".join(cells).strip():
            count += 1
            if count > ROWS_MAX:
                raise FileRefused(f"has more than {ROWS_MAX} rows: split it")
            yield _row(line, layout, cells, table)


def _decoded(content: bytes) -> io.TextIOWrapper:
    """The text, decoded while it is read: as a whole it would take several times the size of the file."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(content)
    for begin in range(0, len(content), DECODED_AT_ONCE_BYTES):
        end = begin + DECODED_AT_ONCE_BYTES
        before = len(decoder.getstate()[0])  # bytes of a character that began in the chunk before
        try:
            decoder.decode(view[begin:end], final=end >= len(content))
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, begin - before + error.start) + 1
            raise FileRefused(f"is not UTF-8 (line {line}): save it as “CSV UTF-8”") from None
    if b"\0" in content:
        raise FileRefused("is not UTF-8 text: save it as “CSV UTF-8”")
    raw = io.BytesIO(content)
    raw.seek(len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0)
    return io.TextIOWrapper(raw, encoding="utf-8", newline="")


def _records(lines: io.TextIOWrapper, layout: Layout) -> Iterator[tuple[int, list[str] | Problem]]:
    """The records after the header, each with the line at which it begins. A quoted line break makes several lines.

    A record that is not CSV is the last one, because it is unknown where the next would begin.
    """
    reader = csv.reader(_bounded(lines), delimiter=layout.delimiter, strict=True)
    while True:
        line = layout.line + reader.line_num + 1
        try:
            cells = next(reader, None)
        except (csv.Error, FileRefused) as error:
            text = f"can't be read as CSV, nor can what follows: {error}; is a quote left open?"
            yield line, Problem(line, "", "row", text)
            return
        if cells is None:
            return
        yield line, cells


def _bounded(lines: io.TextIOWrapper) -> Iterator[str]:
    while line := lines.readline(LINE_MAX_CHARS + 1):
        if len(line) > LINE_MAX_CHARS:
            raise FileRefused(f"a line is longer than {LINE_MAX_CHARS} characters")
        yield line


def _row(line: int, layout: Layout, cells: list[str], table: Table[C]) -> Row[C] | Problem:
    """Programs leave empty cells out at the right end of a row, or write more of them than there are columns."""
    columns = layout.columns
    while len(cells) > len(columns) and not cells[-1].strip():
        cells.pop()
    if not layout.cells_min <= len(cells) <= len(columns):
        return Problem(line, "", "row", f"has {len(cells)} cells, where the first line has {len(columns)}")
    given = dict(zip(columns, map(str.strip, cells), strict=False))
    for name in columns[len(cells) :]:
        given[name] = ""
    try:
        for name in layout.day_first:
            if given[name]:
                given[name] = day_first(name, given[name])
        return Row(line, table.command_of(given))
    except BadCell as bad:
        return Problem(line, bad.column, "invalid_input", str(bad))
    except Rejected as refusal:
        return problem_of(line, refusal)
