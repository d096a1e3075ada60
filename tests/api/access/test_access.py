"""What actors may do and see: citizens, guardians, and those who work for the city."""

import re
from datetime import date
from typing import Any

import msgspec
import pytest

from api.access.identity import Role
from infra.gateways.keys import Login
from infra.log.core import Core
from tests.api.access.actors import (
    BOOK,
    CANCEL,
    CI,
    CONFIRM,
    CORRECT,
    DECLARE,
    END,
    ERASE,
    HOLD,
    LOGINS,
    OFFICER,
    OFFICES,
    OTHER_AGENDA,
    REGISTER,
    codes,
    hospitals,
    visit,
)
from tests.api.conftest import Client
from tests.city import AGENDA, booking, hospital, key, opaque, person
from tests.conftest import Clock
from tests.towns import Town


@pytest.mark.anyio
async def test_a_clerk_sees_a_patient_s_data_of_their_hospital(client: Client, people: None, core: Core) -> None:
    document = """query ($id: ID!) { patient(id: $id) {
        holds { agenda { id } } appointments(first: 9) { nodes { hospital { code } } } }
      appointments(patient: $id, first: 9) { nodes { hospital { code } } } }"""
    for where in (AGENDA, OTHER_AGENDA):
        wanted = {"idempotencyKey": where, "agenda": where, "slot": 6, "patient": opaque("Eva")}
        assert not (await client.data(HOLD, input=wanted | {"slot": 5 if where == AGENDA else 6}))["errors"]
    seen = {}
    for role in ("developer", "hospital_clerk"):
        client.act_as(LOGINS[role])
        ana, eva = [await client.data(document, id=opaque(name)) for name in ("Ana", "Eva")]
        assert ana["patient"]["appointments"] == ana["appointments"]
        visits = {one["hospital"]["code"] for one in ana["appointments"]["nodes"]}
        seen[role] = visits, {one["agenda"]["id"] for one in eva["patient"]["holds"]}
    assert seen["developer"] == ({"la-merced", "san-juan"}, {AGENDA, OTHER_AGENDA})
    assert seen["hospital_clerk"] == ({"la-merced"}, {AGENDA})


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("role", "channel", "code"),
    [
        ("citizen", "WEB", ""),
        ("citizen", "WINDOW", "forbidden"),
        ("hospital_clerk", "WEB", "forbidden"),
        ("hospital_clerk", "PHONE", ""),
    ],
)
async def test_each_role_books_through_its_channels(client: Client, role: Role, channel: str, code: str) -> None:
    client.act_as(LOGINS[role])
    wanted = {"idempotencyKey": "k", "agenda": AGENDA, "slot": 1, "patient": opaque("Ana"), "channel": channel}
    refused = (await client.data(BOOK, input=wanted))["errors"]
    assert [error["code"] for error in refused] == ([code] if code else ["slot_taken"])


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_the_log_records_the_actor(client: Client, town: Town) -> None:
    logins = {
        "Eva": Login(subject="eva", identity=CI["Eva"], client="phone-app"),
        "Juan": Login(subject="rosa", roles=["hospital_clerk"], hospitals=["la-merced"], client="window"),
    }
    for slot, (name, login) in enumerate(logins.items(), start=5):
        client.act_as(login)
        wanted = {"idempotencyKey": "k", "agenda": AGENDA, "slot": slot, "patient": opaque(name)}
        assert not (await client.data(HOLD, input=wanted))["errors"]
    said = town.execute("SELECT actor FROM event_log WHERE event = 'hold_taken.v1' ORDER BY position")
    (citizen,), (clerk,) = said
    assert clerk == "hospital_clerk rosa window"
    assert re.fullmatch(rf"citizen:{opaque('Eva')} [a-z2-7]{{26}} phone-app", str(citizen))


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_staff_acting_as_citizens_are_logged_as_citizens(client: Client, town: Town) -> None:
    client.act_as(Login(subject="rosa@city.bo", roles=["hospital_clerk"], hospitals=["la-merced"], identity=CI["Eva"]))
    for slot, name in ((5, "Eva"), (6, "Juan")):
        wanted = {"idempotencyKey": name, "agenda": AGENDA, "slot": slot, "patient": opaque(name)}
        assert not (await client.data(HOLD, input=wanted))["errors"]
    (private,), (at_work,) = town.execute("SELECT actor FROM event_log WHERE event = 'hold_taken.v1' ORDER BY position")
    assert re.fullmatch(rf"citizen:{opaque('Eva')} [a-z2-7]{{26}} -", str(private))
    assert at_work == "hospital_clerk rosa@city.bo -"


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        (ERASE, {"person": opaque("Ana")}),
        (CANCEL, {"appointment": visit("Ana", AGENDA).appointment}),
        (HOLD, {"agenda": AGENDA, "slot": 5, "patient": opaque("Ana")}),
    ],
)
async def test_a_corrected_number_ends_the_former_access(
    client: Client, core: Core, document: str, wanted: dict[str, Any]
) -> None:
    client.act_as(LOGINS["citizen"])
    token = client.http.headers["authorization"]
    shown = "query ($id: ID!) { person(id: $id) { givenNames } }"
    assert await client.data(shown, id=opaque("Ana")) == {"givenNames": "Ana"}
    client.act_as(LOGINS["developer"])
    new = {"idempotencyKey": "c", "person": opaque("Ana"), "identity": "8888888"}
    assert (await client.data(CORRECT, input=new))["errors"] == []
    before = await core.log.head()
    client.http.headers["authorization"] = token
    refused = (await client.data(document, input={"idempotencyKey": "k", **wanted}))["errors"]
    assert ([error["code"] for error in refused], await core.log.head()) == (["forbidden"], before)


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_an_erased_person_is_not_logged_as_the_former_one(client: Client, town: Town) -> None:
    client.act_as(Login(subject="eva", identity=CI["Eva"]))
    assert (await client.data(ERASE, input={"idempotencyKey": "e", "person": opaque("Eva")}))["errors"] == []
    wanted = {"idempotencyKey": "k", "identity": CI["Eva"], "givenNames": "Eva", "familyNames": "Q",
              "birthDate": "1990-05-17", "sex": "F"}  # fmt: skip
    new = (await client.data(REGISTER, input=wanted))["person"]["id"]
    held = {"idempotencyKey": "h", "agenda": AGENDA, "slot": 5, "patient": new}
    assert (await client.data(HOLD, input=held))["errors"] == []
    said = town.execute("SELECT event, actor FROM event_log ORDER BY position DESC LIMIT 4")
    logged = {str(event): str(actor).split()[0] for event, actor in said}
    assert (logged["hold_taken.v1"], logged["person_registered.v1"]) == (f"citizen:{new}", "citizen")


@pytest.mark.anyio
async def test_a_login_named_like_a_program_part_has_its_own_keys(client: Client, core: Core) -> None:
    await core.committer.submit(hospital("la-merced"), key("k", actor="import"))
    client.act_as(Login(subject="import", roles=["administrator"]))
    document = "mutation ($input: RegisterHospitalInput!) { registerHospital(input: $input) { errors { code } } }"
    wanted = {"idempotencyKey": "k", "hospital": "san-juan", "name": "Hospital san-juan"}
    assert (await client.data(document, input=wanted))["errors"] == []


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_keys_of_different_logins_are_independent(client: Client) -> None:
    wanted = {"idempotencyKey": "k", "agenda": AGENDA, "slot": 5}
    client.act_as(Login(subject="eva", identity=CI["Eva"]))
    first = await client.data(HOLD, input=wanted | {"patient": opaque("Eva")})
    client.act_as(Login(subject="juan", identity=CI["Juan"]))
    second = await client.data(HOLD, input=wanted | {"patient": opaque("Juan")})
    assert (first["errors"], [error["code"] for error in second["errors"]]) == ([], ["slot_taken"])


@pytest.mark.anyio
async def test_a_citizen_can_register_themselves(client: Client) -> None:
    client.act_as(Login(subject="rita", identity="9000001"))
    wanted = {"idempotencyKey": "k", "identity": "9000001 LP", "givenNames": "Rita", "familyNames": "Quispe",
              "birthDate": "1990-05-17", "sex": "F"}  # fmt: skip
    made = await client.data(REGISTER, input=wanted)
    assert made["errors"] == []
    assert (await client.data("query ($id: ID!) { person(id: $id) { givenNames } }", id=made["person"]["id"])) == {
        "givenNames": "Rita"
    }


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_a_guardian_acts_from_confirmation_to_the_18th_birthday(client: Client, core: Core, clock: Clock) -> None:
    child = msgspec.structs.replace(person("Sol", core, ci="9100001"), birth_date=date(2009, 1, 8))
    await core.committer.submit(child, key("Sol"))
    pair = {"guardian": opaque("Eva"), "dependant": opaque("Sol")}
    eva = Login(subject="eva", identity=CI["Eva"])

    async def booked(slot: int, login: Login = eva) -> list[str]:
        return await codes(client, login, HOLD, {"agenda": AGENDA, "slot": slot, "patient": opaque("Sol")})

    assert await booked(5) == ["forbidden"]
    assert await codes(client, Login(subject="juan", identity=CI["Juan"]), DECLARE, pair | {"relation": "MINOR"}) == [
        "forbidden"
    ]
    assert await codes(client, eva, DECLARE, pair | {"relation": "MINOR"}) == []
    assert await booked(5) == ["forbidden"]
    assert await codes(client, eva, CONFIRM, pair | {"relation": "MINOR"}) == ["forbidden"]
    assert await codes(client, OFFICER, CONFIRM, pair | {"relation": "MINOR"}) == []
    assert await booked(5, Login(subject="juan", identity=CI["Juan"])) == ["forbidden"]
    assert await booked(5) == []
    assert (await client.data("query ($id: ID!) { person(id: $id) { givenNames } }", id=opaque("Sol"))) == {
        "givenNames": "Sol"
    }
    clock.wait(4 * 86_400)  # it is the 8th
    assert await booked(5) == ["forbidden"]


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(("field", "code"), [("phone", ""), ("identity", "forbidden"), ("birthDate", "forbidden")])
async def test_citizens_correct_only_their_contacts(client: Client, field: str, code: str) -> None:
    client.act_as(LOGINS["citizen"])
    new = {"phone": "70000001", "identity": "8000009", "birthDate": "1991-01-01"}[field]
    wanted = {"idempotencyKey": "k", "person": opaque("Ana"), field: new}
    assert [error["code"] for error in (await client.data(CORRECT, input=wanted))["errors"]] == ([code] if code else [])


@pytest.mark.anyio
async def test_a_citizen_registers_with_the_document_of_their_login_alone(client: Client) -> None:
    person = {"givenNames": "Juan", "familyNames": "Pérez", "birthDate": "1990-05-17", "sex": "M"}
    foreigner, citizen = Login(subject="juan", identity="E-1234567"), Login(subject="ana", identity="1234567")
    number = {"identity": "1234567"}
    passport = number | {"document": "PASSPORT", "country": "PE"}
    birth = number | {"document": "BIRTH_CERTIFICATE"}
    foreign = {"identity": "e-1234567", "document": "FOREIGN_CI"}
    for login, wanted in ((foreigner, number), (citizen, foreign), (citizen, passport), (citizen, birth)):
        assert await codes(client, login, REGISTER, person | wanted) == ["forbidden"]
    assert await codes(client, foreigner, REGISTER, person | foreign) == []
    assert await codes(client, citizen, REGISTER, person | number) == []


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_no_officer_assigns_their_own_foreigner_s_number(client: Client) -> None:
    own = {"person": opaque("Ana"), "identity": "e 1231231", "document": "FOREIGN_CI"}
    for role in OFFICES:
        officer = Login(subject="o", roles=[role], identity="E-1231231")
        assert await codes(client, officer, CORRECT, own) == ["forbidden"]
        assert await codes(client, officer, CORRECT, {"person": opaque("Ana"), "document": "PASSPORT"}) == ["forbidden"]
        assert await codes(client, officer, CORRECT, own | {"identity": "E-1231232"}) == []
    clerk = Login(subject="c", roles=["counter_clerk"])
    assert await codes(client, clerk, CORRECT, {"person": opaque("Ana"), "country": "PE"}) == ["forbidden"]


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_no_officer_assigns_their_own_number(client: Client) -> None:
    """Whoever bears it is that person, with all their appointments and their right to be forgotten."""
    own, new = {"person": opaque("Ana"), "identity": "1231231"}, {"person": opaque("Ana"), "identity": "8000003"}
    contact = {"person": opaque("Ana"), "phone": "70000001"}
    for role in ("hospital_clerk", "counter_clerk"):
        clerk = Login(subject="c", roles=[role], hospitals=["la-merced"], identity="1231231")
        assert [await codes(client, clerk, CORRECT, wanted) for wanted in (own, new)] == [["forbidden"]] * 2
        assert await codes(client, clerk, CORRECT, contact | {"givenNames": "Anita"}) == []
    for role in OFFICES:
        officer = Login(subject="o", roles=[role], identity="1231231 LP")
        for wanted in (own, contact, new | {"phone": "70000001"}, {"person": opaque("Ana")}):
            assert await codes(client, officer, CORRECT, wanted) == ["forbidden"]
        assert await codes(client, officer, CORRECT, new) == []
        assert await codes(client, officer, CORRECT, new | {"identity": "none"}) == ["invalid_input"]
        assert await codes(client, officer, ERASE, {"person": opaque("Ana")}) == (
            [] if role == "administrator" else ["forbidden"]
        )


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_an_officer_confirms_no_dependency_of_their_own(client: Client) -> None:
    pair = {"guardian": opaque("Ana"), "dependant": opaque("Eva"), "relation": "CARE"}
    for name, code in (("Ana", ["forbidden"]), ("Eva", ["forbidden"]), ("Juan", [])):
        officer = Login(subject=f"o-{name}", roles=["procedures_officer"], identity=CI[name])
        assert await codes(client, officer, CONFIRM, pair) == code


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_an_officer_confirms_no_dependency_of_the_same_login(client: Client) -> None:
    both = Login(subject="both", roles=["counter_clerk", "procedures_officer"])
    pair = {"guardian": opaque("Juan"), "dependant": opaque("Eva"), "relation": "CARE"}
    assert await codes(client, both, DECLARE, pair) == []
    assert await codes(client, both, CONFIRM, pair) == ["declared_by_yourself"]
    assert await codes(client, OFFICER, CONFIRM, pair) == []


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_an_erased_person_has_no_guardian(client: Client) -> None:
    ana = Login(subject="ana", identity=CI["Ana"])
    luis = Login(subject="luis", identity=CI["Luis"])
    pair = {"guardian": opaque("Luis"), "dependant": opaque("Ana"), "relation": "CARE"}
    assert await codes(client, luis, DECLARE, pair) == []
    assert await codes(client, OFFICER, CONFIRM, pair) == []
    cancelled = {"appointment": visit("Ana", AGENDA).appointment}
    assert await hospitals(client, luis, "Ana") == [{"la-merced", "san-juan"}]
    assert await codes(client, ana, ERASE, {"person": opaque("Ana")}) == []
    client.act_as(luis)
    answer = await client.ask("query ($id: ID!) { patient(id: $id) { __typename } }", id=opaque("Ana"))
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["forbidden"]
    assert await codes(client, luis, CANCEL, cancelled) == ["forbidden"]


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_a_corrected_birth_date_can_end_a_guardianship(client: Client, core: Core) -> None:
    child = msgspec.structs.replace(person("Sol", core, ci="9100001"), birth_date=date(2015, 1, 8))
    await core.committer.submit(child, key("Sol"))
    eva = Login(subject="eva", identity=CI["Eva"])
    wanted = {"guardian": opaque("Eva"), "dependant": opaque("Sol"), "relation": "MINOR"}
    assert await codes(client, eva, DECLARE, wanted) + await codes(client, OFFICER, CONFIRM, wanted) == []
    assert await hospitals(client, eva, "Sol") == [set()]
    clerk = Login(subject="c", roles=["counter_clerk"])
    assert await codes(client, clerk, CORRECT, {"person": opaque("Sol"), "birthDate": "2005-01-08"}) == []
    hold = {"agenda": AGENDA, "slot": 5, "patient": opaque("Sol")}
    assert await codes(client, eva, HOLD, hold) == ["forbidden"]


@pytest.mark.anyio
async def test_a_repeated_registration_shows_no_other_person(client: Client) -> None:
    rita = Login(subject="rita", identity="9000001")
    wanted = {"idempotencyKey": "k", "identity": "9000001", "givenNames": "Rita", "familyNames": "Quispe",
              "birthDate": "1990-05-17", "sex": "F"}  # fmt: skip
    client.act_as(rita)
    made = await client.data(REGISTER, input=wanted)
    assert await client.data(REGISTER, input=wanted) == made
    number = {"person": made["person"]["id"], "identity": "7777777"}
    assert await codes(client, OFFICER, CORRECT, number) == []
    client.act_as(rita)
    assert await client.data(REGISTER, input=wanted) == {"person": None, "errors": []}


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_a_refusal_hides_other_hospitals_from_a_clerk(client: Client, core: Core) -> None:
    document = """mutation ($input: HoldSlotInput!) { holdSlot(input: $input) {
      errors { __typename code ... on VisitConflict { appointment { id } } } } }"""
    elsewhere = booking(5, "Eva", agenda=OTHER_AGENDA)
    await core.committer.submit(elsewhere, key("Eva at San Juan"))
    told = {}
    for role in ("hospital_clerk", "developer"):
        client.act_as(LOGINS[role])
        wanted = {"idempotencyKey": "k", "agenda": AGENDA, "slot": 5, "patient": opaque("Eva")}
        (told[role],) = (await client.data(document, input=wanted))["errors"]
    assert told["hospital_clerk"] == {"__typename": "Refused", "code": "visits_overlap"}
    assert told["developer"] == {
        "__typename": "VisitConflict", "code": "visits_overlap", "appointment": {"id": elsewhere.appointment},
    }  # fmt: skip


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_a_refusal_shows_a_clerk_their_own_hospital(client: Client) -> None:
    document = """mutation ($input: BookAppointmentInput!) { bookAppointment(input: $input) {
      errors { code ... on VisitConflict { appointment { id } } } } }"""
    client.act_as(LOGINS["hospital_clerk"])
    wanted = {"agenda": AGENDA, "slot": 5, "patient": opaque("Ana"), "channel": "WINDOW"}
    assert (await client.data(document, input={"idempotencyKey": "k", **wanted}))["errors"] == [
        {"code": "already_seen_here", "appointment": {"id": visit("Ana", AGENDA).appointment}}
    ]


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("login", "reason", "code"),
    [
        (LOGINS["citizen"], "AUTHORITY", ["forbidden"]),
        (LOGINS["citizen"], "GUARDIAN", []),
        (Login(subject="eva", identity=CI["Eva"]), "AUTHORITY", ["forbidden"]),
        (Login(subject="eva", identity=CI["Eva"]), "DEPENDANT", []),
        (OFFICER, "AUTHORITY", []),
    ],
)
async def test_a_citizen_cannot_act_as_an_authority(client: Client, login: Login, reason: str, code: list[str]) -> None:
    pair = {"guardian": opaque("Ana"), "dependant": opaque("Eva")}
    assert await codes(client, login, END, pair | {"reason": reason}) == code


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_a_clerk_who_is_a_citizen_has_both_rights(client: Client) -> None:
    both = Login(subject="b", roles=["hospital_clerk"], identity=CI["Ana"], hospitals=["la-merced"])
    all_of_them = {"la-merced", "san-juan"}
    assert await hospitals(client, both, *["Ana", "Luis"] * 4) == [all_of_them, {"la-merced"}] * 4
    hold = {"agenda": OTHER_AGENDA, "slot": 5}
    assert await codes(client, both, HOLD, hold | {"patient": opaque("Luis")}) == ["forbidden"]
    assert await codes(client, both, HOLD, hold | {"patient": opaque("Ana")}) == ["already_seen_here"]
    for channel, name, code in (
        ("WEB", "Luis", "forbidden"),
        ("WEB", "Ana", "slot_taken"),
        ("PHONE", "Luis", "slot_taken"),
    ):
        wanted = {"agenda": AGENDA, "slot": 1, "patient": opaque(name), "channel": channel}
        assert await codes(client, both, BOOK, wanted) == [code]
    assert await codes(client, both, CORRECT, {"person": opaque("Ana"), "identity": "8000004"}) == ["forbidden"]
    assert await codes(client, both, ERASE, {"person": opaque("Luis")}) == ["forbidden"]
