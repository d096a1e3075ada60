"""`igob bench views`: how fast read models catch up, their lag under load, and the latency of their queries.

The city has 500 agendas a day for thirty days, booked until its log has the requested number of events. Then, in
order: both read models are built from nothing; a real `igob serve` runs with bookings at a fixed rate while the lag is
sampled and availability is queried over HTTP; and a read model is rebuilt while bookings go on.
"""

import asyncio
import itertools
import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import msgspec
import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from api.contexts import load_domain, read_models
from bench.core import COMMANDS_AT_ONCE, opaque
from bench.load import cpu_of, workers_of
from bench.login import SECRET
from bench.machine import Machine, commit, database_facts, machine, own_server
from bench.race import Client, serving
from domain.appointments.booking import BookAppointment
from domain.appointments.hospital import RegisterHospital
from domain.appointments.publishing import PublishAgenda
from domain.decider import build
from domain.identifiers import AgendaId, agenda_id
from infra.log.codec import Codec
from infra.log.core import Core, open_core
from infra.log.submission import Key
from infra.postgres.embedded import APPLICATION, OWNER, EmbeddedPostgres
from infra.postgres.migrate import migrate
from infra.postgres.views import Views
from infra.running.secret import load_secret
from infra.running.settings import Settings
from projections.appointments.availability import AVAILABILITY
from projections.engine.generations import Places
from projections.engine.projection import Decode
from projections.engine.runner import connect, rebuild

DAYS = 30
AGENDAS_A_DAY = 500
HOSPITALS = 5
SPECIALTIES = 20
SLOTS = 40
SLOT_MINUTES = 10
CALLERS = 256
EVENTS_PER_BOOKING = 2
SAMPLE_EVERY_S = 0.01
MEANWHILE_PER_S = 100  # bookings during queries, and during a rebuild
OUTSTANDING_MAX = 2_000
ASKERS = 16
WARMUP_S = 1.0
COMMITTER_WARMUP_S = 8.0  # a new committer loads every agenda once

AVAILABILITY_QUERY = """{ availability(specialty: "%s", onOrAfter: "%s", to: "%s") {
  freeSlots nextFree { slot start minutes } days { date freeSlots } } }"""


class Waits(msgspec.Struct):
    """Latencies in milliseconds: `count` of them, at a rate per second."""

    rate_per_s: float
    count: int
    p50_ms: float
    p99_ms: float


class Result(msgspec.Struct):
    """Rates are events per second, from the first event on, without other load.

    `query_cpu_us` is the CPU time per query in microseconds: of the `worker`, which does nothing else meanwhile, and of
    `postgresql`, which also writes the bookings. `lag` is the age of the oldest event that the availability view lacks,
    at each sample after the booking process has loaded the agendas; `query` the time from when a request was due to its
    response over HTTP. Bookings were made meanwhile, at the rates shown.
    """

    measured_at: str
    commit: str
    machine: Machine
    events: int
    agendas: int
    catch_up_events_per_s: dict[str, float]
    lag_bookings_per_s: float
    lag: Waits
    query_bookings_per_s: float
    query: Waits
    query_cpu_us: dict[str, float]
    rebuild_s: float
    rebuild_events: int
    rebuild_bookings_per_s: float


def places() -> Iterator[tuple[AgendaId, PublishAgenda]]:
    """The city's agendas, day after day from the day after tomorrow on."""
    first = datetime.now(UTC).date() + timedelta(days=2)
    for day in (first + timedelta(days=n) for n in range(DAYS)):
        begin = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        times = [{"start": begin + timedelta(minutes=SLOT_MINUTES * n), "minutes": SLOT_MINUTES} for n in range(SLOTS)]
        for number in range(AGENDAS_A_DAY):
            hospital, practitioner = f"h-{number % HOSPITALS}", f"p-{number:03d}"
            yield (
                agenda_id(hospital, day, practitioner),
                build(
                    PublishAgenda,
                    hospital=hospital,
                    specialty=f"s-{number % SPECIALTIES}",
                    practitioner=practitioner,
                    date=day,
                    slots=times,
                ),
            )


def wanted(first: int, seed: int) -> Iterator[BookAppointment]:
    """Bookings of all slots from the `first` on, in a random order given by a seed, each for a new patient."""
    agendas = [agenda for agenda, _ in places()]
    slots = list(itertools.product(range(len(agendas)), range(1, SLOTS + 1)))
    random.Random(seed).shuffle(slots)
    for place, slot in slots[first:]:
        agenda = agendas[place]
        yield BookAppointment(
            agenda=agenda, slot=slot, patient=opaque(), channel="WEB", appointment=f"{agenda}/{opaque()}"
        )


async def _submit(core: Core, commands: list[RegisterHospital | PublishAgenda]) -> None:
    for begin in range(0, len(commands), COMMANDS_AT_ONCE):
        some = commands[begin : begin + COMMANDS_AT_ONCE]
        await asyncio.gather(*(core.committer.submit(command, Key("bench", opaque())) for command in some))


def fill(settings: Settings, bookings: int) -> None:
    """Publish the city and make this number of bookings, as fast as possible."""

    async def run() -> None:
        load_domain()
        async with open_core(settings) as core:
            await _submit(core, [build(RegisterHospital, hospital=f"h-{n}", name=f"h-{n}") for n in range(HOSPITALS)])
            await _submit(core, [command for _, command in places()])
            commands = itertools.islice(wanted(0, seed=1), bookings)

            async def caller() -> None:
                for command in commands:
                    await core.committer.submit(command, Key("bench", opaque()))

            await asyncio.gather(*(caller() for _ in range(CALLERS)))

    asyncio.run(run())


def book_at(settings: Settings, first: int, per_s: float, seconds: float) -> float:
    """Book slots from the `first` on at a fixed rate in an open loop; return the rate achieved.

    If the machine is too slow, at most OUTSTANDING_MAX bookings wait.
    """

    async def run() -> float:
        load_domain()
        async with open_core(settings) as core:
            commands = list(itertools.islice(wanted(first, seed=1), int(per_s * seconds)))
            room = asyncio.Semaphore(OUTSTANDING_MAX)

            async def book(command: BookAppointment) -> None:
                await core.committer.submit(command, Key("bench", opaque()))
                room.release()

            begun = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for number, command in enumerate(commands):
                    ahead_s = begun + number / per_s - time.perf_counter()
                    if ahead_s > 0:
                        await asyncio.sleep(ahead_s)
                    await room.acquire()
                    group.create_task(book(command))
            return len(commands) / (time.perf_counter() - begun)

    return asyncio.run(run())


def _waits(waits_s: list[float], seconds: float) -> Waits:
    ordered = sorted(waits_s)
    return Waits(
        rate_per_s=round(len(ordered) / seconds, 1),
        count=len(ordered),
        p50_ms=round(ordered[len(ordered) // 2] * 1_000, 2),
        p99_ms=round(ordered[int(len(ordered) * 0.99)] * 1_000, 2),
    )


def _lags(conninfo: str, schema: str, seconds: float) -> Waits:
    """The lag reported by the availability view, sampled continuously."""

    async def run() -> list[float]:
        views = Views(conninfo, schema=schema)
        await views.open()
        found, ends = [], time.monotonic() + seconds
        while time.monotonic() < ends:
            freshness = (await views.freshness([AVAILABILITY.name]))[AVAILABILITY.name]
            assert freshness is not None
            found.append(freshness.lag_s)
            await asyncio.sleep(SAMPLE_EVERY_S)
        await views.close()
        return found

    return _waits(asyncio.run(run()), seconds)


def _ask(url: str, per_s: float, seconds: float) -> Waits:
    """Query free slots of specialties at a fixed rate."""
    first = datetime.now(UTC).date() + timedelta(days=2)
    last = first + timedelta(days=DAYS - 1)

    def ask(client: Client, dice: random.Random) -> None:
        found = client.query(AVAILABILITY_QUERY % (f"s-{dice.randrange(SPECIALTIES)}", first, last))
        assert len(found["availability"]["days"]) == DAYS

    return ask_at(url, ask, per_s, seconds)


def ask_at(url: str, ask: Callable[[Client, random.Random], None], per_s: float, seconds: float) -> Waits:
    """Query at a fixed rate, after a second of warm-up; latency counts from when each query was due."""
    begun = time.perf_counter() + WARMUP_S
    numbers = itertools.count()
    lock = threading.Lock()

    def asker() -> list[float]:
        client = Client(url)
        waits: list[float] = []
        dice = random.Random()
        while True:
            with lock:
                due = begun - WARMUP_S + next(numbers) / per_s
            if due >= begun + seconds:
                client.close()
                return waits
            time.sleep(max(due - time.perf_counter(), 0))
            ask(client, dice)
            if due >= begun:
                waits.append(time.perf_counter() - due)

    with ThreadPoolExecutor(ASKERS) as pool:
        return _waits([wait for one in [pool.submit(asker) for _ in range(ASKERS)] for wait in one.result()], seconds)


class Bench:
    """A server with the city on it."""

    def __init__(self, server: EmbeddedPostgres, pool: ProcessPoolExecutor, bookings: int, seconds: float) -> None:
        # All requests are from one client: turn rate limits off.
        self.settings = Settings(
            data_dir=server.folder, schema="bench", secret=SECRET, requests_per_s=0, anonymous_per_s=0
        )
        self.seconds = seconds
        self.conninfo = server.conninfo(APPLICATION)
        self._server = server
        self._pool = pool
        self._booked = bookings
        self._places = Places(self.settings.schema)

    def fill(self) -> None:
        owner, secret = self._server.conninfo(OWNER), load_secret(self.settings)
        migrate(owner, schema=self.settings.schema, application_role=APPLICATION, secret=secret)
        self._pool.submit(fill, self.settings, self._booked).result()

    def head(self) -> int:
        with connect(self.conninfo) as connection:
            return self._places.head(connection)

    def catch_up(self) -> dict[str, float]:
        """Build every read model from nothing, alone."""
        found: dict[str, float] = {}
        for name, projection in read_models().items():
            begun = time.perf_counter()
            made = rebuild(self.conninfo, self._places, projection, decoder())
            assert made is not None
            found[name] = round(made.position / (time.perf_counter() - begun))
        return found

    def serving(self) -> AbstractContextManager[str]:
        return serving(self._server, self.settings, 1)

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far of the worker and of PostgreSQL, while the server runs."""
        postgres = self._server.status().pid
        assert postgres
        (worker,) = workers_of(os.getpid())
        return {"worker": cpu_of(worker), "postgresql": cpu_of(postgres)}

    def book(self, per_s: float, seconds: float) -> "Future[float]":
        """Make bookings in the background; the result is the rate achieved."""
        booking = self._pool.submit(book_at, self.settings, self._booked, per_s, seconds)
        self._booked += int(per_s * seconds)
        return booking


def decoder() -> Decode:
    codec = Codec()
    return lambda name, state: codec.decode(name, state, {})


def run(*, events: int, seconds: float, bookings_per_s: float, queries_per_s: float, console: Console) -> Result:
    """Measure on a log of about `events` events: for `seconds` the lag, and for as long the queries."""
    load = round(psutil.getloadavg()[0], 1)
    spawn = multiprocessing.get_context("spawn")
    with (
        own_server("igob bench views") as server,
        ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool,
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        bench = Bench(server, pool, events // EVENTS_PER_BOOKING, seconds)
        return _measure(bench, bookings_per_s, queries_per_s, progress, machine(database_facts(server), load=load))


def _measure(bench: Bench, bookings_per_s: float, queries_per_s: float, progress: Progress, where: Machine) -> Result:
    task = progress.add_task("filling the log", total=5)
    bench.fill()
    held = bench.head()
    progress.update(task, description="catching up", advance=1)
    catch_up = bench.catch_up()
    with bench.serving() as url:
        progress.update(task, description="lag", advance=1)
        booking = bench.book(bookings_per_s, COMMITTER_WARMUP_S + bench.seconds + WARMUP_S)
        _until_booked(bench)
        time.sleep(COMMITTER_WARMUP_S)
        lag = _lags(bench.conninfo, bench.settings.schema, bench.seconds)
        lag_rate = booking.result()
        progress.update(task, description="queries", advance=1)
        booking = bench.book(MEANWHILE_PER_S, bench.seconds + 2 * WARMUP_S)
        _until_booked(bench)
        before = bench.cpu_s()
        query = _ask(url, queries_per_s, bench.seconds)
        asked = queries_per_s * (bench.seconds + WARMUP_S)
        query_cpu_us = {name: float(round((cpu - before[name]) / asked * 1e6)) for name, cpu in bench.cpu_s().items()}
        query_rate = booking.result()
        progress.update(task, description="made anew", advance=1)
        booking = bench.book(MEANWHILE_PER_S, bench.seconds)
        _until_booked(bench)
        begun = time.perf_counter()
        made = rebuild(bench.conninfo, Places(bench.settings.schema), AVAILABILITY, decoder())
        rebuild_s = time.perf_counter() - begun
        rebuild_rate = booking.result()
    assert made is not None
    return Result(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        commit=commit(),
        machine=where,
        events=held,
        agendas=DAYS * AGENDAS_A_DAY,
        catch_up_events_per_s=catch_up,
        lag_bookings_per_s=round(lag_rate),
        lag=lag,
        query_bookings_per_s=round(query_rate),
        query=query,
        query_cpu_us=query_cpu_us,
        rebuild_s=round(rebuild_s, 1),
        rebuild_events=made.position,
        rebuild_bookings_per_s=round(rebuild_rate),
    )


def _until_booked(bench: Bench) -> None:
    """Wait for the first booking of the booking process, which prepares its commands first."""
    before = bench.head()
    while bench.head() == before:
        time.sleep(SAMPLE_EVERY_S)


def show(result: Result, console: Console) -> None:
    """Print the result as a table."""
    table = Table(title=f"Read models at {result.events:,} events, {result.measured_at} {result.commit}", box=None)
    for column in ("what", "measured", "while"):
        table.add_column(column)
    for name, rate in result.catch_up_events_per_s.items():
        table.add_row(f"{name} from nothing", f"{rate:,.0f} events/s", "nothing else")
    table.add_row(
        "availability behind the log",
        f"p50 {result.lag.p50_ms} ms, p99 {result.lag.p99_ms} ms",
        f"{result.lag_bookings_per_s:,.0f} bookings/s",
    )
    table.add_row(
        f"a specialty's {DAYS} days over HTTP, {result.query.rate_per_s:.0f}/s",
        f"p50 {result.query.p50_ms} ms, p99 {result.query.p99_ms} ms; CPU {result.query_cpu_us}",
        f"{result.query_bookings_per_s:,.0f} bookings/s",
    )
    table.add_row(
        "availability made anew",
        f"{result.rebuild_s} s for {result.rebuild_events:,} events",
        f"{result.rebuild_bookings_per_s:,.0f} bookings/s",
    )
    console.print(table)
    console.print(result.machine.described())
