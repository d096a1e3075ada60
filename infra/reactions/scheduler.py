"""What falls due by time alone: a process that asks the read models for it and sends commands, and webhooks.

Nothing rests on its punctuality: each rule is decided by the time of whoever asks, and each command is harmless when it
comes late, or twice. One works at a time, by an advisory lock; a second one waits until the first has gone.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
import psycopg

from domain.decider import Command
from domain.errors import Rejected
from domain.identifiers import TurnId
from domain.queues.turns import GiveNotice
from infra.log.core import Core, open_core
from infra.log.log import Log
from infra.log.submission import Key
from infra.postgres.connections import CONNECTION, Unavailable
from infra.postgres.database import application_conninfo
from infra.postgres.views import BeyondLog, NeverBuilt, NotReached, Question, Views
from infra.reactions.lines import Experiences, LineNow, Lines
from infra.reactions.webhooks import ACTOR, Courier, Outbox, open_http
from infra.running.logging import log_failure
from infra.running.serve import PARENT_POLL_S, server_is_gone
from infra.running.settings import Settings

POLL_S = 0.25
LOOKED_AGAIN_S = 2.0
STANDBY_POLL_S = 0.5  # to take over from one that has gone
RETRY_S = 1.0
LOCK_TIMEOUT_S = 10
LOCK_SPACE = 1609  # first half of the advisory lock's key; the second is that of the schema's name
DUE_MAX = 100  # of each kind, at a time

T = TypeVar("T")


class Job(msgspec.Struct, frozen=True):
    """A command whose time has come. Under its `key` it is done once: that names what is due, not when it was found."""

    command: Command
    key: str


# What is due at a moment. It may be asked again and again, and give the same until that is done.
Source = Callable[[datetime], Awaitable[Sequence[Job]]]


def asked(views: Views, due: Callable[[datetime, int], Question[T]], job: Callable[[T], Job]) -> Source:
    """What read models say is due."""

    async def source(now: datetime) -> list[Job]:
        rows, _ = await views.ask(due(now, DUE_MAX))
        return [job(row) for row in rows]

    return source


class Wishes:
    """Who wished to be told some minutes before their call: due once one of four is called within that time by now.

    So three of four have at least as long as they wished. It is looked at every LOOKED_AGAIN_S, DUE_MAX lines at a
    time, one after another.
    """

    def __init__(self, views: Views, log: Log, lines: Callable[[str, int], Question[Any]]) -> None:
        self._views = views
        self._asked = lines
        self._lines = Lines(log)
        self._now = datetime.now(UTC)
        self._experiences = Experiences(log, lambda: self._now)
        self._looked_at: datetime | None = None
        self._after = ""  # the line that was looked at last

    async def source(self, now: datetime) -> list[Job]:
        """The notices that are due by the expected wait."""
        if self._looked_at and timedelta(0) <= now - self._looked_at < timedelta(seconds=LOOKED_AGAIN_S):
            return []
        self._looked_at = self._now = now
        rows, _ = await self._views.ask(self._asked(self._after, DUE_MAX))
        self._after = rows[-1].line if len(rows) == DUE_MAX else ""
        found = []
        for row in rows:
            experience = self._experiences.of(row.line)
            if not self._experiences.learned(row.line):
                continue  # soon: nobody is told by a guess
            found += await self._lines.shown(row.line, lambda line, known=experience: _due(LineNow(line, now, known)))  # type: ignore[misc]
        # Said twice it is nothing; but who wishes again, and has the same minutes, is not who was told.
        return [Job(GiveNotice(turn=turn), f"notice:{turn}:{now.isoformat()}") for turn in found]


def _due(now: LineNow) -> list[TurnId]:
    """Whose wish has come due."""
    wishes = {turn: wish.minutes for turn, wish in now.line.notices.items() if wish.minutes is not None}
    waits = {turn: now.expected(now.line.turns[turn].priority, now.ahead(turn)) for turn in wishes}
    return [turn for turn, wait in waits.items() if wait and wait.low_50_s <= wishes[turn] * 60]


class Scheduler:
    """Does what is due until it is told to stop."""

    def __init__(
        self,
        core: Core,
        conninfo: str,
        *,
        schema: str,
        sources: Sequence[Source],
        courier: Courier,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._core = core
        self._conninfo = conninfo
        self._schema = schema
        self._sources = sources
        self._courier = courier
        self._clock = clock
        self._stop = asyncio.Event()
        self._failed: set[str] = set()  # what fails, which was said

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Whatever happens, it goes on when the cause has gone."""
        while not self._stop.is_set():
            try:
                async with self._leading() as lock:
                    await self._follow(lock)
            except Exception as error:
                self._say("the scheduler does not get on", error)
                await self._pause(RETRY_S)
        await self._courier.stop()

    async def _follow(self, lock: "psycopg.AsyncConnection[object]") -> None:
        if self._stop.is_set():
            return
        await self._courier.begin()
        while not self._stop.is_set():
            async with asyncio.timeout(LOCK_TIMEOUT_S):
                await lock.execute("SELECT 1")  # who lost the connection lost the lock
            await asyncio.gather(
                self._try("webhooks are not sent", self._courier.tick()),
                *(self._try("what is due is not done", self._work(source)) for source in self._sources),
            )
            await self._pause(POLL_S)

    async def _work(self, source: Source) -> None:
        jobs = await source(self._clock())
        await asyncio.gather(*(self._do(job) for job in jobs))

    async def _do(self, job: Job) -> None:
        # Refused: done meanwhile, not due by the clock that decides, or it can't be known now. It is asked for again.
        with suppress(Rejected):
            await self._core.lane.submit(job.command, Key(ACTOR, job.key))

    async def _try(self, what: str, work: Awaitable[None]) -> None:
        """One that fails keeps none of the others waiting."""
        try:
            await work
        except (NotReached, BeyondLog, NeverBuilt, Unavailable):
            return  # the read models' own lag tells it; the next round asks again
        except Exception as error:
            self._say(what, error)

    def _say(self, what: str, error: Exception) -> None:
        name = f"{what} {type(error).__name__}"
        if name not in self._failed:  # once is enough
            log_failure(what, error)
        self._failed.add(name)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    @asynccontextmanager
    async def _leading(self) -> "AsyncIterator[psycopg.AsyncConnection[object]]":
        """The one who works: for as long as the connection lasts. Until it is, or it is told to stop, it waits."""
        connection: psycopg.AsyncConnection[object] = await psycopg.AsyncConnection.connect(
            self._conninfo, **CONNECTION
        )
        async with connection:
            while not self._stop.is_set():
                cursor = await connection.execute(
                    "SELECT pg_try_advisory_lock(%s, hashtext(%s))", (LOCK_SPACE, self._schema)
                )
                if await cursor.fetchone() == (True,):
                    break
                await self._pause(STANDBY_POLL_S)
            yield connection


async def schedule(
    settings: Settings, *, sources: Callable[[Views, Log], Sequence[Source]], outbox: Outbox, told: asyncio.Event
) -> None:
    """Do what is due on the database of the settings until `told`, or `igob serve` is gone. Raises Unavailable."""
    conninfo = application_conninfo(settings)
    async with open_core(settings) as core, open_http() as http:
        views = Views(conninfo, schema=settings.schema)
        await views.open()
        courier = Courier(core, views, http, outbox, lambda: datetime.now(UTC))
        scheduler = Scheduler(core, conninfo, schema=settings.schema, sources=sources(views, core.log), courier=courier)
        working = asyncio.create_task(scheduler.run())
        while not told.is_set() and not server_is_gone():
            with suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), PARENT_POLL_S)
        scheduler.stop()
        await working
        await views.close()
