"""A grant belongs to one root field of one request: what one field may see never widens another.

Somebody who is a citizen and a clerk too asks for their own data as a citizen, and for others' data as a clerk. In one
query the root fields run side by side, and each waits for the log in the middle.
"""

from itertools import permutations
from typing import Any

import pytest

from api.access.grant import Grant
from api.access.identity import Actor
from infra.gateways.keys import Login
from tests.api.access.actors import CI, LINE, OTHER_LINE
from tests.api.conftest import Client
from tests.city import opaque

ALL_HOSPITALS, OWN_HOSPITAL = {"la-merced", "san-juan"}, {"la-merced"}
BOTH_LINES, OWN_LINE = {LINE, OTHER_LINE}, {LINE}
VISITS = "{ nodes { hospital { code } } }"
PATIENT = f"patient(id: $%s) {{ appointments(first: 9) {VISITS} }}"
APPOINTMENTS = f"appointments(patient: $%s, first: 9) {VISITS}"
TURNS = "turns(person: $%s, first: 9) { nodes { line { id } } }"

ORDERS = ("ana luis", "luis ana", "ana luis ana luis ana luis", "luis luis ana ana luis", "ana ana ana luis luis luis")


def clerk_and_citizen(role: Any) -> Login:
    """Ana, who works at La Merced or at Sopocachi."""
    return Login(subject="ana", identity=CI["Ana"], roles=[role], hospitals=["la-merced"], service_points=["sopocachi"])


def document(order: str, *fields: str) -> str:
    """A query that asks for these fields of each of these persons, in this order."""
    asked = [f"{name}{n}_{m}: {field % name}" for n, name in enumerate(order.split()) for m, field in enumerate(fields)]
    return f"query ($ana: ID!, $luis: ID!) {{ {' '.join(asked)} }}"


async def places(client: Client, asked: str, link: str, key: str) -> list[tuple[str, set[str]]]:
    """Whose data each field of the answer has, and of which places, in the order of the query."""
    found = await client.data(asked, ana=opaque("Ana"), luis=opaque("Luis"))
    lists = {alias: shown.get("appointments", shown)["nodes"] for alias, shown in found.items()}
    return [(alias.rstrip("_0123456789"), {one[link][key] for one in nodes}) for alias, nodes in lists.items()]


@pytest.mark.parametrize(("name", "value"), [("role", "developer"), ("person", "p"), ("actor", Actor())])
def test_a_grant_is_immutable(name: str, value: Any) -> None:
    grant = Grant(Actor(("hospital_clerk",), hospitals=frozenset({"la-merced"})), "hospital_clerk")
    with pytest.raises(AttributeError):
        setattr(grant, name, value)
    assert grant.bounds == frozenset(OWN_HOSPITAL)


def test_a_grant_s_bounds_are_those_of_its_role() -> None:
    roles: Any = ("citizen", "hospital_clerk", "counter_clerk", "auditor")
    actor = Actor(roles, hospitals=frozenset({"la-merced"}), service_points=frozenset({"sopocachi"}))
    bounds = {role: Grant(actor, role).bounds for role in roles}
    assert bounds == {
        "citizen": None, "hospital_clerk": {"la-merced"}, "counter_clerk": {"sopocachi"}, "auditor": None,
    }  # fmt: skip


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fields", [[PATIENT], [APPOINTMENTS], *permutations([PATIENT, APPOINTMENTS])])
async def test_a_hospital_clerk_sees_all_data_at_their_hospital(client: Client, order: str, fields: list[str]) -> None:
    client.act_as(clerk_and_citizen("hospital_clerk"))
    expected = [
        (name, ALL_HOSPITALS if name == "ana" else OWN_HOSPITAL) for name in order.split() for _ in range(len(fields))
    ]
    for _ in range(2):  # by the library, then by a plan
        assert await places(client, document(order, *fields), "hospital", "code") == expected


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("order", ORDERS)
async def test_a_counter_clerk_sees_all_data_at_their_service_point(client: Client, order: str) -> None:
    client.act_as(clerk_and_citizen("counter_clerk"))
    expected = [(name, BOTH_LINES if name == "ana" else OWN_LINE) for name in order.split()]
    for _ in range(2):
        assert await places(client, document(order, TURNS), "line", "id") == expected
