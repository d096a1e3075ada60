"""`igob bench growth`: bookings on a log of millions of events beside a small one, and a worker's memory.

One process books until the log is large, and records its own memory. Then the same load alternates between that log
and a new one on the same server, because rates of different times on a noisy machine can't be compared.
"""

import asyncio
import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec
import psutil
import psycopg
from rich.console import Console
from rich.progress import Progress

from api.contexts import load_domain
from bench.core import SLOTS, Rate, book_in_process, opaque, publish, rate, wishes
from bench.machine import Machine, commit, database_facts, machine, own_server
from infra.log.core import Core, open_core
from infra.log.submission import Key
from infra.postgres.embedded import APPLICATION, OWNER, EmbeddedPostgres
from infra.postgres.migrate import migrate
from infra.running.secret import load_secret
from infra.running.settings import Settings

CALLERS = 256
AGENDAS_AT_ONCE = 1_000
SMALL_EVENTS = 10_000
EVENTS_PER_BOOKING = 2
MIB = 2**20


class Memory(msgspec.Struct):
    """Resident memory of the booking process after this number of bookings."""

    bookings: int
    resident_mib: float


class Result(msgspec.Struct):
    """Rates are medians of the rounds; `ratio` is the median of the rounds' ratios, large log to small one.

    `small_events` and `large_events` are the sizes of the logs before the measurement.
    """

    measured_at: str
    commit: str
    machine: Machine
    small_events: int
    large_events: int
    small_bookings_per_s: float
    large_bookings_per_s: float
    ratio: float
    resident_mib_max: float
    memory: list[Memory]
    rounds: dict[str, list[Rate]]


async def _fill(core: Core, bookings: int) -> list[Memory]:
    """Book at least this number of slots, in steps of AGENDAS_AT_ONCE agendas; the memory after each step."""
    weighed = []
    done = 0
    while done < bookings:
        agendas = min(AGENDAS_AT_ONCE, -(-(bookings - done) // SLOTS))
        wanted = wishes(await publish(core, agendas, SLOTS), crowded=False)

        async def caller(wanted: Any = wanted) -> None:
            for command in wanted:
                await core.committer.submit(command, Key("bench", opaque()))

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        done += agendas * SLOTS
        weighed.append(Memory(bookings=done, resident_mib=round(psutil.Process().memory_info().rss / MIB, 1)))
    return weighed


def fill_in_process(settings: Settings, bookings: int) -> list[Memory]:
    """Fill a log in a process of its own, so that its memory is only that of a worker."""

    async def run() -> list[Memory]:
        load_domain()
        async with open_core(settings) as core:
            return await _fill(core, bookings)

    return asyncio.run(run())


class Growth:
    """A server with a large log, and a new small one for each round."""

    def __init__(self, server: EmbeddedPostgres, seconds: float) -> None:
        self.server = server
        self.seconds = seconds
        # A new process for each task, so that its memory does not include the previous one's.
        self.pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1)

    def log(self, schema: str) -> Settings:
        settings = Settings(data_dir=self.server.folder, schema=schema)
        migrate(self.server.conninfo(OWNER), schema=schema, application_role=APPLICATION, secret=load_secret(settings))
        return settings

    def fill(self, settings: Settings, events: int) -> list[Memory]:
        return self.pool.submit(fill_in_process, settings, events // EVENTS_PER_BOOKING).result()

    def measure(self, settings: Settings) -> Rate:
        with psycopg.connect(self.server.conninfo(OWNER), autocommit=True) as connection:
            connection.execute("CHECKPOINT")  # so that earlier writes do not slow this measurement
        return rate(self.pool.submit(book_in_process, settings, CALLERS, self.seconds).result(), self.seconds)

    def events(self, settings: Settings) -> int:
        with psycopg.connect(self.server.conninfo(OWNER)) as connection:
            row = connection.execute(f"SELECT max(position) FROM {settings.schema}.event_log").fetchone()  # noqa: S608
            return int(row[0]) if row else 0


def run(*, events: int, rounds: int, seconds: float, console: Console) -> Result:
    """Fill a log with `events` events, then measure both logs for `seconds` in each round."""
    load = round(psutil.getloadavg()[0], 1)
    with own_server("igob bench growth") as server:
        return _measure(Growth(server, seconds), events, rounds, load, console)


def _measure(growth: Growth, events: int, rounds: int, load: float, console: Console) -> Result:
    rates: dict[str, list[Rate]] = {"small": [], "large": []}
    with growth.pool, Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("filling the log", total=1 + 2 * rounds)
        large = growth.log("large")
        memory = growth.fill(large, events)
        held = growth.events(large)
        progress.update(task, description="measuring", advance=1)
        for number in range(rounds):
            small = growth.log(f"small_{number}")
            growth.fill(small, SMALL_EVENTS)
            for name, settings in (("small", small), ("large", large)):
                rates[name].append(growth.measure(settings))
                progress.advance(task)
    pairs = zip(rates["small"], rates["large"], strict=True)
    return Result(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        commit=commit(),
        machine=machine(database_facts(growth.server), load=load),
        small_events=SMALL_EVENTS,
        large_events=held,
        small_bookings_per_s=round(statistics.median(found.bookings_per_s for found in rates["small"])),
        large_bookings_per_s=round(statistics.median(found.bookings_per_s for found in rates["large"])),
        ratio=round(statistics.median(large.bookings_per_s / small.bookings_per_s for small, large in pairs), 2),
        resident_mib_max=max(found.resident_mib for found in memory),
        memory=memory,
        rounds=rates,
    )


def show(result: Result, console: Console) -> None:
    """Print the result as a table."""
    console.print(
        f"{result.large_bookings_per_s:,.0f} bookings/s at {result.large_events:,} events,"
        f" {result.small_bookings_per_s:,.0f} at {result.small_events:,}: × {result.ratio};"
        f" a worker's memory at most {result.resident_mib_max:,.0f} MiB in {result.memory[-1].bookings:,} bookings"
    )
    console.print(result.machine.described())
