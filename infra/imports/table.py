"""Reads tables from CSV files into commands, one per row. docs/imports.md describes the format.

The kinds of tables are in agendas_csv.py and registrations_csv.py.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from domain.decider import Command
from domain.errors import Rejected
from infra.imports.problems import Problem, problem_of, shown

FILE_MAX_BYTES = 32 * 1024 * 1024
ROWS_MAX = 100_000
LINE_MAX_CHARS = 4_096

# `\d` matches digits of any script.
_WHOLE = re.compile(r"-?[0-9]{1,9}")
# The line above the header that tells Excel how the cells are separated.
_SEPARATOR = re.compile(r'"?sep=(.*?)"?[\r\n]*', re.IGNORECASE)

T = TypeVar("T")
C = TypeVar("C", bound=Command)


class FileRefused(Exception):
    """The file as a whole can't be used; the text says why."""


class Row(msgspec.Struct, Generic[C], frozen=True):
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
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    command_of: Callable[[Mapping[str, str]], C]
    thing: Callable[[C], str]

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.required, *self.optional)


class BadCell(Exception):
    """A cell does not have the form of its column; the text says what is right."""

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


def parse(content: bytes, table: Table[C]) -> Iterator[Row[C] | Problem]:
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
    columns = _columns(header, delimiter, table)
    count = 0
    for line, cells in _records(lines, delimiter, header_line):
        if isinstance(cells, Problem):
            yield cells
        elif any(text.strip() for text in cells):
            count += 1
            if count > ROWS_MAX:
                raise FileRefused(f"has more than {ROWS_MAX} rows: split it")
            yield _row(line, columns, cells, table)


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
    separator = _SEPARATOR.fullmatch(line)
    if separator and separator[1] not in {",", ";"}:
        raise FileRefused(f"its first line says sep={shown(separator[1])}: separate the cells by commas or semicolons")
    return separator[1] if separator else ""


def _columns(header: str, delimiter: str, table: Table[C]) -> list[str]:
    """The names of the columns, in order. Raises FileRefused if one is unknown or a required one is missing."""
    try:
        names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter, strict=True), [])]
    except csv.Error as error:
        raise FileRefused(f"its first line can't be read as CSV: {error}") from None
    lacking = [name for name in table.required if name not in names]
    if lacking:
        raise FileRefused(f"its first line lacks the columns {', '.join(lacking)}")
    unknown = [shown(name) for name in names if name not in table.columns]
    if unknown:
        raise FileRefused(f"there are no such columns: {', '.join(unknown)}; there are {', '.join(table.columns)}")
    doubled = [name for name in table.columns if names.count(name) > 1]
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


def _row(line: int, columns: list[str], cells: list[str], table: Table[C]) -> Row[C] | Problem:
    if len(cells) != len(columns):
        return Problem(line, "", "row", f"has {len(cells)} cells, where the first line has {len(columns)}")
    try:
        return Row(line, table.command_of({name: text.strip() for name, text in zip(columns, cells, strict=True)}))
    except BadCell as bad:
        return Problem(line, bad.column, "invalid_input", str(bad))
    except Rejected as refusal:
        return problem_of(line, refusal)


def cell(cells: Mapping[str, str], name: str, convert: Callable[[str], T]) -> T:
    """The value of a cell. Raises BadCell if it is empty, or with the text of a ValueError that `convert` raises."""
    if not cells[name]:
        raise BadCell(name, "is empty")
    try:
        return convert(cells[name])
    except (ValueError, OverflowError) as error:
        raise BadCell(name, f"{shown(cells[name])} is not {error}") from None


def whole(text: str) -> int:
    """A whole number. Raises ValueError."""
    if not _WHOLE.fullmatch(text):
        raise ValueError("a whole number")
    return int(text)
