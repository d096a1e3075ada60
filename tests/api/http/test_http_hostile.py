"""What a client can do to a worker that no honest client does, byte by byte."""

import asyncio

import msgspec
import pytest

import api.http.protocol
import api.http.streams
from api.app import Application
from api.graphql.context import Services
from api.http.protocol import Connections
from infra.log.core import Core
from infra.running.serve import CONNECTIONS_MAX
from infra.running.settings import Settings
from tests.api.conftest import serving
from tests.api.http.test_http_protocol import ANSWER_S, RIGHT, post, talking
from tests.city import AGENDA, open_agenda

pytestmark = pytest.mark.anyio

SUBSCRIPTION = msgspec.json.encode({"query": f'subscription {{ agenda(id: "{AGENDA}") {{ position }} }}'})
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

UPGRADE = "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {'A' * 22}=="


@pytest.fixture
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.http.protocol, "IDLE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(api.http.protocol, "LINGER_S", 0.1)
    monkeypatch.setattr(api.http.protocol, "SWEEP_EVERY_S", 0.05)


@pytest.mark.usefixtures("short_times")
@pytest.mark.parametrize(
    "said",
    [
        HEALTH + b"G",
        post(RIGHT, "Connection: keep-alive") + b"POST",
        HEALTH.replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n"),
    ],
    ids=["a letter", "a method", "no body"],
)
async def test_an_incomplete_request_does_not_keep_a_connection_open(services: Services, said: bytes) -> None:
    async with serving(services) as url, talking(url) as talk:
        await talk.say(said)
        assert (await talk.hear()).status == 200
        async with asyncio.timeout(2):
            assert await talk.ended()


@pytest.mark.usefixtures("short_times")
async def test_a_refused_client_that_reads_nothing_is_cut_off(services: Services) -> None:
    connections = Connections(CONNECTIONS_MAX)
    async with serving(services, connections=connections) as url, talking(url) as talk:
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        (connection,) = connections._open
        while not connection.transport.get_write_buffer_size():
            await talk.say(post(b'{"query": "{ __schema { types { name description } } }"}'))
        await talk.say(post(b"no chunk\r\n", "Transfer-Encoding: chunked"))
        async with asyncio.timeout(ANSWER_S):
            while connections._open:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_trailers_are_not_merged_into_headers(url: str) -> None:
    async with talking(url) as talk:
        chunks = b"1b\r\n" + RIGHT + b"\r\n0\r\nX-Correlation-Id: trailer\r\n\r\n"
        await talk.say(post(chunks, "Transfer-Encoding: chunked"))
        heard = await talk.hear()
        assert (heard.status, heard.headers["x-correlation-id"] == "trailer") == (200, False)


BEHIND_A_STREAM = {
    "request": HEALTH,
    "websocket": "\r\n".join(["GET /graphql HTTP/1.1", "Host: localhost", *UPGRADE, "", ""]).encode(),
}


@pytest.mark.parametrize("behind", BEHIND_A_STREAM.values(), ids=BEHIND_A_STREAM.keys())
async def test_an_event_stream_ends_with_its_connection(
    services: Services, core: Core, monkeypatch: pytest.MonkeyPatch, behind: bytes
) -> None:
    monkeypatch.setattr(
        api.http.streams, "PING_EVERY_S", 0.2
    )  # behind a second request nothing is read: pings find out
    await open_agenda(core)
    app = Application(Settings(), services)
    async with serving(services, app) as url:
        async with talking(url) as talk:
            await talk.say(post(SUBSCRIPTION, "Accept: text/event-stream"))
            async with asyncio.timeout(ANSWER_S):
                await talk.reader.readuntil(b'"position"')
            assert app._places.taken == 1
            await talk.say(behind)
        async with asyncio.timeout(ANSWER_S):
            while app._places.taken:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("before", [b"", HEALTH, HEALTH * 2], ids=["alone", "behind another", "behind two"])
async def test_a_late_error_in_a_request_is_refused_once(
    services: Services, capfd: pytest.CaptureFixture[str], before: bytes
) -> None:
    async with serving(services) as url, talking(url) as talk:
        await talk.say(before + post(b"no chunk\r\n", "Authorization: Bearer x", "Transfer-Encoding: chunked"))
        for _ in range(before.count(HEALTH)):
            assert (await talk.hear()).status == 200
        assert (await talk.hear()).status == 400
        assert await talk.ended()
        await asyncio.sleep(0.1)
    assert "Traceback" not in capfd.readouterr().err
