"""What is refused before it costs anything: strangers, broken and large bodies, WebSockets."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from api.app import Application
from api.http.limits import BODY_BYTES_MAX, VALUES_MAX
from infra.log.core import Core
from tests.api.conftest import Client

JSON = {"content-type": "application/json"}
QUERY = '{"query": "{ __typename }"'


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"null", "must be an object"),
        (b"5", "must be an object"),
        (b"[]", "must be an object"),
        (b'[{"query": "{ __typename }"}]', "must be an object"),
        (b"{}", "`query` must be a string"),
        (b'{"query": null}', "`query` must be a string"),
        (b'{"query": 5}', "`query` must be a string"),
        (b'{"query": "\xff"}', "not JSON in UTF-8"),
        (f'{QUERY}, "variables": []}}'.encode(), "`variables` must be an object"),
        (f'{QUERY}, "variables": "{{}}"}}'.encode(), "`variables` must be an object"),
        (f'{QUERY}, "variables": {{"a": {"[" * 100_000}{"]" * 100_000}}}}}'.encode(), "nested too deeply"),
        (f'{QUERY}, "variables": {{"a": {"1" * 5_000}}}}}'.encode(), "not JSON"),
        (f'{QUERY}, "variables": {{"a": NaN}}}}'.encode(), "not JSON"),
        (f'{QUERY}, "operationName": 5}}'.encode(), "`operationName` must be a string"),
        (f'{QUERY}, "extensions": 5}}'.encode(), "`extensions` must be an object"),
    ],
)
async def test_malformed_bodies_are_400(client: Client, body: bytes, message: str) -> None:
    answer = await client.http.post("/graphql", content=body, headers=JSON | {"accept-language": "en"})
    assert answer.status_code == 400
    assert message in answer.json()["errors"][0]["message"]
    spanish = await client.http.post("/graphql", content=body, headers=JSON)
    assert re.match("El cuerpo |`[a-zA-Z]+` ", spanish.json()["errors"][0]["message"])


@pytest.mark.anyio
@pytest.mark.parametrize(
    "nested",
    [
        lambda n: [0] * n,
        lambda n: {f"x{k}": 0 for k in range(n)},
        lambda n: [[0] * 9] * (n // 10) + [0] * (n % 10),
        lambda n: [{"a": [{}]}] * (n // 3) + [{}] * (n % 3),
    ],
)
async def test_values_in_variables_are_limited(client: Client, nested: Callable[[int], Any]) -> None:
    for more, status in ((0, 200), (1, 400)):
        said = {"query": "{ __typename }", "variables": {"a": nested(VALUES_MAX - 2 + more)}}
        answer = await client.http.post("/graphql", json=said)
        assert answer.status_code == status
    assert answer.json()["errors"][0]["message"] == f"`variables` tiene más de {VALUES_MAX} valores."


@pytest.mark.anyio
async def test_absent_and_null_are_the_same(client: Client) -> None:
    for rest in ("}", ', "variables": null, "operationName": null, "extensions": null}'):
        answer = await client.http.post("/graphql", content=QUERY + rest, headers=JSON)
        assert answer.json() == {"data": {"__typename": "Query"}, "extensions": {"cost": 1}}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "variables", ["5", "[]", "{", "[" * 100_000, '{"a": NaN}'], ids=["number", "list", "open", "deep", "constant"]
)
async def test_malformed_variables_in_a_url_are_400(app: Application, variables: str) -> None:
    query = f"query=%7B__typename%7D&variables={variables}".encode()
    answer = await Asked(app, method="GET", query_string=query).by("127.0.0.1")
    assert answer.status == 400
    assert "errors" in json.loads(answer.body)


@pytest.mark.anyio
async def test_queries_may_come_by_get_but_mutations_may_not(client: Client, core: Core) -> None:
    asked = await client.http.get("/graphql", params={"query": "{ __typename }", "variables": "{}"})
    assert asked.json()["data"] == {"__typename": "Query"}
    done = await client.http.get("/graphql", params={"query": "mutation { __typename }"})
    assert (done.status_code, done.headers["allow"]) == (405, "POST")


@pytest.mark.anyio
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_requests_without_a_preflight_are_refused(client: Client, content_type: str) -> None:
    answer = await client.http.post("/graphql", content=QUERY + "}", headers={"content-type": content_type})
    assert answer.status_code == 415
    assert "application/json" in answer.json()["errors"][0]["message"]


@pytest.mark.anyio
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_is_refused(client: Client, chunked: bool) -> None:
    padding = " " * (BODY_BYTES_MAX - len(QUERY) - 1)
    for body, status in [(f"{QUERY}{padding}}}", 200), (f"{QUERY}{padding} }}", 413)]:
        content = in_chunks(body.encode()) if chunked else body.encode()
        answer = await client.http.post("/graphql", content=content, headers=JSON)
        assert answer.status_code == status
    (error,) = answer.json()["errors"]
    assert error["message"] == f"El cuerpo tiene más de {BODY_BYTES_MAX} bytes."
    assert error["extensions"] == {"code": "body_too_large"}


async def in_chunks(body: bytes, size_bytes: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size_bytes):
        yield body[start : start + size_bytes]


class Answer:
    """What an application sent: the status, or how it closed a handshake."""

    def __init__(self, messages: list[Any]) -> None:
        self.types = [message["type"] for message in messages]
        self.status = messages[0].get("status") if messages else None
        self.code = messages[-1].get("code") if messages else None
        self.body = b"".join(message.get("body", b"") for message in messages)


class Asked:
    """One request as the server hands it to the application: for what a well-behaved client can't do."""

    def __init__(
        self, app: Application, *, parts: list[bytes] | None = None, path: str = "/graphql", **scope: Any
    ) -> None:
        self.app = app
        self.parts: Iterator[bytes] = iter(parts if parts is not None else [b""])
        self.ends = parts is None
        self.scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
            "scheme": "http", "server": ("127.0.0.1", 80), "http_version": "1.1", "root_path": "",
        } | scope  # fmt: skip

    async def by(self, client: str | None) -> Answer:
        """What a client at this address gets."""
        sent: list[Any] = []
        scope = self.scope | {"client": client and (client, 123)}

        async def send(message: Any) -> None:
            sent.append(message)

        await asyncio.wait_for(self.app(scope, self.receive, send), timeout=10)
        return Answer(sent)

    async def receive(self) -> Any:
        if self.scope["type"] == "websocket":
            return {"type": "websocket.connect"}
        if (part := next(self.parts, None)) is not None:
            return {"type": "http.request", "body": part, "more_body": not self.ends}
        return await asyncio.Event().wait()  # the rest never comes


@pytest.mark.anyio
async def test_a_missing_body_times_out(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.limits.BODY_READ_TIMEOUT_S", 0.05)
    answer = await Asked(app, parts=[b'{"query"', b": "]).by("127.0.0.1")
    assert answer.status == 408
    assert "El cuerpo no llegó en " in json.loads(answer.body)["errors"][0]["message"]


@pytest.mark.anyio
async def test_a_large_body_is_refused_before_it_is_read(app: Application) -> None:
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    for length in (str(BODY_BYTES_MAX + 1), "9" * 5_000):
        declared = [*headers, (b"content-length", length.encode())]
        assert (await Asked(app, parts=[], headers=declared).by("127.0.0.1")).status == 413
    endless = [b" " * 1_048_576] * 3
    assert (await Asked(app, parts=endless).by("127.0.0.1")).status == 413


@pytest.mark.anyio
async def test_a_line_break_after_the_path_is_refused(app: Application) -> None:
    assert (await Asked(app, parts=[b" " * 1_048_576] * 3, path="/graphql\n").by("127.0.0.1")).status == 404


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("address", "served"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True),
        ("192.168.1.20", False), ("172.16.0.1", False), ("2001:db8::1", False), ("::ffff:10.0.0.1", False), ("", False),
        ("testclient", False), (None, False),
    ],
)  # fmt: skip
async def test_remote_clients_are_refused_on_any_interface(app: Application, address: str | None, served: bool) -> None:
    asked = Asked(app, path="/healthz", method="GET")
    answer = await asked.by(address)
    assert answer.status == (200 if served else 403)
    if not served:
        assert "Sin un proveedor de identidad" in json.loads(answer.body)["errors"][0]["message"]
    shaken = await Asked(app, type="websocket", scheme="ws", subprotocols=[]).by(address)
    assert shaken.types == (["websocket.accept", "websocket.close"] if served else ["websocket.close"])


@pytest.mark.anyio
async def test_a_remote_client_can_do_nothing(app: Application) -> None:
    transport = httpx.ASGITransport(app=app, client=("10.0.0.7", 123))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as stranger:
        answer = await stranger.post("/graphql", json={"query": "{ __typename }"})
    assert answer.status_code == 403


@pytest.mark.anyio
@pytest.mark.parametrize("protocol", ["graphql-ws", "other"])
async def test_other_protocols_over_web_sockets_are_refused(
    app: Application, protocol: str, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = await Asked(app, type="websocket", scheme="ws", subprotocols=[protocol]).by("127.0.0.1")
    assert answer.types == ["websocket.accept", "websocket.close"]
    assert answer.code == 4406
    assert capfd.readouterr().err == ""


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("origin", "host", "served"),
    [
        (None, b"localhost:8000", True),
        (b"http://localhost:8000", b"localhost:8000", True),
        (b"https://LOCALHOST", b"localhost", True),
        (b"http://localhost:3000", b"localhost:8000", True),
        (b"http://localhost", b"localhost:8000", True),
        (b"http://127.0.0.1:8000", b"localhost:8000", True),
        (b"https://evil.example", b"localhost:8000", False),
        (b"http://localhost:8000.evil.example", b"localhost:8000", False),
        (b"null", b"localhost:8000", False),
        (b"file://", b"localhost:8000", False),
        (b"http://[", b"localhost:8000", False),
        (b"http://evil.example", b"evil.example", False),  # a name of its own for this machine
    ],
)
async def test_a_page_of_another_origin_opens_no_web_socket(
    app: Application, origin: bytes | None, host: bytes, served: bool
) -> None:
    headers = [(b"host", host), *([(b"origin", origin)] if origin else [])]
    answer = await Asked(app, type="websocket", scheme="ws", subprotocols=["other"], headers=headers).by("127.0.0.1")
    assert ("websocket.accept" in answer.types) is served
