"""Lines and learned waits, cached in this process.

Both are kept up to date by reading only new events from the log. Nothing in a line is personal.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from domain.calendar import local_date
from domain.decider import StreamName
from domain.identifiers import LineId, id_of, line_id, line_parts
from domain.queues.learning import Learner
from domain.queues.line import Line, stream
from domain.queues.wait_model import WaitModel
from infra.log.log import Loaded, Log
from infra.running.logging import log_failure

LINES_KEPT_MAX = 200
LINES_BYTES_MAX = 32 * 2**20  # of their events; the states take a few times as much
EXPERIENCES_MAX = 100  # cached services, each with its last line
LEARNED_DAYS_MAX = 28  # with a line
LEARNED_BACK_DAYS_MAX = 100
LEARNED_AGAIN_S = 600  # how often new events are learned
RETRY_S = 30
PAUSE_S = 0.006
AT_ONCE_S = 0.003  # learning blocks the event loop; one event takes some milliseconds at worst

T = TypeVar("T")


class _Known:
    """A line as it was when last read. Only one read of it runs at a time."""

    def __init__(self) -> None:
        self.loaded = Loaded(version=0, state=Line())
        self.lock = asyncio.Lock()


class _Batch:
    """Lines whose new events are read in one statement."""

    def __init__(self) -> None:
        self.streams: dict[StreamName, Loaded] = {}
        self.reading: asyncio.Task[None]


class LineCache:
    """The lines that were used recently. Nothing in a line is personal."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._next: _Batch | None = None  # has yet to begin
        self._known: OrderedDict[LineId, _Known] = OrderedDict()
        self._bytes = 0

    async def shown(self, line: LineId, show: Callable[[Line], T]) -> T:
        """The result of `show` for a line as it is in the log now. `show` must not keep the line, which is mutable.

        Raises infra.postgres.connections.Unavailable.
        """
        known = self._known.setdefault(line, _Known())
        self._known.move_to_end(line)
        async with known.lock:
            before_bytes = known.loaded.weight_bytes
            try:
                await self._catch_up(stream(line), known.loaded)
            except BaseException:
                known.loaded.weight_bytes = before_bytes
                self._forget(line, known)  # it may be half changed, so read it again
                known.loaded = Loaded(version=0, state=Line())
                raise
            if self._known.get(line) is known:
                self._bytes += known.loaded.weight_bytes - before_bytes
            shown = show(known.loaded.state)
        if not known.loaded.version:
            self._forget(line, known)
        while len(self._known) > LINES_KEPT_MAX or (self._bytes > LINES_BYTES_MAX and len(self._known) > 1):
            self._forget(*next(iter(self._known.items())))
        return shown

    async def _catch_up(self, name: StreamName, loaded: Loaded) -> None:
        """Read the new events of a line, together with those of others that are asked for at the same time."""
        batch = self._next
        if batch is None or name in batch.streams:
            batch = self._next = _Batch()
            batch.reading = asyncio.create_task(self._read(batch))
        batch.streams[name] = loaded
        await asyncio.shield(batch.reading)  # others wait for it, too

    async def _read(self, batch: _Batch) -> None:
        if self._next is batch:
            self._next = None
        await self._log.catch_up(batch.streams)

    def _forget(self, line: LineId, known: _Known) -> None:
        if self._known.get(line) is known:
            del self._known[line]
            self._bytes -= known.loaded.weight_bytes


class _Learned:
    """The model of a service at a service point, learned up to `version` of `line`, its last line."""

    def __init__(self) -> None:
        self.model = WaitModel()
        self.learner = Learner(WaitModel())
        self.line: LineId = ""
        self.version = 0
        self.done = False  # all events that existed at the first request
        self.next_at: datetime | None = None
        self.learning: asyncio.Task[None] | None = None


class WaitModels:
    """The model of lines, by service and service point, learned in the background on request.

    It learns one service after another, and only part of the time, so that other work in this process goes on.
    """

    def __init__(self, log: Log, now: Callable[[], datetime]) -> None:
        self._log = log
        self._now = now
        self._known: OrderedDict[tuple[str, str], _Learned] = OrderedDict()
        self._one = asyncio.Lock()

    def of(self, line: LineId) -> WaitModel:
        """The model so far of the service of an opened line; the prior until something is learned."""
        known = self._known.setdefault(_service_of(line), _Learned())
        self._known.move_to_end(_service_of(line))
        while len(self._known) > EXPERIENCES_MAX:
            self._let_go(self._known.popitem(last=False)[1])
        now = self._now()
        # If the clock was set back, look at once.
        waits = known.next_at is not None and timedelta(0) < known.next_at - now <= timedelta(seconds=LEARNED_AGAIN_S)
        if known.learning is None and not waits:
            known.learning = asyncio.create_task(self._learn(known, line, now))
        return known.model

    def learned(self, line: LineId) -> bool:
        """Whether all events that existed at the first request have been learned."""
        known = self._known.get(_service_of(line))
        return known is not None and known.done

    async def settled(self) -> None:
        """Wait until everything requested is learned."""
        await asyncio.gather(*(known.learning for known in self._known.values() if known.learning))

    def stop(self) -> None:
        for known in self._known.values():
            self._let_go(known)

    def _let_go(self, known: _Learned) -> None:
        if known.learning:
            known.learning.cancel()

    async def _learn(self, known: _Learned, line: LineId, now: datetime) -> None:
        again_s = RETRY_S
        try:
            async with self._one:
                for name in await self._lines_until(line, now, begin=known.line):
                    await self._go_on(known, name)
                known.model, known.done = known.learner.model, True
            again_s = LEARNED_AGAIN_S
        except Exception as error:  # it is tried again later
            log_failure("waits can't be learned", error)
            known.learner, known.line, known.version = Learner(WaitModel()), "", 0
        finally:
            known.next_at, known.learning = now + timedelta(seconds=again_s), None

    async def _lines_until(self, line: LineId, now: datetime, *, begin: LineId) -> list[LineId]:
        """Lines of the same service up to today's, from `begin` on: the last LEARNED_DAYS_MAX, in order."""
        service_point, service = _service_of(line)
        today = line_id(service_point, service, local_date(now))
        earliest = line_id(service_point, service, local_date(now) - timedelta(days=LEARNED_BACK_DAYS_MAX))
        names = await self._log.stream_names(
            stream(f"{service_point}/{service}/"), after=stream(max(begin, earliest)), first=LEARNED_BACK_DAYS_MAX
        )
        lines = [id_of(name) for name in names]
        first = [begin] if begin else []
        return [*first, *[name for name in lines if begin < name <= today][-LEARNED_DAYS_MAX:]]

    async def _go_on(self, known: _Learned, line: LineId) -> None:
        """Learn the new events of a line, or all of them if it is a new line."""
        if line != known.line:
            known.learner, known.line, known.version = Learner(known.learner.model), line, 0
        clock = asyncio.get_running_loop().time
        entries, began = await self._log.history(stream(line)), clock()
        for entry in entries[known.version :]:
            if clock() - began >= AT_ONCE_S:
                await asyncio.sleep(PAUSE_S)
                began = clock()
            known.learner.tell(self._log.event(entry))
            known.version += 1


def _service_of(line: LineId) -> tuple[str, str]:
    service_point, service, _ = line_parts(line)
    return service_point, service
