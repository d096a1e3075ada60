"""One application, two servers: HTTP, WebSockets, limits and stopping behave as documented under both."""

import asyncio
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import httpx
import pytest
import websockets

from api.http.limits import BODY_BYTES_MAX
from api.http.sockets import MESSAGE_BYTES_MAX
from bench.login import SECRET, bearer
from infra.postgres.embedded import APPLICATION, OWNER, EmbeddedPostgres
from infra.postgres.migrate import migrate
from infra.running.secret import Secret
from tests.clusters import prepare
from tests.conformance import working
from tests.following import AGENDA, Ward, follower, open_socket
from tests.programs import LIBRARIES, Program
from tests.serving import READY_S, STOP_S, environment, get

pytestmark = pytest.mark.anyio

SERVERS = {
    "igob": (working.MAIN, []),
    "uvicorn": (
        "uvicorn.main:main",
        ["--factory", "api.app:create_app", "--http", "h11", "--fd", str(working.LISTENING_FD)],
    ),
}
STOPPED = (0, -signal.SIGTERM)  # uvicorn ends by the signal that told it to


class Served:
    """A server started by its own function."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port, descriptor = listening.getsockname()[1], listening.fileno()
            self.said = (folder.parent / f"{name}-{port}.log").open("w+")
            main, arguments = SERVERS[name]
            self.process = Program(
                arguments,
                environment(IGOB_DATA_DIR=str(folder)),
                outputs=(self.said.fileno(), self.said.fileno()),
                kept=[descriptor],
                imported=LIBRARIES,
                main=main,
            )
        self.url = f"http://127.0.0.1:{port}"

    def wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + READY_S
        while time.monotonic() < deadline_s and self.process.poll() is None:
            with suppress(httpx.HTTPError):
                if get(f"{self.url}/readyz").status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"not ready: {self.output()}")

    def output(self) -> str:
        self.said.seek(0)
        return self.said.read()

    def stop(self) -> int:
        """Stop it; return its exit status."""
        self.process.terminate()
        return self.process.wait(STOP_S)


@contextmanager
def serving(name: str, folder: Path) -> Iterator[Served]:
    server = Served(name, folder)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()
        server.said.close()


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """On a database that runs by itself."""
    database = EmbeddedPostgres(prepare(tmp_path_factory.mktemp(request.param) / "city"))
    with database.hold("tests"):
        database.start()
        secret = Secret(bytes.fromhex(SECRET))
        migrate(database.conninfo(OWNER), schema="la_paz", application_role=APPLICATION, secret=secret)
        with serving(request.param, database.folder) as server:
            yield server
        database.stop()


@pytest.fixture(scope="module")
def ward(served: Served) -> Ward:
    return Ward(served.url)


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers={"Authorization": bearer()}, trust_env=False) as http:
        yield http


RIGHT = {"query": "{ __typename }"}
JSON = {"Content-Type": "application/json"}


def test_http(http: httpx.Client) -> None:
    answers = [http.post("/graphql", json=RIGHT), http.get("/graphql", params=RIGHT)]
    for answer in answers:
        assert (answer.status_code, answer.json()["data"]) == (200, {"__typename": "Query"})
        assert answer.headers["cache-control"] == "no-store"
    answer = http.put("/graphql")  # without a body: a server may close before it has read one
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    assert http.post("/graphql", content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert http.post("/graphql", json=RIGHT, headers={"Accept": "text/html"}).status_code == 406
    answer = http.post("/graphql", json=RIGHT, headers={"Authorization": "Bearer x"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert http.post("/graphql", json=RIGHT, headers={"Host": "evil.example"}).status_code == 400
    assert http.get("/graphql/", params=RIGHT).status_code == 404
    assert http.get("/healthz").json() == {"status": "ok"}
    assert "igob_" in http.get("/metrics").text


def test_limits(served: Served, http: httpx.Client) -> None:
    def ask(body: bytes) -> list[httpx.Response]:
        """Send it with and without a declared length."""
        return [http.post("/graphql", content=content, headers=JSON) for content in (body, iter([body]))]

    padding = b" " * (BODY_BYTES_MAX - 27)
    for answer in ask(b'{"query": "{ __typename }"' + padding + b"}"):
        assert answer.status_code == 200
    # uvicorn alone may close the connection while the client still sends, so that its answer is lost.
    with suppress(httpx.TransportError) if served.name == "uvicorn" else nullcontext():
        for answer in ask(b'{"query": "{ __typename }"' + padding + b" }"):
            assert answer.status_code == 413
    for answer in ask(b"[]"):
        assert answer.status_code == 400


async def test_a_change_reaches_followers(served: Served, ward: Ward) -> None:
    agenda = ward.publish()
    async with follower(served.url) as one:
        await one.follow(AGENDA, id=agenda)
        assert (await one.told())["agenda"] == {"id": agenda, "freeSlots": 20}
        _, position = await asyncio.to_thread(ward.book, agenda)
        told = await one.told()
        assert (told["position"], told["agenda"]["freeSlots"]) == (position - 1, 19)


async def test_how_connections_end(served: Served) -> None:
    async with follower(served.url) as one:
        await one.socket.send(b"no text")
        assert (await one.closed())[0] == 4400
    async with follower(served.url) as one:
        await one.socket.send(" " * (MESSAGE_BYTES_MAX + 1))
        assert (await one.closed())[0] == 4400
    async with open_socket(served.url) as opened:
        await opened.send('{"type": "connection_init", "payload": {"Authorization": "Bearer x"}}')
        with pytest.raises(websockets.ConnectionClosedError):
            await opened.recv()
        assert (opened.close_code, opened.close_reason) == (4403, "token_invalid")
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with open_socket(served.url, headers={"Origin": "https://evil.example"}):
            pass
    assert refused.value.response.status_code == 403


async def test_a_stop_ends_connections(served: Served, ward: Ward) -> None:
    with serving(served.name, served.folder) as server:
        async with follower(server.url) as one:
            await one.follow(AGENDA, id=ward.publish())
            await one.told()
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            assert (await one.closed())[0] not in (0, 1000)  # not as if there were nothing more to tell
            assert await stopping in STOPPED
        assert "Traceback" not in server.output()
