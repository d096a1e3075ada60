"""A town with two people who have appointments and turns at two places."""

import msgspec
import pytest

from domain.decider import build
from domain.people.dependants import DeclareDependant
from infra.log.core import Core
from tests.api.access.actors import CI, LINE, OTHER_AGENDA, OTHER_LINE, visit
from tests.city import AGENDA, agenda, hospital, key, opaque, open_line, person, service_point, take
from tests.towns import Town


@pytest.fixture
async def people(core: Core, town: Town) -> None:
    """Ana and Luis have an appointment each at La Merced and at San Juan, Eva and Juan have none; slots are free.

    Both wait in a line at Sopocachi and in one at Centro. A clerk declared Eva to be in Ana's and in Luis's care.
    """
    submit = core.lane.submit
    for code in ("la-merced", "san-juan"):
        await submit(hospital(code), key(code))
    await submit(agenda(), key("agenda"))
    await submit(msgspec.structs.replace(agenda(specialty="cardiology"), hospital="san-juan"), key("other"))
    for name, ci in CI.items():
        await submit(person(name, core, ci=ci), key(name))
    for where in (AGENDA, OTHER_AGENDA):
        for name in ("Ana", "Luis"):
            await submit(visit(name, where), key(f"{where} {name}"))
    for line in (LINE, OTHER_LINE):
        point = line.partition("/")[0]
        await submit(service_point(point), key(point))
        for service in ("cadastre", "taxes"):
            await submit(open_line(point, service), key(f"{point} {service}"))
        for name in ("Ana", "Luis"):
            await submit(take(line, name), key(f"{line} {name}"))
    for name in ("Ana", "Luis"):
        said = {"guardian": opaque(name), "dependant": opaque("Eva"), "relation": "CARE"}
        await submit(build(DeclareDependant, **said, declared_by=opaque("clerk")), key(f"declare {name}"))
