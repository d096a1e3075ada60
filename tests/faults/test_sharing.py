"""No process starves: three that hammer one agenda share it."""

import asyncio
import multiprocessing
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from typing import NamedTuple

import pytest

from domain.calendar import local_date
from infra.log.core import Core, open_core
from infra.postgres.embedded import EmbeddedPostgres
from infra.running.settings import Settings
from tests.city import agenda, booking, hospital, key
from tests.conftest import SECRET
from tests.towns import Town

PROCESSES = 3
CALLERS = 8  # in each process
SLOTS = 5_000
SECONDS = 3.0
TOGETHER_TIMEOUT_S = 60
END_TIMEOUT_S = 60
SHARE_LEAST = 1 / 4  # of what the fastest got
WAIT_MOST_S = 0.25


class Signals(NamedTuple):
    """What the processes share: the start, the end, and where they say how long they waited."""

    together: Barrier
    over: Event
    waits: "Queue[list[float]]"


async def hammer(core: Core, name: str, number: int, signals: Signals) -> list[float]:
    """Book slot after slot of the agenda for new patients until it is over: how long each had to be waited for, in s.

    Each process has every third slot; whoever has none left ends it for all.
    """
    slots = iter(range(1 + number, SLOTS + 1, PROCESSES))
    waits: list[float] = []

    async def book(slot: int) -> None:
        await core.committer.submit(booking(slot, f"patient {slot}", agenda=name), key(f"b {slot}"))

    async def caller(ends: float) -> None:
        while (asked := time.perf_counter()) < ends and not signals.over.is_set():
            slot = next(slots, None)
            if slot is None:
                signals.over.set()
                return
            await book(slot)
            waits.append(time.perf_counter() - asked)

    await book(next(slots))  # so that the agenda is in memory everywhere
    await asyncio.to_thread(signals.together.wait, TOGETHER_TIMEOUT_S)
    ends = time.perf_counter() + SECONDS
    await asyncio.gather(*(caller(ends) for _ in range(CALLERS)))
    return waits


def process(settings: Settings, name: str, number: int, signals: Signals) -> None:
    """One process with a committer of its own."""

    async def run() -> list[float]:
        async with open_core(settings) as core:
            return await hammer(core, name, number, signals)

    signals.waits.put(asyncio.run(run()))


@pytest.fixture
def settings(server: EmbeddedPostgres, town: Town) -> Settings:
    return Settings(data_dir=server.folder, schema=town.schema, secret=SECRET.hex())


async def publish(settings: Settings) -> str:
    """One big agenda, in the log."""
    day = local_date(datetime.now(UTC)) + timedelta(days=3)
    async with open_core(settings) as core:
        await core.committer.submit(hospital(), key("hospital"))
        await core.committer.submit(wanted := agenda(SLOTS, day=day), key("agenda"))
    return wanted.agenda


@pytest.mark.long
def test_three_processes_share_a_hot_agenda(settings: Settings, town: Town) -> None:
    name = asyncio.run(publish(settings))
    spawn = multiprocessing.get_context("spawn")
    signals = Signals(spawn.Barrier(PROCESSES), spawn.Event(), spawn.Queue())
    running = [spawn.Process(target=process, args=(settings, name, number, signals)) for number in range(PROCESSES)]
    for one in running:
        one.start()
    found = [signals.waits.get(timeout=END_TIMEOUT_S) for _ in running]
    for one in running:
        one.join(END_TIMEOUT_S)
    assert [one.exitcode for one in running] == [0] * PROCESSES
    shares = [len(waited) for waited in found]
    worst_s = max(map(max, found))
    assert min(shares) >= max(shares) * SHARE_LEAST, shares
    assert worst_s < WAIT_MOST_S, (worst_s, shares)
    booked = town.execute("SELECT state->>'slot' FROM event_log WHERE event = 'appointment_booked.v1'")
    assert len(booked) == len(set(booked)) == sum(shares) + PROCESSES
