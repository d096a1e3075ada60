"""Lines as this process knows them: kept up to date by asking the log only for what is new in each."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from domain.identifiers import LineId, TurnId
from domain.queues.line import Line, calls_to_come, stream
from infra.log import Loaded, Log

LINES_KEPT_MAX = 200
LINES_BYTES_MAX = 32 * 2**20  # of their events; the states take some times that

T = TypeVar("T")


class LineNow:
    """A line at a moment, and what is computed of it once for all who ask."""

    def __init__(self, line: Line, now: datetime) -> None:
        self.line = line
        self.now = now
        self._places: dict[TurnId, int] | None = None

    def ahead(self, turn: TurnId) -> int | None:
        """How many are called before a turn, if nobody else comes; None if it does not wait."""
        if self._places is None:
            self._places = {waiting: place for place, waiting in enumerate(calls_to_come(self.line))}
        return self._places.get(turn)


class _Known:
    """A line as it was when somebody asked last. One question about it is on its way at a time."""

    def __init__(self) -> None:
        self.loaded = Loaded(version=0, state=Line())
        self.turn = asyncio.Lock()


class Lines:
    """The lines that were asked for of late. Nothing in a line is personal."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._known: OrderedDict[LineId, _Known] = OrderedDict()
        self._bytes = 0

    async def shown(self, line: LineId, show: Callable[[Line], T]) -> T:
        """What `show` makes of a line as it is in the log now; it must not keep the line, which goes on changing.

        Raises infra.log.Unavailable.
        """
        known = self._known.get(line) or _Known()
        async with known.turn:
            before_bytes = known.loaded.weight_bytes
            try:
                await self._log.catch_up({stream(line): known.loaded})
            except BaseException:
                known.loaded.weight_bytes = before_bytes
                self._forget(line)  # it may have changed halfway: it is read anew
                known.loaded = Loaded(version=0, state=Line())
                raise
            if self._known.get(line) is known:
                self._bytes += known.loaded.weight_bytes - before_bytes
                self._known.move_to_end(line)
            elif known.loaded.version and line not in self._known:
                self._known[line] = known
                self._bytes += known.loaded.weight_bytes
            shown = show(known.loaded.state)
        while len(self._known) > LINES_KEPT_MAX or self._bytes > LINES_BYTES_MAX:
            self._forget(next(iter(self._known)))
        return shown

    def _forget(self, line: LineId) -> None:
        if forgotten := self._known.pop(line, None):
            self._bytes -= forgotten.loaded.weight_bytes
