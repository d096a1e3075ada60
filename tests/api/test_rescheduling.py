"""Moving an appointment as a front end does it."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain.decider import build
from domain.people import ErasePerson
from domain.people.dependants import ConfirmDependant, DeclareDependant
from infra.gateways.keys import Login
from infra.log.core import Core
from tests.api.conftest import Client
from tests.city import AGENDA, agenda, booking, hospital, key, opaque, person

pytestmark = pytest.mark.anyio

MOVE = """mutation ($input: RescheduleAppointmentInput!) { rescheduleAppointment(input: $input) {
  appointment { id agenda { id } slot start state patient { id } } movedFrom { id state } position
  errors { __typename code message path
    ... on SlotTaken { alternatives { number start state } } ... on VisitConflict { appointment { id } } } } }"""
CANCEL = "mutation ($input: CancelAppointmentInput!) { cancelAppointment(input: $input) { errors { code } } }"
DAY_LIST = """{ dayList(hospital: "la-merced", date: "2027-01-05", first: 20) { nodes { slot state } } }"""
FREE = "query ($id: ID!) { agenda(id: $id) { freeSlots } }"
SAN_JUAN = AGENDA.replace("la-merced", "san-juan")
DENTIST = AGENDA.replace("p-01", "p-02")
ANA = booking(1, "Ana").appointment
CI = "4820193"
CITIZEN = Login(subject="ana", identity=CI)
CLERK = Login(subject="c", roles=["hospital_clerk"], hospitals=["la-merced"])
CLERK_OF_BOTH = Login(subject="d", roles=["hospital_clerk"], hospitals=["la-merced", "san-juan"])


@pytest.fixture(autouse=True)
async def city(core: Core) -> None:
    """Ana has the first slot of a pediatrician at La Merced and Luis the second; nobody is at two other agendas yet."""
    for wanted in (
        hospital(),
        hospital("san-juan"),
        agenda(),
        replace(agenda(), hospital="san-juan"),
        agenda(practitioner="p-02", specialty="dentistry"),
        person("Ana", core, ci=CI),
        person("Luis", core, ci="5000001"),
        booking(1, "Ana"),
        booking(2, "Luis"),
    ):
        await core.committer.submit(wanted, key(str(wanted)))


def wish(slot: int, *, to: str = AGENDA, appointment: str = ANA, name: str = "move") -> dict[str, Any]:
    return {"idempotencyKey": name, "appointment": appointment, "agenda": to, "slot": slot}


async def moved(client: Client, who: Login | None, **wanted: Any) -> tuple[Any, list[str]]:
    """The payload, and the codes of its refusals."""
    client.act_as(who)
    payload = await client.data(MOVE, input=wish(**wanted))
    return payload, [error["code"] for error in payload["errors"]]


async def test_a_citizen_moves_an_appointment_and_read_models_follow(client: Client) -> None:
    before = (await client.data(FREE, id=AGENDA))["freeSlots"]
    payload, refused = await moved(client, CITIZEN, slot=5)
    assert refused == []
    new = payload["appointment"]
    assert new == {
        "id": new["id"],
        "agenda": {"id": AGENDA},
        "slot": 5,
        "start": "2027-01-05T13:20:00Z",
        "state": "BOOKED",
        "patient": {"id": opaque("Ana")},
    }
    assert payload["movedFrom"] == {"id": ANA, "state": "CANCELLED"}
    client.act_as(CLERK)
    assert (await client.data(FREE, id=AGENDA))["freeSlots"] == before
    listed = {one["slot"]: one["state"] for one in (await client.data(DAY_LIST))["nodes"]}
    assert listed == {1: "CANCELLED", 2: "BOOKED", 5: "BOOKED"}


async def test_a_repeated_request_returns_the_first_result(client: Client) -> None:
    first, _ = await moved(client, CITIZEN, slot=5)
    assert await moved(client, CITIZEN, slot=5) == (first, [])
    _, refused = await moved(client, CITIZEN, slot=6)
    assert refused == ["idempotency_key_reused"]


async def test_a_taken_slot_is_refused_and_the_old_one_stays(client: Client) -> None:
    payload, _ = await moved(client, CITIZEN, slot=2)
    assert (payload["appointment"], payload["movedFrom"], payload["position"]) == (None, None, None)
    (error,) = payload["errors"]
    assert (error["__typename"], error["code"], error["path"]) == ("SlotTaken", "slot_taken", ["slot"])
    assert error["alternatives"]
    assert {slot["state"] for slot in error["alternatives"]} == {"FREE"}
    shown = await client.data("query ($id: ID!) { appointment(id: $id) { state } }", id=ANA)
    assert shown == {"state": "BOOKED"}


async def test_rescheduling_between_hospitals_needs_rights_at_both(client: Client) -> None:
    _, refused = await moved(client, CLERK, slot=5, to=SAN_JUAN)
    assert refused == ["forbidden"]
    there, refused = await moved(client, CLERK_OF_BOTH, slot=5, to=SAN_JUAN)
    assert refused == []
    assert there["appointment"]["agenda"] == {"id": SAN_JUAN}
    back, refused = await moved(client, CITIZEN, slot=6, appointment=there["appointment"]["id"], name="back")
    assert refused == []
    assert back["appointment"]["agenda"] == {"id": AGENDA}


async def test_only_a_clerk_changes_the_specialty(client: Client) -> None:
    payload, refused = await moved(client, CITIZEN, slot=6, to=DENTIST)
    assert refused == ["another_specialty"]
    assert payload["errors"][0]["path"] == ["agenda"]
    assert "pediatrics" in payload["errors"][0]["message"]
    _, refused = await moved(client, CLERK, slot=6, to=DENTIST)
    assert refused == []


async def test_a_clerk_moves_their_own_appointment_as_a_citizen(client: Client) -> None:
    clerk = Login(subject="ana", identity=CI, roles=["hospital_clerk"], hospitals=["la-merced"])
    _, refused = await moved(client, clerk, slot=6, to=DENTIST)
    assert refused == ["another_specialty"]
    _, refused = await moved(client, clerk, slot=6, to=DENTIST, appointment=booking(2, "Luis").appointment, name="luis")
    assert refused == []


async def test_a_used_up_quota_is_reported_at_the_agenda(client: Client, core: Core) -> None:
    full = replace(agenda(practitioner="p-03"), quotas={"WEB": 0})
    await core.committer.submit(full, key("full"))
    payload, refused = await moved(client, CITIZEN, slot=5, to=AGENDA.replace("p-01", "p-03"))
    assert refused == ["quota_exhausted"]
    assert payload["errors"][0]["path"] == ["agenda"]


async def test_an_erased_person_s_appointment_can_be_rescheduled(client: Client, core: Core) -> None:
    await core.committer.submit(ErasePerson(person=opaque("Ana")), key("erase"))
    _, refused = await moved(client, CITIZEN, slot=5)
    assert refused == ["forbidden"]
    payload, refused = await moved(client, CLERK, slot=5)
    assert refused == []
    assert payload["appointment"]["patient"] == {"id": opaque("Ana")}


async def test_a_guardian_moves_the_appointment_of_a_dependant(client: Client, core: Core) -> None:
    luis = booking(2, "Luis").appointment
    about = {"guardian": opaque("Ana"), "dependant": opaque("Luis"), "relation": "CARE"}
    await core.committer.submit(build(DeclareDependant, **about, declared_by=opaque("clerk")), key("declare"))
    _, refused = await moved(client, CITIZEN, slot=5, appointment=luis, name="declared")
    assert refused == ["forbidden"]
    await core.committer.submit(build(ConfirmDependant, **about, confirmed_by=opaque("officer")), key("confirm"))
    payload, refused = await moved(client, CITIZEN, slot=5, appointment=luis, name="confirmed")
    assert refused == []
    assert payload["appointment"]["patient"] == {"id": opaque("Luis")}


async def test_another_person_s_appointment_cannot_be_rescheduled(client: Client) -> None:
    luis = booking(2, "Luis").appointment
    _, refused = await moved(client, CITIZEN, slot=5, appointment=luis)
    assert refused == ["forbidden"]
    _, refused = await moved(client, None, slot=5)
    assert refused == ["login_required"]


async def test_unknown_and_cancelled_appointments_are_refused(client: Client) -> None:
    nobody = f"{AGENDA}/{opaque('nobody')}"
    _, refused = await moved(client, CLERK, slot=5, appointment=nobody, name="nobody")
    assert refused == ["appointment_unknown"]
    client.act_as(CITIZEN)
    given_up = await client.data(CANCEL, input={"idempotencyKey": "c", "appointment": ANA})
    assert given_up["errors"] == []
    answer = await client.ask(MOVE, language="es", input=wish(5))
    (error,) = answer["data"]["rescheduleAppointment"]["errors"]
    assert (error["code"], error["message"]) == ("appointment_cancelled", "La ficha fue cancelada.")
