"""Told to stop, it answers what it was asked before: bookings over connections that stay open, slow ones too."""

import asyncio
import itertools
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil
import psycopg
import pytest

from bench.login import SECRET, bearer
from infra.postgres.embedded import OWNER, EmbeddedPostgres
from infra.running.parts import STOP_TIMEOUT_S
from infra.running.secret import Secret
from tests.faults.rig import ACCOUNT, BOOK, SLOTS_PER_AGENDA, City
from tests.faults.truth import check_laws, written_by
from tests.serving import STOP_S

pytestmark = pytest.mark.anyio

AGENDAS = 80  # enough: who has no wish left has no request in hand when the server is told to stop
CONNECTIONS = 32
LOAD_S = 0.5  # before it is told to stop
HELD_S = 2.4  # for which the log is locked after that


class Asked(msgspec.Struct):
    """A booking: when its last byte was handed to the system, and what came back; status 0 if nothing did."""

    key: str
    sent_s: float
    answered_s: float = 0.0
    status: int = 0
    position: int = 0


class Load:
    """Connections that each book as soon as they have their answer, until the server closes them."""

    _numbers = itertools.count(0, AGENDAS)  # of agendas: each load has its own

    def __init__(self, city: City) -> None:
        self._city = city
        first = next(self._numbers)
        self._where = urlsplit(city.caller.url)
        self._wishes = [
            {"idempotencyKey": f"{number}-{slot}", "agenda": agenda, "slot": slot, "patient": city.people[slot]}
            for number, agenda in [(number, city.publish(number)) for number in range(first, first + AGENDAS)]
            for slot in range(1, SLOTS_PER_AGENDA + 1)
        ]
        self.asked: list[Asked] = []

    async def run(self) -> None:
        await asyncio.gather(*(self._book() for _ in range(CONNECTIONS)))

    async def _book(self) -> None:
        reader, writer = await asyncio.open_connection(self._where.hostname, self._where.port)
        try:
            while self._wishes and await self._ask(self._wishes.pop(), reader, writer):
                pass
        except (OSError, EOFError):
            pass
        finally:
            writer.transport.abort()

    async def _ask(self, wish: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection is of use afterwards. Raises OSError, EOFError."""
        writer.write(self._request(wish))
        one = Asked(str(wish["idempotencyKey"]), time.monotonic())
        self.asked.append(one)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        body = await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        booked = msgspec.json.decode(body)["data"]["bookAppointment"]
        assert not booked["errors"], booked
        one.position, one.answered_s, one.status = int(booked["position"]), time.monotonic(), int(head[9:12])
        return b"connection: close" not in head

    def _request(self, wish: dict[str, Any]) -> bytes:
        body = msgspec.json.encode({"query": BOOK, "variables": {"input": wish}})
        head = (
            f"POST /graphql HTTP/1.1\r\nHost: {self._where.netloc}\r\nContent-Type: application/json\r\n"
            f"Authorization: {bearer()}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def check(self, stopped_s: float) -> None:
        """Every answer is in the log, and what was sent before the server was told to stop has one."""
        with started(self._city.folder):
            rows = self._city.rows()
        check_laws(rows)
        written = written_by(rows)
        secret = Secret(bytes.fromhex(SECRET))
        for one in self.asked:
            found = [row.position for row in written.get(secret.key_name(ACCOUNT, one.key), [])]
            if one.status:
                assert (one.status, found) == (200, [one.position - 1, one.position]), one
            else:  # it came when the connection was about to be closed: nobody has read it
                assert one.sent_s > stopped_s, one
                assert not found, one


@contextmanager
def started(folder: Path) -> Iterator[None]:
    """The database of a city that has stopped."""
    server = EmbeddedPostgres(folder)
    with server.hold("tests"):
        server.start()
        yield
        server.stop()


@asynccontextmanager
async def loaded(city: City) -> AsyncIterator[Load]:
    """A load that goes on until the server is stopped, which the block has to do."""
    load = await asyncio.to_thread(Load, city)
    loading = asyncio.create_task(load.run())
    await asyncio.sleep(LOAD_S)
    yield load
    await asyncio.wait_for(loading, STOP_S)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with City(tmp_path_factory.mktemp("drain") / "city") as city:
        yield city


@pytest.fixture
def city(shared: City) -> City:
    """Served again after each test, which stops it."""
    if shared.server.process.poll() is not None:
        shared.start()
    return shared


async def test_requests_before_a_stop_are_answered(city: City) -> None:
    async with loaded(city) as load:
        stopped_s = time.monotonic()
        city.server.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(city.server.stop) == 0
    assert len(load.asked) > CONNECTIONS
    assert any(one.answered_s > stopped_s for one in load.asked)
    await asyncio.to_thread(load.check, stopped_s)
    assert "does not stop; killing it" not in city.server.output


def hold_log(folder: Path, held: threading.Event, seconds: float) -> None:
    """Nothing is written to the log for so long."""
    with psycopg.connect(EmbeddedPostgres(folder).conninfo(OWNER)) as holder:
        holder.execute("SELECT la_paz.lock_log()")
        held.set()
        time.sleep(seconds)


async def test_a_stop_waits_for_slow_bookings(city: City) -> None:
    assert HELD_S < STOP_TIMEOUT_S
    async with loaded(city) as load:
        held = threading.Event()
        holding = asyncio.create_task(asyncio.to_thread(hold_log, city.folder, held, LOAD_S + HELD_S))
        await asyncio.to_thread(held.wait)
        await asyncio.sleep(LOAD_S)  # all connections have a booking under way
        stopped_s = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(city.server.stop))
        await asyncio.sleep(HELD_S / 3)
        with pytest.raises(OSError, match="Connect call failed"):  # elsewhere, at once: not in a queue that ends
            await asyncio.open_connection(*urlsplit(city.caller.url).netloc.split(":"))
        assert await stopping == 0
        await holding
    waited = [one for one in load.asked if one.answered_s > stopped_s]
    assert len(waited) == CONNECTIONS
    assert min(one.answered_s for one in waited) - stopped_s > HELD_S / 2
    await asyncio.to_thread(load.check, stopped_s)


async def test_a_stop_of_the_whole_group_still_answers_requests(city: City) -> None:
    """As systemd does it unless told otherwise."""
    async with loaded(city) as load:
        stopped_s = time.monotonic()
        for process in [psutil.Process(city.server.process.pid), *city.server.workers()]:
            with suppress(psutil.NoSuchProcess):  # it may have stopped by then
                process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(city.server.stop) == 0
    assert time.monotonic() - stopped_s < STOP_TIMEOUT_S
    await asyncio.to_thread(load.check, stopped_s)
