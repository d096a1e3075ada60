"""Everything by its id alone, as the fields of its kind have it."""

from typing import Any

import pytest

from api.graphql.schema import schema
from infra.log.core import Core
from tests.api.conftest import Client
from tests.api.test_appointments import BOOK, CANCEL, registered, wish
from tests.api.test_people import ERASE
from tests.city import AGENDA, opaque, open_agenda

pytestmark = pytest.mark.anyio

APPOINTMENT = "id agenda hospital specialty slot start minutes patient state"
NODE = f"""query($id: ID!) {{ node(id: $id) {{ __typename id
  ... on Hospital {{ name }}
  ... on Agenda {{ practitioner freeSlots slots(first: 1) {{ nodes {{ number state }} }} }}
  ... on Appointment {{ {APPOINTMENT} }}
  ... on Person {{ givenNames erased }} }} }}"""
HOSPITAL = "query($id: ID!) { hospital(id: $id) { id name } }"
ONE_APPOINTMENT = f"query($id: ID!) {{ appointment(id: $id) {{ {APPOINTMENT} }} }}"

UNKNOWN = [opaque("nobody"), "nowhere", "la-merced/2027-01-05/p-99", "la-merced/9999-99-99/p-01"]
UNKNOWN += [f"{AGENDA}/{opaque('none')}", f"la-merced/2027-01-05/p-99/{opaque('none')}"]
FOREIGN = ["", " ", "/", "//", "La-Merced", "la-merced/", "la-merced/2027-01-05", f"{AGENDA}/", f"{AGENDA}/1", "*"]
FOREIGN += ["agenda/" + AGENDA, f"{AGENDA}/{'a' * 26}/b", "Agenda:1", "QWdlbmRhOjE=", "../" * 9, "'; DROP TABLE events"]
WEIRD = ["\0", "la-merced\0", f"{AGENDA}/\0{'a' * 25}", "\ud800", "la-merced\udfff", "a" * 10_000, "a/" * 5_000]
WEIRD += [AGENDA + "/" + "a" * 10_000, "é" * 10_000, "\u202e", "la-merced\n"]


async def booked(client: Client, core: Core) -> tuple[str, dict[str, Any]]:
    """A person and her appointment."""
    await open_agenda(core)
    ana = await registered(client, "1000001")
    payload = await client.data(BOOK, input=wish(2, ana, "b"))
    return ana, payload["appointment"]


async def test_each_kind_is_found_by_its_id(client: Client, core: Core) -> None:
    ana, appointment = await booked(client, core)
    assert await client.data(NODE, id="la-merced") == {
        "__typename": "Hospital", "id": "la-merced", "name": "Hospital la-merced"
    }  # fmt: skip
    assert await client.data(NODE, id=AGENDA) == {
        "__typename": "Agenda", "id": AGENDA, "practitioner": "p-01", "freeSlots": 5,
        "slots": {"nodes": [{"number": 1, "state": "FREE"}]},
    }  # fmt: skip
    assert await client.data(NODE, id=appointment["id"]) == {"__typename": "Appointment", **appointment}
    assert await client.data(NODE, id=ana) == {"__typename": "Person", "id": ana, "givenNames": "Ana", "erased": False}


async def test_the_field_of_the_kind_says_the_same(client: Client, core: Core) -> None:
    _, appointment = await booked(client, core)
    assert await client.data(HOSPITAL, id="la-merced") == {"id": "la-merced", "name": "Hospital la-merced"}
    assert await client.data(ONE_APPOINTMENT, id=appointment["id"]) == appointment


async def test_it_is_told_as_it_is_now(client: Client, core: Core) -> None:
    ana, appointment = await booked(client, core)
    cancelled = {"idempotencyKey": "c", "appointment": appointment["id"]}
    assert (await client.data(CANCEL, input=cancelled))["errors"] == []
    for query in (NODE, ONE_APPOINTMENT):
        assert (await client.data(query, id=appointment["id"]))["state"] == "CANCELLED"
    assert (await client.data(ERASE, input={"idempotencyKey": "e", "person": ana}))["errors"] == []
    assert await client.data(NODE, id=ana) == {"__typename": "Person", "id": ana, "givenNames": None, "erased": True}
    assert (await client.data(NODE, id=appointment["id"]))["patient"] == ana


@pytest.mark.parametrize("said", [*UNKNOWN, *FOREIGN, *WEIRD])
async def test_what_is_not_there_is_null(client: Client, core: Core, said: str) -> None:
    await open_agenda(core)
    for query in (NODE, HOSPITAL, ONE_APPOINTMENT):
        assert await client.data(query, id=said) is None


async def test_several_at_once(client: Client, core: Core) -> None:
    ana, appointment = await booked(client, core)
    asked = [ana, "la-merced", "nowhere", AGENDA, appointment["id"]]
    named = " ".join(f'n{n}: node(id: "{said}") {{ __typename }}' for n, said in enumerate(asked))
    found = await client.data(f"{{ {named} }}")
    kinds = [node and node["__typename"] for node in found.values()]
    assert kinds == ["Person", "Hospital", None, "Agenda", "Appointment"]


async def test_the_log_is_not_asked_for_what_can_not_be_there(client: Client, counted: list[Any]) -> None:
    assert await client.data(NODE, id="nowhere") is None
    assert len(counted) == 1
    for said in ("La-Merced", "", "a" * 10_000):
        assert await client.data(NODE, id=said) is None
    assert len(counted) == 1


async def test_a_hospital_can_not_have_the_id_of_a_person(client: Client) -> None:
    register = """mutation($input: RegisterHospitalInput!) {
      registerHospital(input: $input) { hospital { id } errors { code path message } } }"""
    said = {"idempotencyKey": "h", "hospital": opaque("ana"), "name": "Hospital"}
    (error,) = (await client.data(register, input=said))["errors"]
    assert (error["code"], error["path"]) == ("invalid_input", ["hospital"])
    assert "así son los identificadores de personas" in error["message"]


def test_lists_do_not_ask_each_item_for_its_type() -> None:
    for name in ("Hospital", "Agenda", "Appointment", "Person", "SlotTaken"):
        kind: Any = schema._schema.type_map[name]
        assert kind.is_type_of is None
        assert [of.name for of in kind.interfaces] == (["UserError"] if name == "SlotTaken" else ["Node"])
