"""A synthetic tax roll: CSV files of a UFV series, taxable objects and assessments, for `igob import`.

    python -m infra.demo.roll FOLDER --objects 100000 --years 5

The owners are the people of `igob demo --city PEOPLE` with the same seed, by their identity numbers. The same numbers
make the same files.
"""

import argparse
import csv
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec

from infra.demo.names import identity_number
from infra.demo.ufv_rule import invented_indexes, ufv_series

UFV_FIRST = Decimal("2.35851")
KINDS = {"property": 60, "vehicle": 30, "activity": 10}  # of a hundred objects
MEDIAN_TAX = {"property": 350.0, "vehicle": 600.0, "activity": 280.0}  # bolivianos
TAX_SPREAD = 0.9  # of the logarithms
NORMS = {"property": "RM 101", "vehicle": "RM 102", "activity": "Ley municipal 12"}
OWNED_FOR_YEARS_MAX = 25
MOVED_SHARE = 0.03  # of taxes, how much they change from year to year
LETTERS = "BCDFGHKLNPRSTUVXYZ"


class RollPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a roll has: `objects` objects with a tax for each of `years` fiscal years up to `last_year`.

    `office`: written as a Spanish spreadsheet does, with semicolons, decimal commas and days like 31/12/2026.
    """

    objects: int
    years: int
    last_year: int
    people: int
    seed: int = 1
    office: bool = False

    @property
    def fiscal_years(self) -> range:
        return range(self.last_year - self.years + 1, self.last_year + 1)

    def dice(self, purpose: str) -> random.Random:
        """Dice for one purpose: a roll of more years has the same objects."""
        return random.Random(f"roll-{self.seed}-{purpose}")  # noqa: S311 (invented figures, not secrets)


class RollObject(msgspec.Struct, frozen=True, gc=False):
    kind: str
    number: str
    owner: str
    since: date
    cadastral_code: str = ""


def write_roll(folder: Path, plan: RollPlan) -> None:
    """Write ufv.csv, objects.csv and assessments.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "ufv.csv", [_day("day", plan), "value"], _ufv_rows(plan), plan)
    _write(
        folder / "objects.csv",
        ["kind", "number", "owner", _day("since", plan), "cadastral_code"],
        ([one.kind, one.number, one.owner, _shown(one.since, plan), one.cadastral_code] for one in objects(plan)),
        plan,
    )
    header = ["kind", "number", "year", _day("due", plan), "norm", "amount"]
    _write(folder / "assessments.csv", header, _assessment_rows(plan), plan)


def objects(plan: RollPlan) -> Iterator[RollObject]:
    """The objects, each with a number of its own."""
    dice = plan.dice("objects")
    earliest = date(plan.fiscal_years[0] - OWNED_FOR_YEARS_MAX, 1, 1).toordinal()
    latest = date(plan.fiscal_years[0] - 1, 12, 31).toordinal()
    for number in range(plan.objects):
        (kind,) = dice.choices(list(KINDS), list(KINDS.values()))
        yield RollObject(
            kind=kind,
            number=_number(kind, number),
            owner=identity_number(plan.seed, dice.randrange(plan.people)),
            since=date.fromordinal(dice.randint(earliest, latest)),
            cadastral_code=f"{number // 10**4 % 1000:03d}-{number % 10**4:04d}-{dice.randrange(10**4):04d}-0000"
            if kind == "property"
            else "",
        )


def _number(kind: str, number: int) -> str:
    """The property number, plate or licence number of the nth object, as people write it."""
    if kind == "property":
        return str(200_000 + number)
    if kind == "activity":
        return f"1310-{number:06d}"
    series, digits = divmod(number, 9_000)
    letters = "".join(LETTERS[series // len(LETTERS) ** place % len(LETTERS)] for place in (2, 1, 0))
    return f"{1_000 + digits} {letters}"


def _assessment_rows(plan: RollPlan) -> Iterator[list[str]]:
    dice = plan.dice("assessments")
    for one in objects(plan):
        tax = MEDIAN_TAX[one.kind] * dice.lognormvariate(0, TAX_SPREAD)
        for year in plan.fiscal_years:
            tax *= 1 + dice.gauss(0, MOVED_SHARE)
            amount = f"{max(tax, 1):.2f}"
            due = _shown(date(year + 1, 9, 30), plan)
            yield [one.kind, one.number, str(year), due, f"{NORMS[one.kind]}/{year}", _decimal(amount, plan)]


def _ufv_rows(plan: RollPlan) -> Iterator[list[str]]:
    """From the first day after which a tax of the roll may be late, to two years after the last fiscal year."""
    first, last = date(plan.fiscal_years[0] + 1, 1, 1), date(plan.last_year + 2, 12, 31)
    indexes = invented_indexes(plan.dice("ufv"), first=first, last=last)
    for number, value in enumerate(ufv_series(indexes, first=first, last=last, value=UFV_FIRST)):
        yield [_shown(date.fromordinal(first.toordinal() + number), plan), _decimal(str(value), plan)]


def _day(name: str, plan: RollPlan) -> str:
    return f"{name} (d/m/y)" if plan.office else name


def _shown(day: date, plan: RollPlan) -> str:
    return f"{day.day}/{day.month}/{day.year}" if plan.office else day.isoformat()


def _decimal(text: str, plan: RollPlan) -> str:
    return text.replace(".", ",") if plan.office else text


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]], plan: RollPlan) -> None:
    with path.open("w", encoding="utf-8-sig" if plan.office else "utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";" if plan.office else ",", lineterminator="\r\n" if plan.office else "\n")
        writer.writerow(header)
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m infra.demo.roll", description="Write a synthetic tax roll.")
    parser.add_argument("folder", type=Path, help="where the files are written")
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--years", type=int, default=5, help="fiscal years with a tax for each object")
    parser.add_argument("--last-year", type=int, default=2025, help="the last of them")
    parser.add_argument("--people", type=int, default=2_000, help="as in igob demo --city")
    parser.add_argument("--seed", type=int, default=1, help="as in igob demo --city")
    parser.add_argument("--office", action="store_true", help="written as a Spanish spreadsheet does")
    given = vars(parser.parse_args())
    write_roll(given.pop("folder"), RollPlan(**given))


if __name__ == "__main__":
    main()
