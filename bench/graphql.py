"""`igob bench graphql`: bookings over HTTP as a front end sends them: mutations with variables, each of another slot.

The city has thousands of people and their slots. `igob serve` runs with one worker and with two, alternately. First
each client sends the next request after a response (closed loop). Then, at half the best rate, requests are sent at
fixed times (open loop), and latency counts from the time when a request was due. With a peer, the same clients use it
alternately with our server, on the same PostgreSQL.
"""

import asyncio
import itertools
import math
import multiprocessing
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
import psutil
import psycopg
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from api.contexts import load_domain
from bench import peer
from bench.core import COMMANDS_AT_ONCE, TABLE, opaque
from bench.load import Plan, Rate, Work, cpu_of, load, workers_of
from bench.login import SECRET, bearer
from bench.machine import Machine, commit, database_facts, machine, own_server
from bench.peer import Served, post
from bench.race import serving
from domain.appointments.hospital import RegisterHospital
from domain.appointments.publishing import PublishAgenda
from domain.decider import Command, build
from domain.identifiers import agenda_id, ci_key, parse_ci
from domain.people import RegisterPerson
from infra.gateways.keys import Login
from infra.log.core import Core, open_core
from infra.log.submission import Key
from infra.postgres.embedded import APPLICATION, OWNER, EmbeddedPostgres
from infra.postgres.migrate import migrate
from infra.running.secret import load_secret
from infra.running.settings import Settings

WORKERS = (1, 2)
CONNECTIONS = (8, 32, 128)
PEOPLE = 10_000  # each has one booking a day
DAYS = 180
CLERKS = 1_000  # each with its own token, used in turn
SLOTS = 40  # of an agenda, one minute each
HOSPITAL = "h"
OPEN_ROUNDS = 3  # alternating with the peer; the one with the median p50 is reported
OPEN_SHARE = 0.5  # of the best closed rate
QUIET_PER_S = 300  # rate of the second open loop: that of an office day
START_S, START_CONNECTIONS = 5.0, 64  # for a new server; not counted. V8 compiles during it

BOOK = """mutation ($input: BookAppointmentInput!) { bookAppointment(input: $input) {
  appointment { id slot start state } position errors { code message path } } }"""


class Result(msgspec.Struct, omit_defaults=True):
    """Medians of the rounds for the number of workers and connections with the best median, see `best_at`.

    `open` is an open loop at half that rate, or half the peer's if it is slower; `quiet` is one at QUIET_PER_S. Latency
    counts from when a request was due. `worker_us` is the CPU time of the API workers per request, in microseconds. The
    peer's rate is the best of each round, and `ratio_to_peer` the median of the rounds' ratios.
    """

    measured_at: str
    commit: str
    machine: Machine
    best_at: str
    graphql_bookings_per_s: float
    p50_ms: float
    p99_ms: float
    worker_us: float
    errors: dict[str, int]
    open: Rate
    quiet: Rate
    rounds: dict[str, list[Rate]]
    peer: str = ""
    peer_best_at: str = ""
    peer_bookings_per_s: float | None = None
    peer_p50_ms: float | None = None
    peer_p99_ms: float | None = None
    peer_errors: dict[str, int] | None = None
    peer_open: Rate | None = None
    peer_quiet: Rate | None = None
    peer_rounds: dict[str, list[Rate]] | None = None
    ratio_to_peer: float | None = None


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
    """Create the city: the ids of `count` people, each with a slot on every day."""

    async def run() -> list[str]:
        load_domain()
        async with open_core(settings) as core:
            people = [_person(core, number) for number in range(count)]
            days = [first_day() + timedelta(days=n) for n in range(DAYS)]
            agendas = [_agenda(day, number) for day in days for number in range(math.ceil(count / SLOTS))]
            commands: list[Command] = [build(RegisterHospital, hospital=HOSPITAL, name="H"), *people, *agendas]
            for begin in range(0, len(commands), COMMANDS_AT_ONCE):
                some = commands[begin : begin + COMMANDS_AT_ONCE]
                await asyncio.gather(*(core.committer.submit(command, Key("bench", opaque())) for command in some))
            return [person.person for person in people]

    return asyncio.run(run())


class City(msgspec.Struct, frozen=True):
    """Bookings of the city created by `fill`: all people's of one day, then those of the next."""

    people: list[str]

    def requests(self, host: str, first: int, count: int) -> list[bytes]:
        end = min(first + count, len(self.people) * DAYS)
        return [self._request(host, number) for number in range(first, end)]

    def refusals(self, data: Any) -> list[str]:
        return [error["code"] for error in data["bookAppointment"]["errors"]]

    def _request(self, host: str, number: int) -> bytes:
        day, person = divmod(number, len(self.people))
        agenda = agenda_id(HOSPITAL, first_day() + timedelta(days=day), f"p-{person // SLOTS}")
        patient, slot = self.people[person], person % SLOTS + 1
        wanted = {"agenda": agenda, "slot": slot, "patient": patient, "channel": "WINDOW", "idempotencyKey": opaque()}
        return post(host, {"query": BOOK, "variables": {"input": wanted}}, token=_token(number % CLERKS))


@lru_cache(CLERKS)
def _token(number: int) -> str:
    return bearer(Login(subject=f"clerk-{number}", roles=["hospital_clerk"], hospitals=[HOSPITAL], client="window"))


class Contender:
    """A contender: how it is served, what it is sent, and the number of requests used so far."""

    def __init__(
        self,
        work: Work,
        serve: Callable[[int], AbstractContextManager[Served]],
        *,
        processes: tuple[int, ...],
        connections: tuple[int, ...],
    ) -> None:
        self.work = work
        self.serve = serve
        self.processes = processes
        self.connections = connections
        self.asked = 0
        self.versions = ""
        self.rounds: dict[str, list[Rate]] = {}

    def best(self) -> str:
        return max(self.rounds, key=lambda name: _median(self.rounds[name]))

    def best_of_rounds(self) -> list[float]:
        return [max(rate.bookings_per_s for rate in of_round) for of_round in zip(*self.rounds.values(), strict=True)]

    def errors(self, *others: Rate) -> dict[str, int]:
        found: Counter[str] = Counter()
        for rate in itertools.chain(others, *self.rounds.values()):
            found.update(rate.errors)
        return dict(found)


class Bench:
    """A city on its own server, and clients in their own process."""

    def __init__(self, server: EmbeddedPostgres, pool: ProcessPoolExecutor, seconds: float) -> None:
        self._settings = Settings(data_dir=server.folder, schema="bench", secret=SECRET)
        self._server = server
        self._pool = pool
        self._seconds = seconds

    def ours(self, people: int) -> Contender:
        owner, secret = self._server.conninfo(OWNER), load_secret(self._settings)
        migrate(owner, schema=self._settings.schema, application_role=APPLICATION, secret=secret)
        city = City(self._pool.submit(fill, self._settings, people).result())
        return Contender(city, self._serving, processes=WORKERS, connections=CONNECTIONS)

    def peer(self) -> Contender:
        with psycopg.connect(self._server.conninfo(OWNER), autocommit=True) as connection:
            connection.execute(TABLE)
        return Contender(
            peer.Bare(),
            lambda processes: peer.serving_peer(self._server, processes),
            processes=peer.PROCESSES,
            connections=peer.CONNECTIONS,
        )

    @contextmanager
    def _serving(self, workers: int) -> Iterator[Served]:
        before = set(psutil.Process().children())
        with serving(self._server, self._settings, workers) as url:
            (process,) = set(psutil.Process().children()) - before
            yield Served(url, process.pid)

    @contextmanager
    def serving(self, who: Contender, processes: int) -> Iterator[Served]:
        """A contender, started and warm."""
        with who.serve(processes) as served:
            who.versions = served.versions
            plan = Plan(served.url, who.work, who.asked, START_CONNECTIONS, START_S, None)
            who.asked += self._pool.submit(load, plan).result()[0]
            yield served

    def book(self, who: Contender, served: Served, connections: int, per_s: float | None = None) -> Rate:
        postgres = self._server.status().pid
        assert postgres
        looked_at = {"server": served.pid, "postgresql": postgres}
        before = {name: cpu_of(pid) for name, pid in looked_at.items()}
        workers = workers_of(served.pid)
        before_s = sum(map(cpu_of, workers))
        plan = Plan(served.url, who.work, who.asked, connections, self._seconds, per_s)
        asked, rate = self._pool.submit(load, plan).result()
        rate.cpu_s |= {name: round(cpu_of(pid) - before[name], 2) for name, pid in looked_at.items()}
        if workers:
            rate.worker_us = round((sum(map(cpu_of, workers)) - before_s) / asked * 1e6, 1)
        who.asked += asked
        return rate

    def book_unhurried(self, who: Contender, rates_per_s: tuple[float, ...]) -> list[Rate]:
        """Measure an open loop at each of these rates."""
        processes, connections = (int(part) for part in who.best().split(" × "))
        with self.serving(who, processes) as served:
            return [self.book(who, served, connections, per_s) for per_s in rates_per_s]


def run(*, rounds: int, seconds: float, console: Console, people: int = PEOPLE, with_peer: bool = False) -> Result:
    """Measure each number of workers and connections for `seconds` in each round.

    Raises bench.peer.PeerMissing if the peer is requested and not available.
    """
    before = round(psutil.getloadavg()[0], 1)
    spawn = multiprocessing.get_context("spawn")
    if with_peer:
        peer.install()
    with (
        own_server("igob bench graphql") as server,
        ProcessPoolExecutor(1, mp_context=spawn) as pool,
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        bench = Bench(server, pool, seconds)
        task = progress.add_task("filling the city", total=None)
        contenders = [bench.ours(people)] + ([bench.peer()] if with_peer else [])
        turns = [(who, processes) for processes in range(len(WORKERS)) for who in contenders]
        progress.update(task, description="bench graphql", total=rounds * len(turns) + len(contenders))
        for _, (who, number) in itertools.product(range(rounds), turns):
            with bench.serving(who, who.processes[number]) as served:
                for connections in who.connections:
                    name = f"{who.processes[number]} × {connections}"
                    who.rounds.setdefault(name, []).append(bench.book(who, served, connections))
            progress.advance(task)
        per_s = min(_median(who.rounds[who.best()]) for who in contenders) * OPEN_SHARE
        each = [[bench.book_unhurried(who, (per_s, QUIET_PER_S)) for who in contenders] for _ in range(OPEN_ROUNDS)]
        unhurried = [[_typical(rates) for rates in zip(*of_one, strict=True)] for of_one in zip(*each, strict=True)]
        return _result(contenders, unhurried, machine(database_facts(server), load=before))


def _typical(rates: Iterable[Rate]) -> Rate:
    """The measurement with the median p50, with the errors of all."""
    ordered = sorted(rates, key=lambda rate: rate.p50_ms)
    errors: Counter[str] = Counter()
    for rate in ordered:
        errors.update(rate.errors)
    return msgspec.structs.replace(ordered[len(ordered) // 2], errors=dict(errors))


def _median(rates: list[Rate]) -> float:
    return statistics.median(rate.bookings_per_s for rate in rates)


def _result(contenders: list[Contender], unhurried: list[list[Rate]], where: Machine) -> Result:
    ours = contenders[0]
    best = ours.rounds[ours.best()]
    result = Result(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        commit=commit(),
        machine=where,
        best_at=ours.best(),
        graphql_bookings_per_s=_median(best),
        p50_ms=statistics.median(rate.p50_ms for rate in best),
        p99_ms=statistics.median(rate.p99_ms for rate in best),
        worker_us=statistics.median(rate.worker_us or 0.0 for rate in best),
        errors=ours.errors(*unhurried[0]),
        open=unhurried[0][0],
        quiet=unhurried[0][1],
        rounds=ours.rounds,
    )
    if len(contenders) > 1:
        _add_peer(result, best, contenders[1], unhurried[1])
    return result


def _add_peer(result: Result, ours: list[Rate], who: Contender, unhurried: list[Rate]) -> None:
    theirs, best = who.best_of_rounds(), who.rounds[who.best()]
    ratios = [one.bookings_per_s / other for one, other in zip(ours, theirs, strict=True)]
    result.peer = who.versions
    result.peer_best_at = who.best()
    result.peer_bookings_per_s = statistics.median(theirs)
    result.peer_p50_ms = statistics.median(rate.p50_ms for rate in best)
    result.peer_p99_ms = statistics.median(rate.p99_ms for rate in best)
    result.peer_errors = who.errors(*unhurried)
    result.peer_open, result.peer_quiet = unhurried
    result.peer_rounds = who.rounds
    result.ratio_to_peer = round(statistics.median(ratios), 2)


def by_contender(result: Result) -> dict[str, dict[str, list[Rate]]]:
    """The rounds of each contender, by its name."""
    return {"igob": result.rounds} | ({result.peer: result.peer_rounds} if result.peer_rounds else {})


def unhurried_by_contender(result: Result) -> dict[str, list[Rate]]:
    """The open loops of each contender: at half of the best rate, and at QUIET_PER_S."""
    theirs = [rate for rate in (result.peer_open, result.peer_quiet) if rate]
    return {"igob": [result.open, result.quiet]} | ({result.peer: theirs} if theirs else {})


def errors_by_contender(result: Result) -> dict[str, dict[str, int]]:
    """The errors of each contender by code."""
    return {"igob": result.errors} | ({result.peer: result.peer_errors or {}} if result.peer else {})


def show(result: Result, console: Console) -> None:
    """Print the result as tables: medians over the rounds, and the range."""
    for who, rounds in by_contender(result).items():
        console.print(_table(f"{who}: bookings a second over HTTP, {result.measured_at} {result.commit}", rounds))
    for who, rates in unhurried_by_contender(result).items():
        for rate in rates:
            console.print(
                f"{who}, not waiting for answers, {rate.bookings_per_s:,.0f}/s: p50 {rate.p50_ms} ms,"
                f" p90 {rate.p90_ms} ms, p99 {rate.p99_ms} ms, p99.9 {rate.p99_9_ms} ms, worst {rate.worst_ms} ms"
            )
    console.print(f"igob: {result.worker_us} µs of a worker's CPU a booking at {result.best_at}")
    for who, errors in errors_by_contender(result).items():
        console.print(f"{who}, errors: {errors or 'none'}")
    if result.ratio_to_peer:
        console.print(f"igob at {result.best_at} is × {result.ratio_to_peer} of the peer at its best of each round")
    console.print(result.machine.described())


def _table(title: str, rounds: dict[str, list[Rate]]) -> Table:
    table = Table(title=title, title_justify="left")
    columns = ("processes × connections", "median", "least", "most", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms")
    for column in (*columns, "generator's CPU"):
        table.add_column(column, justify="right")
    for name, rates in rounds.items():
        each = [rate.bookings_per_s for rate in rates]
        shown = [f"{one:,.0f}" for one in (statistics.median(each), min(each), max(each))]
        waits = zip(*((rate.p50_ms, rate.p90_ms, rate.p99_ms, rate.p99_9_ms) for rate in rates), strict=True)
        share = statistics.median(rate.generator_share() for rate in rates)
        table.add_row(name, *shown, *(f"{statistics.median(wait):.1f}" for wait in waits), f"{share:.0%}")
    return table
