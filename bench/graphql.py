"""`igob bench graphql`: bookings over HTTP, as a front end sends them: a mutation, variables, a slot of its own each.

A city with thousands of people and their slots; then `igob serve` with one worker and with two, in turn, and clients
that each wait for their answer before they ask again (closed loop). At last, at half the best rate, clients that do not
wait (open loop): there a wait counts from when the request was due, not from when it could be sent.
"""

import asyncio
import itertools
import math
import multiprocessing
import statistics
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlsplit

import msgspec
import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.core import COMMANDS_AT_ONCE, opaque
from bench.login import SECRET
from bench.machine import Machine, commit, database_facts, machine, own_server
from bench.race import serving
from domain.appointments.agenda import PublishAgenda
from domain.appointments.hospital import RegisterHospital
from domain.decider import Command, build
from domain.identifiers import agenda_id, ci_key, parse_ci
from domain.people import RegisterPerson
from infra.core import Core, open_core
from infra.embedded import APPLICATION, OWNER, EmbeddedPostgres
from infra.log import Key
from infra.migrate import migrate
from infra.secret import load_secret
from infra.settings import Settings

WORKERS = (1, 2)
CONNECTIONS = (8, 32, 128)
PEOPLE = 10_000  # each books once a day
DAYS = 25
SLOTS = 40  # of an agenda, a minute each
HOSPITAL = "h"
RATE_MAX_PER_S = 8_000  # requests are made for this rate beforehand
WARMUP_S = 1.0
OPEN_SHARE = 0.5  # of the best closed rate

BOOK = """mutation ($input: BookAppointmentInput!) { bookAppointment(input: $input) {
  appointment { id slot start state } position errors { code message path } } }"""


class Rate(msgspec.Struct):
    """Bookings answered a second, and how long clients waited, in milliseconds.

    `errors`: answers that were no bookings, by code. `generator_cpu`: cores that the clients took themselves.
    """

    bookings_per_s: float
    p50_ms: float
    p99_ms: float
    errors: dict[str, int]
    generator_cpu: float


class Result(msgspec.Struct):
    """Medians over the rounds of that number of workers and connections that has the best; see `best_at`.

    `open` is at half that rate, a wait counted from when its request was due.
    """

    measured_at: str
    commit: str
    machine: Machine
    best_at: str
    graphql_bookings_per_s: float
    p50_ms: float
    p99_ms: float
    errors: dict[str, int]
    open: Rate
    rounds: dict[str, list[Rate]]


def first_day() -> date:
    return (datetime.now(UTC) + timedelta(days=2)).date()


def _agenda(day: date, number: int) -> PublishAgenda:
    begin = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    times = [{"start": begin + timedelta(minutes=n), "minutes": 1} for n in range(SLOTS)]
    specialty = f"s-{day:%Y%m%d}"  # a patient has one live appointment of a specialty
    return build(
        PublishAgenda, hospital=HOSPITAL, specialty=specialty, practitioner=f"p-{number}", date=day, slots=times
    )


def _person(core: Core, number: int) -> RegisterPerson:
    identity = parse_ci(f"999{number:07d} LP")
    return build(
        RegisterPerson,
        person=f"{number:026d}".translate(str.maketrans("0123456789", "abcdefghij")),
        identity=identity,
        identity_digest=core.secret.identity_digest(ci_key(identity)),
        given_names="Ana",
        family_names="Mamani",
        birth_date=date(1990, 5, 17),
        sex="F",
    )


def fill(settings: Settings, count: int) -> list[str]:
    """Make the city: the ids of its people, so many, of whom each has a slot of every day to himself."""

    async def run() -> list[str]:
        async with open_core(settings) as core:
            people = [_person(core, number) for number in range(count)]
            days = [first_day() + timedelta(days=n) for n in range(DAYS)]
            agendas = [_agenda(day, number) for day in days for number in range(math.ceil(count / SLOTS))]
            commands: list[Command] = [build(RegisterHospital, hospital=HOSPITAL, name="H"), *people, *agendas]
            for begin in range(0, len(commands), COMMANDS_AT_ONCE):
                some = commands[begin : begin + COMMANDS_AT_ONCE]
                await asyncio.gather(*(core.lane.submit(command, Key("bench", opaque())) for command in some))
            return [person.person for person in people]

    return asyncio.run(run())


def requests(host: str, people: list[str], first: int, count: int) -> list[bytes]:
    """Bookings from number `first` on, as they go over the wire: everybody's of one day, then those of the next."""
    made = []
    for number in range(first, min(first + count, len(people) * DAYS)):
        day, person = divmod(number, len(people))
        agenda = agenda_id(HOSPITAL, first_day() + timedelta(days=day), f"p-{person // SLOTS}")
        wanted = {"agenda": agenda, "slot": person % SLOTS + 1, "patient": people[person], "idempotencyKey": opaque()}
        body = msgspec.json.encode({"query": BOOK, "variables": {"input": wanted}})
        head = (
            f"POST /graphql HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Accept: application/graphql-response+json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


class Connection(asyncio.Protocol):
    """A connection that stays open, for one request at a time: as little as it takes, for the server is measured."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def ask(self, request: bytes) -> bytes:
        """The body of the answer. Raises ConnectionError if the connection is lost."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length and self._answer:
            self._received.clear()
            self._answer.set_result(bytes(body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server closed the connection"))

    def close(self) -> None:
        self._transport.close()


class _Load:
    """What clients asked and were told; only what was due after the warm-up counts."""

    def __init__(self, seconds: float) -> None:
        self.begun = time.perf_counter()
        self.counted_from = self.begun + WARMUP_S
        self.ends = self.counted_from + seconds
        self.waits_s: list[float] = []
        self.answers: list[bytes] = []

    def told(self, due: float, answer: bytes) -> None:
        now = time.perf_counter()
        self.answers.append(answer)
        if due >= self.counted_from and now <= self.ends:
            self.waits_s.append(now - due)


class Plan(msgspec.Struct, frozen=True):
    """Book from number `first` on over so many connections.

    `per_s`: so many a second, whether answers come or not; None: each connection asks as soon as it has its answer.
    """

    url: str
    people: list[str]
    first: int
    connections: int
    seconds: float
    per_s: float | None


def load(plan: Plan) -> tuple[int, Rate]:
    """Do it, in a process of its own: how many were asked for, and the rate."""

    async def run() -> tuple[int, Rate]:
        address, per_s = urlsplit(plan.url), plan.per_s
        count = int((per_s or RATE_MAX_PER_S) * (plan.seconds + WARMUP_S))
        made = iter(requests(address.netloc, plan.people, plan.first, count))
        loop = asyncio.get_running_loop()
        opened = [
            (await loop.create_connection(Connection, address.hostname or "", address.port or 80))[1]
            for _ in range(plan.connections)
        ]
        cpu_s, begun = time.process_time(), time.perf_counter()
        found = _Load(plan.seconds)
        asked = itertools.count()

        async def ask_on(connection: Connection) -> None:
            for request in made:
                number = next(asked)
                due = found.begun + number / per_s if per_s else time.perf_counter()
                if due > found.ends:
                    return
                if due > time.perf_counter():
                    await asyncio.sleep(due - time.perf_counter())
                found.told(due, await connection.ask(request))

        await asyncio.gather(*(ask_on(connection) for connection in opened))
        used = (time.process_time() - cpu_s) / (time.perf_counter() - begun)
        for connection in opened:
            connection.close()
        return next(asked), _rate(found, plan.seconds, used)

    return asyncio.run(run())


def _rate(found: _Load, seconds: float, generator_cpu: float) -> Rate:
    codes: Counter[str] = Counter()
    for answer in found.answers:
        said = msgspec.json.decode(answer)
        payload = (said.get("data") or {}).get("bookAppointment")
        if payload is None:
            codes["no answer"] += 1
        codes.update(error["code"] for error in (payload or {}).get("errors", ()))
    waits = sorted(found.waits_s)
    return Rate(
        bookings_per_s=round((len(waits) - codes.total()) / seconds, 1),
        p50_ms=round(waits[len(waits) // 2] * 1_000, 2),
        p99_ms=round(waits[int(len(waits) * 0.99)] * 1_000, 2),
        errors=dict(codes),
        generator_cpu=round(generator_cpu, 2),
    )


class Bench:
    """A city on a server of its own, and clients in a process of their own."""

    def __init__(self, server: EmbeddedPostgres, pool: ProcessPoolExecutor, seconds: float) -> None:
        self._settings = Settings(data_dir=server.folder, schema="bench", secret=SECRET)
        self._server = server
        self._pool = pool
        self._seconds = seconds
        self._booked = 0
        self._people: list[str] = []

    def fill(self, people: int) -> None:
        owner, secret = self._server.conninfo(OWNER), load_secret(self._settings)
        migrate(owner, schema=self._settings.schema, application_role=APPLICATION, secret=secret)
        self._people = self._pool.submit(fill, self._settings, people).result()

    def serving(self, workers: int) -> AbstractContextManager[str]:
        return serving(self._server, self._settings, workers)

    def book(self, url: str, connections: int, per_s: float | None = None) -> Rate:
        plan = Plan(url, self._people, self._booked, connections, self._seconds, per_s)
        asked, rate = self._pool.submit(load, plan).result()
        self._booked += asked
        return rate


def run(*, rounds: int, seconds: float, console: Console, people: int = PEOPLE) -> Result:
    """Measure: so many rounds of so many seconds for each number of workers and connections."""
    before = round(psutil.getloadavg()[0], 1)
    spawn = multiprocessing.get_context("spawn")
    with (
        own_server("igob bench graphql") as server,
        ProcessPoolExecutor(1, mp_context=spawn) as pool,
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        bench = Bench(server, pool, seconds)
        task = progress.add_task("filling the city", total=rounds * len(WORKERS) * len(CONNECTIONS) + 1)
        bench.fill(people)
        progress.update(task, description="bench graphql")
        found: dict[str, list[Rate]] = {}
        for _, workers in itertools.product(range(rounds), WORKERS):
            with bench.serving(workers) as url:
                for connections in CONNECTIONS:
                    found.setdefault(f"{workers} × {connections}", []).append(bench.book(url, connections))
                    progress.advance(task)
        best = max(found, key=lambda name: _median(found[name]))
        workers, connections = (int(part) for part in best.split(" × "))
        with bench.serving(workers) as url:
            unhurried = bench.book(url, connections, _median(found[best]) * OPEN_SHARE)
        return _result(found, best, unhurried, machine(database_facts(server), load=before))


def _median(rates: list[Rate]) -> float:
    return statistics.median(rate.bookings_per_s for rate in rates)


def _result(found: dict[str, list[Rate]], best: str, unhurried: Rate, where: Machine) -> Result:
    errors: Counter[str] = Counter()
    for rate in itertools.chain([unhurried], *found.values()):
        errors.update(rate.errors)
    return Result(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        commit=commit(),
        machine=where,
        best_at=best,
        graphql_bookings_per_s=_median(found[best]),
        p50_ms=statistics.median(rate.p50_ms for rate in found[best]),
        p99_ms=statistics.median(rate.p99_ms for rate in found[best]),
        errors=dict(errors),
        open=unhurried,
        rounds=found,
    )


def show(result: Result, console: Console) -> None:
    """The result for people: medians over the rounds, and the range."""
    table = Table(title=f"Bookings a second over HTTP, {result.measured_at} {result.commit}", title_justify="left")
    for column in ("workers × connections", "median", "least", "most", "p50 ms", "p99 ms", "generator's cores"):
        table.add_column(column, justify="right")
    for name, rates in result.rounds.items():
        each = [rate.bookings_per_s for rate in rates]
        shown = [f"{one:,.0f}" for one in (statistics.median(each), min(each), max(each))]
        waits = [statistics.median(rate.p50_ms for rate in rates), statistics.median(rate.p99_ms for rate in rates)]
        cpu = statistics.median(rate.generator_cpu for rate in rates)
        table.add_row(name, *shown, *(f"{wait:.1f}" for wait in waits), f"{cpu:.2f}")
    console.print(table)
    console.print(
        f"Not waiting for answers, {result.open.bookings_per_s:,.0f}/s at {result.best_at}:"
        f" p50 {result.open.p50_ms} ms, p99 {result.open.p99_ms} ms. Errors: {result.errors or 'none'}."
    )
    console.print(result.machine.described())
