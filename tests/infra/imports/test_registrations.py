"""Names from CSV files: what is read, what is refused and where, and what replaces what."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from domain.appointments.hospital import Location, RegisterHospital
from domain.appointments.practitioner import RegisterPractitioner, RegisterRoom
from domain.appointments.specialty import RegisterSpecialty
from domain.decider import Command, build
from infra.imports.agendas import AGENDA_IMPORT, AgendaReport
from infra.imports.checking import check
from infra.imports.importing import import_rows
from infra.imports.layout import FileRefused
from infra.imports.problems import Problem
from infra.imports.registrations import RegistrationReport, registration_import
from infra.imports.table import Row, parse
from infra.log.core import Core
from tests.city import hospital, key
from tests.conftest import Clock
from tests.serving import igob_here
from tests.towns import Town

HOSPITALS = "hospital,name,address,district,phone,latitude,longitude"
PLACE = Location(latitude_microdegrees=-16_479_300, longitude_microdegrees=-68_118_900)


def file(*rows: str) -> bytes:
    return "\n".join([*rows, ""]).encode()


def parsed(name: str, *rows: str, replace: bool = False) -> list[Any]:
    """The commands and problems of a file's rows."""
    found = parse(file(*rows), registration_import(name, replace=replace).table)
    return [one.command if isinstance(one, Row) else one for one in found]


@pytest.mark.parametrize(
    ("name", "rows", "command"),
    [
        (
            "specialties",
            ("specialty,name", "pediatrics,Pediatría"),
            RegisterSpecialty(specialty="pediatrics", name="Pediatría"),
        ),
        (
            "practitioners",
            ("practitioner,name,specialties,hospital", "p-1,Dra. Wara Quispe,pediatrics  neurology,la-merced"),
            RegisterPractitioner(
                practitioner="p-1",
                name="Dra. Wara Quispe",
                specialties=["pediatrics", "neurology"],
                hospital="la-merced",
            ),
        ),
        (
            "practitioners",
            ("name;practitioner", "Dr. Inti Choque;p-2"),
            RegisterPractitioner(practitioner="p-2", name="Dr. Inti Choque"),
        ),
        (
            "practitioners",
            ("practitioner,name,specialties,hospital", "p-2,Dr. Inti Choque,,"),
            RegisterPractitioner(practitioner="p-2", name="Dr. Inti Choque"),
        ),
        (
            "rooms",
            ("room,hospital,name", "dental-1,la-merced,Consultorio dental"),
            RegisterRoom(room="dental-1", hospital="la-merced", name="Consultorio dental"),
        ),
        (
            "hospitals",
            ("hospital,name", "la-merced,La Merced"),
            RegisterHospital(hospital="la-merced", name="La Merced"),
        ),
        (
            "hospitals",
            (
                HOSPITALS,
                'la-merced,La Merced,"Av. 15 de Abril 120, La Merced",Periférica,+591 (2) 000-0000,-16.4793,-68.1189',
            ),
            RegisterHospital(
                hospital="la-merced",
                name="La Merced",
                address="Av. 15 de Abril 120, La Merced",
                district="Periférica",
                phone="+59120000000",
                location=PLACE,
            ),
        ),
        (
            "hospitals",
            (HOSPITALS.replace(",", ";"), "la-merced;La Merced;;;;-16,4793;-68,1189"),
            RegisterHospital(hospital="la-merced", name="La Merced", location=PLACE),
        ),
        (
            "hospitals",
            (HOSPITALS, "la-merced,La Merced,,,,-16.47930049,-68.11889951"),
            RegisterHospital(hospital="la-merced", name="La Merced", location=PLACE),
        ),
    ],
)
def test_a_row_is_a_registration(name: str, rows: tuple[str, ...], command: Command) -> None:
    assert parsed(name, *rows) == [command]
    fields = {field: getattr(command, field) for field in command.__struct_fields__}
    assert parsed(name, *rows, replace=True) == [build(type(command), **fields | {"replace": True})]


@pytest.mark.parametrize(
    ("row", "column", "text"),
    [
        ("La Merced,x,,,,,", "hospital", "like la-merced"),
        (f"{'a' * 26},x,,,,,", "hospital", "can't be 26 of them"),
        ("la-merced,,,,,,", "name", "is empty"),
        ("la-merced,x\u200by,,,,,", "name", "without invisible characters"),
        (f"la-merced,{'x' * 121},,,,,", "name", "the length must be <= 120"),
        (f"la-merced,x,{'y' * 201},,,,", "address", "the length must be <= 200"),
        ("la-merced,x,,,2 31 A,,", "phone", "consists of digits"),
        ("la-merced,x,,,,south,-68.1", "latitude", "'south' is not a number of degrees, like -16.495546"),
        ("la-merced,x,,,,-16.5,1e3", "longitude", "is not a number of degrees"),
        ("la-merced,x,,,,-16.5,", "longitude", "give latitude and longitude, or none of them"),
        ("la-merced,x,,,,,-68.1", "latitude", "give latitude and longitude, or none of them"),
    ],
)
def test_a_wrong_cell_is_named_with_a_hint(row: str, column: str, text: str) -> None:
    (problem,) = parsed("hospitals", HOSPITALS, row)
    assert isinstance(problem, Problem), problem
    assert (problem.line, problem.column, problem.code) == (2, column, "invalid_input")
    assert text in problem.text


@pytest.mark.parametrize(
    ("name", "header", "lacking"),
    [
        ("specialties", "specialty", "lacks the columns name"),
        ("practitioners", "name", "lacks the columns practitioner"),
        ("rooms", "room,name", "lacks the columns hospital"),
        ("hospitals", "hospital,name,fax", "no such columns: 'fax'; there are hospital, name, address"),
    ],
)
def test_a_file_has_the_columns_of_its_kind(name: str, header: str, lacking: str) -> None:
    with pytest.raises(FileRefused, match=lacking):
        parsed(name, header, "x")


@pytest.mark.anyio
class TestImporting:
    @staticmethod
    async def run(
        core: Core, clock: Clock, name: str, *rows: str, replace: bool = False, dry_run: bool = False
    ) -> RegistrationReport:
        kind = registration_import(name, replace=replace)
        return await import_rows(core, file(*rows), kind, now=clock.now, console=Console(quiet=True), dry_run=dry_run)

    @staticmethod
    def names(town: Town) -> list[tuple[object, ...]]:
        return town.execute(
            "SELECT stream, state->>'name' FROM event_log WHERE event ~ '_registered' AND actor = 'import'"
            " ORDER BY position"
        )

    async def test_all_kinds_are_registered_one_after_another(self, core: Core, town: Town, clock: Clock) -> None:
        files = {
            "hospitals": (HOSPITALS, "la-merced,La Merced,,,,-16.4793,-68.1189", "la-paz,La Paz,,,,,"),
            "specialties": ("specialty,name", "pediatrics,Pediatría"),
            "practitioners": ("practitioner,name,specialties,hospital", "p-1,Dra. Wara Quispe,pediatrics,la-paz"),
            "rooms": ("room,hospital,name", "dental-1,la-merced,Consultorio dental"),
        }
        for name, rows in files.items():
            assert await self.run(core, clock, name, *rows) == RegistrationReport(registered=len(rows) - 1)
        for name, rows in files.items():
            assert await self.run(core, clock, name, *rows) == RegistrationReport(already_there=len(rows) - 1)
        assert self.names(town) == [
            ("hospital/la-merced", "La Merced"),
            ("hospital/la-paz", "La Paz"),
            ("specialty/pediatrics", "Pediatría"),
            ("practitioner/p-1", "Dra. Wara Quispe"),
            ("room/dental-1", "Consultorio dental"),
        ]

    async def test_wrong_rows_are_reported_by_line_and_nothing_is_written(self, core: Core, clock: Clock) -> None:
        await core.committer.submit(hospital(), key("hospital"))
        await self.run(core, clock, "practitioners", "practitioner,name", "p-1,Dra. Wara Quispe")
        head = await core.log.head()
        report = await self.run(
            core, clock, "practitioners",
            "practitioner,name,specialties,hospital",
            "p-2,Dr. Inti Choque,,la-merced",
            "p-3,Dr. Luis Rojas,,no-such",
            "p-2,Dr. Otro Nombre,,",
            "p-1,Dra. Otra Quispe,,",
            "p-4,Dr. Mario Flores,Pediatría,",
            "p-5,Dr. Edwin Apaza,pediatrics pediatrics,",
        )  # fmt: skip
        assert [(one.line, one.column, one.code) for one in report.problems] == [
            (3, "hospital", "hospital_unknown"),
            (4, "", "doubled"),
            (5, "practitioner", "practitioner_exists"),
            (6, "specialties", "invalid_input"),
            (7, "specialties", "invalid_input"),
        ]
        assert "the practitioner p-2 is on line 2 too" in report.problems[1].text
        assert "registered with other details, as Dra. Wara Quispe" in report.problems[2].text
        assert report.error == "nothing was imported: 5 rows are not valid"
        assert next(report.lines()) == "igob: nothing was imported: 5 rows are not valid"
        assert len(list(report.lines())) == 6
        assert (report.registered, report.ok) == (0, False)
        assert await core.log.head() == head

    @pytest.mark.parametrize("name", ["room", "practitioner"])
    async def test_a_code_of_the_other_kind_is_reported(self, core: Core, clock: Clock, name: str) -> None:
        await core.committer.submit(hospital(), key("hospital"))
        rooms = ("rooms", "room,hospital,name", "x-1,la-merced,Consultorio")
        practitioners = ("practitioners", "practitioner,name", "x-1,Dr. Luis Rojas")
        first, then = (rooms, practitioners) if name == "room" else (practitioners, rooms)
        assert (await self.run(core, clock, *first)).registered == 1
        (problem,) = (await self.run(core, clock, *then, replace=True)).problems
        assert (problem.line, problem.code) == (2, f"{name}_exists")

    async def test_an_impossible_location_is_reported_in_its_column(self, core: Core, clock: Clock) -> None:
        report = await self.run(core, clock, "hospitals", HOSPITALS, "a,A,,,,-90.1,0", "b,B,,,,0,-180.000001")
        assert [(one.line, one.column) for one in report.problems] == [(2, "latitude"), (3, "longitude")]
        assert "from -90 to 90 degrees" in report.problems[0].text

    async def test_replacing_works_also_from_an_old_file(self, core: Core, town: Town, clock: Clock) -> None:
        old = ("specialty,name", "pediatrics,Pediatria", "neurology,Neurología")
        new = ("specialty,name", "pediatrics,Pediatría", "cardiology,Cardiología")
        await self.run(core, clock, "specialties", *old)
        assert (await self.run(core, clock, "specialties", *new)).problems[0].code == "specialty_exists"
        replaced = await self.run(core, clock, "specialties", *new, replace=True)
        assert replaced == RegistrationReport(registered=1, replaced=1)
        assert list(replaced.lines()) == ["1 registered, 1 replaced, 0 already there, 0 refused"]
        assert await self.run(core, clock, "specialties", *old, replace=True) == RegistrationReport(
            replaced=1, already_there=1
        )
        assert [name for stream, name in self.names(town) if stream == "specialty/pediatrics"] == [
            "Pediatria",
            "Pediatría",
            "Pediatria",
        ]

    async def test_a_dry_run_reports_what_would_happen_and_writes_nothing(self, core: Core, clock: Clock) -> None:
        await self.run(core, clock, "specialties", "specialty,name", "a,A", "b,B")
        head = await core.log.head()
        rows = ("specialty,name", "a,A", "b,B2", "c,C")
        report = await self.run(core, clock, "specialties", *rows, replace=True, dry_run=True)
        assert report == RegistrationReport(registered=1, replaced=1, already_there=1, dry_run=True)
        assert list(report.lines()) == [
            "dry run, nothing was imported; it would be: 1 registered, 1 replaced, 1 already there, 0 refused"
        ]
        refused = await self.run(core, clock, "specialties", *rows, dry_run=True)
        assert (refused.problems[0].line, refused.ok) == (3, False)
        assert await core.log.head() == head

    async def test_a_dry_run_of_agendas_publishes_none(self, core: Core, clock: Clock) -> None:
        await core.committer.submit(hospital(), key("hospital"))
        head = await core.log.head()
        content = file(
            "hospital,specialty,practitioner,date,start,end,minutes",
            "la-merced,pediatrics,p-01,2027-01-05,08:00,10:00,20",
        )
        report = await import_rows(
            core, content, AGENDA_IMPORT, now=clock.now, console=Console(quiet=True), dry_run=True
        )
        assert report == AgendaReport(published=1, dry_run=True)
        assert await core.log.head() == head

    async def test_a_hospital_is_looked_up_once_for_all_rows(self, core: Core, clock: Clock) -> None:
        await core.committer.submit(hospital(), key("hospital"))
        rows = [f"r-{n},la-merced,Consultorio {n}" for n in range(600)]
        kind = registration_import("rooms", replace=False)
        checked, report = await check(core, file("room,hospital,name", *rows), kind, now=clock.now)
        assert (checked.rows, report.registered, checked.replacing) == (600, 600, set())


def test_help_lists_the_kinds_of_imports() -> None:
    answer = igob_here("import", "--help")
    names = "agendas", "hospitals", "specialties", "practitioners", "rooms", "ufv", "objects", "assessments"
    assert all(name in answer.stdout for name in names)
    assert "Register the rooms in a CSV file" in igob_here("import", "rooms", "--help").stdout


def test_an_unreadable_file_is_refused_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "rooms.csv"
    path.write_bytes(file("room", "x"))
    answer = igob_here("import", "rooms", str(path), "--data-dir", str(tmp_path / "igob"))
    assert answer.returncode == 1
    assert "its first line lacks the columns hospital, name" in answer.stderr
    assert not (tmp_path / "igob").exists()
