"""`igob bench live`: CPU time of live followers, idle and during changes, and the delay of their messages.

The city has one agenda for each follower. Each follower has its own WebSocket (graphql-transport-ws over loopback) to
one worker of a real `igob serve`. In the first phase nothing changes. In the second, another process books slots at a
fixed rate, so the worker only sends messages.
"""

import asyncio
import itertools
import random
import statistics
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from api.contexts import load_domain
from bench.core import COMMANDS_AT_ONCE, opaque
from bench.load import cpu_of
from bench.login import SECRET, bearer
from bench.machine import Machine, commit, database_facts, machine, own_server
from bench.race import serving
from domain.appointments.agenda import AppointmentBooked
from domain.appointments.booking import BookAppointment
from domain.appointments.hospital import RegisterHospital
from domain.appointments.publishing import PublishAgenda
from domain.decider import Command, build
from domain.identifiers import AgendaId
from infra.log.core import Core, open_core
from infra.log.submission import Key
from infra.postgres.embedded import APPLICATION, OWNER
from infra.postgres.migrate import migrate
from infra.running.secret import load_secret
from infra.running.settings import Settings

FOLLOWERS = 1_000  # each with its own agenda
PER_S = 100.0
SLOTS = 40  # of an agenda, ten minutes each
SLOT_MINUTES = 10
HOSPITAL = "h"
OPENED_AT_ONCE = 25
SETTLE_S = 1.0  # before each phase, for pending work
ANSWER_TIMEOUT_S = 30
POLL_S = 0.02
LAST_MESSAGE_POLLS_MAX = 500

PROTOCOL = Subprotocol("graphql-transport-ws")
FOLLOW = "subscription ($id: ID!) { agenda(id: $id) { position previous agenda { id freeSlots } } }"


class Result(msgspec.Struct):
    """CPU times are of the worker only.

    `idle_cpu_ms_per_s` is the cost of all followers while nothing changes, `cpu_ms_per_s` the cost at `changes_per_s`,
    and `cpu_us_per_message` the difference per message. Latency is from the commit to the message. `missed`: changes
    without a message. `out_of_order`: messages with a `previous` other than the position of the message before.
    """

    measured_at: str
    commit: str
    machine: Machine
    followers: int
    changes_per_s: float
    messages: int
    idle_cpu_ms_per_s: float
    cpu_ms_per_s: float
    cpu_us_per_message: float
    p50_ms: float
    p99_ms: float
    missed: int
    out_of_order: int
    worker_mib: float


class Message(msgspec.Struct, frozen=True):
    """A message to a follower: the position of the change, and the time of arrival."""

    position: int
    arrived_at_s: float


class Change(msgspec.Struct, frozen=True):
    """A booking: its agenda, the position of its event, and the time at which its commit was known."""

    agenda: AgendaId
    position: int
    committed_at_s: float


class Follower:
    """A client that follows one agenda."""

    def __init__(self, agenda: AgendaId) -> None:
        self.agenda = agenda
        self.messages: list[Message] = []
        self.out_of_order = 0
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self, url: str) -> None:
        """Connect, and wait for the first message."""
        address = url.replace("http", "ws", 1) + "/graphql"
        self._socket = await connect(
            address, subprotocols=[PROTOCOL], proxy=None, compression=None, ping_interval=None, close_timeout=1
        )
        await self._send(type="connection_init", payload={"Authorization": bearer()})
        await self._receive("connection_ack")
        payload = {"query": FOLLOW, "variables": {"id": self.agenda}}
        await self._send(type="subscribe", id="1", payload=payload)
        self._note(await self._receive("next"))
        self._reading = asyncio.create_task(self._read())

    async def close(self) -> None:
        if self._reading:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        if self._socket:
            await self._socket.close()

    async def _send(self, **message: Any) -> None:
        assert self._socket
        await self._socket.send(msgspec.json.encode(message).decode())

    async def _receive(self, kind: str) -> dict[str, Any]:
        """The next message, which must have this type. Answers pings."""
        assert self._socket
        while True:
            message: dict[str, Any] = msgspec.json.decode(await self._socket.recv())
            if message["type"] == "ping":
                await self._send(type="pong")
            elif message["type"] == kind:
                return message
            else:
                raise RuntimeError(f"instead of {kind}: {message}")

    async def _read(self) -> None:
        while True:
            try:
                self._note(await self._receive("next"))
            except ConnectionClosed:
                return  # missed messages are counted

    def _note(self, message: dict[str, Any]) -> None:
        arrived_at_s = time.monotonic()
        update = message["payload"]["data"]["agenda"]
        before = str(self.messages[-1].position) if self.messages else None
        self.out_of_order += update["previous"] != before
        self.messages.append(Message(int(update["position"]), arrived_at_s))


def agendas(count: int) -> list[PublishAgenda]:
    """`count` agendas on one day."""
    day = (datetime.now(UTC) + timedelta(days=2)).date()
    begin = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    times = [{"start": begin + timedelta(minutes=SLOT_MINUTES * n), "minutes": SLOT_MINUTES} for n in range(SLOTS)]
    return [
        build(PublishAgenda, hospital=HOSPITAL, specialty="s", practitioner=f"p-{number}", date=day, slots=times)
        for number in range(count)
    ]


async def fill(core: Core, published: list[PublishAgenda]) -> None:
    commands: list[Command] = [build(RegisterHospital, hospital=HOSPITAL, name="H"), *published]
    for begin in range(0, len(commands), COMMANDS_AT_ONCE):
        some = commands[begin : begin + COMMANDS_AT_ONCE]
        await asyncio.gather(*(core.committer.submit(command, Key("bench", opaque())) for command in some))


async def book_at(core: Core, names: list[AgendaId], per_s: float, seconds: float) -> list[Change]:
    """Book slots of these agendas in random order at a fixed rate, in an open loop."""
    places = list(itertools.product(range(1, SLOTS + 1), names))[: int(per_s * seconds) + len(names)]
    random.Random(1).shuffle(places)
    changes: list[Change] = []

    async def book(slot: int, agenda: AgendaId) -> None:
        name = f"{agenda}/{opaque()}"
        command = BookAppointment(agenda=agenda, slot=slot, patient=opaque(), channel="WEB", appointment=name)
        outcome = await core.committer.submit(command, Key("bench", opaque()))
        committed_at_s = time.monotonic()
        first = outcome.position - len(outcome.recorded) + 1
        place = next(n for n, (_, event) in enumerate(outcome.recorded) if isinstance(event, AppointmentBooked))
        changes.append(Change(agenda, first + place, committed_at_s))

    begun_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number, (slot, agenda) in enumerate(places[: int(per_s * seconds)]):
            await asyncio.sleep(max(begun_s + number / per_s - time.monotonic(), 0))
            group.create_task(book(slot, agenda))
    return changes


@asynccontextmanager
async def following(url: str, names: list[AgendaId]) -> AsyncIterator[list[Follower]]:
    """A connected follower of each agenda."""
    followers = [Follower(name) for name in names]
    try:
        for begin in range(0, len(followers), OPENED_AT_ONCE):
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await asyncio.gather(*(one.open(url) for one in followers[begin : begin + OPENED_AT_ONCE]))
        yield followers
    finally:
        await asyncio.gather(*(one.close() for one in followers))


def worker_at(url: str) -> psutil.Process:
    """The worker that has the followers' connections."""
    port = urlsplit(url).port
    found = Counter[psutil.Process]()
    for process in psutil.Process().children(recursive=True):
        connections = process.net_connections("tcp")
        found[process] = sum(one.laddr.port == port and one.status == psutil.CONN_ESTABLISHED for one in connections)
    return found.most_common(1)[0][0]


def waits_s(changes: list[Change], followers: list[Follower]) -> tuple[list[float], int]:
    """The delay of each change, and the number of changes that never arrived."""
    messages = {one.agenda: one.messages for one in followers}
    waits, missed = [], 0
    for change in changes:
        heard = messages[change.agenda]
        place = bisect_left(heard, change.position, key=lambda message: message.position)
        if place == len(heard):
            missed += 1
        else:  # the message may arrive before the booking process knows of the commit
            waits.append(max(heard[place].arrived_at_s - change.committed_at_s, 0.0))
    return waits, missed


async def _await_messages(changes: list[Change], followers: list[Follower]) -> None:
    """Wait until every change has arrived, or LAST_MESSAGE_POLLS_MAX polls."""
    for _ in range(LAST_MESSAGE_POLLS_MAX):
        if not waits_s(changes, followers)[1]:
            return
        await asyncio.sleep(POLL_S)


class Measured(msgspec.Struct):
    """The raw measurements: CPU seconds of the worker in `seconds` without changes, and in `took_s` with changes."""

    followers: list[Follower]
    seconds: float
    idle_cpu_s: float
    cpu_s: float
    took_s: float
    changes: list[Change]
    messages: int
    worker_bytes: int


async def measure(url: str, settings: Settings, *, followers: int, per_s: float, seconds: float) -> Measured:
    """Run both phases."""
    load_domain()
    async with open_core(settings) as core:
        published = agendas(followers)
        await fill(core, published)
        names = [command.agenda for command in published]
        async with following(url, names) as clients:
            worker = worker_at(url)
            await asyncio.sleep(SETTLE_S)
            before_s = cpu_of(worker.pid)
            await asyncio.sleep(seconds)
            idle_cpu_s = cpu_of(worker.pid) - before_s
            heard = sum(len(one.messages) for one in clients)
            before_s, begun_s = cpu_of(worker.pid), time.monotonic()
            changes = await book_at(core, names, per_s, seconds)
            await _await_messages(changes, clients)
            return Measured(
                followers=clients,
                seconds=seconds,
                idle_cpu_s=idle_cpu_s,
                cpu_s=cpu_of(worker.pid) - before_s,
                took_s=time.monotonic() - begun_s,
                changes=changes,
                messages=sum(len(one.messages) for one in clients) - heard,
                worker_bytes=worker.memory_info().rss,
            )


def _result(measured: Measured, where: Machine) -> Result:
    waits, missed = waits_s(measured.changes, measured.followers)
    idle, busy = measured.idle_cpu_s / measured.seconds, measured.cpu_s / measured.took_s
    return Result(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        commit=commit(),
        machine=where,
        followers=len(measured.followers),
        changes_per_s=round(len(measured.changes) / measured.took_s, 1),
        messages=measured.messages,
        idle_cpu_ms_per_s=round(idle * 1_000, 1),
        cpu_ms_per_s=round(busy * 1_000, 1),
        cpu_us_per_message=round((busy - idle) * measured.took_s / max(measured.messages, 1) * 1e6, 1),
        p50_ms=round(statistics.median(waits or [0.0]) * 1_000, 1),
        p99_ms=round(sorted(waits or [0.0])[int(len(waits) * 0.99)] * 1_000, 1),
        missed=missed,
        out_of_order=sum(one.out_of_order for one in measured.followers),
        worker_mib=round(measured.worker_bytes / 2**20, 1),
    )


def run(*, followers: int, per_s: float, seconds: float, console: Console) -> Result:
    """Measure the followers for `seconds` idle, and for the same time with changes."""
    load = round(psutil.getloadavg()[0], 1)
    with (
        own_server("igob bench live") as server,
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        # All followers have one token: turn rate limits off.
        settings = Settings(data_dir=server.folder, schema="bench", secret=SECRET, requests_per_s=0, anonymous_per_s=0)
        migrate(server.conninfo(OWNER), schema="bench", application_role=APPLICATION, secret=load_secret(settings))
        progress.add_task("bench live", total=None)
        with serving(server, settings, 1) as url:
            measured = asyncio.run(measure(url, settings, followers=followers, per_s=per_s, seconds=seconds))
            return _result(measured, machine(database_facts(server), load=load))


def show(result: Result, console: Console) -> None:
    """The result for people."""
    title = f"{result.followers:,} live followers in one worker, {result.measured_at} {result.commit}"
    table = Table(title=title, box=None, title_justify="left")
    for column in ("what", "measured"):
        table.add_column(column)
    table.add_row("CPU while nothing changes", f"{result.idle_cpu_ms_per_s} ms a second")
    table.add_row(f"CPU at {result.changes_per_s} changes/s", f"{result.cpu_ms_per_s} ms a second")
    table.add_row("CPU a message", f"{result.cpu_us_per_message} µs")
    table.add_row("commit to message", f"p50 {result.p50_ms} ms, p99 {result.p99_ms} ms")
    table.add_row("messages", f"{result.messages}; missed {result.missed}, out of order {result.out_of_order}")
    table.add_row("worker's memory", f"{result.worker_mib} MiB")
    console.print(table)
    console.print(result.machine.described())
