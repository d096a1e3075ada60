"""Registering, finding, correcting and erasing people over the API."""

import pytest

from domain.decider import build
from domain.people import ErasePerson
from infra.log.batch import Appended, Batch, Conflict
from infra.log.committer import Committer
from infra.log.core import Core
from infra.log.submission import Outcome
from tests.api.conftest import Client
from tests.api.test_appointments import BOOK, REGISTER, registered, wish
from tests.city import key, open_agenda

pytestmark = pytest.mark.anyio

FIND = "query($identity: String!) { personByIdentity(identity: $identity) { id identity givenNames erased } }"
ERASE = """mutation($input: ErasePersonInput!) {
  erasePerson(input: $input) { person { id erased identity givenNames birthDate sex } position errors { code path } }
}"""
CORRECT = """mutation($input: CorrectPersonInput!) {
  correctPerson(input: $input) {
    person { id identity givenNames familyNames birthDate sex phone } position errors { code path }
  }
}"""


async def test_a_person_is_found_by_identity_number_however_it_is_spelt(client: Client) -> None:
    ana = await registered(client, "4820193-1a lp")
    for spelling in ("4820193-1A", "48201931A", " 4.820.193-1A LP"):
        found = await client.data(FIND, identity=spelling)
        assert found == {"id": ana, "identity": "4820193-1A LP", "givenNames": "Ana", "erased": False}
    assert await client.data(FIND, identity="4820193") is None


async def test_leading_zeros_do_not_distinguish_persons(client: Client) -> None:
    ana = await registered(client, "4820193 LP")
    assert (await client.data(FIND, identity="0004820193"))["id"] == ana
    again = {"idempotencyKey": "again", "identity": "04820193", "givenNames": "Ana", "familyNames": "Mamani",
             "birthDate": "1990-05-17", "sex": "F"}  # fmt: skip
    assert (await client.data(REGISTER, input=again))["errors"][0]["code"] == "identity_taken"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"givenNames": "\u200b"}, ["givenNames"]),
        ({"familyNames": "Quispe\u2028Mamani"}, ["familyNames"]),
        ({"familyNames": "Quispe\u0085Mamani"}, ["familyNames"]),
        ({"email": "\u0000\u001b[31m@x"}, ["email"]),
        ({"phone": "\u200b71234567"}, ["phone"]),
    ],
)
async def test_invisible_characters_are_refused(client: Client, change: dict[str, str], path: list[str]) -> None:
    said = {"idempotencyKey": "r", "identity": "4820193", "givenNames": "Ana", "familyNames": "Mamani",
            "birthDate": "1990-05-17", "sex": "F"}  # fmt: skip
    (error,) = (await client.data(REGISTER, input=said | change))["errors"]
    assert (error["code"], error["path"]) == ("invalid_input", path)


async def test_an_invalid_identity_number_is_refused_with_an_example(client: Client) -> None:
    answer = await client.ask(FIND, identity="LP-x")
    assert answer["data"] == {"personByIdentity": None}
    assert "4820193-1A LP" in answer["errors"][0]["message"]


async def test_an_erased_person_is_gone_and_bookings_stay(client: Client, core: Core) -> None:
    await open_agenda(core)
    ana = await registered(client, "4820193")
    booked = await client.data(BOOK, input=wish(1, ana, "b"))
    erased = await client.data(ERASE, input={"idempotencyKey": "e", "person": ana})
    assert erased["person"] == {
        "id": ana, "erased": True, "identity": None, "givenNames": None, "birthDate": None, "sex": None,
    }  # fmt: skip
    assert await client.data(FIND, identity="4820193") is None
    assert (await client.data(BOOK, input=wish(2, ana, "b2")))["errors"][0]["code"] == "person_unknown"
    assert (await client.data(BOOK, input=wish(2, ana, "b")))["errors"][0]["code"] == "person_unknown"
    assert await client.data(BOOK, input=wish(1, ana, "b")) == booked
    seen = await client.data("query($id: ID!) { patient(id: $id) { appointments(first: 1) { nodes { id } } } }", id=ana)
    assert seen["appointments"]["nodes"] == [{"id": booked["appointment"]["id"]}]


async def test_an_erasure_by_another_process_refuses_a_booking_in_flight(
    client: Client, core: Core, other_committer: Committer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    ana = await registered(client, "4820193")
    append = core.log.append
    erased: list[Outcome] = []

    async def append_late(batch: Batch) -> Appended | Conflict:
        if not erased:
            erased.append(await other_committer.submit(build(ErasePerson, person=ana), key("e")))
        return await append(batch)

    monkeypatch.setattr(core.log, "append", append_late)
    refused = await client.data(BOOK, input=wish(1, ana, "b"))
    assert (refused["appointment"], refused["errors"][0]["code"]) == (None, "person_unknown")
    assert await core.log.head() == erased[0].position


async def test_an_unknown_person_cannot_be_erased(client: Client) -> None:
    answer = await client.data(ERASE, input={"idempotencyKey": "e", "person": "a" * 26})
    assert answer["errors"] == [{"code": "person_unknown", "path": ["person"]}]


async def test_a_corrected_person_is_found_only_by_the_new_number(client: Client) -> None:
    ana = await registered(client, "4820193 LP")
    said = {"idempotencyKey": "c", "person": ana, "identity": "04820194", "givenNames": " Ana María ", "phone": None}
    corrected = await client.data(CORRECT, input=said)
    assert corrected["errors"] == []
    assert corrected["person"] == {
        "id": ana, "identity": "4820194", "givenNames": "Ana María", "familyNames": "Mamani",
        "birthDate": "1990-05-17", "sex": "F", "phone": "",
    }  # fmt: skip
    assert await client.data(CORRECT, input=said) == corrected
    assert (await client.data(FIND, identity="4820194"))["id"] == ana
    assert await client.data(FIND, identity="4820193") is None
    luis = await registered(client, "4820193", "Luis")
    assert (await client.data(FIND, identity="4820193"))["id"] == luis
    await client.data(ERASE, input={"idempotencyKey": "e", "person": ana})
    assert await client.data(FIND, identity="4820194") is None
    shown = await client.data("query($id: ID!) { person(id: $id) { erased identity givenNames } }", id=ana)
    assert shown == {"erased": True, "identity": None, "givenNames": None}


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"identity": "LP-x"}, "invalid_input", ["identity"]),
        ({"identity": "4820195"}, "identity_taken", ["identity"]),
        ({"givenNames": " "}, "invalid_input", ["givenNames"]),
        ({"phone": "seven"}, "invalid_input", ["phone"]),
        ({"birthDate": "2027-01-05"}, "invalid_input", ["birthDate"]),
        ({"person": "a" * 26, "sex": "M"}, "person_unknown", ["person"]),
    ],
)
async def test_a_wrong_correction_changes_nothing(
    client: Client, change: dict[str, str], code: str, path: list[str]
) -> None:
    ana = await registered(client, "4820193")
    await registered(client, "4820195", "Luis")
    answer = await client.data(CORRECT, input={"idempotencyKey": "c", "person": ana} | change)
    assert answer["errors"] == [{"code": code, "path": path}]
    assert (await client.data(FIND, identity="4820193"))["givenNames"] == "Ana"
