"""UFV values, taxable objects and assessments from CSV files: what is imported, refused and found to be there."""

import asyncio
import os
from collections.abc import Collection, Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from domain import people
from domain.decider import build
from domain.money import parse_amount
from domain.obligations import obligation, taxable_object, ufv
from domain.obligations.scale import PublishScale
from domain.obligations.taxable_object import Ownership
from infra.imports.checking import ROWS_AT_ONCE, Import, check
from infra.imports.importing import import_rows
from infra.imports.problems import Problem
from infra.imports.report import Report
from infra.imports.taxes import (
    ASSESSMENT_IMPORT,
    OBJECT_IMPORT,
    AssessmentReport,
    ObjectReport,
    UfvReport,
    ufv_import,
)
from infra.log.core import Core
from infra.log.log import Loaded
from tests.city import key, opaque, person
from tests.conftest import Clock
from tests.serving import igob_here
from tests.towns import Town

OBJECTS = "kind,number,owner,since,cadastral_code"
ASSESSMENTS = "object,kind,number,year,due,norm,amount,base"
HOUSE = "property,214775,4820193,2010-05-03,032-0123-0004-0000"
CAR = "vehicle,1234 ABC,4820193-1a lp,2011-12-31,"
STEP = {"above_centavos": 0, "excess_centavos": 0, "fixed_centavos": 0, "hundredths": 35}


def file(*rows: str) -> bytes:
    return "\n".join([*rows, ""]).encode()


async def run(
    core: Core, clock: Clock, kind: Import[Any, Any], *rows: str, dry_run: bool = False
) -> Any:  # the report of this kind
    return await import_rows(core, file(*rows), kind, now=clock.now, console=Console(quiet=True), dry_run=dry_run)


async def register(core: Core, name: str = "Ana", ci: str = "4820193") -> None:
    await core.committer.submit(person(name, core, ci=ci), key(f"register {name}"))


async def register_objects(core: Core, clock: Clock, *rows: str) -> None:
    await register(core)
    await register(core, "Beto", "4820193-1A")
    assert (await run(core, clock, OBJECT_IMPORT, OBJECTS, *(rows or (HOUSE, CAR)))).ok


def said(report: Report) -> list[tuple[int, str, str]]:
    return [(one.line, one.column, one.code) for one in report.problems]


class Loads:
    """Counts the queries that load streams."""

    def __init__(self, core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        load = core.log.load

        async def loading(streams: Iterable[str], *, redacted: Collection[str] = ()) -> dict[str, Loaded]:
            self.count += 1
            return await load(streams, redacted=redacted)

        monkeypatch.setattr(core.log, "load", loading)


@pytest.mark.anyio
class TestUfv:
    async def test_days_are_published_with_all_decimals(self, core: Core, clock: Clock) -> None:
        report = await run(core, clock, ufv_import(replace=False), "day;value", "2020-12-31;2,35851", "2021-01-01;2.36")
        assert report == UfvReport(published=2)
        assert (await core.log.state(ufv.stream(2020))).values[date(2020, 12, 31)].value == 235_851
        assert (await core.log.state(ufv.stream(2021))).values[date(2021, 1, 1)].value == 236_000
        again = await run(core, clock, ufv_import(replace=False), "day,value", "2021-01-01,2.36000")
        assert again == UfvReport(already_there=1)

    async def test_another_value_is_refused_unless_it_is_to_replace(self, core: Core, clock: Clock) -> None:
        old, new = ("day,value", "2021-01-01,2.36"), ("day,value", "2021-01-01,2.37", "2021-01-02,2.38")
        await run(core, clock, ufv_import(replace=False), *old)
        refused = await run(core, clock, ufv_import(replace=False), *new)
        assert refused.problems == [
            Problem(2, "value", "ufv_published", "the UFV of that day is published as 2.36000; --replace corrects it")
        ]
        assert (refused.published, refused.ok) == (0, False)
        replaced = await run(core, clock, ufv_import(replace=True), *new)
        assert replaced == UfvReport(published=1, corrected=1)
        assert replaced.summary() == "1 days published, 1 corrected, 0 already there, 0 refused"
        assert (await run(core, clock, ufv_import(replace=True), *old)).corrected == 1
        assert (await core.log.state(ufv.stream(2021))).values[date(2021, 1, 1)].value == 236_000

    async def test_wrong_rows_are_reported_with_a_right_value(self, core: Core, clock: Clock) -> None:
        rows = (
            "2021-01-01,2.358511",
            "2021-01-02,2",
            "2021-01-03,-2.3",
            "2021-01-04,0.00000",
            "2021-02-30,2.3",
            "x,2.3",
        )
        report = await run(core, clock, ufv_import(replace=False), "day,value", *rows)
        assert said(report) == [
            *((line, "value", "invalid_input") for line in (2, 3, 4, 5)),
            *((line, "day", "invalid_input") for line in (6, 7)),
        ]
        assert "is not bolivianos with at most 5 decimals, like 2.35851" in report.problems[0].text
        assert await core.log.head() == 0


@pytest.mark.anyio
class TestObjects:
    async def test_an_owner_is_found_by_identity_number_or_id(self, core: Core, clock: Clock) -> None:
        await register(core)
        await register(core, "Beto", "4820193-1A")
        rows = (HOUSE, CAR, f"activity,1310-24689,{opaque('Ana')},2020-01-01,")
        assert await run(core, clock, OBJECT_IMPORT, OBJECTS, *rows) == ObjectReport(registered=3)
        for code, owner, since in (
            ("property-214775", "Ana", date(2010, 5, 3)),
            ("vehicle-1234abc", "Beto", date(2011, 12, 31)),
            ("activity-131024689", "Ana", date(2020, 1, 1)),
        ):
            state = await core.log.state(taxable_object.stream(code))
            assert state.owners == [Ownership(owner=opaque(owner), since=since)]
        house = (await core.log.state(taxable_object.stream("property-214775"))).registered
        assert house.cadastral_code == "032012300040000"

    async def test_wrong_rows_are_reported_and_nothing_is_written(self, core: Core, clock: Clock) -> None:
        await register_objects(core, clock)
        await core.committer.submit(build(people.ErasePerson, person=opaque("Beto")), key("erase"))
        head = await core.log.head()
        report = await run(
            core, clock, OBJECT_IMPORT, OBJECTS,
            "property,214776,4820193,2010-05-03,",
            "vehicle,12 ABC,4820193,2010-05-03,",
            "boat,1,4820193,2010-05-03,",
            "property,214777,9999999,2010-05-03,",
            f"property,214778,{opaque('Nobody')},2010-05-03,",
            f"property,214779,{opaque('Beto')},2010-05-03,",
            "property,214780,Ana,2010-05-03,",
            "property,0214776,4820193,2010-05-03,",
            "property,214781,4820193,2010-05-03,032-0123-0004-0000",
            "property,214782,4820193,2010-05-03,032-0123-0005-0000",
            "property,214783,4820193,2010-05-03,032 0123 0005 0000",
            "property,214784,4820193,2010-05-03,0-1",
            "vehicle,999 XYZ,4820193,2010-05-03,032-0123-0006-0000",
            "property,214785,4820193,2010-02-30,",
            "property,214786,4820193,2027-05-03,",
            "property,214775,4820193,2011-05-03,",
        )  # fmt: skip
        assert said(report) == [
            (3, "number", "invalid_input"),
            (4, "kind", "invalid_input"),
            (5, "owner", "person_unknown"),
            (6, "owner", "person_unknown"),
            (7, "owner", "person_unknown"),
            (8, "owner", "invalid_input"),
            (9, "", "doubled"),
            (10, "cadastral_code", "cadastral_code_in_use"),
            (12, "", "doubled"),
            (13, "cadastral_code", "invalid_input"),
            (14, "cadastral_code", "only_properties"),
            (15, "since", "invalid_input"),
            (16, "since", "in_the_future"),
            (17, "number", "taxable_object_exists"),
        ]
        texts = {one.line: one.text for one in report.problems}
        assert "like 1234 ABC" in texts[3]
        assert "'boat' is not a kind of object: property, vehicle, activity" in texts[4]
        assert "nobody is registered with the identity number 9999999: register the person first" in texts[5]
        assert "nobody is registered with this id" in texts[6]
        assert "'Ana' is not an identity number, like 4820193" in texts[8]
        assert texts[9] == "the object property-214776 is on line 2 too"
        assert texts[12] == "the cadastral code 032012300050000 is on line 11 too"
        assert "like 032-0123-0004-0000" in texts[13]
        assert report.error == "nothing was imported: 14 rows are not valid"
        assert await core.log.head() == head

    async def test_a_block_of_rows_is_loaded_in_few_queries(
        self, core: Core, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await register(core)
        rows = [f"property,{n},4820193,2010-05-03,{n:08d}" for n in range(2 * ROWS_AT_ONCE)]
        loads = Loads(core, monkeypatch)
        _, report = await check(core, file(OBJECTS, *rows), OBJECT_IMPORT, now=clock.now)
        assert report.registered == 2 * ROWS_AT_ONCE
        assert loads.count <= 2 * 3  # identity numbers; objects and persons; cadastral codes
        loads.count = 0
        assert (await run(core, clock, OBJECT_IMPORT, OBJECTS, *rows)).registered == 2 * ROWS_AT_ONCE
        assert loads.count < 100


@pytest.mark.anyio
class TestAssessments:
    async def test_a_tax_is_given_by_amount_or_base(self, core: Core, clock: Clock) -> None:
        await register_objects(core, clock)
        scale = build(PublishScale, tax="IPBI", from_year=2020, norm="LM 1", steps=[STEP])
        await core.committer.submit(scale, key("scale"))
        rows = (
            ',vehicle,1234-abc,2025,2026-09-30,RM 1,"1.015,62",',
            'property-214775,,,2024,2025-09-30,RM 1,,"100.000,00"',
        )
        assert await run(core, clock, ASSESSMENT_IMPORT, ASSESSMENTS, *rows) == AssessmentReport(assessed=2)
        car = await core.log.state(obligation.stream("vehicle-1234abc/year-2025"))
        assert (car.tax, car.norm, car.assessed.due) == (parse_amount("1015.62"), "RM 1", date(2026, 9, 30))
        house = await core.log.state(obligation.stream("property-214775/year-2024"))
        assert (house.tax, house.assessed.base) == (parse_amount("350.00"), parse_amount("100000.00"))

    async def test_wrong_rows_are_reported_and_nothing_is_written(self, core: Core, clock: Clock) -> None:
        await register_objects(core, clock)
        await run(core, clock, ASSESSMENT_IMPORT, ASSESSMENTS, "property-214775,,,2020,2021-09-30,RM 1,5.00,")
        head = await core.log.head()
        report = await run(
            core, clock, ASSESSMENT_IMPORT, ASSESSMENTS,
            "property-214775,,,2021,2022-09-30,RM 1,5.00,",
            ",property,214776,2021,2022-09-30,RM 1,5.00,",
            ",vehicle,1 A,2021,2022-09-30,RM 1,5.00,",
            "property-214775,,,1989,2022-09-30,RM 1,5.00,",
            "property-214775,,,21,2022-09-30,RM 1,5.00,",
            "property-214775,,,2022,2021-09-30,RM 1,5.00,",
            "property-214775,,,2023,2024-09-31,RM 1,5.00,",
            "property-214775,,,2023,2024-09-30,RM 1,,-5.00",
            "property-214775,,,2023,2024-09-30,RM 1,1.015,",
            "property-214775,,,2023,2024-09-30,RM 1,,",
            "property-214775,,,2024,2025-09-30,RM 1,5.00,5.00",
            "property-214775,,,2025,2026-09-30,RM 1,,5.00",
            ",property,0214775,2021,2022-09-30,RM 1,5.00,",
            "property-214775,,,2020,2021-09-30,RM 1,6.00,",
            "property-214775,property,214775,2024,2025-09-30,RM 1,5.00,",
            ",,,2024,2025-09-30,RM 1,5.00,",
            ",property,,2024,2025-09-30,RM 1,5.00,",
            "plot-1,,,2024,2025-09-30,RM 1,5.00,",
        )  # fmt: skip
        assert said(report) == [
            (3, "object", "taxable_object_unknown"),
            (4, "number", "invalid_input"),
            (5, "year", "invalid_input"),
            (6, "year", "invalid_input"),
            (7, "year", "invalid_input"),
            (8, "due", "invalid_input"),
            (9, "base", "invalid_input"),
            (10, "amount", "invalid_input"),
            (11, "amount", "invalid_input"),
            (12, "amount", "invalid_input"),
            (13, "base", "scale_unknown"),
            (14, "", "doubled"),
            (15, "year", "already_assessed"),
            (16, "object", "invalid_input"),
            (17, "object", "invalid_input"),
            (18, "number", "invalid_input"),
            (19, "object", "invalid_input"),
        ]
        texts = {one.line: one.text for one in report.problems}
        assert texts[3] == "there is no object property-214776: register it first"
        assert "like 1234 ABC" in texts[4]
        assert texts[5] == "'1989' is not a fiscal year from 1990 on, like 2026"
        assert texts[9] == "'-5.00' is not an amount above 0, like 1015.62"
        assert "two ways" in texts[10]
        assert "give either the amount of the tax or its base" in texts[12]
        assert "publish the scale" in texts[13]
        assert texts[14] == "the tax property-214775/year-2021 is on line 2 too"
        assert texts[15] == "year 2020 of this object is already assessed at Bs 5.00: an amendment changes that"
        assert await core.log.head() == head

    async def test_a_wrong_row_at_the_end_of_a_long_file_refuses_all_of_it(self, core: Core, clock: Clock) -> None:
        days = [date(2000, 1, 1) + timedelta(days=number) for number in range(ROWS_AT_ONCE + 5)]
        head = await core.log.head()
        report = await run(
            core, clock, ufv_import(replace=False), "day,value", *(f"{day},2.3" for day in days), f"{days[0]},2.3"
        )
        assert report.problems == [Problem(len(days) + 2, "", "doubled", "the UFV of 2000-01-01 is on line 2 too")]
        assert (report.published, report.error) == (0, "nothing was imported: 1 row is not valid")
        assert await core.log.head() == head

    async def test_a_second_import_writes_nothing(self, core: Core, town: Town, clock: Clock) -> None:
        await register_objects(core, clock)
        rows = [f"property-214775,,,{year},{year + 1}-09-30,RM 1,5.00," for year in range(2000, 2020)]
        assert await run(core, clock, ASSESSMENT_IMPORT, ASSESSMENTS, *rows) == AssessmentReport(assessed=20)
        before = town.execute("SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM commands)")
        again = await run(core, clock, ASSESSMENT_IMPORT, ASSESSMENTS, *rows)
        assert again == AssessmentReport(already_there=20)
        assert again.summary() == "0 taxes assessed, 20 already there, 0 refused"
        more = "property-214775,,,2020,2021-09-30,RM 1,5.00,"
        completed = await run(core, clock, ASSESSMENT_IMPORT, ASSESSMENTS, *rows, more)
        assert completed == AssessmentReport(assessed=1, already_there=20)
        after = town.execute("SELECT (SELECT count(*) FROM events) - 1, (SELECT count(*) FROM commands) - 1")
        assert after == before

    async def test_two_imports_of_a_file_at_once_assess_each_tax_once(
        self, core: Core, town: Town, clock: Clock
    ) -> None:
        await register_objects(core, clock)
        rows = [f"property-214775,,,{year},{year + 1}-09-30,RM 1,5.00," for year in range(1990, 2110)]
        both = await asyncio.gather(*(run(core, clock, ASSESSMENT_IMPORT, ASSESSMENTS, *rows) for _ in range(2)))
        assert sum(report.assessed for report in both) == 120
        assert sum(report.already_there for report in both) == 120
        assert town.execute("SELECT count(*) FROM events WHERE topic = 'tax_assessed.v1'") == [(120,)]

    async def test_an_interrupted_import_is_completed(self, core: Core, town: Town, clock: Clock) -> None:
        houses = [f"property,{n},4820193,2010-05-03," for n in range(60)]
        await register_objects(core, clock, *houses)
        rows = [f"property-{n},,,{year},{year + 1}-09-30,RM 1,5.00," for n in range(60) for year in range(1990, 2040)]
        assert len(rows) > 2 * core.committer.queue_max
        last = build(PublishScale, tax="IPVA", from_year=2000, norm="LM 1", steps=[STEP])
        importing = asyncio.create_task(run(core, clock, ASSESSMENT_IMPORT, ASSESSMENTS, *rows))
        head = await core.log.head()
        async with asyncio.timeout(60):
            while await core.log.head() == head:  # each look lets the import go on
                pass
        importing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await importing
        await core.committer.submit(last, key("what was submitted before is written before"))
        before = await core.log.head() - head - 1
        assert 0 < before < len(rows)
        report = await run(core, clock, ASSESSMENT_IMPORT, ASSESSMENTS, *rows)
        assert report == AssessmentReport(assessed=len(rows) - before, already_there=before)
        assert town.execute("SELECT count(*), max(originator_version) FROM events WHERE topic = 'tax_assessed.v1'") == [
            (len(rows), 1)
        ]

    async def test_a_dry_run_tells_what_would_happen(self, core: Core, clock: Clock) -> None:
        await register_objects(core, clock)
        head = await core.log.head()
        row = "property-214775,,,2020,2021-09-30,RM 1,5.00,"
        report = await run(core, clock, ASSESSMENT_IMPORT, ASSESSMENTS, row, dry_run=True)
        assert report == AssessmentReport(assessed=1, dry_run=True)
        assert await core.log.head() == head

    async def test_what_a_block_reads_is_loaded_in_one_query(
        self, core: Core, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await register_objects(core, clock)
        rows = [f"property-214775,,,{year},{year + 1}-09-30,RM 1,5.00," for year in range(1990, 2190)]
        loads = Loads(core, monkeypatch)
        await check(core, file(ASSESSMENTS, *rows), ASSESSMENT_IMPORT, now=clock.now)
        assert loads.count == 1


@pytest.mark.parametrize("kind", ["ufv", "objects", "assessments"])
def test_a_file_whose_name_is_not_utf8_is_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"rol-a\xf1o.csv")
    path.write_bytes(b"nothing,here\n")
    answer = igob_here("import", kind, str(path), "--data-dir", str(tmp_path / "igob"), "--json")
    assert answer.returncode == 1
    assert r"rol-a\xf1o.csv: its first line lacks the columns" in answer.stderr
    assert r"rol-a\xf1o.csv" in msgspec.json.decode(answer.stdout)["error"]
    assert not (tmp_path / "igob").exists()
