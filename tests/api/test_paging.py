"""Lists are connections, as Relay wants them: every list, from both ends, with cursors that only fit that list."""

from bisect import insort
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import pytest
from graphql import GraphQLObjectType, get_named_type
from hypothesis import given, settings
from hypothesis import strategies as st

from api.graphql.paging.cursors import CURSOR_LENGTH_MAX, Cursors
from api.graphql.paging.pages import Wanted
from api.graphql.schema import schema
from domain.appointments.practitioner import RegisterPractitioner, RegisterRoom
from domain.appointments.specialty import RegisterSpecialty
from domain.decider import build
from domain.identifiers import organisation_id
from domain.money import Money
from domain.obligations.obligation import AssessTax
from domain.obligations.taxable_object import RegisterTaxableObject
from domain.people.dependants import DeclareDependant
from domain.people.representatives import ConfirmRepresentation, RequestRepresentation
from domain.queues.opening import CloseLine
from domain.queues.turns import LeaveLine
from domain.webhooks.delivery import RecordAttempt
from domain.webhooks.registration import RegisterWebhook
from infra.gateways.keys import Login
from infra.log.core import Core
from infra.running.secret import Secret
from projections.engine.keyset import Order, Range
from tests.api.conftest import DEVELOPER, Client
from tests.city import (
    AGENDA,
    DAY,
    agenda,
    booking,
    hospital,
    key,
    opaque,
    open_agenda,
    open_line,
    organisation,
    person,
    service_point,
    take,
    turn_of,
)
from tests.examples import examples
from tests.infractions import catalogue, issue

Add = Callable[[Core, int], Awaitable[None]]
LINE = "sopocachi/cadastre/2027-01-04"


class List(NamedTuple):
    """A list of the schema: the field, how it comes to have items, and which fields tell these apart.

    `begin` is done once, `add` for each item. `within` is the field around it, `login` who reads it.
    """

    field: str
    item: str
    begin: Add
    add: Add
    within: str = ""
    login: Login = DEVELOPER

    def query(self, arguments: str) -> str:
        field = self.field.replace("()", "").rstrip(")")
        page = f"{field}{', ' if '(' in field else '('}{arguments}) {{ {PAGE % (self.item, self.item)} }}"
        return f"{self.within} {{ {page} }}" if self.within else page


PAGE = """edges { cursor node { %s } } nodes { %s }
  pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"""
ARGUMENTS = "first: $first, after: $after, last: $last, before: $before"
VARIABLES = "$first: Int, $after: String, $last: Int, $before: String"


async def submit(core: Core, *commands: Any) -> None:
    """Submit commands, each with a key of its own."""
    for command in commands:
        await core.committer.submit(command, key(f"{type(command).__name__} {msgspec.json.encode(command)!r}"))


async def the_hospital(core: Core, _: int) -> None:
    await submit(core, hospital())


async def the_office(core: Core, _: int) -> None:
    await submit(core, service_point(), open_line())


async def one_agenda(core: Core, slots: int) -> None:
    await open_agenda(core, slots)


async def ana(core: Core, _: int) -> None:
    await submit(core, hospital(), service_point(), person("Ana", core))


async def a_webhook(core: Core, _: int) -> None:
    hook = build(RegisterWebhook, webhook="sms", name="SMS", url="https://sms.example.org", kinds=["line_closed"])
    await submit(core, service_point(), hook)


async def no_items(core: Core, _: int) -> None:
    """The items are there from the beginning."""


async def a_hospital(core: Core, number: int) -> None:
    await submit(core, hospital(f"h-{number}"))


async def a_specialty(core: Core, number: int) -> None:
    await submit(core, build(RegisterSpecialty, specialty=f"s-{number}", name=f"Specialty {number % 3}"))


async def a_practitioner(core: Core, number: int) -> None:
    named = build(RegisterPractitioner, practitioner=f"p-{number}", name=f"Dra. Éva {number % 3}", specialties=["x"])
    await submit(core, named)


async def a_room(core: Core, number: int) -> None:
    await submit(core, build(RegisterRoom, room=f"r-{number}", hospital="la-merced", name=f"Room {number}"))


async def an_agenda(core: Core, number: int) -> None:
    await submit(core, agenda(practitioner=f"p-{number:02}"))


async def a_patient_of_the_day(core: Core, number: int) -> None:
    name = f"Luis{number}"
    await submit(core, person(name, core, ci=str(5_000_000 + number)), booking(number + 1, name))


async def an_appointment_of_ana(core: Core, number: int) -> None:
    day = DAY + timedelta(days=number)
    published = agenda(practitioner=f"p-{number:02}", specialty=f"s-{number}", day=day)
    await submit(core, published, booking(1, "Ana", agenda=published.agenda))


async def a_service_point(core: Core, number: int) -> None:
    await submit(core, service_point(f"sp-{number}"))


async def a_line(core: Core, number: int) -> None:
    await submit(core, open_line(service=f"s-{number}"))


async def a_turn(core: Core, number: int) -> None:
    await submit(core, take(LINE, f"Luis{number}"))


async def a_turn_of_ana(core: Core, number: int) -> None:
    line = f"sopocachi/s-{number}/2027-01-04"
    await submit(core, open_line(service=f"s-{number}"), take(line, "Ana"))
    await submit(core, build(LeaveLine, turn=turn_of("Ana", line)))


async def a_delivery(core: Core, number: int) -> None:
    await submit(core, open_line(service=f"s-{number}"))
    await submit(core, build(CloseLine, line=f"sopocachi/s-{number}/2027-01-04"))


async def a_delivered_one(core: Core, number: int) -> None:
    await submit(core, open_line(service=f"s-{number}"))
    closing = build(CloseLine, line=f"sopocachi/s-{number}/2027-01-04")
    position = (await core.committer.submit(closing, key(f"close {number}"))).position
    await submit(core, build(RecordAttempt, delivery=f"sms/{position}", attempt=1, status=200))


async def a_dependant(core: Core, number: int) -> None:
    child = person(f"Eva{number}", core, ci=str(6_000_000 + number))
    await submit(core, child)
    declared = build(
        DeclareDependant, guardian=opaque("Ana"), dependant=child.person, relation="CARE", declared_by=opaque("x")
    )
    await submit(core, declared)


async def illimani(core: Core, _: int) -> None:
    await submit(core, organisation("Illimani", core))


async def ask(core: Core, who: str, organisation: str, *, confirmed: bool) -> None:
    """A clerk asks for somebody to represent an organisation, and an officer confirms it, or not yet."""
    pair = {"organisation": organisation, "representative": opaque(who)}
    await submit(core, build(RequestRepresentation, **pair, requested_by=opaque("clerk")))
    if confirmed:
        await submit(core, build(ConfirmRepresentation, **pair, confirmed_by=opaque("officer")))


async def an_organisation_of_ana(core: Core, number: int) -> None:
    registered = organisation(f"Illimani {number}", core, nit=str(1_000_000 + number))
    await submit(core, registered)
    await ask(core, "Ana", registered.organisation, confirmed=number % 2 == 0)


async def a_representative(core: Core, number: int) -> None:
    await submit(core, person(f"Eva{number}", core, ci=str(6_000_000 + number)))
    await ask(core, f"Eva{number}", ILLIMANI, confirmed=True)


ILLIMANI = organisation_id(opaque("Illimani"))


async def an_object_of_ana(core: Core, number: int) -> None:
    wanted = build(
        RegisterTaxableObject, kind="PROPERTY", number=str(number + 1), owner=opaque("Ana"), since=date(2020, 1, 1)
    )
    await submit(core, wanted)


async def a_house(core: Core, _: int) -> None:
    await ana(core, 0)
    await an_object_of_ana(core, 0)


async def a_tax(core: Core, number: int) -> None:
    due, amount = date(2026, 12, 31), Money(centavos=100)
    await submit(core, build(AssessTax, object="property-1", year=2020 + number, due=due, norm="x", amount=amount))


async def the_catalogue(core: Core, _: int) -> None:
    await submit(core, *catalogue())


async def an_infraction(core: Core, number: int) -> None:
    at = datetime(2027, 1, 4, 8 + number % 3, tzinfo=UTC)
    await submit(core, issue(infraction=f"1234abc/{opaque(str(number))}", occurred_at=at, evidence=str(number)))


LISTS = {
    "hospitals": List("hospitals", "code", no_items, a_hospital),
    "specialties": List("specialties", "code name", no_items, a_specialty),
    "practitioners": List('practitioners(search: "eva", specialty: "x")', "code", no_items, a_practitioner),
    "rooms": List('rooms(hospital: "la-merced")', "code", the_hospital, a_room),
    "agendas": List('agendas(hospital: "la-merced")', "id", the_hospital, an_agenda),
    "dayList": List('dayList(hospital: "la-merced", date: "2027-01-05")', "id", one_agenda, a_patient_of_the_day),
    "appointments": List(f'appointments(patient: "{opaque("Ana")}")', "id", ana, an_appointment_of_ana),
    "patient.appointments": List(
        "appointments", "id", ana, an_appointment_of_ana, within=f'patient(id: "{opaque("Ana")}")'
    ),
    "servicePoints": List("servicePoints", "code", no_items, a_service_point),
    "lines": List('lines(servicePoint: "sopocachi", onOrAfter: "2027-01-01")', "service", ana, a_line),
    "turns": List(f'turns(person: "{opaque("Ana")}")', "takenAt turn { id }", ana, a_turn_of_ana),
    "lineTurns": List(f'lineTurns(line: "{LINE}")', "number", the_office, a_turn),
    "deliveries": List('deliveries(webhook: "sms")', "id", a_webhook, a_delivery),
    "deliveries PENDING": List('deliveries(webhook: "sms", state: PENDING)', "id", a_webhook, a_delivery),
    "deliveries DELIVERED": List('deliveries(webhook: "sms", state: DELIVERED)', "id", a_webhook, a_delivered_one),
    "dependants": List(f'dependants(guardian: "{opaque("Ana")}")', "id", ana, a_dependant),
    "viewer.dependants": List(
        "dependants", "id", ana, a_dependant, within="viewer", login=Login(subject="ana", identity="4820193")
    ),
    "representations": List(f'representations(representative: "{opaque("Ana")}")', "id", ana, an_organisation_of_ana),
    "viewer.organisations": List(
        "organisations",
        "id",
        ana,
        an_organisation_of_ana,
        within="viewer",
        login=Login(subject="a", identity="4820193"),
    ),
    "representatives": List(f'representatives(organisation: "{ILLIMANI}")', "id", illimani, a_representative),
    "organisation.representatives": List(
        "representatives", "id", illimani, a_representative, within=f'organisation(id: "{ILLIMANI}")'
    ),
    "taxableObjects": List(f'taxableObjects(owner: "{opaque("Ana")}")', "code", ana, an_object_of_ana),
    "taxableobject.obligations": List(
        "obligations", "year", a_house, a_tax, within='taxableObject(code: "property-1")'
    ),
    "obligations": List(f'obligations(taxpayer: "{opaque("Ana")}")', "id", a_house, a_tax),
    "infractionsOf": List('infractionsOf(plate: "1234 ABC")', "number", the_catalogue, an_infraction),
    "infractions": List("infractions(state: ISSUED)", "public { number }", the_catalogue, an_infraction),
    "infractions of a district": List(
        'infractions(state: ISSUED, district: "centro")', "public { number }", the_catalogue, an_infraction
    ),
    "agenda.slots": List("slots", "number", one_agenda, no_items, within=f'agenda(id: "{AGENDA}")'),
    "agenda.slots FREE": List("slots(state: FREE)", "number", one_agenda, no_items, within=f'agenda(id: "{AGENDA}")'),
}
ITEMS = 5


async def page(client: Client, of: List, **wanted: Any) -> Any:
    """A page, whose edges and nodes are the same."""
    client.act_as(of.login)
    found = await client.data(f"query({VARIABLES}) {{ {of.query(ARGUMENTS)} }}", **wanted)
    if of.within:
        (found,) = found.values()
    assert [edge["node"] for edge in found["edges"]] == found["nodes"]
    cursors = [edge["cursor"] for edge in found["edges"]]
    assert found["pageInfo"]["startCursor"] == (cursors[0] if cursors else None)
    assert found["pageInfo"]["endCursor"] == (cursors[-1] if cursors else None)
    return found


async def filled(client: Client, core: Core, name: str) -> tuple[List, Any]:
    """A list with some items, and the page that has all of them."""
    of = LISTS[name]
    await of.begin(core, ITEMS)
    for number in range(ITEMS):
        await of.add(core, number)
    whole = await page(client, of, first=100)
    assert len(whole["nodes"]) >= ITEMS
    return of, whole


def test_every_list_of_the_schema_is_here() -> None:
    lists = {
        name if kind.name == "Query" else f"{kind.name.lower()}.{name}"
        for kind in schema._schema.type_map.values()
        if isinstance(kind, GraphQLObjectType)
        for name, field in kind.fields.items()
        if get_named_type(field.type).name.endswith("Connection")
    }
    assert lists == {name.partition(" ")[0] for name in LISTS}


@pytest.mark.anyio
@pytest.mark.parametrize("name", LISTS)
async def test_pages_from_either_end_are_the_list(client: Client, core: Core, name: str) -> None:
    of, whole = await filled(client, core, name)
    assert whole == await page(client, of, last=100)
    edges, count = whole["edges"], len(whole["edges"])
    for size in (1, 2, count - 1, count):
        forward: list[Any] = []
        while len(forward) < count:
            found = await page(client, of, first=size, after=forward[-1]["cursor"] if forward else None)
            assert found["pageInfo"]["hasPreviousPage"] == bool(forward)
            forward += found["edges"]
            assert found["pageInfo"]["hasNextPage"] == (len(forward) < count)
        assert forward == edges
        backward: list[Any] = []
        while len(backward) < count:
            found = await page(client, of, last=size, before=backward[0]["cursor"] if backward else None)
            assert found["pageInfo"]["hasNextPage"] == bool(backward)
            backward = found["edges"] + backward
            assert found["pageInfo"]["hasPreviousPage"] == (len(backward) < count)
        assert backward == edges
    between = {"after": edges[0]["cursor"], "before": edges[-1]["cursor"]}
    for end in ("first", "last"):
        assert (await page(client, of, **{end: 100}, **between))["edges"] == edges[1:-1]
    beyond = await page(client, of, first=9, after=edges[-1]["cursor"])
    assert beyond["nodes"] == []
    assert beyond["pageInfo"] == {
        "hasNextPage": False, "hasPreviousPage": True, "startCursor": None, "endCursor": None,
    }  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["first", "last"])
@pytest.mark.parametrize("name", [name for name in LISTS if LISTS[name].add is not no_items])
async def test_what_is_added_between_pages_neither_repeats_nor_skips(
    client: Client, core: Core, name: str, end: str
) -> None:
    of = LISTS[name]
    await of.begin(core, 9)
    for number in (1, 3, 5):
        await of.add(core, number)
    before = (await page(client, of, first=100))["nodes"]
    seen: list[Any] = []
    bound, more = None, True
    later = [0, 6, 2, 4]
    while more:
        beyond = {"first": {"first": 1, "after": bound}, "last": {"last": 1, "before": bound}}[end]
        found = await page(client, of, **beyond)
        seen = seen + found["nodes"] if end == "first" else found["nodes"] + seen
        bound = found["pageInfo"]["endCursor" if end == "first" else "startCursor"]
        more = found["pageInfo"]["hasNextPage" if end == "first" else "hasPreviousPage"]
        if later:
            await of.add(core, later.pop())
    whole = (await page(client, of, first=100))["nodes"]
    assert [node for node in seen if node in before] == before
    assert [node for node in whole if node in seen] == seen


@pytest.mark.anyio
@pytest.mark.parametrize("name", LISTS)
async def test_wrong_pages_are_refused_in_the_same_way_everywhere(client: Client, core: Core, name: str) -> None:
    of, whole = await filled(client, core, name)
    right = whole["edges"][0]["cursor"]
    other = LISTS["hospitals" if of.field != "hospitals" else "servicePoints"]
    await other.add(core, 9)
    foreign = (await page(client, other, first=1))["pageInfo"]["endCursor"]
    garbled = ["", "x", "é", right[:-2], right + "A", right + "=", right[::-1], foreign, "A" * CURSOR_LENGTH_MAX * 2]
    for wanted, path, text in (
        ({}, "first", "say how many items you want"),
        ({"after": right}, "first", "say how many items you want"),
        ({"first": 1, "last": 1}, "last", "say how many items you want"),
        *(({"first": size}, "first", "ask for 1 to 100 items per page") for size in (0, -1, 101)),
        *(({"last": size}, "last", "ask for 1 to 100 items per page") for size in (0, -1, 101)),
        *(({"first": 1, "after": cursor}, "after", "a cursor must be that of an item") for cursor in garbled),
        *(({"last": 1, "before": cursor}, "before", "a cursor must be that of an item") for cursor in garbled),
    ):
        document = f"query({VARIABLES}) {{ {of.query(ARGUMENTS)} }}"
        (error,) = (await client.ask(document, language="en", **wanted))["errors"]
        assert error["message"].startswith(f"Invalid value: {text}"), wanted
        assert error["extensions"] == {"code": "invalid_input", "path": [path]}
        (error,) = (await client.ask(document, language="es", **wanted))["errors"]
        assert error["message"].startswith("Dato no válido: ")


@pytest.mark.anyio
async def test_a_cursor_fits_one_list_only_whatever_its_filters(client: Client, core: Core) -> None:
    of, whole = await filled(client, core, "dayList")
    cursor = whole["edges"][1]["cursor"]
    filtered = of._replace(field=of.field.replace("dayList(", 'dayList(specialty: "pediatrics", '))
    assert (await page(client, filtered, first=9, after=cursor))["edges"] == whole["edges"][2:]
    for changed in ('hospital: "h-1", date: "2027-01-05"', 'hospital: "la-merced", date: "2027-01-06"'):
        another = of._replace(field=f"dayList({changed})")
        answer = await client.ask(f"query({VARIABLES}) {{ {another.query(ARGUMENTS)} }}", first=1, after=cursor)
        assert answer["errors"][0]["extensions"] == {"code": "invalid_input", "path": ["after"]}


@pytest.mark.anyio
async def test_cursors_are_made_only_if_they_are_selected(
    client: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(client, core, "agenda.slots")
    made: list[Any] = []
    write = Cursors.write

    def recorded(self: Cursors, item: Any) -> str:
        made.append(item)
        return write(self, item)

    monkeypatch.setattr(Cursors, "write", recorded)
    slots = f'{{ agenda(id: "{AGENDA}") {{ slots(first: 3) {{ %s }} }} }}'
    for _ in range(3):  # the library executes a new document, a plan those that come again
        await client.data(slots % "nodes { number } pageInfo { hasNextPage hasPreviousPage }")
        await client.data(slots % "edges { node { number } }")
    assert made == []
    await client.data(slots % "edges { cursor } pageInfo { endCursor }")
    assert made == [(1,), (2,), (3,), (3,)]


NUMBERS: Order[int] = Order(tuple[int], lambda number: (number,))
SECRET = Secret(b"s" * 32)


def wanted(size: int, part: Range) -> Wanted[int]:
    return Wanted(size, part, NUMBERS, Cursors(SECRET, NUMBERS.decoder, "numbers"))


@settings(max_examples=examples(300))
@given(
    st.lists(st.integers(0, 30), unique=True).map(sorted),
    st.none() | st.integers(-1, 31),
    st.none() | st.integers(-1, 31),
    st.integers(1, 8),
    st.booleans(),
)
def test_a_page_in_memory_is_that_of_the_specification(
    numbers: list[int], after: int | None, before: int | None, size: int, backward: bool
) -> None:
    """https://relay.dev/graphql/connections.htm: cut at the cursors, then from an end; also at items that are gone."""
    part = Range(size + 1, None if after is None else (after,), None if before is None else (before,), backward)
    cut = [one for one in numbers if (after is None or one > after) and (before is None or one < before)]
    items = cut[-size:] if backward else cut[:size]
    found = wanted(size, part).within(numbers)
    assert found.items == items
    if items:
        assert found.has_previous == (items[0] > numbers[0])
        assert found.has_next == (items[-1] < numbers[-1])
    rows = cut[::-1][: size + 1] if backward else cut[: size + 1]
    same = wanted(size, part).found(rows)
    assert same.items == items
    assert same.has_previous == (len(cut) > size if backward else False) or after is not None
    assert same.has_next == (False if backward else len(cut) > size) or before is not None


@settings(max_examples=examples(100))
@given(st.lists(st.integers(0, 10**6), unique=True, min_size=1, max_size=20), st.integers(1, 5), st.data())
def test_pages_in_memory_joined_are_the_list(numbers: list[int], size: int, data: st.DataObject) -> None:
    backward = data.draw(st.booleans())
    there = sorted(numbers[: data.draw(st.integers(1, len(numbers)))])
    first, later = [*there], [number for number in numbers if number not in there]
    seen: list[int] = []
    more = True
    while more:
        bound = None if not seen else (seen[0] if backward else seen[-1],)
        part = Range(size + 1, None if backward else bound, bound if backward else None, backward)
        found = wanted(size, part).within(there)
        seen = [*found.items, *seen] if backward else [*seen, *found.items]
        more = found.has_previous if backward else found.has_next
        if later:
            insort(there, later.pop())
    assert [number for number in seen if number in first] == first
    assert seen == sorted(set(seen))


@given(st.integers(-(2**63), 2**63 - 1), st.text(max_size=20))
def test_a_cursor_is_read_as_it_was_written_and_by_its_list_alone(number: int, text: str) -> None:
    order: Order[Any] = Order(tuple[int, str], lambda item: item)
    cursors = Cursors(SECRET, order.decoder, "list", "la-merced")
    cursor = cursors.write((number, text))
    assert cursors.read(cursor) == (number, text)
    assert cursor.isascii()
    for of_list in (("list", "mujer"), ("other", "la-merced"), ("listla-merced",), ("list", "la", "merced")):
        assert Cursors(SECRET, order.decoder, *of_list).read(cursor) is None
    assert Cursors(Secret(b"t" * 32), order.decoder, "list", "la-merced").read(cursor) is None
    assert Cursors(SECRET, Order(tuple[str], lambda item: item).decoder, "list", "la-merced").read(cursor) is None


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda some: some.decode("latin-1")))
def test_other_texts_are_no_cursors(text: str) -> None:
    assert Cursors(SECRET, NUMBERS.decoder, "numbers").read(text) is None
