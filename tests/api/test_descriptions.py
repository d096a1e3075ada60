"""The schema's descriptions in Spanish: the catalogue, and introspection in the client's language."""

import re
from typing import Any

import polib
import pytest
from graphql import build_schema, get_introspection_query

from api.descriptions import descriptions, read, untranslated, updated
from api.graphql.schema import schema
from tests.api.conftest import Client

CODE = re.compile(r"`[^`]+`")


def catalogue(**entries: str) -> polib.POFile:
    """A catalogue with these texts, whose keys have _ for a space."""
    made = polib.POFile()
    made.extend(polib.POEntry(msgid=key.replace("_", " "), msgstr=text) for key, text in entries.items())
    return made


def test_a_new_text_is_added_and_one_that_is_gone_is_removed() -> None:
    old = catalogue(The_line="", An_old_text_of_another_kind="Un texto anterior")
    new = updated(old, {"The line": "Line", "Its number": "Turn.number"})
    assert [(entry.msgid, entry.msgstr, entry.comment) for entry in new] == [
        ("The line", "", "Line"),
        ("Its number", "", "Turn.number"),
    ]


def test_a_changed_text_keeps_its_translation_until_somebody_corrects_it() -> None:
    old = catalogue(The_turn_that_is_being_served="El turno en atención")
    new = updated(old, {"The turn that is served": "Counter.turn"})
    (entry,) = updated(new, {"The turn that is served": "Counter.turn"})
    assert (entry.msgstr, entry.previous_msgid) == ("El turno en atención", "The turn that is being served")
    assert untranslated(new) == ["Counter.turn: The turn that is served"]
    entry.flags.remove("fuzzy")
    assert entry.translated()


def test_the_same_catalogue_is_written_for_the_same_texts() -> None:
    texts = {entry.msgid: entry.comment for entry in read()}
    assert str(updated(read(), texts)) == str(read())


def test_every_description_of_the_schema_is_translated() -> None:
    texts = descriptions(schema._schema)
    assert [entry.msgid for entry in read()] == [*texts], "run: make docs"
    assert untranslated(read()) == []


def test_every_element_with_a_text_is_found_once_by_its_coordinate() -> None:
    small = build_schema("""
      "Questions." type Query { "A line." line("Its id." id: ID, "No use." old: ID @deprecated(reason: "Gone.")): State
      }
      "A state." enum State { "It is open." OPEN @deprecated(reason: "Gone.") CLOSED }
      "Marks a field." directive @marked("Why." reason: String) on FIELD
    """)
    found = {text: place for text, place in descriptions(small).items() if "__" not in place}
    assert {
        "Questions.": "Query",
        "A line.": "Query.line",
        "Its id.": "Query.line(id:)",
        "Gone.": "Query.line(old:)",
        "A state.": "State",
        "It is open.": "State.OPEN",
        "Why.": "@marked(reason:)",
    }.items() <= found.items()


def test_a_translation_has_the_same_code_as_the_text() -> None:
    for entry in read():
        if entry.msgstr:
            assert sorted(CODE.findall(entry.msgstr)) == sorted(CODE.findall(entry.msgid)), entry.msgid


@pytest.mark.anyio
async def test_introspection_answers_in_the_language_of_the_request(client: Client) -> None:
    query = """{ ours: __type(name: "AppointmentState") { description values: enumValues { name text: description } }
      built_in: __type(name: "Boolean") { description }
      __schema { queryType { fields { name description } } types { name fields { name } } } }"""
    spanish, english = [(await client.ask(query, language=language))["data"] for language in ("es", "en")]
    assert english["ours"]["description"] == "The state of an appointment."
    assert spanish["ours"]["description"] == "El estado de una ficha."
    assert {"name": "CHECKED_IN", "text": "El paciente llegó."} in spanish["ours"]["values"]
    assert spanish["built_in"]["description"] == "El tipo escalar `Boolean` representa `true` o `false`."
    assert spanish["__schema"]["types"] == english["__schema"]["types"]


@pytest.mark.anyio
async def test_without_a_language_introspection_is_in_spanish(client: Client) -> None:
    query = {"query": '{ __type(name: "AppointmentState") { description } }'}
    answer = await client.http.post("/graphql", json=query, headers={"accept-language": ""})
    assert answer.json()["data"]["__type"]["description"] == "El estado de una ficha."


@pytest.mark.anyio
async def test_data_beside_introspection_is_not_translated(client: Client) -> None:
    named = """mutation { registerHospital(input: {idempotencyKey: "h", hospital: "la-merced",
      name: "The state of an appointment."}) { position } }"""
    await client.data(named)
    query = """query($code: String!) { hospital(code: $code) { name __typename }
      ... on Query { __type(name: "AppointmentState") { description kind } } }"""
    for _ in range(3):  # by the library and, as far as it can, by a plan
        assert await client.data(query, code="la-merced") == {
            "hospital": {"name": "The state of an appointment.", "__typename": "Hospital"},
            "__type": {"description": "El estado de una ficha.", "kind": "ENUM"},
        }


@pytest.mark.anyio
async def test_a_tool_can_build_the_schema_from_either_language(client: Client) -> None:
    query = get_introspection_query(specified_by_url=True, input_value_deprecation=True, directive_is_repeatable=True)
    answers: list[Any] = [await client.ask(query, language=language) for language in ("es", "en")]
    assert all("errors" not in answer for answer in answers)
    assert answers[0] != answers[1]
    assert without_texts(answers[0]["data"]) == without_texts(answers[1]["data"])


def without_texts(part: Any) -> Any:
    """A part of an answer without its descriptions."""
    if isinstance(part, dict):
        return {name: without_texts(value) for name, value in part.items() if name != "description"}
    return [without_texts(one) for one in part] if isinstance(part, list) else part
