"""Documents are parsed and validated once, and refused as often as they are wrong."""

from typing import Any

import graphql
import pytest

import api.graphql.engine.documents
from api.app import Application
from api.graphql.engine.documents import CHARACTERS_MAX, Documents, WrongDocument
from api.graphql.schema import schema
from tests.api.conftest import Client

pytestmark = pytest.mark.anyio


@pytest.fixture
async def documents(app: Application) -> Documents:
    """None is known."""
    return app.engine.documents


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is parsed and validated."""
    seen: list[str] = []
    parse, validate = graphql.parse, graphql.validate

    def parsing(*arguments: Any, **options: Any) -> Any:
        seen.append("parsed")
        return parse(*arguments, **options)

    def validating(*arguments: Any, **options: Any) -> Any:
        seen.append("validated")
        return validate(*arguments, **options)

    monkeypatch.setattr(api.graphql.engine.documents, "parse", parsing)
    monkeypatch.setattr(api.graphql.engine.documents, "validate", validating)
    return seen


async def test_a_valid_document_is_validated_once(client: Client, looked_at: list[str]) -> None:
    query = "query($first: Int!) { hospitals(first: $first) { nodes { id } } }"
    assert await client.data(query, first=1) == {"nodes": []}
    assert await client.data(query, first=2) == {"nodes": []}
    assert looked_at == ["parsed", "validated"]
    wrong = await client.ask(query, first="many")  # variables are looked at each time
    assert wrong["errors"][0]["message"].startswith("Dato no válido")


async def test_an_invalid_document_is_refused_in_the_client_s_language(
    client: Client, looked_at: list[str], documents: Documents
) -> None:
    query = '{ availability(specialty: "x", to: "2027-02-30") { freeSlots } }'
    for language, begin in (("es", "Dato no válido"), ("en", "Invalid value"), ("es", "Dato no válido")):
        answer = await client.ask(query, language=language)
        assert answer["errors"][0]["message"].startswith(begin)
    assert looked_at == ["parsed", "validated"] * 3
    assert not documents.known


async def test_a_document_s_length_is_limited(client: Client, looked_at: list[str]) -> None:
    for query in ("{ __typename } #" + "a" * CHARACTERS_MAX, "{ __typename" + " " * CHARACTERS_MAX + "}"):
        answer = await client.ask(query)
        assert str(CHARACTERS_MAX) in answer["errors"][0]["message"]
    assert looked_at == []
    assert await client.data("{ __typename } #" + "a" * (CHARACTERS_MAX - 16)) == "Query"


def test_an_error_does_not_keep_its_document_in_memory() -> None:
    with pytest.raises(WrongDocument) as caught:
        Documents(schema._schema).understand("{ #" + "a" * 1_000)
    (error,) = caught.value.errors
    assert error.__traceback__ is None


async def test_the_document_cache_is_bounded(
    client: Client, looked_at: list[str], documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.graphql.engine.documents, "DOCUMENTS_MAX", 2)
    monkeypatch.setattr(api.graphql.engine.documents, "DOCUMENT_CHARACTERS_MAX", 100)
    for query in ("{ a: __typename }", "{ b: __typename }", "{ a: __typename }", "{ c: __typename }"):
        assert await client.ask(query)
    assert list(documents.known) == ["{ a: __typename }", "{ c: __typename }"]
    await client.data("{ __typename }" + " " * 100)
    assert len(documents.known) == 2
    assert looked_at.count("parsed") == 4
