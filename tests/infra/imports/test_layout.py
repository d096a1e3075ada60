"""What office programs make of a CSV file is read, and what can be read in two ways is refused."""

import random
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from domain.money import CENTAVOS_MAX
from infra.imports import cells, table
from infra.imports.agendas_csv import AGENDAS
from infra.imports.importing import shown_path
from infra.imports.layout import FileRefused
from infra.imports.problems import Problem
from infra.imports.registrations import registration_import
from infra.imports.table import Row, Table, parse
from infra.imports.taxes_csv import ASSESSMENTS, OBJECTS, UFV

SPECIALTIES = registration_import("specialties", replace=False).table
PRACTITIONERS = registration_import("practitioners", replace=False).table

# A well-formed file of each kind, in the plainest form: the required columns, then optional ones.
PLAIN: dict[str, tuple[Table[Any], list[list[str]]]] = {
    "specialties": (SPECIALTIES, [["specialty", "name"], ["pediatrics", "Pediatría"], ["neurology", "Neurología"]]),
    "practitioners": (
        PRACTITIONERS,
        [
            ["practitioner", "name", "specialties", "hospital"],
            ["p-1", "Dra. Quispe", "", ""],
            ["p-2", "Dr. X", "a", ""],
        ],
    ),
    "agendas": (
        AGENDAS,
        [
            ["hospital", "specialty", "practitioner", "date", "start", "end", "minutes", "release_at", "quota_web"],
            ["la-merced", "pediatrics", "p-01", "2027-01-05", "08:00", "10:00", "20", "", ""],
        ],
    ),
    "ufv": (UFV, [["day", "value"], ["2020-12-31", "2.35851"], ["2021-01-10", "2.35781"]]),
    "objects": (
        OBJECTS,
        [
            ["kind", "number", "owner", "since", "cadastral_code"],
            ["property", "214775", "4820193 LP", "2010-05-03", "032-0123-0004-0000"],
            ["vehicle", "1234 ABC", "4820193", "2011-12-31", ""],
        ],
    ),
    "assessments": (
        ASSESSMENTS,
        [
            ["kind", "number", "year", "due", "norm", "amount", "base"],
            ["property", "214775", "2025", "2026-09-30", "RM 101", "1015.62", ""],
        ],
    ),
}


def written(rows: list[list[str]], delimiter: str = ",", end: str = "\n") -> str:
    return "".join(delimiter.join(row) + end for row in rows)


def office_bom(rows: list[list[str]]) -> str:
    return "\ufeff" + written(rows, ";", "\r\n")


def tabs(rows: list[list[str]]) -> str:
    return written(rows, "\t")


def trailing_columns(rows: list[list[str]]) -> str:
    return written([[*row, "", " "] for row in rows], ";")


def trailing_columns_of_some(rows: list[list[str]]) -> str:
    return written([rows[0], *([*row, "", ""] for row in rows[1:])])


def cut_off(rows: list[list[str]]) -> str:
    """Empty cells at the right end of rows are missing."""
    kept = [list(row) for row in rows]
    for row in kept:
        while not row[-1]:
            row.pop()
    return written(kept)


def blank_above(rows: list[list[str]]) -> str:
    return "\n  \n;;;\n" + written(rows, ";")


def separator_between_blanks(rows: list[list[str]]) -> str:
    return "\n\nsep=\t\n\t\t\n" + written(rows, "\t")


STYLES: list[Callable[[list[list[str]]], str]] = [
    office_bom, tabs, trailing_columns, trailing_columns_of_some, cut_off, blank_above, separator_between_blanks,
]  # fmt: skip


def commands(content: str, kind: Table[Any]) -> list[Any]:
    found = list(parse(content.encode(), kind))
    assert all(isinstance(row, Row) for row in found), found
    return [row.command for row in found if isinstance(row, Row)]


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.__name__)
@pytest.mark.parametrize("name", PLAIN)
def test_every_import_reads_what_office_programs_write(name: str, style: Callable[[list[list[str]]], str]) -> None:
    kind, rows = PLAIN[name]
    expected = commands(written(rows), kind)
    assert len(expected) == len(rows) - 1
    assert commands(style(rows), kind) == expected


def test_lines_are_counted_from_the_first_of_the_file() -> None:
    content = "\n;;\nsep=;\n\nday;value\n\n2020-12-31;2.35851\nx;2\n"
    assert [row.line for row in parse(content.encode(), UFV)] == [7, 8]


def test_a_cell_beyond_the_last_column_is_refused() -> None:
    (problem,) = parse(b"day,value\n2020-12-31,2,35851\n", UFV)
    assert problem == Problem(2, "", "row", "has 3 cells, where the first line has 2")


def test_a_row_that_ends_before_a_required_column_is_refused() -> None:
    first, second = parse(b"kind,number,owner,since\nproperty,1,4820193\nproperty,1,4820193,\n", OBJECTS)
    assert first == Problem(2, "", "row", "has 3 cells, where the first line has 4")
    assert second == Problem(3, "since", "invalid_input", "is empty")


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("kind,year,due,norm,amount", "lacks the columns object, or kind and number"),
        ("object,year,due,norm", "lacks the columns amount, or base"),
        ("object,year,due (m/d/y),norm,amount", "lacks the columns due"),
        ("object (d/m/y),year,due,norm,amount", "no such columns: 'object (d/m/y)'"),
        ("object,year,due,due (d/m/y),norm,amount", "two columns due"),
        ("object,,year,due,norm,amount", "no such columns: ''"),
    ],
)
def test_a_header_that_lacks_something_is_refused(header: str, text: str) -> None:
    with pytest.raises(FileRefused) as refused:
        list(parse(f"{header}\nx\n".encode(), ASSESSMENTS))
    assert text in str(refused.value)


@pytest.mark.parametrize("note", ["(d/m/y)", " (D/M/Y)", " (dd/mm/yyyy)", "  ( dd/mm/aaaa )"])
def test_days_are_written_as_the_header_says(note: str) -> None:
    content = f"day{note};value\n31/12/2020;2,35851\n1/2/2021;2,36000\n2021-03-04;2,37000\n"
    assert [command.day for command in commands(content, UFV)] == [
        date(2020, 12, 31),
        date(2021, 2, 1),
        date(2021, 3, 4),
    ]


@pytest.mark.parametrize("text", ["31/02/2021", "12/31/2020", "1/2/21", "2021-02-30", "1-2-2021", "x"])
def test_a_day_that_does_not_exist_is_refused_by_its_line(text: str) -> None:
    (problem,) = parse(f"day (d/m/y);value\n{text};2,35851\n".encode(), UFV)
    assert problem == Problem(2, "day", "invalid_input", f"{text!r} is not a date that exists, like 31/12/2026")


def test_a_day_like_31_12_2020_is_not_guessed() -> None:
    (problem,) = parse(b"day;value\n05/01/2021;2,35851\n", UFV)
    assert isinstance(problem, Problem)
    assert "like 2026-12-01; for days like 31/12/2026 the header must say (d/m/y)" in problem.text


@pytest.mark.parametrize(
    ("text", "centavos"),
    [
        ("1015.62", 101_562),
        ("1015,62", 101_562),
        ("1015", 101_500),
        ("1015,6", 101_560),
        ("0.05", 5),
        ("1.015,62", 101_562),
        ("1,015.62", 101_562),
        ("1.015,6", 101_560),
        ("12.001.015,62", 1_200_101_562),
        ("12,001,015", 1_200_101_500),
        ("9999999999999.99", 999_999_999_999_999),
    ],
)
def test_an_amount_is_read_however_it_is_written(text: str, centavos: int) -> None:
    assert cells.amount(text).centavos == centavos


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1.015", "can be read in two ways"),
        ("1,015", "can be read in two ways"),
        ("0.015", "can be read in two ways"),
        ("1.015.62", "like 1015.62"),
        ("1,015,62", "like 1015.62"),
        ("1015.625", "like 1015.62"),
        ("10.15,62", "like 1015.62"),
        ("1015.", "like 1015.62"),
        (".62", "like 1015.62"),
        ("1 015,62", "like 1015.62"),
        ("Bs 1015", "like 1015.62"),
        ("1e3", "like 1015.62"),
        ("١٠", "like 1015.62"),
        ("99999999999999", "like 1015.62"),
        ("9.999.999.999.999.999", "like 1015.62"),
        ("-1015.62", "an amount above 0"),
        ("0", "an amount above 0"),
        ("0,00", "an amount above 0"),
    ],
)
def test_another_amount_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        cells.amount(text)


def test_amounts_end_where_those_of_the_domain_do() -> None:
    assert cells.amount("9999999999999.99").centavos < CENTAVOS_MAX
    with pytest.raises(ValueError, match="thirteen digits"):
        cells.amount("999.999.999.999.999,00")


def test_every_amount_of_a_program_is_read_or_ambiguous() -> None:
    """Whatever the program's style, the value is never another one than it meant."""
    dice = random.Random(1)
    for _ in range(2_000):
        centavos = dice.randrange(1, 10 ** dice.randrange(1, 15))
        whole, cents = divmod(centavos, 100)
        group, point = dice.choice([("", "."), ("", ","), (".", ","), (",", ".")])
        text = f"{whole:,}".replace(",", group) + (f"{point}{cents:02d}" if cents or dice.random() < 0.5 else "")
        if text.count(".") + text.count(",") == 1 and len(text) - max(text.find("."), text.find(",")) == 4:
            with pytest.raises(ValueError, match="two ways"):
                cells.amount(text)
        else:
            assert cells.amount(text).centavos == centavos, text


@pytest.mark.parametrize("where", [0, 1, table.DECODED_AT_ONCE_BYTES - 1, table.DECODED_AT_ONCE_BYTES, 3_000_001])
def test_a_byte_that_is_not_utf8_is_found_in_its_line(where: int) -> None:
    good = "day;value ñ\n".encode() * 300_000
    begin = good.find(b"\n", where) + 1
    line = good.count(b"\n", 0, begin) + 1
    with pytest.raises(FileRefused) as refused:
        list(parse(good[:begin] + b"\xf1\n" + good[begin:], UFV))
    assert f"(line {line})" in str(refused.value)


def test_a_character_on_the_edge_of_a_chunk_is_read() -> None:
    for shift in range(4):
        filler = "x" * 4_000
        header = "specialty,name\n" + "\n" * shift
        rows = "".join(f"s-{n},{filler[:60]}€{n}\n" for n in range(40_000))
        names = [command.name for command in commands(header + rows, SPECIALTIES)]
        assert names[-1] == f"{filler[:60]}€39999"


def test_a_name_of_a_file_that_is_not_utf8_is_shown() -> None:
    assert shown_path(Path("rol\udcf1.csv")) == r"rol\xf1.csv"
    assert shown_path(Path("año\x1b[2J.csv")) == r"año\x1b[2J.csv"
