"""`igob bench committer`: the effect of each part of the committer, measured by removing it, with few and many callers.

docs/adr/0007-the-committer.md is based on it.
"""

import asyncio
import multiprocessing
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial

import msgspec
import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import infra.log.committer
from api.contexts import load_domain
from bench.core import Rate, book_for, rate
from bench.machine import Machine, commit, database_facts, machine, own_server
from infra.log.cache import CACHE_BYTES_MAX, StateCache
from infra.log.committer import Committer
from infra.log.core import Core, open_core
from infra.postgres.embedded import APPLICATION, OWNER
from infra.postgres.migrate import migrate
from infra.running.secret import load_secret
from infra.running.settings import Settings

CALLERS = (1, 32, 256)
WHOLE = "whole"


class Alone(Committer):
    """A committer that decides nothing while a batch is being written."""

    async def _work(self) -> None:
        while self._waiting or not self._stopping:
            most = infra.log.committer.BATCH_COMMANDS_MAX
            self._in_hand, self._waiting = self._waiting[:most], self._waiting[most:]
            if self._in_hand:
                await self._settle(self._in_hand)
            elif not self._stopping:
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake


def _without_batches() -> None:
    infra.log.committer.BATCH_COMMANDS_MAX = 1


def _lock_first() -> None:
    infra.log.committer.CONFLICTS_BEFORE_LOCK_MAX = 0


class Variant(msgspec.Struct, frozen=True):
    """A committer with a part removed."""

    committer: type[Committer] = Committer
    prepare: Callable[[], None] = lambda: None
    cache_bytes_max: int = CACHE_BYTES_MAX


VARIANTS = {
    WHOLE: Variant(),
    "without batches": Variant(prepare=_without_batches),
    "without memory": Variant(cache_bytes_max=0),
    "without overlap": Variant(committer=Alone),
    "without the single round trip (nor overlap)": Variant(committer=Alone, prepare=_lock_first),
}


class Result(msgspec.Struct):
    """The rates of all rounds, by variant and callers."""

    measured_at: str
    commit: str
    machine: Machine
    rounds: dict[str, dict[int, list[Rate]]]


def book_in_process(settings: Settings, name: str, callers: int, seconds: float) -> Rate:
    """Book with a variant in this process, which ends afterwards together with the changes."""
    variant = VARIANTS[name]
    variant.prepare()

    async def run() -> list[float]:
        load_domain()
        async with open_core(settings) as core:
            await core.committer.stop()
            cache = StateCache(variant.cache_bytes_max)
            committer = variant.committer(core.log, secret=core.secret, queue_max=settings.queue_max, cache=cache)
            committer.start()
            waits = await book_for(
                Core(log=core.log, committer=committer, secret=core.secret), callers, seconds, crowded=False
            )
            await committer.stop()
            return waits

    return rate(asyncio.run(run()), seconds)


def run(*, rounds: int, seconds: float, console: Console) -> Result:
    """Measure all variants alternately, each for `seconds` in each round."""
    load = round(psutil.getloadavg()[0], 1)
    with own_server("igob bench committer") as server:
        settings = Settings(data_dir=server.folder, schema="bench")
        migrate(server.conninfo(OWNER), schema="bench", application_role=APPLICATION, secret=load_secret(settings))
        return Result(
            measured_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            commit=commit(),
            rounds=_measure(settings, rounds, seconds, console),
            machine=machine(database_facts(server), load=load),
        )


def _measure(settings: Settings, rounds: int, seconds: float, console: Console) -> dict[str, dict[int, list[Rate]]]:
    found: dict[str, dict[int, list[Rate]]] = {name: {callers: [] for callers in CALLERS} for name in VARIANTS}
    spawn = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool,
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("bench committer", total=rounds * len(CALLERS) * len(VARIANTS))
        for _ in range(rounds):
            for callers in CALLERS:
                for name in VARIANTS:
                    measured = pool.submit(partial(book_in_process, settings, name, callers, seconds)).result()
                    found[name][callers].append(measured)
                    progress.advance(task)
    return found


def show(result: Result, console: Console) -> None:
    """Print the result as a table: medians, and each variant's share of the full rate, round by round."""
    table = Table(title=f"Bookings a second, {result.measured_at} {result.commit}", title_justify="left")
    table.add_column("the committer")
    for callers in CALLERS:
        table.add_column(f"{callers} callers", justify="right")
    for name, by_callers in result.rounds.items():
        cells = []
        for callers, rates in by_callers.items():
            median = statistics.median(one.bookings_per_s for one in rates)
            whole = result.rounds[WHOLE][callers]
            left = statistics.median(
                one.bookings_per_s / all_of_it.bookings_per_s for one, all_of_it in zip(rates, whole, strict=True)
            )
            cells.append(f"{median:,.0f}" + ("" if name == WHOLE else f" ({left:.0%})"))
        table.add_row(name, *cells)
    console.print(table)
    console.print(result.machine.described())
