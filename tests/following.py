"""Clients of live fields, and somebody who books and cancels meanwhile."""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import httpx
import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from bench.login import bearer

PROTOCOL = Subprotocol("graphql-transport-ws")
TOLD_TIMEOUT_S = 20
REQUEST_TIMEOUT_S = 3  # what a killed process had is asked again

AGENDA = """subscription ($id: ID!, $after: Position) {
  agenda(id: $id, after: $after) { position previous agenda { id freeSlots } } }"""
APPOINTMENT = """subscription ($id: ID!, $after: Position) {
  appointment(id: $id, after: $after) { position previous appointment { id slot patient { id } state } } }"""
SHOWN = """id state waiting countersOpen counters { number open turn { number state } }
  lastCalls { number counter calledAt calls state } next"""
BOARD = f"""subscription ($id: ID!, $after: Position) {{
  line(id: $id, after: $after) {{ position previous line {{ {SHOWN} }} }} }}"""

HOSPITAL = """mutation { registerHospital(input: {idempotencyKey: "h", hospital: "h", name: "H"}) {
  errors { code } } }"""
PUBLISH = (
    """mutation ($input: PublishAgendaInput!) { publishAgenda(input: $input) { agenda { id } errors { code } } }"""
)
REGISTER = """mutation ($n: String!) { registerPerson(input: {idempotencyKey: $n, identity: $n, givenNames: "Ana",
  familyNames: "Mamani", birthDate: "1990-05-17", sex: F}) { person { id } errors { code } } }"""
BOOK = """mutation ($input: BookAppointmentInput!) { bookAppointment(input: $input) {
  appointment { id } position errors { code } } }"""
CANCEL = """mutation ($input: CancelAppointmentInput!) { cancelAppointment(input: $input) {
  position errors { code } } }"""


class Follower:
    """One connection with graphql-transport-ws."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        """The next message of any kind. Raises websockets.ConnectionClosed."""
        heard: dict[str, Any] = json.loads(await asyncio.wait_for(self.socket.recv(), TOLD_TIMEOUT_S))
        return heard

    async def follow(self, query: str, *, name: str = "1", **variables: Any) -> None:
        await self.say(type="subscribe", id=name, payload={"query": query, "variables": variables})

    async def told(self) -> dict[str, Any]:
        """The value of the next message's only field, with `position` and `previous` as numbers."""
        while (heard := await self.hear())["type"] == "ping":
            await self.say(type="pong")
        assert heard["type"] == "next", heard
        assert "errors" not in heard["payload"], heard
        said: dict[str, Any]
        (said,) = heard["payload"]["data"].values()
        return said | {name: said[name] and int(said[name]) for name in ("position", "previous")}

    async def refused(self) -> dict[str, Any]:
        """The only error of the next message."""
        heard = await self.hear()
        assert heard["type"] == "error", heard
        (error,) = heard["payload"]
        found: dict[str, Any] = error
        return found

    async def silent(self, seconds: float) -> bool:
        """Whether no message comes within this time."""
        try:
            await asyncio.wait_for(self.socket.recv(), seconds)
        except TimeoutError:
            return True
        return False

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the close; messages before it are discarded."""
        with suppress(websockets.ConnectionClosed):
            while True:
                await asyncio.wait_for(self.socket.recv(), TOLD_TIMEOUT_S)
        return self.socket.close_code or 0, self.socket.close_reason or ""


@asynccontextmanager
async def open_socket(url: str, *, language: str = "en", **more: Any) -> AsyncIterator[ClientConnection]:
    """A WebSocket to a server's GraphQL endpoint. Raises websockets.InvalidStatus."""
    headers = {"Accept-Language": language} | more.pop("headers", {})
    address = url.replace("http", "ws", 1) + "/graphql"
    async with connect(
        address, subprotocols=[PROTOCOL], additional_headers=headers, proxy=None, close_timeout=1, **more
    ) as socket:
        yield socket


@asynccontextmanager
async def follower(url: str, **more: Any) -> AsyncIterator[Follower]:
    """An accepted connection; a developer's unless `payload` has another token."""
    payload = more.pop("payload", {"Authorization": bearer()})
    async with open_socket(url, **more) as socket:
        one = Follower(socket)
        await one.say(type="connection_init", payload=payload)
        assert (await one.hear())["type"] == "connection_ack"
        yield one


class Reader:
    """One event stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()
        self._coming: asyncio.Task[dict[str, str]] | None = None

    async def _next(self) -> dict[str, str]:
        fields = {}
        while line := await anext(self._lines, None):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        if line is None:
            raise EOFError
        return fields

    async def hear(self, timeout_s: float = TOLD_TIMEOUT_S) -> dict[str, str]:
        """The fields of the next event; a comment has the name "".

        Raises EOFError at the end, httpx.RemoteProtocolError if the stream is cut, TimeoutError if nothing comes.
        """
        self._coming = self._coming or asyncio.create_task(self._next())
        done, _ = await asyncio.wait({self._coming}, timeout=timeout_s)
        if not done:
            raise TimeoutError
        coming, self._coming = self._coming, None
        return coming.result()

    async def close(self) -> None:
        """Stop waiting for the next event."""
        if self._coming:
            self._coming.cancel()
            await asyncio.wait({self._coming})

    async def event(self) -> tuple[str, Any]:
        """Name and data of the next event."""
        while "" in (heard := await self.hear()):
            pass
        return heard["event"], heard["data"] and json.loads(heard["data"])

    async def told(self) -> dict[str, Any]:
        """The value of the next event, as `Follower.told` returns it."""
        while "" in (heard := await self.hear()):
            pass
        assert heard["event"] == "next", heard
        said: dict[str, Any]
        (said,) = json.loads(heard["data"])["data"].values()
        assert heard["id"] == said["position"]
        return said | {name: said[name] and int(said[name]) for name in ("position", "previous")}

    async def silent(self, seconds: float) -> bool:
        """Whether no event comes within this time, apart from the first comment."""
        try:
            while await self.hear(seconds) == {"": ""}:
                pass
        except TimeoutError:
            return True
        return False

    async def cut(self) -> str:
        """The last comment before the stream is cut; events before it are discarded."""
        heard: dict[str, str] = {}
        try:
            while heard.get("event") != "complete":
                heard = await self.hear()
        except httpx.RemoteProtocolError:
            return heard.get("", "")
        raise AssertionError(heard)


@asynccontextmanager
async def reader(
    url: str, query: str, *, headers: Mapping[str, str] = MappingProxyType({}), **variables: Any
) -> AsyncIterator[Reader]:
    """An event stream from a server's GraphQL endpoint; a developer's unless headers have another token."""
    headers = {"authorization": bearer(), "accept": "text/event-stream", "accept-language": "en", **headers}
    fields = {"query": query, "variables": variables}
    async with (
        httpx.AsyncClient(verify=False, trust_env=False, timeout=TOLD_TIMEOUT_S) as http,  # noqa: S501 (loopback)
        http.stream("POST", f"{url}/graphql", json=fields, headers=headers) as answer,
    ):
        one = Reader(answer)
        try:
            yield one
        finally:
            await one.close()


class Ward:
    """A hospital on a server with the secret of bench/login.py, where Ana books and cancels."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.made: list[tuple[float, int]] = []  # when it was answered, on time.monotonic(), and its position
        self._agendas = itertools.count()
        self._keys = itertools.count()
        self._ask(HOSPITAL)
        self.ana = str(self._ask(REGISTER, n="5000000")["registerPerson"]["person"]["id"])

    def _ask(self, query: str, **variables: Any) -> Any:
        """The data of a response, over a new connection, so that all workers of the server get requests."""
        answer = httpx.post(
            f"{self.url}/graphql",
            json={"query": query, "variables": variables},
            headers={"Authorization": bearer()},
            timeout=REQUEST_TIMEOUT_S,
            verify=False,  # noqa: S501 (loopback)
            trust_env=False,
        )
        return answer.json()["data"]

    def publish(self, *, slots: int = 20) -> str:
        """Publish an agenda; return its id."""
        number = next(self._agendas)
        day = (datetime.now(UTC) + timedelta(days=3 + number)).date()
        start = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        times = [{"start": (start + timedelta(minutes=n)).isoformat(), "minutes": 1} for n in range(slots)]
        wanted = {"idempotencyKey": f"a{number}", "hospital": "h", "specialty": f"s{number}", "practitioner": "p",
                  "date": day.isoformat(), "slots": times}  # fmt: skip
        return str(self._ask(PUBLISH, input=wanted)["publishAgenda"]["agenda"]["id"])

    def book(self, agenda: str, *, slot: int = 1) -> tuple[str, int]:
        """Book for Ana; return the appointment and its position."""
        wanted = {"agenda": agenda, "slot": slot, "patient": self.ana}
        done = self._until_done(BOOK, "bookAppointment", wanted)
        return str(done["appointment"]["id"]), int(done["position"])

    def cancel(self, appointment: str) -> int:
        """Cancel; return the position."""
        return int(self._until_done(CANCEL, "cancelAppointment", {"appointment": appointment})["position"])

    def _until_done(self, mutation: str, field: str, wanted: dict[str, Any]) -> dict[str, Any]:
        wanted = {"idempotencyKey": f"k{next(self._keys)}", **wanted}
        while True:
            with suppress(httpx.HTTPError, TypeError):  # data are null while nothing can be read
                done: dict[str, Any] = self._ask(mutation, input=wanted)[field]
                if not done["errors"]:
                    self.made.append((time.monotonic(), int(done["position"])))
                    return done
                assert done["errors"][0]["code"] == "unavailable", done
            time.sleep(0.05)

    @contextmanager
    def busy(self, agenda: str, *, pause_s: float = 0.0) -> Iterator[None]:
        """Book and cancel in this agenda while the block runs."""
        stopped = threading.Event()

        def work() -> None:
            while not stopped.is_set():
                appointment, _ = self.book(agenda)
                self.cancel(appointment)
                stopped.wait(pause_s)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()
