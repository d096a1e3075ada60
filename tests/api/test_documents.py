"""People with other documents than an identity card, or with none, over the API."""

from typing import Any

import pytest

from infra.log.core import Core
from tests.api.conftest import Client
from tests.api.test_appointments import BOOK, registered, wish
from tests.city import open_agenda
from tests.towns import Town

pytestmark = pytest.mark.anyio

SHOWN = "person { id identity document country withoutDocument } errors { code path message }"
REGISTER = f"mutation($input: RegisterPersonInput!) {{ registerPerson(input: $input) {{ {SHOWN} }} }}"
WITHOUT = f"""mutation($input: RegisterPersonWithoutDocumentInput!) {{
  registerPersonWithoutDocument(input: $input) {{ {SHOWN} }}
}}"""
CORRECT = f"mutation($input: CorrectPersonInput!) {{ correctPerson(input: $input) {{ {SHOWN} }} }}"
ERASE = f"mutation($input: ErasePersonInput!) {{ erasePerson(input: $input) {{ {SHOWN} }} }}"
FIND = """query($identity: String!, $document: IdentityDocument! = CI, $country: String! = "") {
  personByIdentity(identity: $identity, document: $document, country: $country) { id }
}"""
JUAN = {"givenNames": " Juan ", "familyNames": "Pérez", "birthDate": "1990-05-17", "sex": "M"}
PASSPORT = {"identity": "ab-123456", "document": "PASSPORT", "country": "pe"}
DOCUMENTS: list[tuple[dict[str, str], str]] = [
    ({"identity": "e 1234567", "document": "FOREIGN_CI"}, "E-1234567"),
    (PASSPORT, "AB123456"),
    ({"identity": "20101/15/17", "document": "BIRTH_CERTIFICATE"}, "20101-15-17"),
]


def codes(payload: Any) -> list[tuple[str, list[str]]]:
    return [(error["code"], error["path"]) for error in payload["errors"]]


async def put(client: Client, mutation: str, key: str, **wanted: Any) -> Any:
    return await client.data(mutation, input={"idempotencyKey": key, **wanted})


@pytest.mark.parametrize(("document", "written"), DOCUMENTS)
async def test_a_person_is_registered_and_found_with_each_document(
    client: Client, document: dict[str, str], written: str
) -> None:
    made = await put(client, REGISTER, "r", **JUAN, **document)
    assert made["errors"] == []
    assert made["person"] == {
        "id": made["person"]["id"], "identity": written, "document": document["document"],
        "country": "PE" if document == PASSPORT else None, "withoutDocument": None,
    }  # fmt: skip
    assert await client.data(FIND, **document) == {"id": made["person"]["id"]}
    again = await put(client, REGISTER, "again", **JUAN, **document | {"identity": written})
    assert codes(again) == [("identity_taken", ["identity"])]


async def test_the_same_number_of_another_document_is_another_number(client: Client) -> None:
    number = "1234567"
    found = [
        await put(client, REGISTER, "ci", **JUAN, identity=number),
        await put(client, REGISTER, "e", **JUAN, identity=f"E-{number}", document="FOREIGN_CI"),
        *[
            await put(client, REGISTER, country, **JUAN, identity=number, document="PASSPORT", country=country)
            for country in ("PE", "AR")
        ],
        await put(client, REGISTER, "birth", **JUAN, identity=number, document="BIRTH_CERTIFICATE"),
    ]
    assert [one["errors"] for one in found] == [[]] * 5
    assert len({one["person"]["id"] for one in found}) == 5
    assert await client.data(FIND, identity=number, document="PASSPORT", country="CL") is None


@pytest.mark.parametrize(
    ("wrong", "path", "example"),
    [
        ({"identity": "E-1234567"}, ["identity"], "4820193-1A LP"),
        ({"identity": "1234567", "document": "FOREIGN_CI"}, ["identity"], "E-1234567"),
        ({"identity": "AB123456", "document": "PASSPORT"}, ["country"], "PE"),
        ({"identity": "AB123456", "document": "PASSPORT", "country": "XX"}, ["country"], "PE"),
        ({"identity": "1234567", "country": "BO"}, ["country"], "PE"),
        ({"identity": "AB", "document": "PASSPORT", "country": "PE"}, ["identity"], "AB123456"),
        ({"identity": "-", "document": "BIRTH_CERTIFICATE"}, ["identity"], "20101-15-17"),
    ],
)
async def test_an_invalid_document_is_refused_with_an_example(
    client: Client, wrong: dict[str, str], path: list[str], example: str
) -> None:
    refused = await put(client, REGISTER, "r", **JUAN, **wrong)
    assert codes(refused) == [("invalid_input", path)]
    assert example in refused["errors"][0]["message"]
    answer = await client.ask(FIND, **wrong)
    assert answer["errors"][0]["extensions"] == {"code": "invalid_input", "path": path}


async def test_a_newborn_is_registered_without_a_document_and_gets_one_later(client: Client, core: Core) -> None:
    await open_agenda(core)
    wanted = JUAN | {"birthDate": "2027-01-03"}
    made = await put(client, WITHOUT, "r", **wanted, reason="NEWBORN")
    person = made["person"]["id"]
    assert made["person"] == {
        "id": person, "identity": None, "document": None, "country": None, "withoutDocument": "NEWBORN",
    }  # fmt: skip
    assert await put(client, WITHOUT, "r", **wanted, reason="NEWBORN") == made
    other = await put(client, WITHOUT, "other", **wanted, reason="NEWBORN")
    assert other["person"]["id"] != person
    assert (await client.data(BOOK, input=wish(1, person, "b")))["errors"] == []
    born = {"identity": "20101-15-17", "document": "BIRTH_CERTIFICATE"}
    corrected = await put(client, CORRECT, "c", person=person, **born)
    assert corrected["person"] == {
        "id": person, "identity": "20101-15-17", "document": "BIRTH_CERTIFICATE", "country": None,
        "withoutDocument": None,
    }  # fmt: skip
    assert await client.data(FIND, **born) == {"id": person}
    card = await put(client, CORRECT, "card", person=person, identity="12345678")
    assert (card["person"]["document"], card["person"]["identity"]) == ("CI", "12345678")
    assert await client.data(FIND, **born) is None
    taken = await put(client, CORRECT, "taken", person=other["person"]["id"], identity="12345678")
    assert codes(taken) == [("identity_taken", ["identity"])]


async def test_a_document_is_corrected_with_its_number(client: Client) -> None:
    ana = await registered(client, "4820193")
    for key, half in (("d", {"document": "PASSPORT"}), ("c", {"country": "PE"})):
        assert codes(await put(client, CORRECT, key, person=ana, **half)) == [("invalid_input", ["identity"])]
    abroad = await put(client, CORRECT, "p", person=ana, **PASSPORT)
    assert (abroad["person"]["document"], abroad["person"]["country"]) == ("PASSPORT", "PE")
    assert await client.data(FIND, identity="4820193") is None


async def test_an_erased_person_s_document_is_gone(client: Client, town: Town) -> None:
    for key, mutation, more in (("one", REGISTER, PASSPORT), ("other", WITHOUT, {"reason": "LOST"})):
        made = await put(client, mutation, key, **JUAN, **more)
        erased = await put(client, ERASE, made["person"]["id"], person=made["person"]["id"])
        assert erased["person"] == {
            "id": made["person"]["id"], "identity": None, "document": None, "country": None, "withoutDocument": None,
        }  # fmt: skip
    assert await client.data(FIND, **PASSPORT) is None
    written = str(town.execute("SELECT convert_from(state, 'UTF8') FROM events"))
    assert not [word for word in ("AB123456", "PASSPORT", "LOST") if word in written]
