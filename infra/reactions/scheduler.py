"""The scheduler: the process that runs the reactions of all contexts, for work that falls due and for webhooks.

Nothing depends on its punctuality: rules are decided by the time of each request, and its commands are harmless if they
come late or twice. An advisory lock lets one scheduler work at a time; a second one waits until the first has gone.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import psycopg

from infra.log.core import open_core
from infra.postgres.connections import CONNECTION, Unavailable
from infra.postgres.database import application_conninfo
from infra.postgres.views import BeyondLog, NeverBuilt, NotReached, Views
from infra.reactions.reaction import OpenReactions, Reaction, Resources
from infra.running.logging import log_failure
from infra.running.part import PARENT_POLL_S, server_is_gone
from infra.running.settings import Settings

POLL_S = 0.25
STANDBY_POLL_S = 0.5  # how often to try to take over from one that has gone
RETRY_S = 1.0
LOCK_TIMEOUT_S = 10
LOCK_SPACE = 1609  # first half of the advisory lock's key; the second is that of the schema's name


class Scheduler:
    """Does the work that is due until it is stopped."""

    def __init__(
        self,
        conninfo: str,
        *,
        schema: str,
        reactions: Sequence[Reaction],
    ) -> None:
        self._conninfo = conninfo
        self._schema = schema
        self._reactions = reactions
        self._stop = asyncio.Event()
        self._failed: set[str] = set()  # failures that were already reported

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Run until stopped. After a failure, try again."""
        while not self._stop.is_set():
            try:
                async with self._leading() as lock:
                    await self._follow(lock)
            except Exception as error:
                self._say("the scheduler can't work", error)
                await self._pause(RETRY_S)
        for reaction in self._reactions:
            await self._try(reaction.failure, reaction.stop())

    async def _follow(self, lock: "psycopg.AsyncConnection[object]") -> None:
        begun: set[Reaction] = set()
        while not self._stop.is_set():
            async with asyncio.timeout(LOCK_TIMEOUT_S):
                await lock.execute("SELECT 1")  # without the connection, the lock is lost
            await asyncio.gather(*(self._try(one.failure, self._round(one, begun)) for one in self._reactions))
            await self._pause(POLL_S)

    async def _round(self, reaction: Reaction, begun: set[Reaction]) -> None:
        """One tick, after `begin` if that has not succeeded yet."""
        if reaction not in begun:
            await reaction.begin()
            begun.add(reaction)
        await reaction.tick()

    async def _try(self, what: str, work: Awaitable[None]) -> None:
        """Do the work and report a failure, so that other reactions go on."""
        try:
            await work
        except (NotReached, BeyondLog, NeverBuilt, Unavailable):
            return  # the read models' lag shows it; the next round tries again
        except Exception as error:
            self._say(what, error)

    def _say(self, what: str, error: Exception) -> None:
        name = f"{what} {type(error).__name__}"
        if name not in self._failed:  # report a lasting failure once
            log_failure(what, error)
        self._failed.add(name)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    @asynccontextmanager
    async def _leading(self) -> "AsyncIterator[psycopg.AsyncConnection[object]]":
        """Wait for the lock, or until stopped. The block runs while this process is the one that works."""
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


async def schedule(settings: Settings, *, open_reactions: OpenReactions, stopping: asyncio.Event) -> None:
    """Run the scheduler until `stopping` is set or `igob serve` is gone. Raises Unavailable."""
    conninfo = application_conninfo(settings)
    async with open_core(settings) as core:
        views = Views(conninfo, schema=settings.schema)
        await views.open()
        async with open_reactions(Resources(core=core, views=views, clock=lambda: datetime.now(UTC))) as reactions:
            scheduler = Scheduler(conninfo, schema=settings.schema, reactions=reactions)
            working = asyncio.create_task(scheduler.run())
            while not stopping.is_set() and not server_is_gone():
                with suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), PARENT_POLL_S)
            scheduler.stop()
            await working
        await views.close()
