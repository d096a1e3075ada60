"""Reactions: work that the system does without a request. This is the protocol between scheduler and contexts."""

from asyncio import gather
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from domain.due import Job
from domain.errors import Rejected
from infra.log.core import Core
from infra.log.submission import Key
from infra.postgres.views import Question, Views

ACTOR = "system"
DUE_MAX = 100  # of each kind, at a time

T = TypeVar("T")


class Resources(msgspec.Struct, frozen=True):
    """What reactions work with."""

    core: Core
    views: Views
    clock: Callable[[], datetime]


class Reaction(Protocol):
    """Work that one process does at a time.

    What these functions raise is logged under `failure`, and keeps no other reaction from its work. `begin` and `tick`
    are tried again.
    """

    @property
    def failure(self) -> str: ...

    async def begin(self) -> None:
        """This process does it from now on; another may have done it until now. Raises Unavailable."""

    async def tick(self) -> None:
        """Do what is due. Called again and again. Raises Unavailable, NotReached, BeyondLog, NeverBuilt."""

    async def stop(self) -> None:
        """Finish what is under way. Called once, at the end."""


OpenReactions = Callable[[Resources], AbstractAsyncContextManager[Sequence[Reaction]]]

# What is due at a moment. It may be asked again and again, and give the same until that is done.
Source = Callable[[datetime], Awaitable[Sequence[Job]]]


class Due(Protocol[T]):
    """What projections/engine/due.py has."""

    @property
    def question(self) -> Callable[[datetime, int], Question[T]]: ...
    @property
    def job(self) -> Callable[[T], Job]: ...


def asked(views: Views, due: Due[T]) -> Source:
    """What a read model says is due."""

    async def source(now: datetime) -> list[Job]:
        rows, _ = await views.ask(due.question(now, DUE_MAX))
        return [due.job(row) for row in rows]

    return source


class Jobs:
    """Sends the commands that a source says are due."""

    failure = "what is due is not done"

    def __init__(self, resources: Resources, source: Source) -> None:
        self._lane = resources.core.lane
        self._clock = resources.clock
        self._source = source

    async def begin(self) -> None:
        pass

    async def tick(self) -> None:
        jobs = await self._source(self._clock())
        await gather(*(self._do(job) for job in jobs))

    async def stop(self) -> None:
        pass

    async def _do(self, job: Job) -> None:
        # Refused: done meanwhile, not due by the clock that decides, or it can't be known now. It is asked for again.
        with suppress(Rejected):
            await self._lane.submit(job.command, Key(ACTOR, job.key))
