"""Everything by its id alone, as the fields of its kind have it."""

from datetime import date, timedelta
from typing import Any

import pytest
from strawberry.utils.str_converters import to_camel_case

from api.graphql.fields import NODE_QUERIES
from api.graphql.schema import schema
from domain.appointments.practitioner import RegisterPractitioner, RegisterRoom
from domain.appointments.specialty import RegisterSpecialty
from domain.decider import build
from domain.money import Money
from domain.obligations.obligation import AssessTax
from domain.obligations.taxable_object import RegisterTaxableObject
from domain.people.dependants import DeclareDependant
from domain.people.representatives import RequestRepresentation
from domain.queues.opening import CloseLine
from domain.webhooks.registration import RegisterWebhook
from infra.log.core import Core
from tests.api.conftest import Client
from tests.api.test_appointments import BOOK, CANCEL, registered, wish
from tests.api.test_people import ERASE
from tests.city import (
    AGENDA,
    FIRST_SLOT,
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
)
from tests.infractions import INFRACTION, catalogue, issue

pytestmark = pytest.mark.anyio

APPOINTMENT = "id agenda { id } hospital { code } specialty { code } slot start minutes patient { id } state"
NODE = f"""query($id: ID!) {{ node(id: $id) {{ __typename id
  ... on Hospital {{ code name }}
  ... on Agenda {{ practitioner {{ code }} freeSlots slots(first: 1) {{ nodes {{ number state }} }} }}
  ... on Appointment {{ {APPOINTMENT} }}
  ... on Person {{ givenNames erased }}
  ... on Dependant {{ relation confirmed person {{ givenNames }} }}
  ... on Organisation {{ nit name }}
  ... on Representation {{ stage: state lastDay representative {{ givenNames }} organisation {{ nit }} }}
  ... on Specialty {{ code label: name }}
  ... on Practitioner {{ code label: name hospital {{ name }} }}
  ... on Room {{ code name hospital {{ name }} }}
  ... on ServicePoint {{ code name }}
  ... on Line {{ service waiting }}
  ... on Turn {{ number line {{ service }} }}
  ... on TaxableObject {{ code plate: number }}
  ... on Obligation {{ year object {{ number }} }}
  ... on InfractionCode {{ code meaning {{ dayFines }} }}
  ... on Infraction {{ guard public {{ plate state }} }}
  ... on Webhook {{ code url }}
  ... on Delivery {{ kind attempts webhook {{ name }} }} }} }}"""
HOSPITAL = "query($code: String!) { hospital(code: $code) { id code name } }"
ONE_APPOINTMENT = f"query($id: ID!) {{ appointment(id: $id) {{ {APPOINTMENT} }} }}"

LINE, CLOSED_LINE = open_line().line, open_line(service="taxes").line
UNKNOWN = [opaque("nobody"), "la-merced/2027-01-05/p-99", "la-merced/9999-99-99/p-01", f"{AGENDA}/{opaque('none')}"]
UNKNOWN += [f"la-merced/2027-01-05/p-99/{opaque('none')}", f"{opaque('nobody')}/{opaque('none')}", LINE, "sms/1"]
UNKNOWN += [f"org-{opaque('none')}", f"org-{opaque('none')}/{opaque('nobody')}"]
UNKNOWN += ["taxable-object:vehicle-1abc", "vehicle-1234abc/year-2020"]
UNKNOWN += [f"1234abc/{opaque('none')}", "infraction-code:t-99"]
UNKNOWN += [f"{LINE}/{opaque('none')}", "hospital:nowhere", "service-point:nowhere", "webhook:nowhere"]
FOREIGN = ["", " ", "/", "//", "La-Merced", "la-merced/", "la-merced/2027-01-05", f"{AGENDA}/", f"{AGENDA}/1", "*"]
FOREIGN += ["agenda/" + AGENDA, f"{AGENDA}/{'a' * 26}/b", "Agenda:1", "QWdlbmRhOjE=", "../" * 9, "'; DROP TABLE events"]
FOREIGN += ["1234abc/", f"1234ABC/{'a' * 26}", f"12abc/{'a' * 26}", f"12345abc/{'a' * 26}", f"1234abc/{'a' * 25}"]
FOREIGN += [
    "la-merced",
    ":",
    ":la-merced",
    "hospital:",
    "hospital:La-Merced",
    "hospital:la-merced:",
    "Hospital:la-merced",
]
FOREIGN += ["hospital:la-merced/2027-01-05/p-01", "hospitals:la-merced", f"agenda:{AGENDA}", f"person:{opaque('Ana')}"]
FOREIGN += [f"org-{'a' * 25}", f"{opaque('Ana')}/org-{opaque('Illimani')}", f"organisation:{opaque('Illimani')}"]
FOREIGN += ["service_point:sopocachi", "hospital: la-merced", "hospital::la-merced", "sms/0", "sms/01", "sms/-1"]
WEIRD = ["\0", "la-merced\0", f"{AGENDA}/\0{'a' * 25}", "\ud800", "la-merced\udfff", "a" * 10_000, "a/" * 5_000]
WEIRD += [AGENDA + "/" + "a" * 10_000, "é" * 10_000, "\u202e", "la-merced\n", "hospital:la-merced\n", "hospital:\ud800"]
WEIRD += ["hospital:" + "a" * 10_000, "\0:la-merced", "hospital:\0", "sms/" + "9" * 10_000]


async def booked(client: Client, core: Core) -> tuple[str, dict[str, Any]]:
    """A person and her appointment."""
    await open_agenda(core)
    ana = await registered(client, "1000001")
    payload = await client.data(BOOK, input=wish(2, ana, "b"))
    return ana, payload["appointment"]


async def test_what_a_hospital_has_is_found_by_its_id(client: Client, core: Core) -> None:
    ana, appointment = await booked(client, core)
    assert await client.data(NODE, id="hospital:la-merced") == {
        "__typename": "Hospital", "id": "hospital:la-merced", "code": "la-merced", "name": "Hospital la-merced",
    }  # fmt: skip
    assert await client.data(NODE, id=AGENDA) == {
        "__typename": "Agenda", "id": AGENDA, "practitioner": {"code": "p-01"}, "freeSlots": 5,
        "slots": {"nodes": [{"number": 1, "state": "FREE"}]},
    }  # fmt: skip
    assert await client.data(NODE, id=appointment["id"]) == {"__typename": "Appointment", **appointment}
    assert await client.data(NODE, id=ana) == {"__typename": "Person", "id": ana, "givenNames": "Ana", "erased": False}


@pytest.fixture
async def everything(core: Core) -> dict[str, dict[str, Any]]:
    """One object of each kind, with its id and what NODE shows of it."""
    booked, turn = booking(2, "Ana"), take(LINE, "Ana")
    care = {"guardian": opaque("Ana"), "dependant": opaque("Eva"), "relation": "CARE", "declared_by": opaque("clerk")}
    illimani = organisation("Illimani", core)
    asked = {"organisation": illimani.organisation, "representative": opaque("Ana"), "requested_by": opaque("clerk")}
    webhook = {"webhook": "sms", "name": "SMS", "url": "https://sms.example.org", "kinds": ["line_closed"]}
    await open_agenda(core)
    for number, command in enumerate([
        person("Ana", core), person("Eva", core, ci="5000001"), booked, build(DeclareDependant, **care),
        illimani, build(RequestRepresentation, **asked),
        service_point(), open_line(), open_line(service="taxes"), turn, build(RegisterWebhook, **webhook),
        build(
            RegisterTaxableObject, kind="VEHICLE", number="1234-ABC", owner=opaque("Ana"), since=date(2020, 1, 1)
        ),
        build(
            AssessTax, object="vehicle-1234abc", year=2020, due=date(2021, 12, 31), norm="RM 5",
            amount=Money(centavos=100),
        ),
        build(RegisterSpecialty, specialty="pediatrics", name="Pediatría"),
        build(RegisterPractitioner, practitioner="p-02", name="Dra. Eva"),
        build(RegisterRoom, room="dental-1", hospital="la-merced", name="Dental"),
        *catalogue(), issue(occurred_at=FIRST_SLOT - timedelta(days=2)),
    ]):  # fmt: skip
        await core.committer.submit(command, key(str(number)))
    closed = await core.committer.submit(build(CloseLine, line=CLOSED_LINE), key("close"))
    shown: dict[str, tuple[str, str, dict[str, Any]]] = {
        "hospital": ("Hospital", "hospital:la-merced", {"code": "la-merced", "name": "Hospital la-merced"}),
        "agenda": ("Agenda", AGENDA, {
            "practitioner": {"code": "p-01"}, "freeSlots": 5, "slots": {"nodes": [{"number": 1, "state": "FREE"}]},
        }),
        "appointment": ("Appointment", booked.appointment, {
            "agenda": {"id": AGENDA}, "hospital": {"code": "la-merced"}, "specialty": {"code": "pediatrics"}, "slot": 2,
            "start": "2027-01-05T12:20:00Z", "minutes": 20, "patient": {"id": opaque("Ana")}, "state": "BOOKED",
        }),
        "person": ("Person", opaque("Ana"), {"givenNames": "Ana", "erased": False}),
        "dependant": ("Dependant", f"{opaque('Ana')}/{opaque('Eva')}", {
            "relation": "CARE", "confirmed": False, "person": {"givenNames": "Eva"},
        }),
        "organisation": ("Organisation", illimani.organisation, {"nit": "1023467024", "name": "Cooperativa Illimani"}),
        "representation": ("Representation", f"{illimani.organisation}/{opaque('Ana')}", {
            "stage": "REQUESTED", "lastDay": None, "representative": {"givenNames": "Ana"},
            "organisation": {"nit": "1023467024"},
        }),
        "specialty": ("Specialty", "specialty:pediatrics", {"code": "pediatrics", "label": "Pediatría"}),
        "practitioner": ("Practitioner", "practitioner:p-02", {"code": "p-02", "label": "Dra. Eva", "hospital": None}),
        "room": ("Room", "room:dental-1", {
            "code": "dental-1", "name": "Dental", "hospital": {"name": "Hospital la-merced"},
        }),
        "service-point": ("ServicePoint", "service-point:sopocachi", {
            "code": "sopocachi", "name": "Oficina sopocachi",
        }),
        "line": ("Line", LINE, {"service": "cadastre", "waiting": 1}),
        "turn": ("Turn", turn.turn, {"number": "A-001", "line": {"service": "cadastre"}}),
        "taxable-object": ("TaxableObject", "taxable-object:vehicle-1234abc", {
            "code": "vehicle-1234abc", "plate": "1234ABC",
        }),
        "obligation": ("Obligation", "vehicle-1234abc/year-2020", {"year": 2020, "object": {"number": "1234ABC"}}),
        "infraction-code": ("InfractionCode", "infraction-code:t-12", {"code": "t-12", "meaning": {"dayFines": 3}}),
        "infraction": ("Infraction", INFRACTION, {
            "guard": "g-451", "public": {"plate": "1234ABC", "state": "ISSUED"},
        }),
        "webhook": ("Webhook", "webhook:sms", {"code": "sms", "url": "https://sms.example.org"}),
        "delivery": ("Delivery", f"sms/{closed.position}", {
            "kind": "LINE_CLOSED", "attempts": 0, "webhook": {"name": "SMS"},
        }),
    }  # fmt: skip
    return {kind: {"__typename": name, "id": named, **fields} for kind, (name, named, fields) in shown.items()}


async def test_each_kind_is_found_by_its_id_and_by_its_own_query(
    client: Client, everything: dict[str, dict[str, Any]]
) -> None:
    assert set(everything) == set(NODE_QUERIES)
    kinds = {kind["__typename"] for kind in everything.values()}
    assert kinds == {kind.name for kind in schema._schema.get_possible_types(schema._schema.type_map["Node"])}  # type: ignore[arg-type]
    for kind, shown in everything.items():
        found = await client.data(NODE, id=shown["id"])
        assert found == shown
        asked = NODE_QUERIES[kind]
        key = shown["id"] if asked.key == "id" else shown["code"]
        name = to_camel_case(asked.field.name)
        assert await client.data(f'{{ {name}({asked.key}: "{key}") {{ __typename id }} }}') == {
            "__typename": shown["__typename"], "id": shown["id"],
        }  # fmt: skip


async def test_a_code_may_be_that_of_a_thing_of_each_kind(client: Client, core: Core) -> None:
    await core.committer.submit(hospital("centro"), key("hospital"))
    await core.committer.submit(service_point("centro"), key("point"))
    ids = ["hospital:centro", "service-point:centro", "webhook:centro"]
    found = [await client.data("query($id: ID!) { node(id: $id) { __typename id } }", id=named) for named in ids]
    assert [one and (one["__typename"], one["id"]) for one in found] == [
        ("Hospital", ids[0]), ("ServicePoint", ids[1]), None,
    ]  # fmt: skip


async def test_node_returns_the_same_as_the_type_s_query(client: Client, core: Core) -> None:
    _, appointment = await booked(client, core)
    assert await client.data(HOSPITAL, code="la-merced") == {
        "id": "hospital:la-merced", "code": "la-merced", "name": "Hospital la-merced",
    }  # fmt: skip
    assert await client.data(ONE_APPOINTMENT, id=appointment["id"]) == appointment


async def test_node_returns_the_present_state(client: Client, core: Core) -> None:
    ana, appointment = await booked(client, core)
    cancelled = {"idempotencyKey": "c", "appointment": appointment["id"]}
    assert (await client.data(CANCEL, input=cancelled))["errors"] == []
    for query in (NODE, ONE_APPOINTMENT):
        assert (await client.data(query, id=appointment["id"]))["state"] == "CANCELLED"
    assert (await client.data(ERASE, input={"idempotencyKey": "e", "person": ana}))["errors"] == []
    assert await client.data(NODE, id=ana) == {"__typename": "Person", "id": ana, "givenNames": None, "erased": True}
    assert (await client.data(NODE, id=appointment["id"]))["patient"] == {"id": ana}


@pytest.mark.parametrize("said", UNKNOWN)
async def test_an_object_that_does_not_exist_is_null(client: Client, core: Core, said: str) -> None:
    await open_agenda(core)
    assert await client.data(NODE, id=said) is None


@pytest.mark.parametrize("said", [*FOREIGN, *WEIRD])
async def test_an_id_of_no_kind_is_invalid_input(client: Client, said: str) -> None:
    answer = await client.ask(NODE, language="en", id=said)
    assert answer["data"] == {"node": None}
    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "invalid_input", "path": ["id"]}
    assert "like hospital:la-merced or la-merced/2027-01-15/p-0012" in error["message"]


async def test_several_at_once(client: Client, core: Core) -> None:
    ana, appointment = await booked(client, core)
    asked = [ana, "hospital:la-merced", "hospital:nowhere", AGENDA, appointment["id"]]
    named = " ".join(f'n{n}: node(id: "{said}") {{ __typename }}' for n, said in enumerate(asked))
    found = await client.data(f"{{ {named} }}")
    kinds = [node and node["__typename"] for node in found.values()]
    assert kinds == ["Person", "Hospital", None, "Agenda", "Appointment"]


async def test_impossible_ids_are_not_looked_up(client: Client, counted: list[Any]) -> None:
    assert await client.data(NODE, id="hospital:nowhere") is None
    assert len(counted) == 1
    for said in ("la-merced", "hospital:La-Merced", "", "a" * 10_000):
        await client.ask(NODE, id=said)
    assert len(counted) == 1


async def test_a_hospital_can_not_have_the_id_of_a_person(client: Client) -> None:
    register = """mutation($input: RegisterHospitalInput!) {
      registerHospital(input: $input) { hospital { id } errors { code path message } } }"""
    said = {"idempotencyKey": "h", "hospital": opaque("ana"), "name": "Hospital"}
    (error,) = (await client.data(register, input=said))["errors"]
    assert (error["code"], error["path"]) == ("invalid_input", ["hospital"])
    assert "así son los identificadores de personas" in error["message"]


def test_lists_do_not_resolve_types_per_item() -> None:
    for name in ("Hospital", "Agenda", "Appointment", "Person", "ServicePoint", "Delivery", "SlotTaken"):
        kind: Any = schema._schema.type_map[name]
        assert kind.is_type_of is None
        assert [of.name for of in kind.interfaces] == (["UserError"] if name == "SlotTaken" else ["Node"])
