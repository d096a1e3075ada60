"""`igob bench line`: turns taken in one line by many callers, beside a plain table with a counter per line.

Core: a decision on the whole line, a number without gaps, one turn per person, an idempotency key, and a response
after the commit. Table: a stored function that increments the line's counter and inserts a row, prepared pgbench, no
events. It has no gaps either, because the counter's row is locked until the commit. Both alternate on one server with
the same settings.
"""

import asyncio
import gc
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec
import psutil
import psycopg
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from api.contexts import load_domain
from bench.core import WARMUP_S, Rate, opaque, pgbench, rate
from bench.machine import Machine, commit, database_facts, machine, own_server
from domain.calendar import local_date
from domain.decider import build
from domain.identifiers import LineId
from domain.queues.line import Line, stream
from domain.queues.opening import OpenLine
from domain.queues.turns import TURNS_PER_LINE_MAX, TakeTurn
from domain.service_points import RegisterServicePoint
from infra.log.core import Core, open_core
from infra.log.submission import Key
from infra.postgres.embedded import APPLICATION, OWNER
from infra.postgres.migrate import migrate
from infra.running.secret import load_secret
from infra.running.settings import Settings

CALLERS = 256
TABLE_CLIENTS = (8, 32)
PREFERENTIAL_ONE_IN = 4

TABLE = """
CREATE TABLE line (line bigint, class int, last int NOT NULL, PRIMARY KEY (line, class));
CREATE TABLE turn (line bigint, class int, number int, person bigint NOT NULL, taken_at timestamptz DEFAULT now(),
                   PRIMARY KEY (line, class, number), UNIQUE (line, person));
INSERT INTO line VALUES (1, 0, 0), (1, 1, 0);
CREATE FUNCTION take(wanted bigint, wanted_class int, who bigint) RETURNS int LANGUAGE plpgsql AS $$
DECLARE given int;
BEGIN
    UPDATE line SET last = last + 1 WHERE line = wanted AND class = wanted_class RETURNING last INTO given;
    INSERT INTO turn (line, class, number, person) VALUES (wanted, wanted_class, given, who);
    RETURN given;
END $$;
"""
SCRIPT = """\\set class random(0, 3)
\\set person random(1, 1000000000000)
SELECT take(1, CASE WHEN :class = 0 THEN 1 ELSE 0 END, :person);
"""


class Result(msgspec.Struct):
    """Medians of all rounds; `rounds` has each contender's rate in each.

    `gaps` and `doubles` are counted in the log: missing numbers, and repeated numbers or persons. `ratio_to_table` is
    the median of the rounds' ratios to the best table of the round.
    """

    measured_at: str
    commit: str
    turns_per_s: float
    p50_ms: float
    p99_ms: float
    gaps: int
    doubles: int
    table_turns_per_s: float
    ratio_to_table: float
    rounds: dict[str, list[Rate]]
    machine: Machine


class Taken(msgspec.Struct):
    """The turns of one process: latencies in seconds, their duration, and the faults in the line afterwards."""

    waits_s: list[float]
    seconds: float
    gaps: int
    doubles: int


async def opened(core: Core) -> LineId:
    """A new line that is open now, and all day."""
    point, now = f"p-{opaque()[:8]}", datetime.now(UTC)
    wanted = build(
        OpenLine,
        service_point=point,
        service="bench",
        date=local_date(now),
        counters=[1, 2, 3, 4],
        opens_at=now - timedelta(seconds=1),
        closes_at=now + timedelta(minutes=5),
    )
    await core.committer.submit(build(RegisterServicePoint, service_point=point, name=point), Key("bench", opaque()))
    await core.committer.submit(wanted, Key("bench", opaque()))
    return wanted.line


async def take_for(core: Core, callers: int, seconds: float) -> Taken:
    """Take turns in one line, after a warm-up, until the time is over or the line is full."""
    line = await opened(core)
    # Prepared in advance, so that only the core is measured.
    commands = iter(
        [
            build(
                TakeTurn,
                line=line,
                turn=f"{line}/{opaque()}",
                channel="WEB",
                person=opaque(),
                reason=None if number % PREFERENTIAL_ONE_IN else "INFANT",
            )
            for number in range(TURNS_PER_LINE_MAX)
        ]
    )
    gc.freeze()  # keeps the collector from scanning the commands
    waits: list[float] = []
    started = time.perf_counter() + WARMUP_S
    ends = started + seconds
    last = started

    async def caller() -> None:
        nonlocal last
        while (asked := time.perf_counter()) < ends and (command := next(commands, None)):
            await core.committer.submit(command, Key("bench", opaque()))
            answered = time.perf_counter()
            if started <= answered <= ends:
                waits.append(answered - asked)
                last = answered

    await asyncio.gather(*(caller() for _ in range(callers)))
    full = next(commands, None) is None
    return Taken(waits, last - started if full else seconds, *wrong_in(await core.log.state(stream(line))))


def wrong_in(line: Line) -> tuple[int, int]:
    """The number of missing numbers in a line, and that of repeated numbers and persons."""
    turns = list(line.turns.values())
    numbers = {(turn.priority, turn.number) for turn in turns}
    persons = {turn.person for turn in turns}
    highest: dict[str, int] = {}
    for priority, number in numbers:
        highest[priority] = max(number, highest.get(priority, 0))
    return sum(highest.values()) - len(numbers), 2 * len(turns) - len(numbers) - len(persons)


def take_in_process(settings: Settings, callers: int, seconds: float) -> Taken:
    """Take turns in this process, with its own committer."""

    async def run() -> Taken:
        load_domain()
        async with open_core(settings) as core:
            return await take_for(core, callers, seconds)

    return asyncio.run(run())


def run(*, rounds: int, seconds: float, console: Console) -> Result:
    """Measure each contender for `seconds` in each round."""
    load = round(psutil.getloadavg()[0], 1)
    rates: dict[str, list[Rate]] = {"ours": [], **{f"table {clients}": [] for clients in TABLE_CLIENTS}}
    gaps = doubles = 0
    with own_server("igob bench line") as server:
        settings = Settings(data_dir=server.folder, schema="bench")
        migrate(server.conninfo(OWNER), schema="bench", application_role=APPLICATION, secret=load_secret(settings))
        with psycopg.connect(server.conninfo(OWNER), autocommit=True) as connection:
            connection.execute(TABLE)
        spawn = multiprocessing.get_context("spawn")
        with (
            ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool,
            Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
        ):
            task = progress.add_task("bench line", total=rounds * len(rates))
            for _ in range(rounds):
                for clients in TABLE_CLIENTS:
                    rates[f"table {clients}"].append(pgbench(server, SCRIPT, clients, seconds))
                    progress.advance(task)
                taken = pool.submit(take_in_process, settings, CALLERS, seconds).result()
                rates["ours"].append(rate(taken.waits_s, taken.seconds))
                gaps, doubles = gaps + taken.gaps, doubles + taken.doubles
                progress.advance(task)
        return _result(rates, gaps, doubles, machine(database_facts(server), load=load))


def _result(rates: dict[str, list[Rate]], gaps: int, doubles: int, on: Machine) -> Result:
    ours = rates["ours"]
    tables = [max(found, key=lambda one: one.bookings_per_s) for found in zip(*list(rates.values())[1:], strict=True)]
    return Result(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        commit=commit(),
        turns_per_s=statistics.median(one.bookings_per_s for one in ours),
        p50_ms=statistics.median(one.p50_ms for one in ours),
        p99_ms=statistics.median(one.p99_ms or 0 for one in ours),
        gaps=gaps,
        doubles=doubles,
        table_turns_per_s=statistics.median(one.bookings_per_s for one in tables),
        ratio_to_table=round(
            statistics.median(
                one.bookings_per_s / table.bookings_per_s for one, table in zip(ours, tables, strict=True)
            ),
            2,
        ),
        rounds=rates,
        machine=on,
    )


def show(result: Result, console: Console) -> None:
    """Print the result as a table."""
    title = f"Turns a second in one line, {result.measured_at} {result.commit}"
    table = Table(title=title, title_justify="left")
    for column in ("contender", "median", "least", "most", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "contender" else "right")
    for name, found in result.rounds.items():
        rates = [one.bookings_per_s for one in found]
        waits = [one.p99_ms for one in found if one.p99_ms is not None]
        table.add_row(
            f"{name}, {CALLERS} callers" if name == "ours" else f"{name} clients",
            f"{statistics.median(rates):,.0f}",
            f"{min(rates):,.0f}",
            f"{max(rates):,.0f}",
            f"{statistics.median(one.p50_ms for one in found):.1f}",
            f"{statistics.median(waits):.1f}" if waits else "",
        )
    console.print(table)
    console.print(
        f"{result.ratio_to_table} × the table; numbers missing {result.gaps}, numbers or persons twice {result.doubles}"
    )
    console.print(result.machine.described())
