"""A line at a moment: who is how far ahead, and when a turn is expected to be called."""

from datetime import datetime

from domain.identifiers import TurnId
from domain.queues.learning import class_of, counters_of
from domain.queues.line import Line
from domain.queues.order import ahead_at, ahead_of
from domain.queues.wait import Expectations, Wait
from domain.queues.wait_model import WaitModel

LOOKED_UP_MAX = 2  # look-ups of a turn's place before an index of all waiting turns is built


class LineNow:
    """A line at a moment. What is to be expected may be asked later, too, when the line itself has gone on."""

    def __init__(self, line: Line, now: datetime, model: WaitModel) -> None:
        self.line = line
        self.now = now
        opened = line.opened
        # Nobody is called any more: by the clock, whether somebody has closed it or not.
        self.is_over = line.closed is not None or (opened is not None and opened.closes_at <= now)
        self._expectations = Expectations(model, now, [] if self.is_over else counters_of(line))
        self._lookups = 0
        self._places: dict[str, dict[TurnId, int]] = {}

    def ahead(self, turn: TurnId) -> int | None:
        """How many are called before a turn, if nobody else comes; None if it does not wait."""
        found = None if self.is_over else self.line.turns.get(turn)
        if found is None or found.state != "WAITING":
            return None
        self._lookups += 1
        if self._lookups <= LOOKED_UP_MAX:
            return ahead_of(self.line, turn)
        places = self._places.get(found.priority)
        if places is None:
            queue = self.line.queue(found.priority)
            self._places[found.priority] = places = {waiting: place for place, waiting in enumerate(queue)}
        return ahead_at(self.line, found.priority, places[turn])

    def expected(self, priority: str, ahead: int | None) -> Wait | None:
        """When a turn will be called; None if it does not wait, or no counter is open."""
        return None if ahead is None else self._expectations.of(class_of(priority), ahead)
