"""The log and the read models of a town, connected once for the tests of a module.

To connect takes longer than most tests. That the town is emptied between them does not matter to its connections.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from infra.log.log import Log
from infra.postgres.views import Views
from tests.towns import Town


class Connected:
    """The connections to the town that the last test had. Use it in the event loop in which it was made."""

    def __init__(self) -> None:
        self._town: Town | None = None
        self._log: Log | None = None
        self._views: Views | None = None

    @asynccontextmanager
    async def to(self, town: Town) -> AsyncIterator[tuple[Log, Views]]:
        """Its log and its read models, for one test. What the test leaves running is cancelled: it may use them."""
        if town is not self._town:
            await self.close()
            self._log = Log(town.application, schema=town.schema, secret=town.secret)
            self._views = Views(town.application, schema=town.schema)
            await self._log.open()
            await self._views.open()
            self._town = town
        assert self._log
        assert self._views
        before = asyncio.all_tasks()
        yield self._log, self._views
        left = {task for task in asyncio.all_tasks() - before if not _is_anyio(task)}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._views._reached.clear()  # positions begin anew in the next test
        self._views._head = 0
        if self._log._connector.closed:  # by the test
            await self.close()

    async def close(self) -> None:
        if self._log and self._views:
            await self._log.close()
            await self._views.close()
        self._town = self._log = self._views = None


def _is_anyio(task: "asyncio.Task[object]") -> bool:
    """Whether it runs a test or a fixture, such as the one that ends this test: each has a new task."""
    return "TestRunner" in getattr(task.get_coro(), "__qualname__", "")
