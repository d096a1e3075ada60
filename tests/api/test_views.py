"""Read models over GraphQL: where a free slot is, who comes when, figures; and how fresh each answer is."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

import infra.postgres.views
from api.contexts import read_models
from domain.appointments.attendance import CheckIn, MarkNoShow
from domain.appointments.cancelling import CancelAppointment
from domain.appointments.holding import HoldSlot
from domain.decider import build
from infra.log.core import Core
from infra.postgres.views import Views
from tests.api.conftest import Client
from tests.city import AGENDA, DAY, FIRST_SLOT, agenda, booking, hospital, key, opaque, open_agenda, person
from tests.conftest import Clock
from tests.towns import Town

pytestmark = pytest.mark.anyio

FREE = "freeSlots nextFree { agenda { id } slot start minutes }"


async def free(client: Client, arguments: str = 'specialty: "pediatrics"', days: str = "") -> Any:
    return await client.data(f"{{ availability({arguments}) {{ {FREE} {days} }} }}")


async def book(core: Core, slot: int, patient: str, agenda: str = AGENDA) -> int:
    return (
        await core.committer.submit(booking(slot, patient, agenda=agenda), key(f"{agenda} {slot} {patient}"))
    ).position


async def test_the_next_free_slot_is_neither_booked_nor_held(client: Client, core: Core, clock: Clock) -> None:
    await open_agenda(core, 4)
    await book(core, 1, "ana")
    hold = build(HoldSlot, agenda=AGENDA, slot=2, patient=opaque("luis"), hold=opaque("hold"), hold_s=300)
    await core.committer.submit(hold, key("hold"))
    found = await free(client)
    assert found == {
        "freeSlots": 2,
        "nextFree": {"agenda": {"id": AGENDA}, "slot": 3, "start": "2027-01-05T12:40:00Z", "minutes": 20},
    }
    clock.wait(299)
    assert (await free(client))["nextFree"]["slot"] == 3
    clock.wait(1)  # nobody does anything, and the hold is over
    found = await free(client)
    assert (found["freeSlots"], found["nextFree"]["slot"]) == (3, 2)


async def test_a_cancelled_slot_is_free_again_unless_it_has_begun(client: Client, core: Core, clock: Clock) -> None:
    await open_agenda(core, 3)
    await book(core, 1, "ana")
    await book(core, 2, "luis")
    cancel = build(CancelAppointment, appointment=booking(1, "ana").appointment)
    await core.committer.submit(cancel, key("cancel"))
    assert (await free(client))["nextFree"]["slot"] == 1
    clock.now = clock.now.replace(day=5, hour=12, minute=1)
    found = await free(client)
    assert (found["freeSlots"], found["nextFree"]["slot"]) == (1, 3)
    clock.wait(3600)
    assert await free(client) == {"freeSlots": 0, "nextFree": None}


async def test_no_slot_is_free_before_the_release(client: Client, core: Core, clock: Clock) -> None:
    await core.committer.submit(hospital(), key("hospital"))
    opens = clock.now + timedelta(hours=2)
    later = build(type(agenda()), **{**fields(agenda(2)), "release_at": opens})
    await core.committer.submit(later, key("agenda"))
    days = "days { date agendas freeSlots nextStart }"
    closed = {"date": "2027-01-05", "agendas": 1, "freeSlots": 0, "nextStart": None}
    assert await free(client, days=days) == {"freeSlots": 0, "nextFree": None, "days": [closed]}
    clock.now = opens
    assert (await free(client))["freeSlots"] == 2


def fields(command: Any) -> dict[str, Any]:
    said = {name: getattr(command, name) for name in command.__struct_fields__}
    said["slots"] = [{"start": slot.start, "minutes": slot.minutes} for slot in command.slots]
    return said


async def test_availability_is_filtered_by_each_argument(client: Client, core: Core) -> None:
    await open_agenda(core, 2)
    wanted = [
        agenda(3, practitioner="p-02"),
        agenda(4, practitioner="p-03", specialty="cardiology"),
        agenda(5, day=DAY + timedelta(days=2)),
        agenda(1, day=DAY + timedelta(days=40)),
    ]
    for number, one in enumerate(wanted):
        await core.committer.submit(one, key(f"agenda {number}"))
    days = "days { date agendas freeSlots nextStart }"
    found = await free(client, days=days)
    assert [tuple(day.values()) for day in found["days"]] == [
        ("2027-01-05", 2, 5, "2027-01-05T12:00:00Z"),
        ("2027-01-07", 1, 5, "2027-01-07T12:00:00Z"),
    ]
    assert found["freeSlots"] == 10
    assert found["nextFree"]["agenda"] == {"id": AGENDA}
    of_one = 'specialty: "pediatrics", practitioner: "p-02", hospital: "la-merced"'
    assert (await free(client, of_one))["freeSlots"] == 3
    assert (await free(client, 'specialty: "cardiology"'))["freeSlots"] == 4
    assert (await free(client, 'specialty: "pediatrics", hospital: "cotahuma"'))["freeSlots"] == 0
    assert (await free(client, 'specialty: "pediatrics", onOrAfter: "2027-01-06"'))["freeSlots"] == 5
    assert (await free(client, 'specialty: "pediatrics", to: "2027-03-05"'))["freeSlots"] == 11
    one_specialty = '{ agendas(hospital: "la-merced", first: 10, specialty: "cardiology") { nodes { id freeSlots } } }'
    assert (await client.data(one_specialty))["nodes"] == [{"id": "la-merced/2027-01-05/p-03", "freeSlots": 4}]


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ('availability(specialty: "Pediatrics") { freeSlots }', "specialty"),
        ('availability(specialty: "x", hospital: "X") { freeSlots }', "hospital"),
        ('availability(specialty: "x", practitioner: "\\u0000") { freeSlots }', "practitioner"),
        ('availability(specialty: "x", onOrAfter: "2027-01-02", to: "2027-01-01") { freeSlots }', "to"),
        ('availability(specialty: "x", onOrAfter: "2027-01-01", to: "2027-03-04") { freeSlots }', "to"),
        ('availability(specialty: "x", onOrAfter: "0001-01-01", to: "9999-12-31") { freeSlots }', "to"),
        ('availability(specialty: "x", atLeast: "1") { freeSlots }', "atLeast"),
        ('dayList(hospital: "x", date: "2027-01-01", first: 1, after: "x") { nodes { id } }', "after"),
        (
            'dayList(hospital: "x", date: "2027-01-01", first: 1, after: "2027-01-01T00:00:00 x") { nodes { id } }',
            "after",
        ),
        ('appointments(patient: "ana", first: 1) { nodes { id } }', "patient"),
        (f'appointments(patient: "{opaque("Ana")}", first: 101) {{ nodes {{ id }} }}', "first"),
        ('utilisation(hospital: "x", onOrAfter: "2027-01-01", to: "2028-01-01") { week }', "to"),
    ],
)
async def test_wrong_arguments_are_refused_in_the_client_s_language(client: Client, field: str, path: str) -> None:
    for language, begin in (("es", "Dato no válido"), ("en", "Invalid value")):
        answer = await client.ask(f"{{ {field} }}", language=language)
        (error,) = answer["errors"]
        assert error["extensions"] == {"code": "invalid_input", "path": [path]}
        assert error["message"].startswith(begin)


async def test_the_last_day_of_the_calendar_has_no_slots(client: Client) -> None:
    assert (await free(client, 'specialty: "x", onOrAfter: "9999-12-31"'))["freeSlots"] == 0


async def test_a_hospital_s_day_comes_in_pages(client: Client, core: Core) -> None:
    await open_agenda(core, 6)
    await core.committer.submit(agenda(6, practitioner="p-02", specialty="cardiology"), key("agenda 2"))
    for slot in (5, 1, 3):
        await book(core, slot, f"patient {slot}")
        other = f"other-{slot}"
        await core.committer.submit(person(other, core, ci=f"500000{slot}"), key(other))
        await book(core, slot, other, AGENDA.replace("p-01", "p-02"))
    cancelled = booking(3, "patient 3").appointment
    await core.committer.submit(build(CancelAppointment, appointment=cancelled), key("cancel"))
    query = """query($after: String, $specialty: String) {
        dayList(hospital: "la-merced", date: "2027-01-05", first: 4, after: $after, specialty: $specialty) {
        nodes { id slot state specialty { code } patient { id } minutes } pageInfo { endCursor hasNextPage } } }"""
    first = await client.data(query)
    second = await client.data(query, after=first["pageInfo"]["endCursor"])
    nodes = first["nodes"] + second["nodes"]
    assert [node["slot"] for node in nodes] == [1, 1, 3, 3, 5, 5]
    assert (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (True, False)
    assert [node["id"] for node in nodes if node["state"] == "CANCELLED"] == [cancelled]
    hearts = await client.data(query, specialty="cardiology")
    assert [node["patient"]["id"] for node in hearts["nodes"]] == [opaque(f"other-{slot}") for slot in (1, 3, 5)]


async def test_a_patient_s_appointments_are_those_of_the_log(client: Client, core: Core) -> None:
    await open_agenda(core)
    await book(core, 2, "ana")
    await book(core, 3, "luis")
    query = "query($id: ID!) { appointments(patient: $id, first: 5) { nodes { agenda { id } slot start state } } }"
    (only,) = (await client.data(query, id=opaque("ana")))["nodes"]
    assert only == {"agenda": {"id": AGENDA}, "slot": 2, "start": "2027-01-05T12:20:00Z", "state": "BOOKED"}
    assert (await client.data(query, id=opaque("nobody")))["nodes"] == []


async def test_utilisation_of_a_hospital_s_slots(client: Client, core: Core, clock: Clock) -> None:
    await open_agenda(core, 6)
    await core.committer.submit(agenda(4, day=DAY + timedelta(days=7)), key("next week"))
    for slot in (1, 2, 3, 4, 5):
        await book(core, slot, f"patient {slot}")
    cancel = build(CancelAppointment, appointment=booking(3, "patient 3").appointment)
    await core.committer.submit(cancel, key("cancel"))
    query = """{ utilisation(hospital: "la-merced", onOrAfter: "2027-01-01", to: "2027-01-31") {
        specialty { code } week slots booked cancelled checkedIn noShows } }"""
    clock.now = FIRST_SLOT + timedelta(minutes=30)
    came, missed = (booking(slot, f"patient {slot}").appointment for slot in (1, 2))
    await core.committer.submit(build(CheckIn, appointment=came), key("came"))
    await core.committer.submit(build(MarkNoShow, appointment=missed), key("missed"))
    nothing = {"booked": 0, "cancelled": 0, "checkedIn": 0, "noShows": 0}
    this = {"specialty": {"code": "pediatrics"}, "week": "2027-01-04", "slots": 6, "booked": 4, "cancelled": 1}
    assert await client.data(query) == [
        this | {"checkedIn": 1, "noShows": 1},
        {"specialty": {"code": "pediatrics"}, "week": "2027-01-11", "slots": 4} | nothing,
    ]
    day = '{ dayList(hospital: "la-merced", date: "2027-01-05", first: 9) { nodes { state } } }'
    states = [node["state"] for node in (await client.data(day))["nodes"]]
    assert states == ["CHECKED_IN", "NO_SHOW", "CANCELLED", "BOOKED", "BOOKED"]


async def test_each_response_has_its_lag(client: Client, core: Core, town: Town) -> None:
    await open_agenda(core)
    query = '{ availability(specialty: "pediatrics") { freeSlots } }'
    fresh = {"position": "2", "lagEvents": 0, "lagSeconds": 0.0}
    assert (await client.ask(query))["extensions"]["freshness"] == {"availability": fresh}
    client.projector = None
    await book(core, 1, "ana")
    await book(core, 2, "luis")
    answer = await client.ask(query)
    behind = answer["extensions"]["freshness"]["availability"]
    waited_s = float(
        town.execute(
            "SELECT extract(epoch FROM clock_timestamp() - recorded_at) FROM events WHERE notification_id = 3"
        )[0][0]  # type: ignore[arg-type]
    )
    assert (behind["position"], behind["lagEvents"]) == ("2", 4)
    assert 0 < behind["lagSeconds"] <= waited_s + 0.001
    assert answer["data"]["availability"]["freeSlots"] == 6
    assert (await client.http.get("/readyz")).json()["views"]["availability"]["lagEvents"] == 4
    assert "freshness" not in (await client.ask("{ __typename }"))["extensions"]


async def test_atleast_waits_and_is_refused_after_a_limit(
    client: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    at = await book(core, 1, "ana")
    query = 'query($at: Position) { availability(specialty: "pediatrics", atLeast: $at) { freeSlots } }'
    assert await client.data(query, at=str(at)) == {"freeSlots": 5}
    client.projector = None
    at = await book(core, 2, "luis")
    monkeypatch.setattr(infra.postgres.views, "REACH_TIMEOUT_S", 0.1)
    answer = await client.ask(query, language="en", at=str(at))
    assert answer["errors"][0]["extensions"] == {"code": "not_reached_yet", "path": ["atLeast"]}
    assert answer["errors"][0]["message"].startswith("The read model is at position 4 of the log")
    assert answer["data"] is None


async def test_atleast_does_not_wait_for_a_hanging_database(
    client: Client, core: Core, views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    at = await book(core, 1, "ana")
    client.projector = None
    monkeypatch.setattr(infra.postgres.views, "REACH_TIMEOUT_S", 0.2)
    monkeypatch.setattr(views, "_look", lambda: asyncio.sleep(30))
    begun = time.monotonic()
    answer = await client.ask(f'{{ availability(specialty: "pediatrics", atLeast: "{at}") {{ freeSlots }} }}')
    assert answer["errors"][0]["extensions"] == {"code": "unavailable"}
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("cursor", ["2027-01-01T00:00:00Z \ud800", "\ud800 x", "2027-01-01T00:00:00Z \0"])
async def test_a_forged_cursor_is_refused(client: Client, cursor: str) -> None:
    query = (
        'query($after: String) { dayList(hospital: "x", date: "2027-01-01", first: 1, after: $after) { nodes { id } } }'
    )
    answer = await client.ask(query, after=cursor)
    assert answer["errors"][0]["extensions"] == {"code": "invalid_input", "path": ["after"]}


async def test_combined_results_have_the_older_position(
    client: Client, core: Core, views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    assert client.projector
    client.projector.catch_up()
    at = await book(core, 1, "ana")
    projecting, client.projector = client.projector, None
    reach = Views.reach

    async def reaching(self: Views, names: Any, position: int) -> None:
        """The one who waits comes second."""
        await asyncio.sleep(0.1)
        projecting.catch_up()
        await reach(self, names, position)

    monkeypatch.setattr(Views, "reach", reaching)
    answer = await client.ask(
        """query($at: Position) { a: availability(specialty: "pediatrics") { freeSlots }
        b: availability(specialty: "pediatrics", atLeast: $at) { freeSlots } }""",
        at=str(at),
    )
    assert answer["data"] == {"a": {"freeSlots": 6}, "b": {"freeSlots": 5}}
    assert answer["extensions"]["freshness"]["availability"]["position"] == "2"


async def test_before_the_first_projection_queries_are_unavailable(
    client: Client, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.projector = None
    town.execute(f"DROP VIEW {town.schema}_views.availability")
    town.execute(f"DELETE FROM {town.schema}_views.generations")
    monkeypatch.setattr(infra.postgres.views, "REACH_TIMEOUT_S", 0.1)
    for arguments in ("", ', atLeast: "0"', ', atLeast: "1"'):
        answer = await client.ask(f'{{ availability(specialty: "x"{arguments}) {{ freeSlots }} }}')
        assert answer["errors"][0]["extensions"] == {"code": "unavailable"}
    assert (await client.http.get("/readyz")).json()["views"] == dict.fromkeys(read_models())


@pytest.mark.parametrize(
    ("field", "statements"),
    [
        ('availability(specialty: "pediatrics") { nextFree { slot start } days { date freeSlots nextStart } }', 1),
        (f'availability(specialty: "pediatrics") {{ {FREE} }}', 2),
        (
            'agendas(hospital: "la-merced", first: 100) { nodes { freeSlots slots(first: 20) { nodes { state } } } }',
            1,
        ),
        ('dayList(hospital: "la-merced", date: "2027-01-05", first: 100) { nodes { id state } }', 1),
        (
            'dayList(hospital: "la-merced", date: "2027-01-05", first: 100) {'
            " nodes { agenda { freeSlots } hospital { name } patient { id } } }",
            2,
        ),
        ('utilisation(hospital: "la-merced", onOrAfter: "2027-01-01", to: "2027-01-31") { slots }', 1),
        ('a: availability(specialty: "x") { freeSlots } b: agenda(id: "la-merced/2027-01-05/p-01") { id }', 2),
    ],
)
async def test_a_query_takes_a_fixed_number_of_statements(
    client: Client, core: Core, counted: list[Any], field: str, statements: int
) -> None:
    await open_agenda(core, 6)
    for practitioner in range(2, 12):
        await core.committer.submit(agenda(6, practitioner=f"p-{practitioner:02d}"), key(f"agenda {practitioner}"))
        await book(core, 1, f"patient {practitioner}", AGENDA.replace("p-01", f"p-{practitioner:02d}"))
    counted.clear()
    await client.data(f"{{ {field} }}")
    assert len(counted) == statements
