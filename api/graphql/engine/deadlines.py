"""Deadlines of requests, with one shared timer: a timer for each would cost as much as a small query."""

import asyncio
import time
from types import TracebackType
from typing import Any


class Deadlines:
    """Cancels tasks that exceed their time limit. For one event loop; all limits must have the same length."""

    def __init__(self) -> None:
        self._limits: dict[Limit, None] = {}  # in the order of their deadlines
        self._timer: asyncio.TimerHandle | None = None
        self.loop: asyncio.AbstractEventLoop | None = None  # cached: get_running_loop() makes a system call

    def limit(self, timeout_s: float) -> "Limit":
        """A context manager for the current task. It raises TimeoutError if the block takes longer."""
        return Limit(self, timeout_s)

    def begin(self, limit: "Limit", timeout_s: float) -> None:
        self._limits[limit] = None
        if self._timer is None:
            self.loop = asyncio.get_running_loop()
            self._timer = self.loop.call_later(timeout_s, self._expire)

    def end(self, limit: "Limit") -> None:
        self._limits.pop(limit, None)

    def _expire(self) -> None:
        """Cancel the expired tasks, and set the timer for the next deadline."""
        assert self.loop
        self._timer = None
        now_s = time.monotonic()
        for limit in list(self._limits):
            if limit.ends_at_s > now_s:
                self._timer = self.loop.call_later(limit.ends_at_s - now_s, self._expire)
                return
            del self._limits[limit]
            limit.expire()


class Limit:
    """A context manager, see `Deadlines.limit`."""

    __slots__ = ("_deadlines", "_expired", "_task", "_timeout_s", "ends_at_s")

    def __init__(self, deadlines: Deadlines, timeout_s: float) -> None:
        self._deadlines = deadlines
        self._timeout_s = timeout_s
        self._expired = False
        self._task: asyncio.Task[Any] | None = None
        self.ends_at_s = 0.0

    def __enter__(self) -> None:
        self._task = asyncio.current_task(self._deadlines.loop)
        self.ends_at_s = time.monotonic() + self._timeout_s
        self._deadlines.begin(self, self._timeout_s)

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._deadlines.end(self)
        if self._expired:
            assert self._task
            # As in asyncio.timeout: the task may also have been cancelled by other code.
            if self._task.uncancel() <= 0 and kind is asyncio.CancelledError:
                raise TimeoutError

    def expire(self) -> None:
        """Cancel the task: its deadline has passed."""
        self._expired = True
        assert self._task
        self._task.cancel()
