"""The header of a CSV file: where it is, how its cells are separated, which columns there are."""

import csv
import io
import re
from collections.abc import Sequence

import msgspec

from infra.imports.problems import shown

LINE_MAX_CHARS = 4_096
DELIMITERS = (",", ";", "\t")  # the first wins if a header has as many of each

# The line above the header that tells Excel how the cells are separated.
_SEPARATOR = re.compile(r'"?sep=(.*?)"?[\r\n]*', re.IGNORECASE)
_BLANK = re.compile(r'[\s,;"]*')
# How a header says that days are written like 31/12/2026, also with the letters of a Spanish Excel.
_DAY_FIRST = re.compile(r"(.*?)\s*\(\s*d{1,2}/m{1,2}/(?:y{1,4}|a{1,4})\s*\)")


class FileRefused(Exception):
    """The file as a whole can't be used; the text says why."""


class Layout(msgspec.Struct, frozen=True):
    """How a file is written.

    Attributes:
        line: that of the header.
        cells_min: how many cells a row has at least. Optional columns at the right end may be missing in a row.
        day_first: the columns whose days are written like 31/12/2026.
    """

    line: int
    delimiter: str
    columns: tuple[str, ...]
    cells_min: int
    day_first: tuple[str, ...]


def read_layout(
    lines: io.TextIOWrapper,
    required: Sequence[str],
    optional: Sequence[str],
    dates: frozenset[str],
    choices: Sequence[Sequence[Sequence[str]]],
) -> Layout:
    """Read up to the header; blank lines above it are left out.

    Raises FileRefused if a column is unknown, or a required one is missing.
    """
    header, line, said = _next_line(lines), 1, ""
    while header and (_BLANK.fullmatch(header) or (not said and (said := _said_delimiter(header)))):
        header, line = _next_line(lines), line + 1
    if not header and not said:
        raise FileRefused("is empty")
    delimiter = said or max(DELIMITERS, key=header.count)
    names, day_first = _days_first(_names(header, delimiter), dates)
    _check_names(names, required, optional)
    for choice in choices:
        if not any(set(one) <= set(names) for one in choice):
            wanted = ", or ".join(" and ".join(one) for one in choice)
            raise FileRefused(f"its first line lacks the columns {wanted}")
    return Layout(
        line=line,
        delimiter=delimiter,
        columns=tuple(names),
        cells_min=1 + max(names.index(name) for name in required),
        day_first=day_first,
    )


def _next_line(lines: io.TextIOWrapper) -> str:
    line = lines.readline(LINE_MAX_CHARS + 1)
    if len(line) > LINE_MAX_CHARS:
        raise FileRefused(f"its first line is longer than {LINE_MAX_CHARS} characters: is it a CSV file?")
    return line


def _said_delimiter(line: str) -> str:
    """The delimiter of a line like `sep=;`; "" for other lines. Raises FileRefused for an unsupported delimiter."""
    separator = _SEPARATOR.fullmatch(line)
    if separator and separator[1] not in DELIMITERS:
        raise FileRefused(
            f"its first line says sep={shown(separator[1])}: separate the cells by commas, semicolons or tabs"
        )
    return separator[1] if separator else ""


def _names(header: str, delimiter: str) -> list[str]:
    """The names in the header. Programs write empty ones at its right end, for columns that once had something."""
    try:
        names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter, strict=True), [])]
    except csv.Error as error:
        raise FileRefused(f"its first line can't be read as CSV: {error}") from None
    while names and not names[-1]:
        names.pop()
    return names


def _days_first(names: list[str], dates: frozenset[str]) -> tuple[list[str], tuple[str, ...]]:
    """The names without what they say about days, and those columns whose days are written like 31/12/2026."""
    plain: list[str] = []
    day_first: list[str] = []
    for name in names:
        noted = _DAY_FIRST.fullmatch(name)
        if noted and noted[1] in dates:
            day_first.append(noted[1])
            plain.append(noted[1])
        else:
            plain.append(name)
    return plain, tuple(day_first)


def _check_names(names: list[str], required: Sequence[str], optional: Sequence[str]) -> None:
    columns = (*required, *optional)
    lacking = [name for name in required if name not in names]
    if lacking:
        raise FileRefused(f"its first line lacks the columns {', '.join(lacking)}")
    unknown = [shown(name) for name in names if name not in columns]
    if unknown:
        raise FileRefused(f"there are no such columns: {', '.join(unknown)}; there are {', '.join(columns)}")
    doubled = [name for name in columns if names.count(name) > 1]
    if doubled:
        raise FileRefused(f"there are two columns {', '.join(doubled)}")
