"""The read model of names: listed by name, searched without accents and case, replaced in place."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.appointments.hospital import Location, RegisterHospital
from domain.appointments.practitioner import RegisterPractitioner, RegisterRoom
from domain.appointments.specialty import RegisterSpecialty
from domain.decider import Command, build
from infra.log.core import Core
from infra.postgres.views import Views
from projections.appointments.directory import BY_NAME, DIRECTORY, DirectoryRow, Kind, entries
from projections.engine.generations import Places
from projections.engine.keyset import Range
from projections.engine.runner import verify
from tests.city import key
from tests.projecting import Projector, decode, projector
from tests.towns import Town

pytestmark = pytest.mark.anyio

ALL = Range(limit=10)
LA_MERCED: dict[str, Any] = {"hospital": "la-merced", "name": "Hospital La Merced", "district": "Periférica"}
NAMES: list[Command] = [
    build(
        RegisterHospital,
        **LA_MERCED,
        address="Av. 15 de Abril 120",
        phone="+59120000000",
        location={"latitude_microdegrees": -16_479_300, "longitude_microdegrees": -68_118_900},
    ),
    build(RegisterHospital, hospital="mujer", name="Hospital de la Mujer", district="Centro"),
    build(RegisterHospital, hospital="arce", name="Ámbito Arce"),
    build(RegisterSpecialty, specialty="pediatrics", name="Pediatría"),
    build(RegisterSpecialty, specialty="dentistry", name="odontología 100%_"),
    build(
        RegisterPractitioner,
        practitioner="p-01",
        name="Dra. Wara Ñáñez Quispe",
        specialties=["pediatrics", "neurology"],
        hospital="la-merced",
    ),
    build(RegisterPractitioner, practitioner="p-02", name="Dr. Inti Quispe", specialties=["pediatrics"]),
    build(RegisterPractitioner, practitioner="p-00", name="Dr. Inti Quispe"),
    build(RegisterRoom, room="dental-1", hospital="la-merced", name="Consultorio dental"),
]


class Directory:
    """The read model of a town's names, which is asked once it has all that is in the log."""

    def __init__(self, core: Core, views: Views, projecting: Projector) -> None:
        self._core = core
        self._views = views
        self._projecting = projecting
        self._count = 0

    async def register(self, *commands: Command) -> None:
        for command in commands:
            self._count += 1
            await self._core.committer.submit(command, key(str(self._count)))
        self._projecting.catch_up()

    async def rows(self, kind: Kind, part: Range = ALL, **wanted: str) -> list[DirectoryRow]:
        found, _ = await self._views.ask(entries(kind, part=part, **wanted))
        return found

    async def codes(self, kind: Kind, part: Range = ALL, **wanted: str) -> list[str]:
        return [row.code for row in await self.rows(kind, part, **wanted)]


@pytest.fixture
async def directory(core: Core, town: Town, views: Views) -> AsyncIterator[Directory]:
    with projector(town, [DIRECTORY]) as projecting:
        registered = Directory(core, views, projecting)
        await registered.register(*NAMES)
        yield registered


async def test_things_of_a_kind_are_listed_by_name_and_then_by_code(directory: Directory) -> None:
    assert await directory.codes("hospital") == ["arce", "mujer", "la-merced"]
    assert await directory.codes("specialty") == ["dentistry", "pediatrics"]
    assert await directory.codes("practitioner") == ["p-00", "p-02", "p-01"]
    assert await directory.codes("room") == ["dental-1"]


async def test_a_page_lies_between_keys(directory: Directory) -> None:
    first, second, third = map(BY_NAME.key, await directory.rows("practitioner"))
    assert await directory.codes("practitioner", Range(limit=1)) == ["p-00"]
    assert await directory.codes("practitioner", Range(limit=1, after=first)) == ["p-02"]
    assert await directory.codes("practitioner", Range(limit=9, after=first, before=third)) == ["p-02"]
    assert await directory.codes("practitioner", Range(limit=1, before=second, backward=True)) == ["p-00"]
    assert await directory.codes("practitioner", Range(limit=2, backward=True)) == ["p-01", "p-02"]
    assert await directory.codes("practitioner", Range(limit=9, after=third)) == []


@pytest.mark.parametrize(
    ("kind", "search", "found"),
    [
        ("hospital", "MERCED", ["la-merced"]),
        ("hospital", "mercéd  hosp", ["la-merced"]),
        ("hospital", "ámbito", ["arce"]),
        ("hospital", "ambito", ["arce"]),
        ("hospital", "hospital la", ["mujer", "la-merced"]),
        ("hospital", "merced mujer", []),
        ("hospital", "la-merced", ["la-merced"]),
        ("hospital", " ", ["arce", "mujer", "la-merced"]),
        ("practitioner", "nanez", ["p-01"]),
        ("practitioner", "ÑAÑEZ", ["p-01"]),
        ("practitioner", "p-0", ["p-00", "p-02", "p-01"]),
        ("practitioner", "pediatría", []),
        ("specialty", "%", ["dentistry"]),
        ("specialty", "_", ["dentistry"]),
        ("specialty", "' OR 1 = 1", []),
        ("specialty", "\\", []),
    ],
)
async def test_each_word_is_looked_for_in_names_and_codes(
    directory: Directory, kind: Kind, search: str, found: list[str]
) -> None:
    assert await directory.codes(kind, search=search) == found


async def test_lists_are_narrowed(directory: Directory) -> None:
    assert await directory.codes("practitioner", hospital="la-merced") == ["p-01"]
    assert await directory.codes("practitioner", specialty="pediatrics") == ["p-02", "p-01"]
    assert await directory.codes("practitioner", specialty="pediatrics", search="ñañez") == ["p-01"]
    assert await directory.codes("room", hospital="mujer") == []
    assert await directory.codes("hospital", district="periferica") == ["la-merced"]
    assert await directory.codes("hospital", district="Perif") == []


async def test_a_row_has_all_that_is_registered(directory: Directory) -> None:
    (hospital,) = await directory.rows("hospital", search="merced")
    assert hospital.contact is not None
    assert (hospital.name, hospital.contact.address) == ("Hospital La Merced", "Av. 15 de Abril 120")
    assert hospital.contact.location == Location(latitude_microdegrees=-16_479_300, longitude_microdegrees=-68_118_900)
    (doctor,) = await directory.rows("practitioner", search="wara")
    assert (doctor.specialties, doctor.hospital, doctor.contact) == (["pediatrics", "neurology"], "la-merced", None)


async def test_a_new_registration_replaces_the_row(directory: Directory, town: Town) -> None:
    await directory.register(
        build(RegisterHospital, **LA_MERCED | {"name": "Zona Merced"}, replace=True),
        build(RegisterPractitioner, practitioner="p-01", name="Dra. Wara Quispe", replace=True),
    )
    assert await directory.codes("hospital") == ["arce", "mujer", "la-merced"]
    assert await directory.codes("hospital", search="hospital merced") == []
    assert await directory.codes("practitioner", specialty="neurology") == []
    compared = verify(town.application, Places(town.schema), DIRECTORY, decode)
    assert (compared.different, compared.rows) == (0, len(NAMES)), str(compared)
