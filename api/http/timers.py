"""Timers of many connections on one event-loop timer: a wake-up for each would cost more than its work."""

import asyncio
import math
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from infra.running.logging import log_failure

TICK_S = 1.0  # due times are rounded up to a multiple of this, so that timers of one tick run together

# The callback of a timer. It returns the seconds until its next run, or None to stop.
Act = Callable[[], float | None]


class Timer:
    """A callback that runs repeatedly until it is stopped."""

    def __init__(self, act: Act) -> None:
        self.act: Act | None = act

    def stop(self) -> None:
        self.act = None  # release what the callback holds


class _Due(NamedTuple):
    at_s: float
    number: int  # unique, so that timers are never compared
    timer: Timer


class SharedTimers:
    """The timers of one event loop. None runs before its time; each may run up to TICK_S late."""

    def __init__(self) -> None:
        self._due: list[_Due] = []
        self._numbers = count()
        self._wakes_at_s = math.inf
        self._handle: asyncio.TimerHandle | None = None

    def start(self, act: Act, *, after_s: float) -> Timer:
        """Run `act` for the first time after `after_s`."""
        timer = Timer(act)
        self._add(timer, after_s)
        return timer

    def _add(self, timer: Timer, after_s: float) -> None:
        loop = asyncio.get_running_loop()
        tick_s = min(TICK_S, max(after_s, 0.001))
        at_s = math.ceil((loop.time() + after_s) / tick_s) * tick_s
        heappush(self._due, _Due(at_s, next(self._numbers), timer))
        self._wake_at(at_s, loop)

    def _wake_at(self, at_s: float, loop: asyncio.AbstractEventLoop) -> None:
        if at_s < self._wakes_at_s:
            if self._handle:
                self._handle.cancel()
            self._handle, self._wakes_at_s = loop.call_at(at_s, self._run), at_s

    def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._handle, self._wakes_at_s = None, math.inf
        now_s = loop.time()
        while self._due and self._due[0].at_s <= now_s:
            timer = heappop(self._due).timer
            if timer.act is None:
                continue
            try:
                again_s = timer.act()
            except Exception as error:  # the others' timers go on
                log_failure("a timer failed", error)
                continue
            if again_s is not None and timer.act is not None:
                self._add(timer, again_s)
        if self._due:
            self._wake_at(self._due[0].at_s, loop)
