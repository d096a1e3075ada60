"""Booking as a front end does it."""

from typing import Any

import pytest

from domain.appointments.availability import ALTERNATIVES_MAX
from infra.log.core import Core
from tests.api.conftest import Client
from tests.city import AGENDA, key, opaque, open_agenda
from tests.city import agenda as agenda_of_city
from tests.conftest import Clock
from tests.towns import Town

pytestmark = pytest.mark.anyio

ERRORS = """errors { __typename code message path
  ... on SlotTaken { alternatives { number start state } }
  ... on NotReleasedYet { releaseAt }
  ... on HoldLimitReached { freeAgainAt }
  ... on VisitConflict { appointment { id } } }"""
REGISTER = f"""mutation ($input: RegisterPersonInput!) {{
  registerPerson(input: $input) {{ person {{ id identity givenNames sex birthDate }} position {ERRORS} }} }}"""
HOLD = f"""mutation ($input: HoldSlotInput!) {{
  holdSlot(input: $input) {{ hold {{ agenda {{ id }} slot heldUntil }} position {ERRORS} }} }}"""
BOOK = f"""mutation ($input: BookAppointmentInput!) {{
  bookAppointment(input: $input) {{ appointment {{ id slot start minutes state specialty {{ code }}
    agenda {{ id }} patient {{ id }} hospital {{ code }} }} agenda {{ id freeSlots }} position {ERRORS} }} }}"""
CANCEL = f"""mutation ($input: CancelAppointmentInput!) {{
  cancelAppointment(input: $input) {{ appointment {{ id state }} position {ERRORS} }} }}"""
PUBLISH = f"""mutation ($input: PublishAgendaInput!) {{
  publishAgenda(input: $input) {{ agenda {{ id freeSlots releaseAt quotas {{ channel limit taken }} }}
  position {ERRORS} }} }}"""
SLOTS = """query ($id: ID!, $state: SlotState, $first: Int!, $after: String) {
  agenda(id: $id) { id hospital { code } specialty { code } practitioner { code } date freeSlots
    slots(first: $first, after: $after, state: $state) {
      nodes { number start state heldUntil } pageInfo { endCursor hasNextPage } } } }"""


async def registered(client: Client, ci: str, name: str = "Ana") -> str:
    payload = await client.data(
        REGISTER,
        input={
            "idempotencyKey": f"register {ci}".replace(" ", "-"),
            "identity": ci,
            "givenNames": name,
            "familyNames": "Mamani",
            "birthDate": "1990-05-17",
            "sex": "F",
        },
    )
    assert payload["errors"] == []
    return str(payload["person"]["id"])


def wish(slot: int, patient: str, key: str, **more: Any) -> dict[str, Any]:
    return {"idempotencyKey": key, "agenda": AGENDA, "slot": slot, "patient": patient, **more}


async def test_find_hold_book_and_refuse_the_second(client: Client, core: Core) -> None:
    await open_agenda(core)
    ana, luis = await registered(client, "1000001"), await registered(client, "1000002", "Luis")

    agenda = await client.data(SLOTS, id=AGENDA, first=1, state="FREE")
    assert agenda["freeSlots"] == 6
    free = agenda["slots"]["nodes"][0]
    assert free == {"number": 1, "start": "2027-01-05T12:00:00Z", "state": "FREE", "heldUntil": None}

    held = await client.data(HOLD, input=wish(2, ana, "h"))
    assert held["errors"] == []
    assert held["hold"]["heldUntil"] == "2027-01-04T12:05:00Z"
    slot = (await client.data(SLOTS, id=AGENDA, first=2))["slots"]["nodes"][1]
    assert (slot["state"], slot["heldUntil"]) == ("HELD", "2027-01-04T12:05:00Z")

    booked = await client.data(BOOK, input=wish(2, ana, "b"))
    assert booked["errors"] == []
    assert booked["appointment"]["state"] == "BOOKED"
    assert booked["appointment"]["patient"] == {"id": ana}

    refused = await client.data(BOOK, input=wish(2, luis, "b2"))
    assert refused["appointment"] is None
    assert refused["position"] is None
    (error,) = refused["errors"]
    assert (error["__typename"], error["code"], error["path"]) == ("SlotTaken", "slot_taken", ["slot"])
    assert [slot["number"] for slot in error["alternatives"]] == [1, 3, 4]
    assert len(error["alternatives"]) == ALTERNATIVES_MAX
    assert {slot["state"] for slot in error["alternatives"]} == {"FREE"}


async def test_a_booking_reads_only_what_is_not_cached(client: Client, core: Core, counted: list[Any]) -> None:
    await open_agenda(core)
    ana = await registered(client, "1000001")
    counted.clear()
    document = """mutation ($input: BookAppointmentInput!) { bookAppointment(input: $input) {
      appointment { id slot start minutes state specialty { code } } position errors { code } } }"""
    assert (await client.data(document, input=wish(1, ana, "b")))["appointment"]["slot"] == 1
    assert len(counted) == 2  # the person with the patient's stream, the append


async def test_what_a_booking_links_to_is_read_at_once_as_it_is_after_it(
    client: Client, core: Core, counted: list[Any]
) -> None:
    await open_agenda(core)
    ana = await registered(client, "1000001")
    counted.clear()
    booked = await client.data(BOOK, input=wish(1, ana, "b"))
    assert len(counted) == 4  # one more for agenda, hospital and person, and one for the person's key
    assert (booked["agenda"], booked["appointment"]["agenda"]) == ({"id": AGENDA, "freeSlots": 5}, {"id": AGENDA})
    assert (booked["appointment"]["hospital"], booked["appointment"]["patient"]) == ({"code": "la-merced"}, {"id": ana})


async def test_a_repeated_request_returns_the_first_result(client: Client, core: Core) -> None:
    await open_agenda(core)
    ana = await registered(client, "1000001")
    first = await client.data(BOOK, input=wish(1, ana, "b"))
    assert await client.data(BOOK, input=wish(1, ana, "b")) == first
    other = await client.data(BOOK, input=wish(2, ana, "b"))
    assert other["errors"][0]["code"] == "idempotency_key_reused"
    assert (await client.data(SLOTS, id=AGENDA, first=1))["freeSlots"] == 5


async def test_a_repeated_hold_returns_the_first_result(client: Client, core: Core) -> None:
    await open_agenda(core)
    ana = await registered(client, "1000001")
    first = await client.data(HOLD, input=wish(1, ana, "h"))
    await client.data(BOOK, input=wish(1, ana, "b"))
    assert await client.data(HOLD, input=wish(1, ana, "h")) == first
    client.settings(hold_s=600)
    assert await client.data(HOLD, input=wish(1, ana, "h")) == first


async def test_a_hold_repeated_after_key_expiry_is_unchanged(
    client: Client, core: Core, clock: Clock, town: Town
) -> None:
    await open_agenda(core)
    ana, luis = await registered(client, "1000001"), await registered(client, "1000002", "Luis")
    first = (await client.data(HOLD, input=wish(1, ana, "h")))["hold"]
    await client.data(HOLD, input=wish(2, luis, "other"))  # the last thing in the log, until Ana says it again
    for _ in range(2):
        town.execute("UPDATE commands SET recorded_at = recorded_at - interval '8 days'")
        again = await client.data(HOLD, input=wish(1, ana, "h"))
        assert (again["hold"], again["errors"]) == (first, [])
        # Now the key is known again, with a position that is not that of the hold.
        assert (await client.data(HOLD, input=wish(1, ana, "h")))["hold"] == first
        clock.wait(301)  # the second time round, the hold expired and somebody else has the slot
        await client.data(HOLD, input=wish(1, luis, "same-slot"))


async def test_repeats_after_key_expiry_return_the_present_state(client: Client, core: Core, town: Town) -> None:
    await open_agenda(core)
    ana, luis = await registered(client, "1000001"), await registered(client, "1000002", "Luis")
    booked = await client.data(BOOK, input=wish(1, ana, "b"))
    cancel = {"idempotencyKey": "c", "appointment": booked["appointment"]["id"]}
    cancelled = await client.data(CANCEL, input=cancel)
    publish = {"idempotencyKey": "p", "hospital": "la-merced", "specialty": "s", "practitioner": "p-09",
               "date": "2027-01-05", "slots": [{"start": "2027-01-05T12:00:00Z", "minutes": 5}]}  # fmt: skip
    published = await client.data(PUBLISH, input=publish)
    other = await client.data(BOOK, input=wish(2, luis, "b"))
    assert other["errors"][0]["code"] == "idempotency_key_reused"
    other = await client.data(BOOK, input=wish(2, luis, "b2"))
    town.execute("UPDATE commands SET recorded_at = recorded_at - interval '8 days'")
    head = await core.log.head()
    assert (await client.data(BOOK, input=wish(1, ana, "b")))["appointment"] == cancelled["appointment"] | booked[
        "appointment"
    ] | {"state": "CANCELLED"}
    assert (await client.data(CANCEL, input=cancel))["appointment"] == cancelled["appointment"]
    assert (await client.data(PUBLISH, input=publish))["agenda"] == published["agenda"]
    assert await registered(client, "1000001") == ana
    assert (await client.data(BOOK, input=wish(2, luis, "b2")))["appointment"] == other["appointment"]
    assert await core.log.head() == head


async def test_the_largest_page_has_a_next_page(client: Client, core: Core) -> None:
    await open_agenda(core)
    for number in range(2, 103):
        await core.committer.submit(agenda_of_city(1, practitioner=f"p-{number:03d}"), key(f"a{number}"))
    query = """query($after: String) { agendas(hospital: "la-merced", first: 100, after: $after) {
      nodes { id } pageInfo { endCursor hasNextPage } } }"""
    first = await client.data(query)
    assert (len(first["nodes"]), first["pageInfo"]["hasNextPage"]) == (100, True)
    rest = await client.data(query, after=first["pageInfo"]["endCursor"])
    assert (len(rest["nodes"]), rest["pageInfo"]["hasNextPage"]) == (2, False)


async def test_a_hold_expires(client: Client, core: Core, clock: Clock) -> None:
    await open_agenda(core)
    ana, luis = await registered(client, "1000001"), await registered(client, "1000002")
    await client.data(HOLD, input=wish(1, ana, "h"))
    clock.wait(299)
    assert (await client.data(BOOK, input=wish(1, luis, "b1")))["errors"][0]["code"] == "slot_taken"
    clock.wait(1)
    assert (await client.data(SLOTS, id=AGENDA, first=1))["slots"]["nodes"][0]["state"] == "FREE"
    assert (await client.data("query($id: ID!) { patient(id: $id) { holds { slot } } }", id=ana))["holds"] == []
    assert (await client.data(BOOK, input=wish(1, luis, "b2")))["errors"] == []


async def test_cancelling_frees_the_slot_and_the_patient_sees_both(client: Client, core: Core) -> None:
    await open_agenda(core)
    ana, luis = await registered(client, "1000001"), await registered(client, "1000002")
    booked = await client.data(BOOK, input=wish(1, ana, "b"))
    cancel = {"idempotencyKey": "c", "appointment": booked["appointment"]["id"], "reason": "MISTAKE"}
    cancelled = await client.data(CANCEL, input=cancel)
    assert (cancelled["appointment"]["state"], cancelled["errors"]) == ("CANCELLED", [])
    assert (await client.data(CANCEL, input=cancel)) == cancelled
    assert (await client.data(BOOK, input=wish(1, luis, "b2")))["errors"] == []
    seen = await client.data(
        "query($id: ID!) { patient(id: $id) { appointments(first: 5) { nodes { slot state } } } }", id=ana
    )
    assert seen["appointments"]["nodes"] == [{"slot": 1, "state": "CANCELLED"}]


async def test_a_third_hold_is_refused_with_a_time(client: Client, core: Core, clock: Clock) -> None:
    await open_agenda(core)
    ana = await registered(client, "1000001")
    await client.data(HOLD, input=wish(1, ana, "h1"))
    clock.wait(60)
    await client.data(HOLD, input=wish(2, ana, "h2"))
    (error,) = (await client.data(HOLD, input=wish(3, ana, "h3")))["errors"]
    assert (error["__typename"], error["freeAgainAt"]) == ("HoldLimitReached", "2027-01-04T12:05:00Z")


async def test_a_second_appointment_for_one_specialty_is_refused_with_the_first(client: Client, core: Core) -> None:
    await open_agenda(core)
    ana = await registered(client, "1000001")
    first = await client.data(BOOK, input=wish(1, ana, "b1"))
    (error,) = (await client.data(BOOK, input=wish(3, ana, "b2")))["errors"]
    assert (error["__typename"], error["code"]) == ("VisitConflict", "already_seen_here")
    assert error["appointment"] == {"id": first["appointment"]["id"]}


async def test_publishing_with_quotas_and_release(client: Client, core: Core, clock: Clock) -> None:
    await open_agenda(core)
    ana = await registered(client, "1000001")
    publish = {
        "idempotencyKey": "p",
        "hospital": "la-merced",
        "specialty": "cardiology",
        "practitioner": "p-02",
        "date": "2027-01-06",
        "slots": [{"start": "2027-01-06T08:00:00-04:00", "minutes": 15}],
        "quotas": [{"channel": "WEB", "limit": 0}],
        "releaseAt": "2027-01-05T07:00:00-04:00",
    }
    published = await client.data(PUBLISH, input=publish)
    assert published["errors"] == []
    assert published["agenda"]["releaseAt"] == "2027-01-05T11:00:00Z"
    assert published["agenda"]["quotas"] == [{"channel": "WEB", "limit": 0, "taken": 0}]
    assert published["agenda"]["freeSlots"] == 0
    waiting = await client.data(SLOTS, id=published["agenda"]["id"], first=5)
    assert [slot["state"] for slot in waiting["slots"]["nodes"]] == ["NOT_RELEASED"]
    assert (await client.data(SLOTS, id=published["agenda"]["id"], first=5, state="FREE"))["slots"]["nodes"] == []

    book = wish(1, ana, "b") | {"agenda": published["agenda"]["id"]}
    (error,) = (await client.data(BOOK, input=book))["errors"]
    assert (error["__typename"], error["releaseAt"]) == ("NotReleasedYet", "2027-01-05T11:00:00Z")
    assert "martes 5 de enero, 07:00" in error["message"]
    clock.wait(24 * 3600)
    assert (await client.data(SLOTS, id=published["agenda"]["id"], first=5, state="FREE"))["freeSlots"] == 1
    assert (await client.data(BOOK, input=book))["errors"][0]["code"] == "quota_exhausted"
    assert (await client.data(BOOK, input=book | {"channel": "WINDOW"}))["errors"] == []


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"agenda": "la-merced/2027-01-05/p-99"}, "agenda_unknown", ["agenda"]),
        ({"agenda": "../../etc/passwd"}, "invalid_input", ["agenda"]),
        ({"slot": 0}, "invalid_input", ["slot"]),
        ({"slot": 99}, "slot_unknown", ["slot"]),
        ({"patient": "nobody"}, "invalid_input", ["patient"]),
        ({"patient": opaque("nobody")}, "person_unknown", ["patient"]),
        ({"idempotencyKey": ""}, "invalid_input", ["idempotencyKey"]),
        ({"idempotencyKey": "x" * 129}, "invalid_input", ["idempotencyKey"]),
        ({"idempotencyKey": "ñ"}, "invalid_input", ["idempotencyKey"]),
    ],
)
async def test_invalid_input_is_named_in_both_languages(
    client: Client, core: Core, change: dict[str, Any], code: str, path: list[str]
) -> None:
    await open_agenda(core)
    ana = await registered(client, "1000001")
    head = await core.log.head()
    messages = set()
    for language in ("es-BO,es;q=0.9", "en"):
        answer = await client.ask(BOOK, language=language, input=wish(1, ana, "b") | change)
        payload = answer["data"]["bookAppointment"]
        (error,) = payload["errors"]
        assert payload["appointment"] is None
        assert (error["code"], error["path"]) == (code, path)
        messages.add(error["message"])
    assert len(messages) == 2
    assert await core.log.head() == head


async def test_lists_are_pages_by_key(client: Client, core: Core) -> None:
    await open_agenda(core)
    seen: list[int] = []
    after = None
    while True:
        page = (await client.data(SLOTS, id=AGENDA, first=4, after=after))["slots"]
        seen += [slot["number"] for slot in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == [1, 2, 3, 4, 5, 6]
    listed = await client.data(
        "{ hospitals(first: 1) { nodes { id name } pageInfo { hasNextPage } }"
        ' agendas(hospital: "la-merced", first: 1) { nodes { id } edges { cursor node { id } }'
        " pageInfo { startCursor endCursor hasPreviousPage hasNextPage } } }"
    )
    assert listed["hospitals"]["nodes"] == [{"id": "hospital:la-merced", "name": "Hospital la-merced"}]
    (edge,) = listed["agendas"]["edges"]
    assert listed["agendas"]["nodes"] == [edge["node"]] == [{"id": AGENDA}]
    assert listed["agendas"]["pageInfo"] == {
        "startCursor": edge["cursor"], "endCursor": edge["cursor"], "hasPreviousPage": False, "hasNextPage": False,
    }  # fmt: skip


async def test_slots_are_listed_by_state(client: Client, core: Core, clock: Clock) -> None:
    await open_agenda(core)
    ana, luis = await registered(client, "1000001"), await registered(client, "1000002", "Luis")
    await client.data(BOOK, input=wish(2, ana, "b"))
    await client.data(HOLD, input=wish(4, luis, "h"))
    listed = {}
    for state in ("FREE", "HELD", "BOOKED", "PAST", "NOT_RELEASED"):
        page = (await client.data(SLOTS, id=AGENDA, first=3, state=state))["slots"]
        assert {slot["state"] for slot in page["nodes"]} <= {state}
        listed[state] = ([slot["number"] for slot in page["nodes"]], page["pageInfo"]["hasNextPage"])
    assert listed == {
        "FREE": ([1, 3, 5], True), "HELD": ([4], False), "BOOKED": ([2], False), "PAST": ([], False),
        "NOT_RELEASED": ([], False),
    }  # fmt: skip
    free = (await client.data(SLOTS, id=AGENDA, first=3, state="FREE"))["slots"]
    rest = (await client.data(SLOTS, id=AGENDA, first=3, state="FREE", after=free["pageInfo"]["endCursor"]))["slots"]
    assert [slot["number"] for slot in rest["nodes"]] == [6]
    clock.wait(24 * 3600 + 1)  # the first began
    past = (await client.data(SLOTS, id=AGENDA, first=3, state="PAST"))["slots"]
    assert [slot["number"] for slot in past["nodes"]] == [1]


APPOINTMENTS = """query ($id: ID!, $first: Int!, $after: String) {
  patient(id: $id) { appointments(first: $first, after: $after) {
    nodes { id slot start state } pageInfo { endCursor hasNextPage } } } }"""


async def test_a_patient_s_appointments_are_paged_by_start(client: Client, core: Core) -> None:
    await open_agenda(core)
    ana = await registered(client, "1000001")
    # Cancelled ones give way to others of the same specialty; the second and the third start together.
    for number, slot in enumerate([5, 3, 3, 1]):
        booked = await client.data(BOOK, input=wish(slot, ana, f"b{number}"))
        await client.data(CANCEL, input={"idempotencyKey": f"c{number}", "appointment": booked["appointment"]["id"]})
    whole = (await client.data(APPOINTMENTS, id=ana, first=100))["appointments"]["nodes"]
    assert [node["slot"] for node in whole] == [1, 3, 3, 5]
    assert whole == sorted(whole, key=lambda node: (node["start"], node["id"]))
    seen, after = [], None
    for _ in whole:
        page = (await client.data(APPOINTMENTS, id=ana, first=1, after=after))["appointments"]
        seen += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if len(seen) == 2:  # a new one before the cursor does not shift what comes after it
            await client.data(BOOK, input=wish(2, ana, "later"))
    assert seen == whole
    assert page["pageInfo"]["hasNextPage"] is False


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ('agenda(id: "AGENDA") { slots(first: 1, after: "garbage") { nodes { number } } }', "after"),
        ('agenda(id: "AGENDA") { slots(first: 1, after: "") { nodes { number } } }', "after"),
        ('agenda(id: "AGENDA") { slots(first: 1, after: "0") { nodes { number } } }', "after"),
        ('agenda(id: "AGENDA") { slots(first: 1, after: "99999") { nodes { number } } }', "after"),
        ('patient(id: "ANA") { appointments(first: 1, after: "garbage") { nodes { id } } }', "after"),
        ('patient(id: "ANA") { appointments(first: 1, after: "LUIS") { nodes { id } } }', "after"),
        ('agendas(hospital: "la-merced", first: 1, after: "garbage") { nodes { id } }', "after"),
        ('agendas(hospital: "la-merced", first: 1, after: "cotahuma/2027-01-05/p-01") { nodes { id } }', "after"),
        ('agendas(hospital: "la-merced/2026-11-26", first: 1) { nodes { id } }', "hospital"),
        ('agendas(hospital: "a\\u0000", first: 1) { nodes { id } }', "hospital"),
        ('agendas(hospital: "", first: 1) { nodes { id } }', "hospital"),
        ('hospitals(first: 1, after: "la merced") { nodes { id } }', "after"),
    ],
)
async def test_a_cursor_of_another_list_is_refused(client: Client, core: Core, query: str, path: str) -> None:
    await open_agenda(core)
    ana, luis = await registered(client, "1000001"), await registered(client, "1000002", "Luis")
    his = (await client.data(BOOK, input=wish(1, luis, "b")))["appointment"]["id"]
    for name, told in {"ANA": ana, "LUIS": his, "AGENDA": AGENDA}.items():
        query = query.replace(name, told)
    answer = await client.ask(f"{{ {query} }}", language="en")
    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "invalid_input", "path": [path]}
    assert error["message"].startswith("Invalid value: a c")  # a cursor is …, a code is …


async def test_unknown_objects_are_null(client: Client) -> None:
    found = await client.data(
        """{ agenda(id: "la-merced/2027-01-05/p-77") { id } person(id: "NOBODY") { id }
        patient(id: "NOBODY") { __typename }
        agendas(hospital: "nowhere", first: 10) { nodes { id } } hospitals(first: 10) { nodes { id } } }""".replace(
            "NOBODY", opaque("nobody")
        )
    )
    assert found == {
        "agenda": None,
        "person": None,
        "patient": None,
        "agendas": {"nodes": []},
        "hospitals": {"nodes": []},
    }


async def test_invalid_characters_are_not_stored(client: Client, core: Core) -> None:
    await open_agenda(core)
    odd = await client.ask("query($id: ID!) { agenda(id: $id) { id } }", id="\ud800")
    assert odd["errors"][0]["extensions"] == {"code": "invalid_input", "path": ["id"]}
    booked = await client.data(BOOK, input=wish(1, await registered(client, "1000001"), "b"))
    assert booked["errors"] == []
    name = {"idempotencyKey": "h", "hospital": "los-pinos", "name": "Los\0Pinos"}
    half = name | {"name": "Los\ud800Pinos"}
    assert await client.data(
        "mutation($input: RegisterHospitalInput!) { registerHospital(input: $input) { errors { code } } }", input=half
    ) == {"errors": [{"code": "invalid_input"}]}
    twice = [{"channel": "WEB", "limit": 1}, {"channel": "WEB", "limit": 5}]
    publish = {"idempotencyKey": "p", "hospital": "la-merced", "specialty": "s", "practitioner": "p", "slots": [],
               "date": "2027-01-05", "quotas": twice}  # fmt: skip
    assert (await client.data(PUBLISH, input=publish))["errors"][0]["path"] == ["quotas"]
    refused = await client.data(
        "mutation($input: RegisterHospitalInput!) { registerHospital(input: $input) { errors { path } } }", input=name
    )
    assert refused["errors"] == [{"path": ["name"]}]


@pytest.mark.parametrize("first", [0, -1, 101])
async def test_page_sizes_are_limited(client: Client, first: int) -> None:
    answer = await client.ask("query($n: Int!) { hospitals(first: $n) { nodes { id } } }", language="en", n=first)
    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "invalid_input", "path": ["first"]}
    assert error["message"] == "Invalid value: ask for 1 to 100 items per page."


CHECK_IN = f"""mutation ($input: CheckInInput!) {{
  checkIn(input: $input) {{ appointment {{ id slot state }} position {ERRORS} }} }}"""
MARK_NO_SHOW = f"""mutation ($input: MarkNoShowInput!) {{
  markNoShow(input: $input) {{ appointment {{ id slot state }} position {ERRORS} }} }}"""


async def test_check_ins_and_no_shows_are_shown(client: Client, core: Core, clock: Clock) -> None:
    await open_agenda(core)
    ana, luis = await registered(client, "1000001"), await registered(client, "1000002", "Luis")
    hers = {"appointment": (await client.data(BOOK, input=wish(1, ana, "b1")))["appointment"]["id"]}
    his = {"appointment": (await client.data(BOOK, input=wish(2, luis, "b2")))["appointment"]["id"]}
    early = await client.data(CHECK_IN, input={"idempotencyKey": "c0", **hers})
    assert [error["code"] for error in early["errors"]] == ["not_its_day"]
    assert early["appointment"] is None
    too_soon = await client.data(MARK_NO_SHOW, input={"idempotencyKey": "n0", **his})
    assert [error["code"] for error in too_soon["errors"]] == ["not_begun_yet"]

    clock.wait(24 * 3600 + 25 * 60)  # both began
    here = await client.data(CHECK_IN, input={"idempotencyKey": "c1", **hers})
    assert (here["errors"], here["appointment"]["state"]) == ([], "CHECKED_IN")
    missed = await client.data(MARK_NO_SHOW, input={"idempotencyKey": "n1", **his})
    assert (missed["errors"], missed["appointment"]["state"]) == ([], "NO_SHOW")
    assert int(missed["position"]) == await core.log.head() == int(here["position"]) + 1
    assert await client.data(MARK_NO_SHOW, input={"idempotencyKey": "n1", **his}) == missed
    for patient, state in ((ana, "CHECKED_IN"), (luis, "NO_SHOW")):
        seen = await client.data(APPOINTMENTS, id=patient, first=5)
        assert [node["state"] for node in seen["appointments"]["nodes"]] == [state]
    slots = (await client.data(SLOTS, id=AGENDA, first=3))["slots"]["nodes"]
    assert [slot["state"] for slot in slots] == ["BOOKED", "BOOKED", "FREE"]

    late = await client.data(CHECK_IN, input={"idempotencyKey": "c2", **his})
    assert (late["errors"], late["appointment"]["state"]) == ([], "CHECKED_IN")
    for name, operation in (("n2", MARK_NO_SHOW), ("r1", CANCEL)):
        refused = await client.data(operation, input={"idempotencyKey": name, **hers})
        assert [error["code"] for error in refused["errors"]] == ["checked_in_already"]


@pytest.mark.parametrize(
    ("appointment", "code"),
    [("la-merced", "invalid_input"), (f"{AGENDA}/{opaque('nobody')}", "appointment_unknown")],
)
async def test_attendance_of_an_unknown_appointment_is_refused(client: Client, appointment: str, code: str) -> None:
    for operation in (CHECK_IN, MARK_NO_SHOW):
        payload = await client.data(operation, input={"idempotencyKey": "k", "appointment": appointment})
        assert [(error["code"], error["path"]) for error in payload["errors"]] == [(code, ["appointment"])]
        assert (payload["appointment"], payload["position"]) == (None, None)
