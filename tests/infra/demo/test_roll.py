"""The synthetic tax roll: its UFV follows the rule, it is the same each time, and `igob import` takes it."""

import csv
import itertools
import random
import sys
from calendar import monthrange
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from domain.identifiers import parse_number
from infra.demo import roll
from infra.demo.names import identity_number
from infra.demo.roll import RollPlan, objects, write_roll
from infra.demo.ufv_rule import invented_indexes, month_of, ruling_month, ufv_series
from infra.imports.checking import Import
from infra.imports.importing import import_rows
from infra.imports.table import Row, parse
from infra.imports.taxes import ASSESSMENT_IMPORT, OBJECT_IMPORT, ufv_import
from infra.log.core import Core
from tests.city import key, person
from tests.conftest import Clock

PLAN = RollPlan(objects=60, years=3, last_year=2025, people=7)
FILES: dict[str, Import[Any, Any]] = {
    "ufv": ufv_import(replace=False), "objects": OBJECT_IMPORT, "assessments": ASSESSMENT_IMPORT,
}  # fmt: skip
HALF_A_STEP = Fraction(5, 10**6)


def commands(folder: Path, name: str) -> list[Any]:
    found = list(parse((folder / f"{name}.csv").read_bytes(), FILES[name].table))
    assert all(isinstance(row, Row) for row in found)
    return [row.command for row in found if isinstance(row, Row)]


@pytest.mark.parametrize(
    ("day", "ruling"),
    [
        (date(2021, 3, 10), (2021, 1)),
        (date(2021, 3, 11), (2021, 2)),
        (date(2021, 3, 31), (2021, 2)),
        (date(2021, 1, 1), (2020, 11)),
        (date(2021, 1, 11), (2020, 12)),
    ],
)
def test_a_new_index_rules_from_the_eleventh(day: date, ruling: tuple[int, int]) -> None:
    assert ruling_month(day) == month_of(date(*ruling, 1))


@pytest.mark.parametrize("seed", range(3))
def test_each_day_is_made_from_the_rounded_one_before(seed: int) -> None:
    """In whole numbers: the factor of a day, to the power of twelve times the days of its month, is that of a year."""
    first, last = date(2019, 12, 1), date(2022, 3, 31)
    indexes = invented_indexes(random.Random(seed), first=first, last=last)
    series = list(ufv_series(indexes, first=first, last=last, value=Decimal("2.33187")))
    assert len(series) == (last - first).days + 1
    assert series[0] == Decimal("2.33187")
    for number, (before, value) in enumerate(itertools.pairwise(series), start=1):
        day = first + timedelta(days=number)
        of_a_year = Fraction(indexes[ruling_month(day)]) / Fraction(indexes[ruling_month(day) - 12])
        power = 12 * monthrange(day.year, day.month)[1]
        least, most = ((Fraction(value) + off) / Fraction(before) for off in (-HALF_A_STEP, HALF_A_STEP))
        assert least**power <= of_a_year < most**power, day


def test_the_ufv_falls_while_prices_are_lower_than_a_year_before() -> None:
    first, last = date(2020, 1, 1), date(2020, 12, 31)
    sinking = {month: Decimal(200 - number) for number, month in enumerate(range(month_of(first) - 14, month_of(last)))}
    series = list(ufv_series(sinking, first=first, last=last, value=Decimal("2.33187")))
    assert all(later < earlier for earlier, later in itertools.pairwise(series))


def test_stable_prices_leave_the_ufv_as_it_is() -> None:
    first, last = date(2020, 1, 1), date(2020, 3, 31)
    stable = dict.fromkeys(range(month_of(first) - 14, month_of(last)), Decimal("101.37"))
    assert set(ufv_series(stable, first=first, last=last, value=Decimal("2.33187"))) == {Decimal("2.33187")}


def test_a_long_series_rises_and_for_a_while_falls(tmp_path: Path) -> None:
    write_roll(tmp_path, msgspec.structs.replace(PLAN, objects=1, years=5))
    values = [command.value for command in commands(tmp_path, "ufv")]
    assert values[-1] > values[0]
    assert any(later < earlier for earlier, later in itertools.pairwise(values))


def test_the_same_numbers_make_the_same_files(tmp_path: Path) -> None:
    for folder, plan in (("a", PLAN), ("b", PLAN), ("c", msgspec.structs.replace(PLAN, seed=2))):
        write_roll(tmp_path / folder, plan)
    for name in FILES:
        a, b, c = ((tmp_path / folder / f"{name}.csv").read_bytes() for folder in "abc")
        assert a == b
        assert a != c


def test_a_spreadsheet_writes_the_same_roll_in_its_own_way(tmp_path: Path) -> None:
    write_roll(tmp_path / "plain", PLAN)
    write_roll(tmp_path / "office", msgspec.structs.replace(PLAN, office=True))
    assert (
        (tmp_path / "office" / "assessments.csv")
        .read_bytes()
        .startswith("\ufeffkind;number;year;due (d/m/y);norm;amount\r\n".encode())
    )
    for name in FILES:
        assert commands(tmp_path / "office", name) == commands(tmp_path / "plain", name)


def test_objects_have_numbers_and_cadastral_codes_of_their_own() -> None:
    made = list(objects(msgspec.structs.replace(PLAN, objects=30_000)))
    assert len({(one.kind, parse_number(one.kind.upper(), one.number)) for one in made}) == 30_000  # type: ignore[arg-type]
    codes = [one.cadastral_code for one in made if one.cadastral_code]
    assert len(set(codes)) == len(codes) > 15_000


def test_a_roll_of_more_years_has_the_same_objects_and_a_row_for_each_year(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["roll", str(tmp_path), "--objects", "20", "--years", "2", "--people", "7"])
    roll.main()
    with (tmp_path / "assessments.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["year"] for row in rows] == ["2024", "2025"] * 20
    assert all(Decimal(row["amount"]) >= 1 for row in rows)


@pytest.mark.anyio
async def test_a_roll_is_imported_once(core: Core, clock: Clock, tmp_path: Path) -> None:
    for number in range(PLAN.people):
        owner = person(f"P{number}", core, ci=identity_number(PLAN.seed, number))
        await core.committer.submit(owner, key(f"register {number}"))
    write_roll(tmp_path, PLAN)
    counts = {"ufv": len(commands(tmp_path, "ufv")), "objects": 60, "assessments": 180}
    for name, kind in FILES.items():
        content = (tmp_path / f"{name}.csv").read_bytes()
        reports = [await import_rows(core, content, kind, now=clock.now, console=Console(quiet=True)) for _ in range(2)]
        assert all(report.ok for report in reports), list(reports[0].lines())
        assert [report.changed for report in reports] == [counts[name], 0]
        assert reports[1].already_there == counts[name]
