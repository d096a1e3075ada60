"""Reads single cells: days, whole numbers, amounts. What can be read in two ways is refused, never guessed."""

import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from typing import TypeVar

from domain.money import CENTAVOS_MAX, Money
from infra.imports.problems import shown

DAYS_KEPT_MAX = 1_000  # a tax roll has few days, each in very many rows

T = TypeVar("T")

# Python's ISO parsers also accept weeks and missing hyphens, and `\d` matches digits of any script.
_WHOLE = re.compile(r"-?[0-9]{1,9}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DAY_FIRST = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})")
# Digits, or groups of three with a point or a comma between them; then one or two decimals.
_AMOUNT = re.compile(
    r"(?P<sign>-?)(?:(?P<plain>[0-9]{1,13})|(?P<grouped>[0-9]{1,3}(?P<group>[.,])[0-9]{3}(?:(?P=group)[0-9]{3}){0,3}))"
    r"(?:(?P<point>[.,])(?P<cents>[0-9]{1,2}))?"
)


class BadCell(Exception):
    """A cell does not have the form of its column; the text says what is right."""

    def __init__(self, column: str, text: str) -> None:
        super().__init__(text)
        self.column = column


def cell(cells: Mapping[str, str], name: str, convert: Callable[[str], T]) -> T:
    """The value of a cell. Raises BadCell if it is empty, or with the text of a ValueError that `convert` raises."""
    text = cells[name]
    if not text:
        raise BadCell(name, "is empty")
    try:
        return convert(text)
    except (ValueError, OverflowError) as error:
        raise BadCell(name, f"{shown(text)} is not {error}") from None


def whole(text: str) -> int:
    """A whole number. Raises ValueError."""
    if not _WHOLE.fullmatch(text):
        raise ValueError("a whole number")
    return int(text)


@lru_cache(maxsize=DAYS_KEPT_MAX)
def day(text: str) -> date:
    """A day like 2026-12-01. Raises ValueError, which tells how to write other days if this is one."""
    try:
        return date.fromisoformat(text if _DATE.fullmatch(text) else "")
    except ValueError:
        other = "; for days like 31/12/2026 the header must say (d/m/y)" if _DAY_FIRST.fullmatch(text) else ""
        raise ValueError(f"a date that exists, like 2026-12-01{other}") from None


def day_first(column: str, text: str) -> str:
    """A day like 31/12/2026 as 2026-12-31; one that is written so is left as it is. Raises BadCell."""
    found = _DAY_FIRST.fullmatch(text)
    try:
        written = date(*map(int, reversed(found.groups()))).isoformat() if found else text
        return day(written).isoformat()
    except ValueError:
        raise BadCell(column, f"{shown(text)} is not a date that exists, like 31/12/2026") from None


def amount(text: str) -> Money:
    """An amount above 0 in bolivianos: "1015.62", "1015,62", "1015.6", "1015", "1.015,62", "1,015.62", "1.015.624".

    A single point or comma before three digits may separate thousands or decimals. Raises ValueError.
    """
    found = _AMOUNT.fullmatch(text)
    if not found or (found["group"] and found["group"] == found["point"]):
        raise ValueError("an amount in bolivianos, like 1015.62 or 1015,62")
    if found["group"] and not found["point"] and found["grouped"].count(found["group"]) == 1:
        raise ValueError("clear: a point or comma before three digits can be read in two ways; write 1015.62 or 1015")
    digits = found["plain"] or found["grouped"].replace(found["group"], "")
    centavos = int(digits) * 100 + int((found["cents"] or "").ljust(2, "0"))
    if found["sign"] or not centavos:
        raise ValueError("an amount above 0, like 1015.62")
    if centavos > CENTAVOS_MAX:
        raise ValueError("an amount of at most thirteen digits")
    return Money(centavos=centavos)
