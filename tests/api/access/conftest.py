"""A town with two people who have appointments and turns at two places."""

import asyncio
from datetime import date

import msgspec
import pytest

from domain.decider import Command, build
from domain.money import Money
from domain.obligations.obligation import AssessTax
from domain.obligations.taxable_object import RegisterTaxableObject
from domain.people.dependants import DeclareDependant
from domain.people.representatives import ConfirmRepresentation
from infra.log.core import Core
from tests.api.access.actors import CI, LINE, NIT, OTHER_AGENDA, OTHER_LINE, asking, house_of, pair, visit
from tests.city import AGENDA, agenda, hospital, key, opaque, open_line, organisation, person, service_point, take
from tests.towns import Town


@pytest.fixture
async def people(core: Core, town: Town) -> None:
    """Ana and Luis have an appointment each at La Merced and at San Juan, Eva and Juan have none; slots are free.

    Both wait in a line at Sopocachi and in one at Centro. A clerk declared Eva to be in Ana's and in Luis's care. Ana
    represents Illimani and Luis Sajama; Eva and Juan asked to represent both.
    Ana and Luis have a house each, whose tax of 2020 is assessed.
    """
    points = [line.partition("/")[0] for line in (LINE, OTHER_LINE)]
    elsewhere = msgspec.structs.replace(agenda(specialty="cardiology"), hospital="san-juan")
    care = {"dependant": opaque("Eva"), "relation": "CARE", "declared_by": opaque("clerk")}
    tax = {"year": 2020, "due": date(2021, 12, 31), "norm": "RM 5", "amount": Money(centavos=100)}
    # Each group needs those before it; what is in one is written at once.
    groups: list[list[Command]] = [
        [
            *(hospital(code) for code in ("la-merced", "san-juan")),
            *(person(name, core, ci=ci) for name, ci in CI.items()),
            *(organisation(name, core, nit=nit) for name, nit in NIT.items()),
            *(service_point(point) for point in points),
        ],
        [
            agenda(),
            elsewhere,
            *(open_line(point, service) for point in points for service in ("cadastre", "taxes")),
            *(build(DeclareDependant, guardian=opaque(name), **care) for name in ("Ana", "Luis")),
            *(
                build(
                    RegisterTaxableObject,
                    kind="PROPERTY",
                    number=house_of(name).partition("-")[2],
                    owner=opaque(name),
                    since=date(2020, 1, 1),
                    cadastral_code="0320123" + house_of(name).partition("-")[2],
                )
                for name in ("Ana", "Luis")
            ),
        ],
        [
            *(asking(name, of) for name, of in (("Ana", "Illimani"), ("Luis", "Sajama"))),
            *(asking(name, of) for name in ("Eva", "Juan") for of in ("Illimani", "Sajama")),
        ],
        [
            *(
                build(ConfirmRepresentation, **pair(name, of), confirmed_by=opaque("officer"))
                for name, of in (("Ana", "Illimani"), ("Luis", "Sajama"))
            ),
            *(visit(name, where) for where in (AGENDA, OTHER_AGENDA) for name in ("Ana", "Luis")),
            *(take(line, name) for line in (LINE, OTHER_LINE) for name in ("Ana", "Luis")),
            *(build(AssessTax, object=house_of(name), **tax) for name in ("Ana", "Luis")),
        ],
    ]
    for number, group in enumerate(groups):
        await asyncio.gather(*(core.committer.submit(one, key(f"{number} {n}")) for n, one in enumerate(group)))
