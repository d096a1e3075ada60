"""Lines as this process knows them, and what it has learned of their waits.

Both are kept up to date by asking the log only for what is new. Nothing in a line is personal.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import TypeVar

from domain.calendar import local_date
from domain.identifiers import LineId, TurnId, line_id
from domain.queues.learning import Learner, class_of, counters_of
from domain.queues.line import Line, ahead_of_new, calls_to_come, stream
from domain.queues.wait import Experience, Wait, expect_all
from infra.log import Loaded, Log
from infra.logging import log_failure

LINES_KEPT_MAX = 200
LINES_BYTES_MAX = 32 * 2**20  # of their events; the states take some times that
EXPERIENCES_MAX = 500  # services of which something is known
LEARNED_DAYS_MAX = 28  # with a line
LEARNED_BACK_DAYS_MAX = 100
LEARNED_AGAIN_S = 600  # what happened today is learned again so often
AT_ONCE_S = 0.003  # learning is work that nobody else gets in between; one event takes some milliseconds at the worst

T = TypeVar("T")


class LineNow:
    """A line at a moment, and what is computed of it once for all who ask."""

    def __init__(self, line: Line, now: datetime, experience: Experience) -> None:
        self.line = line
        self.now = now
        self._experience = experience
        self._places: dict[TurnId, int] | None = None
        self._waits: dict[TurnId, Wait] | None = None

    def ahead(self, turn: TurnId) -> int | None:
        """How many are called before a turn, if nobody else comes; None if it does not wait."""
        if self._places is None:
            self._places = {waiting: place for place, waiting in enumerate(calls_to_come(self.line))}
        return self._places.get(turn)

    def expected(self, turn: TurnId) -> Wait | None:
        """When a turn will be called; None if it does not wait, or no counter is open."""
        if self._waits is None:
            turns = list(calls_to_come(self.line))
            waits = self._expect([(self.line.turns[waiting].priority, ahead) for ahead, waiting in enumerate(turns)])
            self._waits = dict(zip(turns, waits, strict=False))
        return self._waits.get(turn)

    def expected_of_new(self, priority: str) -> Wait | None:
        """When somebody of this class would be called who takes a turn now."""
        return next(iter(self._expect([(priority, ahead_of_new(self.line, priority))])), None)

    def _expect(self, turns: list[tuple[str, int]]) -> list[Wait]:
        asked = [(class_of(priority), ahead) for priority, ahead in turns]
        return expect_all(self._experience, self.now, counters_of(self.line), asked)


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


class _Learned:
    """What is known of a service at a service point: of the days before `day`, and of today until `at`."""

    def __init__(self) -> None:
        self.day: date | None = None
        self.before = Experience()
        self.experience = Experience()
        self.at: datetime | None = None
        self.learning: asyncio.Task[None] | None = None


class Experiences:
    """What lines were like, by service and service point. It is learned when somebody asks, in the background."""

    def __init__(self, log: Log, now: Callable[[], datetime]) -> None:
        self._log = log
        self._now = now
        self._known: OrderedDict[tuple[str, str], _Learned] = OrderedDict()

    def of(self, line: LineId) -> Experience:
        """What is known by now of this line's service; the honest prior until something is."""
        service_point, service, _ = line.split("/")
        known = self._known.setdefault((service_point, service), _Learned())
        self._known.move_to_end((service_point, service))
        while len(self._known) > EXPERIENCES_MAX:
            self._let_go(self._known.popitem(last=False)[1])
        now = self._now()
        stale = known.at is None or not timedelta(0) <= now - known.at < timedelta(seconds=LEARNED_AGAIN_S)
        if stale and known.learning is None:
            known.learning = asyncio.create_task(self._learn(known, service_point, service, now))
        return known.experience

    def learned(self, line: LineId) -> bool:
        """Whether what was there to learn when it was asked for first has been learned."""
        service_point, service, _ = line.split("/")
        known = self._known.get((service_point, service))
        return known is not None and known.at is not None

    async def settled(self) -> None:
        """Wait until what was asked for is learned."""
        await asyncio.gather(*(known.learning for known in self._known.values() if known.learning))

    def stop(self) -> None:
        for known in self._known.values():
            self._let_go(known)

    def _let_go(self, known: _Learned) -> None:
        if known.learning:
            known.learning.cancel()

    async def _learn(self, known: _Learned, service_point: str, service: str, now: datetime) -> None:
        try:
            today = local_date(now)
            if known.day != today:
                known.before = known.experience = await self._of_days_before(today, service_point, service)
                known.day = today
            today_s = line_id(service_point, service, today)
            known.experience = await self._learned(known.before, today_s)
        except Exception as error:  # it is asked again later; until then less is known
            log_failure("waits can't be learned", error)
        finally:
            known.at, known.learning = now, None

    async def _of_days_before(self, today: date, service_point: str, service: str) -> Experience:
        prefix = f"line/{service_point}/{service}/"
        earliest = today - timedelta(days=LEARNED_BACK_DAYS_MAX)
        names = await self._log.stream_names(prefix, after=f"{prefix}{earliest}", first=LEARNED_BACK_DAYS_MAX)
        lines = [name.removeprefix("line/") for name in names if name < f"{prefix}{today}"]
        experience = Experience()
        for line in lines[-LEARNED_DAYS_MAX:]:
            experience = await self._learned(experience, line)
        return experience

    async def _learned(self, experience: Experience, line: LineId) -> Experience:
        learner = Learner(experience)
        clock = asyncio.get_running_loop().time
        entries, began = await self._log.history(stream(line)), clock()
        for entry in entries:
            if clock() - began >= AT_ONCE_S:
                await asyncio.sleep(0)
                began = clock()
            learner.tell(self._log.event(entry))
        return learner.experience
