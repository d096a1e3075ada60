"""GraphQL over HTTP as its specification has it: methods, media types, statuses. The independent audits of the same are
in tests/conformance.
"""

import json
from typing import Any

import httpx
import pytest

from api.graphql.engine.execution import Engine
from api.http.limits import BODY_BYTES_MAX
from tests.api.conftest import Client
from tests.api.test_appointments import REGISTER

pytestmark = pytest.mark.anyio

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
STREAM = "text/event-stream"
RIGHT = {"query": "{ __typename }"}
NO_DOCUMENT = {"query": "{"}
NO_SUCH_FIELD = {"query": "{ nope }"}
NO_SUCH_OPERATION = {"query": "query a { __typename }", "operationName": "b"}
WHICH_OPERATION = {"query": "query a { __typename } query b { __typename }"}
WRONG_VARIABLE = {"query": "query($first: Int!) { hospitals(first: $first) { nodes { id } } }", "variables": {}}
TOO_LARGE = {"query": '{ agendas(hospital: "x", first: 100) { nodes { slots(first: 100) { nodes { start } } } } }'}


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (GRAPHQL, GRAPHQL),
        ("Application/JSON; Charset=UTF-8", JSON),
        (f"{GRAPHQL}; charset=utf-8, {JSON}; charset=utf-8", GRAPHQL),
        (f"{JSON}, {GRAPHQL}", GRAPHQL),
        (f"{GRAPHQL};q=0.5, {JSON}", JSON),
        (f"{GRAPHQL};q=0, */*;q=0.1", JSON),
        (f"{JSON};q=0.2, {GRAPHQL};q=0.3", GRAPHQL),
        (f"text/html, {GRAPHQL};q=0.9, */*;q=0.8", GRAPHQL),
        ("text/html,application/xhtml+xml,*/*;q=0.8", JSON),
        ("text/html", None),
        (f"{JSON};charset=utf-16", None),
        (f"{JSON};q=0", None),
        (f"{JSON};q=x", None),
        (f"{JSON};q=nan", None),
        (f"{JSON};q=7", None),
        (f"{JSON};q=0, */*", GRAPHQL),  # the most specific name counts
        (f"{JSON};q=0, {GRAPHQL};q=0, */*", None),
        ("text/x, " * 130 + JSON, JSON),
        ("", None),
    ],
)
async def test_the_accept_header_is_respected(client: Client, accept: str | None, media: str | None) -> None:
    client.http.headers.pop("accept", None)
    headers = {"accept": accept} if accept is not None else {}
    answer = await client.http.post("/graphql", json=RIGHT, headers=headers)
    assert answer.headers["content-type"] == f"{media or JSON}; charset=utf-8"
    if media:
        assert (answer.status_code, answer.json()["data"]) == (200, {"__typename": "Query"})
    else:
        assert answer.status_code == 406
        assert GRAPHQL in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "said", [NO_DOCUMENT, NO_SUCH_FIELD, NO_SUCH_OPERATION, WHICH_OPERATION, WRONG_VARIABLE, TOO_LARGE]
)
async def test_an_unexecuted_document_has_no_data(client: Client, said: dict[str, Any], method: str) -> None:
    for media, status in ((JSON, 200), (GRAPHQL, 400)):
        asked = {name: json.dumps(value) if name == "variables" else value for name, value in said.items()}
        content = {"params": asked} if method == "GET" else {"json": said}
        answer = await client.http.request(method, "/graphql", headers={"accept": media}, **content)
        assert answer.status_code == status, answer.text
        assert answer.json()["errors"][0]["message"]
        assert "data" not in answer.json()


def events(answer: httpx.Response) -> list[tuple[str, Any]]:
    """Those of a stream that is over."""
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"{STREAM}; charset=utf-8"), answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.endswith("\n\n")
    found = []
    for event in answer.text.removesuffix("\n\n").split("\n\n"):
        (_, name), (_, data) = (line.split(":", 1) for line in event.split("\n"))
        found.append((name.strip(), json.loads(data) if data else None))
    return found


@pytest.mark.parametrize(
    ("accept", "streamed"),
    [
        (STREAM, True),
        (f"Text/Event-Stream; charset=UTF-8, {JSON};q=0.9", True),
        (f"{STREAM}, */*", True),
        (f"{STREAM}, multipart/mixed", True),
        (f"{STREAM}, {JSON}", False),
        (f"{GRAPHQL}, {JSON}, {STREAM}, multipart/mixed", False),
        (f"{STREAM};q=0.5, */*", False),
        ("text/*, application/json;q=0.1", False),
    ],
)
async def test_an_event_stream_needs_the_highest_preference(client: Client, accept: str, streamed: bool) -> None:
    answer = await client.http.post("/graphql", json=RIGHT, headers={"accept": accept})
    if streamed:
        told = {"data": {"__typename": "Query"}, "extensions": {"cost": 1}}
        assert events(answer) == [("next", told), ("complete", None)]
    else:
        assert answer.json()["data"] == {"__typename": "Query"}


CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (CHROMIUM, True),
        ("text/html", True),
        (f"text/html, {JSON};q=0.9", True),
        (f"text/html, {JSON}", False),
        ("text/html;q=0.5, */*", False),
        ("text/html;q=0", False),
        ("*/*", False),
    ],
)
async def test_a_browser_that_opens_the_endpoint_gets_a_page(client: Client, accept: str, page: bool) -> None:
    answer = await client.http.get("/graphql", headers={"accept": accept, "accept-language": "en"})
    if page:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert answer.headers["vary"] == "accept, accept-language"
        assert 'open the <a href="./">explorer</a>' in answer.text
    else:
        assert (answer.status_code, answer.headers["content-type"]) == (
            (406 if "q=0" in accept and "*" not in accept else 400),
            f"{JSON}; charset=utf-8",
        )


async def test_a_browser_that_sends_a_query_gets_its_answer(client: Client) -> None:
    answer = await client.http.get("/graphql", params=RIGHT, headers={"accept": CHROMIUM})
    assert answer.json()["data"] == {"__typename": "Query"}


async def test_mutations_are_streamed_only_by_post(client: Client) -> None:
    said = {"query": "mutation { __typename }"}
    answer = await client.http.post("/graphql", json=said, headers={"accept": STREAM})
    assert [name for name, _ in events(answer)] == ["next", "complete"]
    answer = await client.http.get("/graphql", params=said, headers={"accept": STREAM})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "said", [NO_DOCUMENT, NO_SUCH_FIELD, NO_SUCH_OPERATION, WHICH_OPERATION, WRONG_VARIABLE, TOO_LARGE]
)
async def test_errors_before_execution_are_in_the_stream(client: Client, said: dict[str, Any], method: str) -> None:
    asked = {name: json.dumps(value) if name == "variables" else value for name, value in said.items()}
    content = {"params": asked} if method == "GET" else {"json": said}
    (name, told), last = events(await client.http.request(method, "/graphql", headers={"accept": STREAM}, **content))
    assert (name, last) == ("next", ("complete", None))
    assert told["errors"][0]["message"]
    assert "data" not in told


@pytest.mark.parametrize(
    ("more", "content", "status"),
    [
        ({}, "{", 400),
        ({}, '{"query": 5}', 400),
        ({"content-type": "text/plain"}, json.dumps(RIGHT), 415),
        ({}, "x" * (BODY_BYTES_MAX + 1), 413),
        ({"origin": "https://evil.example"}, json.dumps(RIGHT), 403),
        ({"origin": "null"}, json.dumps(RIGHT), 403),
        ({"origin": "http://[evil"}, json.dumps(RIGHT), 403),
        ({"origin": "http://localhost"}, json.dumps(RIGHT), 200),
    ],
)
async def test_a_malformed_request_begins_no_stream(
    client: Client, more: dict[str, str], content: str, status: int
) -> None:
    headers = {"accept": STREAM, "content-type": JSON} | more
    answer = await client.http.post("/graphql", content=content, headers=headers)
    assert answer.status_code == status
    if status != 200:
        assert answer.headers["content-type"] == f"{JSON}; charset=utf-8"
        assert answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("media", [JSON, GRAPHQL])
async def test_an_executed_document_is_200_even_with_field_errors(client: Client, media: str) -> None:
    query = '{ a: __typename availability(specialty: "NO") { freeSlots } }'
    answer = await client.http.post("/graphql", json={"query": query}, headers={"accept": media})
    assert (answer.status_code, answer.json()["data"]) == (200, None)
    assert answer.json()["errors"][0]["path"] == ["availability"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
async def test_other_methods_are_not_allowed(client: Client, method: str) -> None:
    answer = await client.http.request(method, "/graphql")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": ""},
        {"content-type": "text/plain"},
        {"content-type": "application/graphql"},
        {"content-type": "application/jsonx"},
        {"content-type": f"{JSON}; charset=utf-16"},
        {"content-type": JSON, "content-encoding": "gzip"},
        {"content-type": JSON, "content-encoding": "deflate"},
    ],
)
async def test_a_body_that_is_not_plain_json_is_refused(client: Client, headers: dict[str, str]) -> None:
    answer = await client.http.post("/graphql", content=json.dumps(RIGHT), headers=headers)
    assert answer.status_code == 415
    assert answer.json()["errors"][0]["message"]


async def test_a_connection_ends_with_a_request_whose_body_was_not_read(client: Client) -> None:
    """Servers close it; whoever is not told so sends the next request in vain."""
    wrong: dict[str, dict[str, str]] = {"415": {"content-type": "text/plain"}, "401": {"authorization": "Bearer x"}}
    for status, headers in wrong.items():
        answer = await client.http.post("/graphql", content=json.dumps(RIGHT), headers=headers)
        assert (str(answer.status_code), answer.headers["connection"]) == (status, "close")
        answer = await client.http.get("/graphql", params=RIGHT, headers=headers)
        assert "connection" not in answer.headers
    answer = await client.http.post("/graphql", json=RIGHT)
    assert "connection" not in answer.headers


@pytest.mark.parametrize("content_type", ["Application/JSON", f'{JSON}; charset="UTF-8"', f"{JSON};charset=utf-8; x=y"])
async def test_any_json_spelling_is_read(client: Client, content_type: str) -> None:
    headers = {"content-type": content_type, "content-encoding": "identity"}
    answer = await client.http.post("/graphql", content=json.dumps(RIGHT), headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
async def test_other_encodings_are_refused(client: Client, encoding: str) -> None:
    body = '{"query": "{ __typename } # ñ"}'.encode(encoding)
    answer = await client.http.post("/graphql", content=body, headers={"content-type": JSON})
    assert answer.status_code == 400
    assert "UTF-8" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity"])
async def test_infinite_numbers_are_refused(client: Client, number: str) -> None:
    query = "query($n: Int!) { hospitals(first: $n) { nodes { id } } }"
    body = f'{{"query": "{query}", "variables": {{"n": {number}}}}}'
    answer = await client.http.post("/graphql", content=body, headers={"content-type": JSON})
    assert answer.status_code == 400


async def test_an_empty_operation_name_in_a_url_is_ignored(client: Client) -> None:
    params = {"query": "{ __typename }", "operationName": "", "variables": "", "extensions": ""}
    assert (await client.http.get("/graphql", params=params)).json()["data"] == {"__typename": "Query"}


async def test_responses_are_not_cached(client: Client) -> None:
    answer = await client.http.get("/graphql", params=RIGHT)
    assert answer.headers["cache-control"] == "no-store"


async def test_an_unpaired_surrogate_is_returned_unchanged(client: Client) -> None:
    said = '{"query": "query a { __typename }", "operationName": "\\ud800"}'
    answer = await client.http.post("/graphql", content=said, headers={"content-type": JSON})
    assert "\ud800" in answer.json()["errors"][0]["message"]


async def test_an_unexpected_error_has_a_number(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stumble(*_: Any) -> None:
        raise ZeroDivisionError("about Ana")

    monkeypatch.setattr(Engine, "answer", stumble)
    answer = await client.http.post("/graphql", json=RIGHT)
    assert answer.status_code == 500
    (error,) = answer.json()["errors"]
    assert error["extensions"] == {"code": "internal_error"}
    number = error["message"].rpartition(": ")[2][:-1]
    said = capsys.readouterr().err
    assert number in said
    assert "ZeroDivisionError" in said
    assert "Ana" not in said + answer.text


async def test_a_get_executes_no_mutation(client: Client) -> None:
    wanted = {"idempotencyKey": "r", "identity": "4820193", "givenNames": "Ana", "familyNames": "Mamani",
              "birthDate": "1990-05-17", "sex": "F"}  # fmt: skip
    asked = {"query": REGISTER, "variables": json.dumps({"input": wanted})}
    answer = await client.http.get("/graphql", params=asked)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert await client.http.get("/readyz")
    assert (await client.http.get("/readyz")).json()["position"] == "0"
