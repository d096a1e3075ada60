"""Loads that concurrent requests share: one at a time, for all that were asked for meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class SharedLoads(Generic[K, V]):
    """Calls `load` with what was asked for since the last call, at most `at_once_max` keys, one call at a time.

    It lives as long as the process: a request that is cancelled neither stops a load nor harms those who share it.
    While the database does not answer, at most one load waits for another.
    """

    def __init__(self, load: Callable[[list[K]], Awaitable[list[V]]], *, at_once_max: int) -> None:
        self._load = load
        self._at_once_max = at_once_max
        self._waiting: list[tuple[K, asyncio.Future[Any]]] = []
        self._loading: asyncio.Task[None] | None = None

    async def load(self, key: K) -> V:
        """What `load` returns for this key, from a moment no earlier than this call. Raises like it."""
        answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, answer))
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load_all())
        return await answer

    async def _load_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._at_once_max], self._waiting[self._at_once_max :]
            try:
                found = await self._load([key for key, _ in batch])
            except Exception as error:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, answer), value in zip(batch, found, strict=True):
                if not answer.done():  # its caller may have been cancelled
                    answer.set_result(value)
