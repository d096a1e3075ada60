"""The HTTP protocol of a worker: the fast path and the ASGI path give the same responses; connections have limits."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import psycopg
import pytest

import api.http.endpoint
import api.http.protocol
from api.graphql.context import Services
from api.http.heads import FAST_BODY_BYTES_MAX, HEADERS_MAX
from api.http.protocol import HEAD_BYTES_MAX, WAITING_BYTES_MAX, Connections
from infra.gateways.keys import Login, development_token
from infra.running.serve import CONNECTIONS_MAX
from tests.api.conftest import serving
from tests.towns import Town

pytestmark = pytest.mark.anyio

RIGHT = b'{"query": "{ __typename }"}'
HOSPITALS = b'{"query": "{ hospitals(first: 100) { nodes { id name } } }"}'
ANSWER_S = 10
DAY = timedelta(days=1)


class Heard(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def comparable(self) -> "Heard":
        """Without the date and the correlation, which differ from request to request."""
        kept = {name: value for name, value in self.headers.items() if name not in ("date", "x-correlation-id")}
        return self._replace(headers=kept)


class Talk:
    """A connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, *pieces: bytes) -> None:
        """Send pieces that arrive separately."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.002)

    async def hear(self) -> Heard:
        async with asyncio.timeout(ANSWER_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Heard(int(first.split()[1]), headers, body)

    async def ended(self) -> bool:
        """Whether the server closes the connection without sending more."""
        async with asyncio.timeout(ANSWER_S):
            with suppress(ConnectionResetError):
                return await self.reader.read(1) == b""
            return True


@asynccontextmanager
async def talking(url: str) -> AsyncIterator[Talk]:
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        yield Talk(reader, writer)
    finally:
        writer.transport.abort()


def post(body: bytes = RIGHT, *more: str, path: str = "/graphql", version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", "Content-Type: application/json", *more]
    if not any(line.startswith("Transfer-Encoding") for line in more):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.fixture
def authorization(services: Services) -> str:
    login = Login(roles=["developer"])
    token = development_token(services.core.secret, services.settings, login, begin=services.now(), lasts=DAY)
    return f"Authorization: Bearer {token}"


def register(authorization: str, key: str) -> bytes:
    wanted = {"idempotencyKey": key, "hospital": key, "name": key}
    query = """mutation ($input: RegisterHospitalInput!) { registerHospital(input: $input) {
      hospital { id name } position errors { code } } }"""
    return post(msgspec.json.encode({"query": query, "variables": {"input": wanted}}), authorization)


REQUESTS: dict[str, Callable[[str], bytes]] = {
    "query": lambda _: post(),
    "known": lambda authorization: post(HOSPITALS, authorization),
    "mutation": lambda authorization: register(authorization, "a"),
    "not allowed": lambda _: register("X: y", "b"),
    "wrong token": lambda _: post(RIGHT, "Authorization: Bearer x"),
    "no json": lambda _: post(b"{"),
    "no query": lambda _: post(b'{"query": 1}'),
    "no body": lambda _: post(b""),
    "wrong document": lambda _: post(b'{"query": "{"}', "Accept: application/graphql-response+json"),
    "other type": lambda _: post(RIGHT, "Content-Type: text/plain").replace(b"Content-Type: application/json\r\n", b""),
    "not acceptable": lambda _: post(RIGHT, "Accept: text/html"),
    "compressed": lambda _: post(RIGHT, "Content-Encoding: gzip"),
    "stream": lambda _: post(RIGHT, "Accept: text/event-stream"),
    "page": lambda _: post(RIGHT, "Origin: http://localhost:3000"),
    "stranger": lambda _: post().replace(b"Host: localhost", b"Host: evil.example"),
    "chunked": lambda _: post(b"1b\r\n" + RIGHT + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "kept alive": lambda _: post(RIGHT, "Connection: keep-alive"),
    "twice": lambda _: post(RIGHT, "Accept-Language: es", "Accept-Language: en"),
    "elsewhere": lambda _: post(RIGHT, path="/graphql/"),
    "long": lambda _: post(RIGHT + b" " * FAST_BODY_BYTES_MAX),
    "get": lambda _: b"GET /graphql?query={__typename} HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "health": lambda _: b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
}
ENDS = {"not acceptable", "compressed", "other type", "wrong token", "stream"}  # may end the connection


async def answers(url: str, requests: list[bytes], pieces: list[bytes] | None = None) -> list[Heard]:
    """The responses over one connection, until the server closes it; without `pieces` each request has its own."""
    found: list[Heard] = []
    if pieces is None:
        for request in requests:
            async with talking(url) as talk:
                await talk.say(request)
                found.append(await talk.hear())
        return found
    async with talking(url) as talk:
        saying = asyncio.create_task(talk.say(*pieces))
        for _ in requests:
            found.append(await talk.hear())
            if found[-1].headers.get("connection") == "close":
                break
        saying.cancel()
    return found


async def test_both_paths_give_the_same_response(url: str, authorization: str) -> None:
    for name, request in REQUESTS.items():
        whole = request(authorization)
        (fast,) = await answers(url, [whole])
        for cut in (1, whole.index(b"\r\n\r\n") + 2, whole.index(b"\r\n\r\n") + 4, len(whole) - 1):
            if cut >= len(whole):
                continue
            (by_asgi,) = await answers(url, [whole], [whole[:cut], whole[cut:]])
            # The ASGI path closes the connection if it refuses a request before it reads the body.
            by_asgi.headers.pop("connection", None)
            fast.headers.pop("connection", None)
            assert by_asgi.comparable() == fast.comparable(), (name, cut)


async def test_pipelined_requests_are_answered_in_order(url: str, authorization: str) -> None:
    dice = random.Random(1607)
    alone = {}
    await answers(url, [REQUESTS["mutation"](authorization)])  # later ones repeat it
    for name, request in REQUESTS.items():
        (alone[name],) = await answers(url, [request(authorization)])
    for _ in range(60):
        names = dice.choices(sorted(REQUESTS.keys() - ENDS), k=dice.randint(1, 8))
        requests = [REQUESTS[name](authorization) for name in names]
        whole = b"".join(requests)
        cuts = sorted(dice.sample(range(1, len(whole)), dice.randint(0, 6)))
        pieces = [whole[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        together = await answers(url, requests, pieces)
        for name, one in zip(names, together, strict=True):
            assert (one.status, one.body) == (alone[name].status, alone[name].body), (names, cuts)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET /" + b"a" * HEAD_BYTES_MAX + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD_BYTES_MAX + b"\r\n\r\n", 431),
        (post(RIGHT, f"X: {'a' * HEAD_BYTES_MAX}"), 431),
        (post(RIGHT, *(f"X-{n}: a" for n in range(HEADERS_MAX))), 431),
        (post(b"", "Content-Length: 5"), 400),
        (b"nonsense\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
    ids=["long line", "long header", "long header of a post", "many headers", "two lengths", "nonsense", "http/2"],
)
@pytest.mark.parametrize("pieces", [1, 50])
async def test_an_invalid_or_oversized_head_is_refused(url: str, said: bytes, status: int, pieces: int) -> None:
    size = len(said) // pieces + 1
    async with talking(url) as talk:
        with suppress(ConnectionError):  # the server may have refused it already
            await talk.say(*(said[begin : begin + size] for begin in range(0, len(said), size)))
        heard = await talk.hear()
        assert (heard.status, heard.headers["connection"]) == (status, "close")
        assert await talk.ended()


async def test_an_unfinished_head_is_refused_at_the_size_limit(url: str) -> None:
    async with talking(url) as talk:
        await talk.say(b"GET / HTTP/1.1\r\nX: ")
        with suppress(ConnectionError):
            await talk.say(*[b"a" * 16_384] * 40)
        assert (await talk.hear()).status == 431


@pytest.fixture
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.http.protocol, "IDLE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(api.http.protocol, "SWEEP_EVERY_S", 0.05)


@pytest.mark.usefixtures("short_times")
@pytest.mark.parametrize("said", [b"", b"POST /gra", post()[:-1], post()], ids=["nothing", "a part", "no end", "all"])
async def test_an_idle_connection_is_closed(services: Services, said: bytes) -> None:
    async with serving(services) as url, talking(url) as talk:
        await talk.say(said)
        if said == post():
            assert (await talk.hear()).status == 200
        if said == post()[:-1]:  # the timeout for a body is longer
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await talk.ended()
        else:
            assert await talk.ended()


@pytest.mark.usefixtures("short_times")
async def test_a_slow_head_is_cut_off(services: Services) -> None:
    async with serving(services) as url, talking(url) as talk:

        async def trickle() -> None:
            for byte in b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 1_000:
                await talk.say(bytes([byte]))
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        assert await talk.ended()
        trickling.cancel()


def lock(town: Town) -> "psycopg.Connection[tuple[object, ...]]":
    """A connection that holds the log's lock."""
    holder = psycopg.connect(town.owner)
    holder.execute(f"SELECT {town.schema}.lock_log()".encode())
    return holder


@pytest.mark.usefixtures("short_times")
async def test_a_connection_is_not_idle_while_its_request_is_answered(
    services: Services, town: Town, authorization: str
) -> None:
    async with serving(services) as url, talking(url) as talk:
        with lock(town):
            await talk.say(register(authorization, "slow"))
            await asyncio.sleep(1)
        heard = await talk.hear()
        assert b'"errors":[]' in heard.body


async def test_pipelined_bytes_are_bounded(services: Services, town: Town, authorization: str) -> None:
    connections = Connections(CONNECTIONS_MAX)
    ahead = 200
    async with serving(services, connections=connections) as url, talking(url) as talk:
        with lock(town):
            await talk.say(register(authorization, "slow"))
            padded = post(RIGHT + b" " * 30_000)
            for _ in range(ahead):
                talk.writer.write(padded)
            await asyncio.sleep(0.5)
            (connection,) = connections._open
            assert len(connection._waiting) < WAITING_BYTES_MAX + 2**20
        found = [await talk.hear() for _ in range(ahead + 1)]
        assert [one.status for one in found] == [200] * (ahead + 1)


@pytest.mark.usefixtures("short_times")
async def test_a_client_that_reads_no_responses_is_cut_off(services: Services) -> None:
    connections = Connections(CONNECTIONS_MAX)
    async with serving(services, connections=connections) as url, talking(url) as talk:
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(20_000):
            talk.writer.write(post(b'{"query": "{ __schema { types { name description } } }"}'))
        async with asyncio.timeout(ANSWER_S):
            while connections._open:
                for connection in connections._open:
                    assert connection.transport.get_write_buffer_size() < 2**20
                await asyncio.sleep(0.02)


async def test_an_unhandled_error_closes_the_connection(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> bytes:
        raise LookupError("a fault of ours")

    monkeypatch.setattr(api.http.endpoint, "_encoded", fail)
    async with serving(services) as url, talking(url) as talk:
        await talk.say(post())
        assert await talk.ended()


async def test_one_connection_too_many_is_answered_503(services: Services) -> None:
    connections = Connections(3)
    async with serving(services, connections=connections) as url:
        async with talking(url) as one, talking(url) as two, talking(url) as three:
            for talk in (one, two, three):
                await talk.say(post())
                assert (await talk.hear()).status == 200
            async with talking(url) as four:
                heard = await four.hear()
                assert (heard.status, heard.headers["retry-after"]) == (503, "5")
                assert await four.ended()
        await asyncio.sleep(0.1)
        async with talking(url) as again:
            await again.say(post())
            assert (await again.hear()).status == 200


async def test_a_shutdown_answers_open_requests_and_closes(services: Services, town: Town, authorization: str) -> None:
    async with AsyncExitStack() as server:
        url = await server.enter_async_context(serving(services))
        async with talking(url) as idle, talking(url) as busy:
            await idle.say(post())
            assert (await idle.hear()).status == 200
            with lock(town):
                await busy.say(register(authorization, "last"))
                stopping = asyncio.create_task(server.aclose())
                assert await idle.ended()
                assert not stopping.done()
            heard = await busy.hear()
            assert b'"errors":[]' in heard.body
            assert heard.headers["connection"] == "close"
            assert await busy.ended()
            await stopping
