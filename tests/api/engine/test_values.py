"""Values that are not of their type: refused before anything is asked, in words and codes of ours."""

import itertools
from typing import Any

import pytest

from api.graphql.engine import values
from tests.api.conftest import Client
from tests.api.test_appointments import BOOK, PUBLISH, REGISTER, SLOTS

pytestmark = pytest.mark.anyio

ANA = {"idempotencyKey": "r", "identity": "4820193", "givenNames": "Ana", "familyNames": "Mamani",
       "birthDate": "1990-05-17", "sex": "F"}  # fmt: skip
WISH = {"idempotencyKey": "b", "agenda": "la-merced/2027-01-05/p-01", "slot": 1, "patient": "a" * 26}
AGENDA: dict[str, Any] = {
          "idempotencyKey": "p", "hospital": "la-merced", "specialty": "s", "practitioner": "p", "date": "2027-01-05",
          "slots": [{"start": "2027-01-05T08:00:00-04:00", "minutes": 5}]}  # fmt: skip


def slot(**changed: Any) -> dict[str, Any]:
    return {"slots": [AGENDA["slots"][0], AGENDA["slots"][0] | changed]}


def without(said: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key != name}


@pytest.mark.parametrize(
    ("query", "said", "path", "right"),
    [
        (REGISTER, ANA | {"birthDate": "2026-02-30"}, ["birthDate"], "a date that exists"),
        (REGISTER, ANA | {"birthDate": "19900517"}, ["birthDate"], "a date that exists"),
        (REGISTER, ANA | {"birthDate": 19900517}, ["birthDate"], "a date that exists"),
        (REGISTER, ANA | {"sex": "X"}, ["sex"], "one of F, M"),
        (REGISTER, ANA | {"givenNames": 5}, ["givenNames"], "`givenNames` must be of type `String!`"),
        (REGISTER, ANA | {"givenNames": None}, ["givenNames"], "`givenNames`, of type `String!`, is missing"),
        (REGISTER, without(ANA, "familyNames"), ["familyNames"], "`familyNames`, of type `String!`, is missing"),
        (REGISTER, ANA | {"surprise": 1}, ["surprise"], "there is no field `surprise`"),
        (REGISTER, "Ana", ["input"], "`$input` must be of type `RegisterPersonInput!`"),
        (REGISTER, None, ["input"], "`$input`, of type `RegisterPersonInput!`, is missing"),
        (BOOK, WISH | {"slot": 2**31}, ["slot"], "a whole number, from -2147483647 to 2147483647"),
        (BOOK, WISH | {"slot": 1.5}, ["slot"], "a whole number"),
        (BOOK, WISH | {"channel": "FAX"}, ["channel"], "one of WEB, PHONE, WINDOW, ASSISTED"),
        (PUBLISH, AGENDA | slot(start="2027-01-05T08:00:00"), ["slots", "1", "start"], "ISO 8601 with its UTC offset"),
        (PUBLISH, AGENDA | slot(start=True), ["slots", "1", "start"], "ISO 8601 with its UTC offset"),
        (PUBLISH, AGENDA | slot(start="0001-01-01T00:00:00+14:00"), ["slots", "1", "start"], "ISO 8601"),
        (PUBLISH, AGENDA | slot(minutes="x"), ["slots", "1", "minutes"], "a whole number"),
        (PUBLISH, AGENDA | {"quotas": [{"channel": "FAX", "limit": 1}]}, ["quotas", "0", "channel"], "one of WEB"),
        (
            PUBLISH,
            AGENDA | {"quotas": {"channel": "WEB"}},
            ["quotas", "limit"],
            "`quotas.limit`, of type `Int!`, is missing",
        ),  # a list of one
        (PUBLISH, AGENDA | {"releaseAt": "tomorrow"}, ["releaseAt"], "ISO 8601"),
    ],
)
async def test_a_wrong_value_of_a_variable_is_named_in_the_client_s_language(
    client: Client, query: str, said: Any, path: list[str], right: str
) -> None:
    answers = [await client.ask(query, language=language, input=said) for language in ("en", "es")]
    for answer in answers:
        assert answer.get("data") is None
        (error,) = answer["errors"]
        assert error["extensions"] == {"code": "invalid_input", "path": path}
    english, spanish = (answer["errors"][0]["message"] for answer in answers)
    assert english.startswith("Invalid value: ")
    assert right in english
    assert spanish.startswith("Dato no válido: ")


@pytest.mark.parametrize(
    ("value", "path", "right"),
    [
        ('registerPerson(input: {birthDate: "2026-02-30", idempotencyKey: "r", identity: "4820193", givenNames: "A",'
         ' familyNames: "M", sex: F}) { position }', ["birthDate"], "una fecha que exista"),
        ('bookAppointment(input: {idempotencyKey: "b", agenda: "a", slot: 2147483648, patient: "p"}) { position }',
         ["slot"], "un número entero"),
        ('bookAppointment(input: {idempotencyKey: "b", agenda: "a", slot: 1, patient: "p", channel: FAX})'
         ' { position }', ["channel"], "uno de WEB, PHONE, WINDOW, ASSISTED"),
        ('bookAppointment(input: {idempotencyKey: "b", agenda: "a", slot: 1}) { position }',
         ["patient"], "falta `patient`, de tipo `ID!`"),
        ('publishAgenda(input: {idempotencyKey: "k", hospital: "h", specialty: "s", practitioner: "p",'
         ' date: "2027-01-05", slots: [{start: "2027-01-05T08:00:00", minutes: 1}]}) { position }',
         ["slots", "0", "start"], "con su diferencia horaria"),
    ],
)  # fmt: skip
async def test_a_wrong_value_in_a_document_is_named(client: Client, value: str, path: list[str], right: str) -> None:
    answer = await client.ask(f"mutation {{ {value} }}")
    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "invalid_input", "path": path}
    assert error["message"].startswith("Dato no válido: ")
    assert right in error["message"]
    assert error["locations"][0]["line"] == 1


async def test_a_wrong_argument_is_named(client: Client) -> None:
    (error,) = (await client.ask("{ hospitals(first: 2147483648) { nodes { id } } }"))["errors"]
    assert error["extensions"] == {"code": "invalid_input", "path": ["first"]}
    (error,) = (await client.ask("query($n: Int! = true) { hospitals(first: $n) { nodes { id } } }"))["errors"]
    assert error["extensions"] == {"code": "invalid_input", "path": ["n"]}
    answer = await client.ask(SLOTS, id="x", state="GONE")
    assert [error["extensions"]["path"] for error in answer["errors"]] == [["state"], ["first"]]


async def test_all_wrong_values_are_reported_with_their_paths(client: Client) -> None:
    query = """mutation($person: RegisterPersonInput!, $visit: BookAppointmentInput!) {
      registerPerson(input: $person) { position } bookAppointment(input: $visit) { position } }"""
    person = ANA | {"birthDate": "x", "sex": "X", "surprise": 1}
    answer = await client.ask(query, person=person, visit=WISH | {"slot": "x"})
    paths = [error["extensions"]["path"] for error in answer["errors"]]
    assert paths == [["birthDate"], ["sex"], ["surprise"], ["slot"]]
    assert "M" in answer["errors"][1]["message"]


async def test_missing_and_unknown_fields_are_named_at_any_depth(client: Client) -> None:
    slots = [{"surprise": 1, "minutes": "x", "more": 2}, {"minutes": 5}, "none", None]
    wrong = [["slots", "0", "start"], ["slots", "0", "minutes"], ["slots", "0", "surprise"], ["slots", "0", "more"],
             ["slots", "1", "start"], ["slots", "2"], ["slots", "3"], ["odd"]]  # fmt: skip
    answer = await client.ask(PUBLISH, input=AGENDA | {"slots": slots, "odd": 1})
    assert [error["extensions"]["path"] for error in answer["errors"]] == wrong
    literal = """mutation { publishAgenda(input: {idempotencyKey: "k", hospital: "h", specialty: "s", practitioner: "p",
      date: "2027-01-05", odd: 1, slots: [{surprise: 1, minutes: "x", more: 2}, {minutes: 5}, "none", null]}) {
      position } }"""
    answer = await client.ask(literal)
    assert [error["extensions"]["path"] for error in answer["errors"]] == wrong


HOSPITALS = "query($first: Int!) { hospitals(first: $first) { nodes { name } } }"


@pytest.mark.parametrize(
    ("query", "variables", "name", "kind"),
    [
        ("{ hospital { name } }", {}, "code", "String!"),
        ("{ hospital(code: null) { name } }", {}, "code", "String!"),
        (HOSPITALS, {}, "$first", "Int!"),
        (HOSPITALS, {"first": None}, "$first", "Int!"),
    ],
)
async def test_a_missing_argument_or_variable_is_named_in_the_message(
    client: Client, query: str, variables: dict[str, Any], name: str, kind: str
) -> None:
    for language, message in (
        ("es", f"Dato no válido: falta `{name}`, de tipo `{kind}`."),
        ("en", f"Invalid value: `{name}`, of type `{kind}`, is missing."),
    ):
        (error,) = (await client.ask(query, language=language, **variables))["errors"]
        assert error["message"] == message
        assert error["extensions"] == {"code": "invalid_input", "path": [name.lstrip("$")]}


async def test_the_number_of_reported_values_is_limited(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_for = itertools.count()
    refusal = values._Value.refusal
    monkeypatch.setattr(values._Value, "refusal", lambda *about: next(looked_for) < 0 or refusal(*about))
    answer = await client.ask(PUBLISH, input=AGENDA | {"slots": [{}] * 5_000}, language="en")
    assert next(looked_for) == values.WRONG_VALUES_MAX
    *told, stopped = [error["extensions"] for error in answer["errors"]]
    assert len(told) == values.WRONG_VALUES_MAX
    assert told[0] == {"code": "invalid_input", "path": ["slots", "0", "start"]}
    assert told[-1] == {"code": "invalid_input", "path": ["slots", "24", "minutes"]}
    assert stopped == {"code": "variables_not_checked"}
