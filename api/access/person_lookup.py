"""Looks up who has an identity number. Concurrent requests share one query to the log."""

import asyncio
from typing import Any

from infra.log.log import Log

AT_ONCE_MAX = 200


class PersonLookup:
    """Sends one query to the log at a time. Requests that arrive meanwhile share the next one."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._waiting: list[tuple[str, asyncio.Future[Any]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def state(self, stream: str) -> Any:
        """The state of a stream, without personal data, at a moment no earlier than this call.

        Other callers share the state and must not change it. Raises infra.postgres.connections.Unavailable.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((stream, answer))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await answer

    async def _ask(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:AT_ONCE_MAX], self._waiting[AT_ONCE_MAX:]
            try:
                streams = {stream for stream, _ in batch}
                found = await self._log.load(streams, redacted=streams)
            except Exception as error:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for stream, answer in batch:
                if not answer.done():  # its caller may have been cancelled
                    answer.set_result(found[stream].state)
