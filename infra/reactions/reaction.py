"""Reactions: work that no request triggers. This is the protocol between the scheduler and contexts."""

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
    """The services that reactions use."""

    core: Core
    views: Views
    clock: Callable[[], datetime]


class Reaction(Protocol):
    """Work that one process at a time does.

    An exception from these functions is logged under `failure`. It does not affect other reactions. `begin` and `tick`
    are called again.
    """

    @property
    def failure(self) -> str: ...

    async def begin(self) -> None:
        """Start: this process does the work from now on, which another may have done before. Raises Unavailable."""

    async def tick(self) -> None:
        """Do the work that is due. Called repeatedly. Raises Unavailable, NotReached, BeyondLog, NeverBuilt."""

    async def stop(self) -> None:
        """Finish the work in progress. Called once, at the end."""


OpenReactions = Callable[[Resources], AbstractAsyncContextManager[Sequence[Reaction]]]

# Returns the jobs due at a moment. It is called repeatedly, and returns the same jobs until they are done.
Source = Callable[[datetime], Awaitable[Sequence[Job]]]


class Due(Protocol[T]):
    """`Due` of projections/engine/due.py."""

    @property
    def question(self) -> Callable[[datetime, int], Question[T]]: ...
    @property
    def job(self) -> Callable[[T], Job]: ...


def asked(views: Views, due: Due[T]) -> Source:
    """The jobs that are due according to a read model."""

    async def source(now: datetime) -> list[Job]:
        rows, _ = await views.ask(due.question(now, DUE_MAX))
        return [due.job(row) for row in rows]

    return source


class Jobs:
    """A reaction that sends the commands that a source returns as due."""

    failure = "what is due is not done"

    def __init__(self, resources: Resources, source: Source) -> None:
        self._committer = resources.core.committer
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
        # Refused: done meanwhile, not due by the committer's clock, or undecidable now. If still due, it is sent again.
        with suppress(Rejected):
            await self._committer.submit(job.command, Key(ACTOR, job.key))
