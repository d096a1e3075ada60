"""Objects within objects: read together, as their own queries show them, and to nobody else."""

import asyncio
from typing import Any

import pytest

from domain.arrivals import TakeTurnForAppointment
from domain.decider import build
from infra.gateways.keys import Login
from infra.log.core import Core
from tests.api.conftest import Client
from tests.city import (
    AGENDA,
    DAY,
    agenda,
    booking,
    hospital,
    key,
    opaque,
    open_line,
    person,
    service_point,
    take,
    turn_of,
)
from tests.conftest import Clock

pytestmark = pytest.mark.anyio

DAY_LIST = """{ dayList(hospital: "la-merced", date: "2027-01-05", first: 100) { nodes { id
  patient { id givenNames } agenda { id freeSlots hospital { name } } hospital { code name } } } }"""
LINE_TURNS = """query($line: ID!) { lineTurns(line: $line, first: 50) { nodes { number
  turn { id state line { waiting } } line { id servicePoint { name } } person { givenNames } } } }"""
BOOK = """mutation($input: BookAppointmentInput!) { bookAppointment(input: $input) {
  appointment { id patient { givenNames } agenda { freeSlots } } agenda { id freeSlots } position
  errors { code ... on VisitConflict { appointment { id slot } } } } }"""
LEARNED_AFTER = 5  # questions, with pauses
LINE = "sopocachi/cadastre/2027-01-04"


async def people(core: Core, number: int) -> list[str]:
    """So many people, registered."""
    names = [f"Ana{n}" for n in range(number)]
    for n, name in enumerate(names):
        await core.committer.submit(person(name, core, ci=str(5_000_000 + n)), key(f"person {n}"))
    return names


async def agendas_with_bookings(core: Core, number: int) -> None:
    """Agendas of so many practitioners, each with one booking of somebody else."""
    await core.committer.submit(hospital(), key("hospital"))
    for n, name in enumerate(await people(core, number)):
        published = agenda(practitioner=f"p-{n:02}", specialty=f"s-{n}")
        await core.committer.submit(published, key(f"agenda {n}"))
        await core.committer.submit(booking(1, name, agenda=published.agenda), key(f"booking {n}"))


async def statements_for(client: Client, counted: list[Any], query: str, **variables: Any) -> int:
    """How many statements the answer takes, once read models are up to date and waits are learned."""

    async def taken() -> int:
        before = len(counted)
        await client.data(query, **variables)
        return len(counted) - before

    for _ in range(LEARNED_AFTER):
        await taken()
        await asyncio.sleep(0.05)
    return min([await taken() for _ in range(5)])


async def test_a_page_takes_as_many_statements_as_a_row(client: Client, core: Core, counted: list[Any]) -> None:
    await agendas_with_bookings(core, 1)
    one = await statements_for(client, counted, DAY_LIST)
    for n, name in enumerate((await people(core, 12))[1:], start=1):
        published = agenda(practitioner=f"p-{n:02}", specialty=f"s-{n}")
        await core.committer.submit(published, key(f"agenda {n}"))
        await core.committer.submit(booking(1, name, agenda=published.agenda), key(f"booking {n}"))
    assert await statements_for(client, counted, DAY_LIST) == one
    nodes = (await client.data(DAY_LIST))["nodes"]
    assert {node["patient"]["givenNames"] for node in nodes} == {f"Ana{n}" for n in range(12)}
    assert {node["agenda"]["freeSlots"] for node in nodes} == {5}
    assert {node["hospital"]["name"] for node in nodes} == {"Hospital la-merced"}


async def test_turns_of_many_lines_take_as_many_statements_as_one(
    client: Client, core: Core, counted: list[Any]
) -> None:
    (name,) = await people(core, 1)
    await core.committer.submit(service_point(), key("point"))
    query = """query($person: ID!) { turns(person: $person, first: 50) { nodes {
      turn { number state } line { waiting servicePoint { name } } } } }"""

    async def take_turn_in(services: range) -> None:
        for n in services:
            opened = open_line(service=f"service-{n}")
            await core.committer.submit(opened, key(f"line {n}"))
            await core.committer.submit(take(opened.line, name), key(f"turn {n}"))

    await take_turn_in(range(1))
    one = await statements_for(client, counted, query, person=opaque(name))
    await take_turn_in(range(1, 9))
    assert await statements_for(client, counted, query, person=opaque(name)) == one
    nodes = (await client.data(query, person=opaque(name)))["nodes"]
    assert [node["turn"]["state"] for node in nodes] == ["WAITING"] * 9
    assert {node["line"]["servicePoint"]["name"] for node in nodes} == {"Oficina sopocachi"}


async def test_a_linked_object_needs_permission(client: Client, core: Core) -> None:
    await agendas_with_bookings(core, 1)
    appointment = booking(1, "Ana0", agenda="la-merced/2027-01-05/p-00").appointment
    query = "query($id: ID!) { appointment(id: $id) { patient { id givenNames } agenda { id } } }"
    client.act_as(Login(subject="clerk", roles=["hospital_clerk"], hospitals=["la-merced"]))
    answer = await client.data(query, id=appointment)
    assert answer["patient"] == {"id": opaque("Ana0"), "givenNames": "Ana0"}
    await core.committer.submit(service_point(hospital="la-merced"), key("point"))
    await core.committer.submit(open_line(), key("line"))
    await core.committer.submit(take(LINE, "Ana0"), key("turn"))
    client.act_as(Login(subject="counter", roles=["counter_clerk"], service_points=["sopocachi"]))
    (node,) = (await client.data(LINE_TURNS, line=LINE))["nodes"]
    assert node["person"] == {"givenNames": "Ana0"}
    # A clerk of a counter reads no appointments, whatever leads to one.
    conflict = "query($id: ID!) { node(id: $id) { id } }"
    assert (await client.ask(conflict, id=appointment))["errors"][0]["extensions"]["code"] == "forbidden"


async def test_a_refused_object_is_null_with_an_error_and_the_rest_is_there(
    client: Client, core: Core, clock: Clock
) -> None:
    """A clerk of a counter may read a turn that was taken for an appointment, but no appointments."""
    await agendas_with_bookings(core, 1)
    await core.committer.submit(service_point(hospital="la-merced"), key("point"))
    await core.committer.submit(open_line(day=DAY), key("line"))
    appointment = booking(1, "Ana0", agenda="la-merced/2027-01-05/p-00").appointment
    line = f"sopocachi/cadastre/{DAY}"
    for_appointment = build(
        TakeTurnForAppointment, line=line, appointment=appointment, channel="COUNTER", turn=turn_of("Ana0", line)
    )
    clock.wait(24 * 3_600)
    await core.committer.submit(for_appointment, key("turn"))
    query = """query($line: ID!) { lineTurns(line: $line, first: 5) { nodes {
      number appointment { id state } line { hospital { name } } } } }"""
    assert (await client.data(query, line=line))["nodes"][0]["appointment"] == {"id": appointment, "state": "BOOKED"}
    client.act_as(Login(subject="counter", roles=["counter_clerk"], service_points=["sopocachi"]))
    answer = await client.ask(query, line=line)
    (node,) = answer["data"]["lineTurns"]["nodes"]
    assert (node["appointment"], node["line"]) == (None, {"hospital": {"name": "Hospital la-merced"}})
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "forbidden"
    assert error["path"] == ["lineTurns", "nodes", 0, "appointment"]


async def test_a_payload_shows_the_agenda_as_of_its_commit(client: Client, core: Core) -> None:
    await core.committer.submit(hospital(), key("hospital"))
    await core.committer.submit(agenda(6), key("agenda"))
    names = await people(core, 6)
    wishes = [
        {"idempotencyKey": f"b{n}", "agenda": AGENDA, "slot": n + 1, "patient": opaque(name)}
        for n, name in enumerate(names)
    ]
    payloads = await asyncio.gather(*(client.data(BOOK, input=wish) for wish in wishes))
    payloads.sort(key=lambda payload: int(payload["position"]))
    assert [payload["agenda"]["freeSlots"] for payload in payloads] == [5, 4, 3, 2, 1, 0]
    for payload in payloads:
        assert payload["agenda"]["freeSlots"] == payload["appointment"]["agenda"]["freeSlots"]
    # A repetition shows it as it is now.
    again = await client.data(BOOK, input=wishes[0])
    assert again["agenda"]["freeSlots"] == 0


async def test_the_commands_of_one_request_each_show_their_own_commit(client: Client, core: Core) -> None:
    await core.committer.submit(hospital(), key("hospital"))
    await core.committer.submit(agenda(6), key("agenda"))
    await people(core, 2)
    query = """mutation($a: BookAppointmentInput!, $b: BookAppointmentInput!) {
      a: bookAppointment(input: $a) { agenda { freeSlots } } b: bookAppointment(input: $b) { agenda { freeSlots } } }"""
    a, b = (
        {"idempotencyKey": name, "agenda": AGENDA, "slot": slot, "patient": opaque(name)}
        for slot, name in ((1, "Ana0"), (2, "Ana1"))
    )
    answer = await client.data(query, a=a, b=b)
    assert answer == {"a": {"agenda": {"freeSlots": 5}}, "b": {"agenda": {"freeSlots": 4}}}


async def test_a_conflict_leads_to_the_other_appointment(client: Client, core: Core) -> None:
    await core.committer.submit(hospital(), key("hospital"))
    await core.committer.submit(agenda(6), key("agenda"))
    await people(core, 1)
    wish = {"idempotencyKey": "b1", "agenda": AGENDA, "slot": 1, "patient": opaque("Ana0")}
    first = await client.data(BOOK, input=wish)
    second = await client.data(BOOK, input=wish | {"idempotencyKey": "b2", "slot": 2})
    (error,) = second["errors"]
    assert error["appointment"] == {"id": first["appointment"]["id"], "slot": 1}
    assert second["agenda"] is None


VIEWER = """{ viewer { roles person { id givenNames } hospitals { code name } servicePoints { code }
  dependants(first: 5) { nodes { person { id } } } organisations(first: 5) { nodes { id } } } }"""


async def test_the_viewer_is_the_token_s_actor(client: Client, core: Core) -> None:
    await core.committer.submit(hospital(), key("hospital"))
    await people(core, 1)
    client.act_as(None)
    assert await client.data(VIEWER) is None
    client.act_as(Login(subject="ana", identity="5000000"))
    assert await client.data(VIEWER) == {
        "roles": ["CITIZEN"], "person": {"id": opaque("Ana0"), "givenNames": "Ana0"}, "hospitals": [],
        "servicePoints": [], "dependants": {"nodes": []}, "organisations": {"nodes": []},
    }  # fmt: skip
    client.act_as(Login(subject="nobody", identity="5999999"))
    assert (await client.data(VIEWER))["person"] is None
    client.act_as(Login(subject="clerk", roles=["hospital_clerk"], hospitals=["la-merced"]))
    viewer = await client.data(VIEWER)
    assert (viewer["roles"], viewer["hospitals"]) == (
        ["HOSPITAL_CLERK"],
        [{"code": "la-merced", "name": "Hospital la-merced"}],
    )
