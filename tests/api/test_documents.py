"""Documents are parsed and validated once, and refused as often as they are wrong."""

from typing import Any

import pytest
import strawberry.schema.schema

import api.graphql.documents
from api.graphql.documents import KnownDocuments
from tests.api.conftest import Client

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _none_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KnownDocuments, "known", type(KnownDocuments.known)())


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is parsed and validated."""
    seen: list[str] = []
    library: Any = strawberry.schema.schema
    parse, validate = library.parse, library.validate_document

    def parsing(*arguments: Any, **options: Any) -> Any:
        seen.append("parsed")
        return parse(*arguments, **options)

    def validating(*arguments: Any) -> Any:
        seen.append("validated")
        return validate(*arguments)

    monkeypatch.setattr(strawberry.schema.schema, "parse", parsing)
    monkeypatch.setattr(strawberry.schema.schema, "validate_document", validating)
    return seen


async def test_a_right_document_is_looked_at_once(client: Client, looked_at: list[str]) -> None:
    query = "query($first: Int!) { hospitals(first: $first) { nodes { id } } }"
    assert await client.data(query, first=1) == {"nodes": []}
    assert await client.data(query, first=2) == {"nodes": []}
    assert looked_at == ["parsed", "validated"]
    wrong = await client.ask(query, first="many")  # variables are looked at each time
    assert wrong["errors"][0]["message"].startswith("Dato no válido")


async def test_a_wrong_one_is_refused_each_time_in_the_language_of_who_asks(
    client: Client, looked_at: list[str]
) -> None:
    query = '{ availability(specialty: "x", to: "2027-02-30") { freeSlots } }'
    for language, begin in (("es", "Dato no válido"), ("en", "Not valid"), ("es", "Dato no válido")):
        answer = await client.ask(query, language=language)
        assert answer["errors"][0]["message"].startswith(begin)
    assert looked_at == ["parsed", "validated"] * 3
    assert not KnownDocuments.known


async def test_not_more_are_remembered_than_there_is_room_for(
    client: Client, looked_at: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.graphql.documents, "DOCUMENTS_MAX", 2)
    monkeypatch.setattr(api.graphql.documents, "DOCUMENT_CHARACTERS_MAX", 100)
    for query in ("{ a: __typename }", "{ b: __typename }", "{ a: __typename }", "{ c: __typename }"):
        assert await client.ask(query)
    assert list(KnownDocuments.known) == ["{ a: __typename }", "{ c: __typename }"]
    await client.data("{ __typename }" + " " * 100)
    assert len(KnownDocuments.known) == 2
    assert looked_at.count("parsed") == 4
