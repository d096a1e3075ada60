"""Notices by time: given some minutes before the expected call."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

from domain.due import Job
from domain.identifiers import LineId, TurnId
from domain.queues.line import Line
from domain.queues.line_now import LineNow
from domain.queues.turns import GiveNotice
from domain.queues.wait_model import WaitModel
from infra.log.log import Log
from infra.postgres.views import Question, Views
from infra.reactions.queues.lines import LineCache, WaitModels
from infra.reactions.reaction import DUE_MAX

LOOKED_AGAIN_S = 2.0


class LineWithWishes(Protocol):
    @property
    def line(self) -> LineId: ...


class Notices:
    """Notices some minutes before the call. One is due when one in four such turns would be called within that time.

    So three in four people have at least the time that they asked for. Lines are examined every LOOKED_AGAIN_S, DUE_MAX
    at a time, in order: `lines_with_wishes` returns those after a given line.
    """

    def __init__(
        self, views: Views, log: Log, lines_with_wishes: Callable[[LineId, int], Question[LineWithWishes]]
    ) -> None:
        self._views = views
        self._lines_with_wishes = lines_with_wishes
        self._lines = LineCache(log)
        self._now = datetime.now(UTC)
        self._experiences = WaitModels(log, lambda: self._now)
        self._looked_at: datetime | None = None
        self._after = ""  # the line that was examined last

    async def source(self, now: datetime) -> list[Job]:
        """The notices that are due by the expected wait."""
        if self._looked_at and timedelta(0) <= now - self._looked_at < timedelta(seconds=LOOKED_AGAIN_S):
            return []
        self._looked_at = self._now = now
        rows, _ = await self._views.ask(self._lines_with_wishes(self._after, DUE_MAX))
        self._after = rows[-1].line if len(rows) == DUE_MAX else ""
        found: list[TurnId] = []
        for row in rows:
            model = self._experiences.of(row.line)
            if not self._experiences.learned(row.line):
                continue  # learned soon: no notice is given on a guess
            found += await self._lines.shown(row.line, partial(_due, now=now, model=model))
        # A repeated command changes nothing, but a new request with the same minutes needs a new key.
        return [Job(command=GiveNotice(turn=turn), key=f"notice:{turn}:{now.isoformat()}") for turn in found]

    def stop(self) -> None:
        self._experiences.stop()


def _due(line: Line, *, now: datetime, model: WaitModel) -> list[TurnId]:
    """The turns whose notices are due."""
    shown = LineNow(line, now, model)
    wishes = {turn: wish.minutes for turn, wish in line.notices.items() if wish.minutes is not None}
    waits = {turn: shown.expected(line.turns[turn].priority, shown.ahead(turn)) for turn in wishes}
    return [turn for turn, wait in waits.items() if wait and wait.low_50_s <= wishes[turn] * 60]
