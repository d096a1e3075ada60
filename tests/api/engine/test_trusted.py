"""Documents by their id, and a server that executes no others."""

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import Application, trusted_of
from api.graphql.engine.documents import DOCUMENT_CHARACTERS_MAX, Documents
from api.graphql.engine.trusted import Trusted, document_id, load_trusted
from infra.log.core import Core
from infra.postgres.views import Views
from infra.running.settings import SettingError, Settings
from tests.api.conftest import Client, services_of
from tests.conftest import Clock

HOSPITALS = "query($first: Int!) { hospitals(first: $first) { nodes { id } } }"
OTHER = "{ __typename }"


def trusting(app: Application, *, strict: bool) -> None:
    app.engine.trusted = Trusted([HOSPITALS], strict=strict)


async def asked(client: Client, **said: Any) -> dict[str, Any]:
    answer = await client.http.post("/graphql", json=said, headers={"accept-language": "en"})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_an_id_is_the_digest_of_the_text() -> None:
    assert document_id("{ ñ }") == "sha256:" + hashlib.sha256("{ ñ }".encode()).hexdigest()
    assert document_id("{ \ud800 }").startswith("sha256:")


@pytest.mark.anyio
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("said", [{}, {"query": HOSPITALS}, {"query": None}])
async def test_a_trusted_document_is_executed_by_its_id(
    client: Client, app: Application, said: dict[str, Any], strict: bool
) -> None:
    trusting(app, strict=strict)
    answer = await asked(client, documentId=document_id(HOSPITALS), variables={"first": 1}, **said)
    assert answer["data"] == {"hospitals": {"nodes": []}}
    params = {"documentId": document_id(HOSPITALS), "variables": '{"first": 1}'}
    assert (await client.http.get("/graphql", params=params)).json()["data"] == answer["data"]


@pytest.mark.anyio
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "said",
    [{"documentId": document_id(OTHER)}, {"documentId": ""}, {"documentId": document_id(HOSPITALS), "query": OTHER}],
)
async def test_an_unknown_or_wrong_document_id_is_refused(
    client: Client, app: Application, said: dict[str, Any], strict: bool
) -> None:
    trusting(app, strict=strict)
    answer = await asked(client, **said)
    assert "data" not in answer
    assert answer["errors"][0]["extensions"] == {"code": "document_unknown", "path": ["documentId"]}


@pytest.mark.anyio
async def test_a_strict_server_executes_only_trusted_documents(client: Client, app: Application) -> None:
    trusting(app, strict=True)
    for query in (OTHER, HOSPITALS + " ", "{"):
        answer = await asked(client, query=query)
        assert "data" not in answer
        assert answer["errors"][0]["extensions"] == {"code": "document_not_trusted"}
    assert (await asked(client, query=HOSPITALS, variables={"first": 1}))["data"]
    trusting(app, strict=False)
    assert (await asked(client, query=OTHER))["data"]


@pytest.mark.anyio
@pytest.mark.parametrize("said", [{"documentId": 5}, {"documentId": None}, {"documentId": "x", "query": 5}])
async def test_a_document_id_must_be_a_string(client: Client, said: dict[str, Any]) -> None:
    assert (await client.http.post("/graphql", json=said)).status_code == 400


def persisted(text: str, **more: Any) -> dict[str, Any]:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest}}, **more}


@pytest.mark.anyio
@pytest.mark.parametrize("strict", [True, False])
async def test_a_persisted_query_is_executed_if_it_is_trusted(client: Client, app: Application, strict: bool) -> None:
    trusting(app, strict=strict)
    answer = await asked(client, **persisted(HOSPITALS, variables={"first": 1}))
    assert answer["data"] == {"hospitals": {"nodes": []}}
    with_document = await asked(client, **persisted(HOSPITALS, variables={"first": 1}, query=HOSPITALS))
    assert with_document == answer


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("accept", "status"), [("application/json", 200), ("application/graphql-response+json", 400)])
@pytest.mark.parametrize(
    "extension", [persisted(OTHER)["extensions"]["persistedQuery"], {}, {"sha256Hash": 5}, {"version": 2}]
)
async def test_other_persisted_queries_are_not_supported(
    client: Client, method: str, accept: str, status: int, extension: dict[str, Any]
) -> None:
    said = {"extensions": {"persistedQuery": extension}, "operationName": "a", "variables": {}}
    in_url = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in said.items()}
    content: dict[str, Any] = {"params": in_url} if method == "GET" else {"json": said}
    answer = await client.http.request(method, "/graphql", headers={"accept": accept}, **content)
    refusal = {"message": "PersistedQueryNotSupported", "extensions": {"code": "PERSISTED_QUERY_NOT_SUPPORTED"}}
    assert (answer.status_code, answer.json()) == (status, {"errors": [refusal]})


@pytest.mark.anyio
@pytest.mark.parametrize("extensions", [None, {}, {"persistedQuery": None}, {"persistedQuery": "x"}])
async def test_a_request_without_document_and_persisted_query_is_malformed(client: Client, extensions: Any) -> None:
    answer = await client.http.post("/graphql", json={"extensions": extensions})
    assert (answer.status_code, answer.json()) == (400, {"errors": [{"message": "`query` debe ser un texto."}]})


@pytest.mark.anyio
async def test_introspection_can_be_disabled(core: Core, views: Views, clock: Clock) -> None:
    settings = Settings(introspection=False)
    app = Application(settings, services_of(core, views, clock, settings))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as http:
        for query in ("{ __schema { types { name } } }", '{ __type(name: "Query") { name } }'):
            answer = (await http.post("/graphql", json={"query": query})).json()
            assert "consultar el esquema" in answer["errors"][0]["message"]
            assert "data" not in answer
        guessed = (await http.post("/graphql", json={"query": "{ hospitls(first: 1) { nodes { id } } }"})).json()
        assert guessed["errors"][0]["message"] == "No existe el campo `hospitls` en el tipo `Query`."
        assert (await http.post("/graphql", json={"query": OTHER})).json()["data"] == {"__typename": "Query"}


def test_trusted_documents_are_read_from_a_folder_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.graphql").write_text(HOSPITALS)
    (tmp_path / "notes.txt").write_text("{ nope }")
    named = {document_id(OTHER): OTHER, document_id(HOSPITALS).removeprefix("sha256:"): HOSPITALS}
    (tmp_path / "all.json").write_text(json.dumps(named))
    folder = trusted_of(Settings(trusted_documents=str(tmp_path)))
    file = trusted_of(Settings(trusted_documents=str(tmp_path / "all.json"), trusted_only=True))
    assert folder.text(None, document_id(HOSPITALS)) == HOSPITALS
    assert file.text(None, document_id(OTHER)) == file.text(OTHER, None) == OTHER
    assert load_trusted("", strict=False, understand=lambda _: None).text("anything", None) == "anything"


@pytest.mark.anyio
async def test_a_long_trusted_document_is_parsed_once(
    client: Client, app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = HOSPITALS.replace(" ", "\r\n").encode() + b" " * DOCUMENT_CHARACTERS_MAX
    (tmp_path / "a.graphql").write_bytes(content)
    app.engine.trusted = trusted_of(Settings(trusted_documents=str(tmp_path), trusted_only=True))
    monkeypatch.setattr(Documents, "understand", None)  # nobody needs it
    name = "sha256:" + hashlib.sha256(content).hexdigest()
    assert (await asked(client, documentId=name, variables={"first": 1}))["data"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"by name": OTHER}, "by name is no digest"),
        ({document_id(OTHER): HOSPITALS}, "is not the digest of its document"),
        ({document_id("{ nope }"): "{ nope }"}, ": Cannot query field 'nope' on type 'Query'"),
        ({document_id("{"): "{"}, ": Syntax Error"),
        ({"a": 5}, "can't be read: ValueError"),
        ([OTHER], "can't be read: ValueError"),
        (None, "can't be read: FileNotFoundError"),
    ],
)
def test_invalid_trusted_documents_stop_the_start(tmp_path: Path, content: Any, message: str) -> None:
    file = tmp_path / "all.json"
    if content is not None:
        file.write_text(json.dumps(content))
    with pytest.raises(SettingError, match="IGOB_TRUSTED_DOCUMENTS") as caught:
        trusted_of(Settings(trusted_documents=str(file)))
    assert message in str(caught.value)


def test_trusted_only_needs_trusted_documents() -> None:
    with pytest.raises(SettingError, match="IGOB_TRUSTED_ONLY"):
        Settings(trusted_only=True)
