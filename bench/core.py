"""`igob bench core`: our bookings, a plain table and the stock library, alternating on one server.

Core: a decision on two streams, both checked and written, an idempotency key, and a response after the commit. Table:
one row per booking, a stored function, prepared pgbench, no events. Stock: an application of the library with an
aggregate per agenda. All run on one server with the same settings, `fsync` and `synchronous_commit` on.
"""

import asyncio
import base64
import gc
import itertools
import math
import multiprocessing
import os
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psutil
import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from api.contexts import load_domain
from bench.machine import Machine, commit, database_facts, machine, own_server
from domain.appointments.booking import BookAppointment
from domain.appointments.hospital import RegisterHospital
from domain.appointments.publishing import PublishAgenda
from domain.decider import build
from domain.identifiers import AgendaId
from infra.log.core import Core, open_core
from infra.log.submission import Key
from infra.postgres.account import wheel_bin_dir
from infra.postgres.embedded import APPLICATION, OWNER, EmbeddedPostgres
from infra.postgres.migrate import migrate
from infra.running.secret import load_secret
from infra.running.settings import Settings

CALLERS = (1, 32, 256, 1024)
PROCESSES = (1, 2)
TABLE_CLIENTS = (8, 32, 64)
STOCK_THREADS = (1, 4)
RESULTS = Path(__file__).parent / "results"
SPREAD = "core 256 × 1"  # compared with one agenda
SLOTS = 30
SLOTS_CROWDED = 5_000
CALLER_RATE_MAX_PER_S = 3_000  # slots are published in advance for these rates
RATE_MAX_PER_S = 50_000
WARMUP_S = 0.5
GATE_TIMEOUT_S = 60.0
COMMANDS_AT_ONCE = 256
MINUTES_A_DAY = 24 * 60 - 1


class Rate(msgspec.Struct):
    """One contender in one round: bookings per second, and latency in milliseconds.

    pgbench reports only the mean latency; it is in `p50_ms`.
    """

    bookings_per_s: float
    p50_ms: float
    p99_ms: float | None


class Result(msgspec.Struct):
    """Medians of all rounds; `rounds` has each contender's rate in each. Ratios are medians of the rounds' ratios.

    For the core, the numbers of callers and processes with the best median count (`core_at`); for a peer, the best of
    each round.
    """

    measured_at: str
    commit: str
    machine: Machine
    core_at: str
    core_bookings_per_s: float
    table_bookings_per_s: float
    stock_bookings_per_s: float
    ratio_to_table: float
    ratio_to_stock: float
    ratio_of_one_caller_to_stock: float
    ratio_of_one_agenda_to_spread: float
    ratio_of_two_processes_to_one: float
    p50_ms: float
    p99_ms: float
    rounds: dict[str, list[Rate]]


def opaque() -> str:
    """A new opaque id."""
    return base64.b32encode(os.urandom(16)).decode().rstrip("=").lower()


def rate(waits_s: list[float], seconds: float) -> Rate:
    """The rate for these latencies, which were measured within `seconds`."""
    waits = sorted(waits_s)
    return Rate(
        bookings_per_s=round(len(waits) / seconds, 1),
        p50_ms=round(waits[len(waits) // 2] * 1000, 3),
        p99_ms=round(waits[int(len(waits) * 0.99)] * 1000, 3),
    )


async def publish(core: Core, agendas: int, slots: int) -> list[AgendaId]:
    """Publish agendas of a new hospital; return their ids."""
    hospital, day = f"h-{opaque()[:8]}", (datetime.now(UTC) + timedelta(days=3)).date()
    await core.committer.submit(build(RegisterHospital, hospital=hospital, name=hospital), Key("bench", opaque()))
    commands = [_agenda(hospital, number, day, slots) for number in range(agendas)]
    for begin in range(0, len(commands), COMMANDS_AT_ONCE):
        some = commands[begin : begin + COMMANDS_AT_ONCE]
        await asyncio.gather(*(core.committer.submit(command, Key("bench", opaque())) for command in some))
    return [command.agenda for command in commands]


def _agenda(hospital: str, number: int, day: date, slots: int) -> PublishAgenda:
    begin = datetime(day.year, day.month, day.day, 4, tzinfo=UTC)  # midnight in La Paz
    times = [{"start": begin + timedelta(minutes=n % MINUTES_A_DAY), "minutes": 1} for n in range(slots)]
    return build(PublishAgenda, hospital=hospital, specialty="s", practitioner=f"p-{number}", date=day, slots=times)


def wishes(agendas: list[AgendaId], *, crowded: bool) -> Iterator[BookAppointment]:
    """A booking of each slot, for a new patient, so that the patient's stream has to be looked up each time.

    `crowded`: all bookings are of one agenda until it is full, then of the next; otherwise of all agendas in turn.
    """
    if crowded:
        places = ((agenda, slot) for agenda in agendas for slot in range(1, SLOTS_CROWDED + 1))
    else:
        places = ((agenda, slot) for slot in range(1, SLOTS + 1) for agenda in agendas)
    for agenda, slot in places:
        yield BookAppointment(
            agenda=agenda, slot=slot, patient=opaque(), channel="WEB", appointment=f"{agenda}/{opaque()}"
        )


def open_gate(gate: Barrier) -> None:
    """Set the barrier at which processes measured together wait for each other. Runs in each process of the pool."""
    global _gate  # noqa: PLW0603 (the only way to pass it to processes of a pool)
    _gate = gate


_gate: Barrier | None = None


async def book_for(core: Core, callers: int, seconds: float, *, crowded: bool, together: bool = False) -> list[float]:
    """The latency of each booking in seconds, after a warm-up. Raises StopIteration if the slots run out.

    `together`: start when the other processes are ready too.
    """
    slots = SLOTS_CROWDED if crowded else SLOTS
    supply = math.ceil(min(callers * CALLER_RATE_MAX_PER_S, RATE_MAX_PER_S) * (seconds + WARMUP_S))
    wanted = wishes(await publish(core, math.ceil(supply / slots), slots), crowded=crowded)
    # Prepared in advance, so that only the core is measured.
    commands = iter([(command, Key("bench", opaque())) for command in islice(wanted, supply)])
    gc.freeze()  # keeps the collector from scanning the commands
    if together and _gate:
        await asyncio.to_thread(_gate.wait, GATE_TIMEOUT_S)
    waits: list[float] = []
    started = time.perf_counter() + WARMUP_S
    ends = started + seconds

    async def caller() -> None:
        while (asked := time.perf_counter()) < ends:
            command, key = next(commands)
            await core.committer.submit(command, key)
            answered = time.perf_counter()
            if started <= answered <= ends:
                waits.append(answered - asked)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return waits


def book_in_process(
    settings: Settings, callers: int, seconds: float, crowded: bool = False, together: bool = False
) -> list[float]:
    """Book in this process, with its own committer."""

    async def run() -> list[float]:
        load_domain()
        async with open_core(settings) as core:
            return await book_for(core, callers, seconds, crowded=crowded, together=together)

    return asyncio.run(run())


class Bench:
    """A server and the contenders on it."""

    def __init__(self, server: EmbeddedPostgres, settings: Settings, pool: ProcessPoolExecutor, seconds: float) -> None:
        self.server = server
        self.settings = settings
        self.pool = pool
        self.seconds = seconds

    def core(self, callers: int, processes: int, *, crowded: bool = False) -> Rate:
        each = max(callers // processes, 1)
        running = [
            self.pool.submit(book_in_process, self.settings, each, self.seconds, crowded, processes == max(PROCESSES))
            for _ in range(processes)
        ]
        return rate([wait for future in running for wait in future.result()], self.seconds)

    def table(self, clients: int) -> Rate:
        """Book random slots of the table."""
        script = (
            "\\set agenda random(1, 1000000000)\n\\set slot random(1, 30)\n\\set patient random(1, 1000000000)\n"
            "SELECT book(:agenda, :slot, :patient);\n"
        )
        return pgbench(self.server, script, clients, self.seconds)

    def stock(self, threads: int) -> Rate:
        application = Clinic(env=self._stock_env())
        agendas = [[application.open() for _ in range(20)] for _ in range(threads)]
        waits: list[float] = []
        ends = time.perf_counter() + self.seconds

        def caller(mine: list[UUID]) -> None:
            for turn in itertools.count(1):
                for agenda in mine:
                    asked = time.perf_counter()
                    if asked >= ends:
                        return
                    application.book(agenda, opaque())
                    waits.append(time.perf_counter() - asked)
                if turn % SLOTS == 0:  # all agendas are full
                    mine = [application.open() for _ in mine]

        running = [threading.Thread(target=caller, args=(mine,)) for mine in agendas]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        application.close()
        return rate(waits, self.seconds)

    def _stock_env(self) -> dict[str, str]:
        return {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": "igob",
            "POSTGRES_HOST": str(self.server.socket),
            "POSTGRES_USER": OWNER,
            "POSTGRES_PASSWORD": "",
        }


def pgbench(server: EmbeddedPostgres, script: str, clients: int, seconds: float) -> Rate:
    """Run a script with prepared pgbench; rate and mean latency are from its report."""
    path = server.folder / "script.sql"
    path.write_text(script)
    output = subprocess.run(
        [
            wheel_bin_dir() / "pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", "2",
            "-T", str(max(round(seconds), 1)), "-f", path, "-h", server.socket, "-U", OWNER, "igob",
        ],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    tps = re.search(r"tps = ([0-9.]+)", output)
    mean = re.search(r"latency average = ([0-9.]+) ms", output)
    assert tps is not None and mean is not None, output  # noqa: PT018
    return Rate(bookings_per_s=float(tps[1]), p50_ms=float(mean[1]), p99_ms=None)


class Schedule(Aggregate):
    """An agenda as an aggregate of the library."""

    def __init__(self) -> None:
        self.patients: list[str] = []

    @event("Booked")
    def book(self, patient: str) -> None:
        self.patients.append(patient)


class Clinic(Application[UUID]):
    """The library's stock application: load, decide, save."""

    def open(self) -> UUID:
        agenda = Schedule()
        self.save(agenda)
        return agenda.id

    def book(self, agenda: UUID, patient: str) -> None:
        schedule: Any = self.repository.get(agenda)
        schedule.book(patient)
        self.save(schedule)


TABLE = """
CREATE TABLE booking (agenda bigint, slot int, patient bigint NOT NULL, booked_at timestamptz DEFAULT now(),
                      PRIMARY KEY (agenda, slot));
CREATE FUNCTION book(wanted_agenda bigint, wanted_slot int, who bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO booking (agenda, slot, patient) VALUES (wanted_agenda, wanted_slot, who) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;
"""


def contenders(bench: Bench) -> dict[str, Callable[[], Rate]]:
    """Each contender by name, in the order of a round: the core between its peers."""
    named: dict[str, Callable[[], Rate]] = {}
    for clients in TABLE_CLIENTS:
        named[f"table {clients}"] = lambda clients=clients: bench.table(clients)  # type: ignore[misc]
    for processes in PROCESSES:
        for callers in CALLERS:
            named[f"core {callers} × {processes}"] = lambda c=callers, p=processes: bench.core(c, p)  # type: ignore[misc]
    named["core, one agenda, 256 × 1"] = lambda: bench.core(256, 1, crowded=True)
    for threads in STOCK_THREADS:
        named[f"stock {threads}"] = lambda threads=threads: bench.stock(threads)  # type: ignore[misc]
    return named


def run(*, rounds: int, seconds: float, console: Console) -> Result:
    """Measure each contender for `seconds` in each round. Takes about rounds × 14 × (seconds + 1)."""
    load = round(psutil.getloadavg()[0], 1)
    with own_server("igob bench core") as server:
        rates = _measure(server, Settings(data_dir=server.folder, schema="bench"), rounds, seconds, console)
        return _result(rates, machine(database_facts(server), load=load))


def _measure(
    server: EmbeddedPostgres, settings: Settings, rounds: int, seconds: float, console: Console
) -> dict[str, list[Rate]]:
    migrate(server.conninfo(OWNER), schema=settings.schema, application_role=APPLICATION, secret=load_secret(settings))
    with psycopg.connect(server.conninfo(OWNER), autocommit=True) as connection:
        connection.execute(TABLE)
    spawn = multiprocessing.get_context("spawn")
    gate = spawn.Barrier(max(PROCESSES))
    with ProcessPoolExecutor(max(PROCESSES), mp_context=spawn, initializer=open_gate, initargs=(gate,)) as pool:
        named = contenders(Bench(server, settings, pool, seconds))
        rates: dict[str, list[Rate]] = {name: [] for name in named}
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("bench core", total=rounds * len(named))
            for _ in range(rounds):
                for name, measured in named.items():
                    rates[name].append(measured())
                    progress.advance(task)
    return rates


def _best(rates: dict[str, list[Rate]], kind: str) -> list[float]:
    """The best rate of one kind of contender in each round."""
    of_kind = [found for name, found in rates.items() if name.startswith(kind)]
    return [max(found.bookings_per_s for found in in_round) for in_round in zip(*of_kind, strict=True)]


def _ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the rounds' ratios: only rates of the same round are compared."""
    return round(statistics.median(one / other for one, other in zip(ours, theirs, strict=True)), 2)


def _result(rates: dict[str, list[Rate]], where: Machine) -> Result:
    def of(name: str) -> list[float]:
        return [found.bookings_per_s for found in rates[name]]

    best = max((f"core {c} × {p}" for c in CALLERS for p in PROCESSES), key=lambda name: statistics.median(of(name)))
    table, stock = _best(rates, "table"), _best(rates, "stock")
    one, two = (
        [max(of_round) for of_round in zip(*(of(f"core {c} × {p}") for c in CALLERS), strict=True)] for p in PROCESSES
    )
    return Result(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        commit=commit(),
        machine=where,
        core_at=best,
        core_bookings_per_s=round(statistics.median(of(best))),
        table_bookings_per_s=round(statistics.median(table)),
        stock_bookings_per_s=round(statistics.median(stock)),
        ratio_to_table=_ratio(of(best), table),
        ratio_to_stock=_ratio(of(best), stock),
        ratio_of_one_caller_to_stock=_ratio(of("core 1 × 1"), of("stock 1")),
        ratio_of_one_agenda_to_spread=_ratio(of("core, one agenda, 256 × 1"), of(SPREAD)),
        ratio_of_two_processes_to_one=_ratio(two, one),
        p50_ms=statistics.median(found.p50_ms for found in rates[best]),
        p99_ms=statistics.median(found.p99_ms or 0 for found in rates[best]),
        rounds=rates,
    )


def keep(result: msgspec.Struct, kind: str, measured_at: str) -> None:
    """Write the result with its date to bench/results; a second one of a kind on the same day replaces the first."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{measured_at[:10]}-{kind}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


def _shown(waits_ms: list[float | None]) -> str:
    known = [wait for wait in waits_ms if wait is not None]
    return f"{statistics.median(known):.1f}" if known else ""


def show(result: Result, console: Console) -> None:
    """Print the result as a table: medians over the rounds, and the range."""
    table = Table(title=f"Bookings a second, {result.measured_at} {result.commit}", title_justify="left")
    for column in ("contender", "median", "least", "most", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "contender" else "right")
    for name, found in result.rounds.items():
        rates = [one.bookings_per_s for one in found]
        table.add_row(
            name,
            f"{statistics.median(rates):,.0f}",
            f"{min(rates):,.0f}",
            f"{max(rates):,.0f}",
            f"{statistics.median(one.p50_ms for one in found):.1f}",
            _shown([one.p99_ms for one in found]),
        )
    console.print(table)
    console.print(
        f"{result.core_at}: to the table × {result.ratio_to_table}, to the stock library × {result.ratio_to_stock};"
        f" one caller × {result.ratio_of_one_caller_to_stock} of the library's;"
        f" one agenda × {result.ratio_of_one_agenda_to_spread} of many;"
        f" two processes × {result.ratio_of_two_processes_to_one} of one"
    )
    console.print(result.machine.described())
