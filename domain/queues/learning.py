"""Learns from the events of a line how long waits will be: see `wait`.

The same log gives the same model. `igob bench eta` uses it too.
"""

from datetime import datetime, timedelta

from domain.decider import Event, Value
from domain.identifiers import TurnId
from domain.queues import wait
from domain.queues import wait_model as learned
from domain.queues.line import (
    CounterPaused,
    CounterResumed,
    Line,
    LineClosed,
    ServiceFinished,
    Turn,
    TurnAbsent,
    TurnCalled,
    TurnLeft,
    TurnTaken,
    TurnTransferred,
    evolve,
)
from domain.queues.order import calls_to_come
from domain.queues.policy import Priority
from domain.queues.wait import Basis, Expectations
from domain.queues.wait_model import WaitModel

NOTED_AGAIN = timedelta(minutes=10)
LOOKED_AGAIN = timedelta(
    seconds=30
)  # waiting turns are looked through at most this often: hundreds may come in one rush


class Note(Value):
    """What was expected for a waiting turn while `ahead` turns were before it."""

    ahead: int
    basis: Basis


class _Done(Value):
    """A turn that a counter has finished, while it is not known when the counter calls again."""

    called_at: datetime
    ended_at: datetime
    came: bool


def class_of(priority: str) -> Priority:
    """The class under which waits are learned. A word that is no longer a class counts as NORMAL."""
    return next((known for known in learned.PRIORITIES if known == priority), "NORMAL")


def counters_of(line: Line) -> list[datetime | None]:
    """For each open counter, since when it is busy; None if it is free."""
    return [counter.busy_since for counter in line.counters.values() if counter.open]


class Learner:
    """Takes the events of one line in order. `model` is the initial one plus what was learned so far."""

    def __init__(self, model: WaitModel) -> None:
        self.model = model
        self.line = Line()
        self._notes: dict[TurnId, list[Note]] = {}
        self._looked_at: datetime | None = None  # when all waiting turns were last looked at
        self._done: dict[int, _Done] = {}
        self._watched_until: datetime | None = None  # None until the first turn is taken

    def tell(self, event: Event) -> None:
        """Take the next event of the line."""
        turn = self.line.turns.get(getattr(event, "turn", ""))
        match event:
            case TurnTaken():
                self._taken(event)
            case TurnCalled():
                self._called(event, turn)
            case ServiceFinished(finished_at=at) | TurnAbsent(absent_at=at):
                self._ended(turn, at, came=isinstance(event, ServiceFinished))
            case TurnLeft(left_at=at) | TurnTransferred(moved_at=at):
                self._gone(turn, at)
            case CounterPaused(paused_at=at) | CounterResumed(resumed_at=at):
                self._watch(at)
                self._cost(event.counter, None)
            case LineClosed(closed_at=at):
                self._watch(at)
                self._notes.clear()
        self.line = evolve(self.line, event)
        if isinstance(event, TurnTaken):
            self._note(event)
        elif not self.line.waiting:
            for counter in list(self._done):  # there is nobody to call, so the time to its next call does not count
                self._cost(counter, None)

    def waited(self, note: Note, actual_s: float) -> None:
        """A turn was called `actual_s` seconds after the note was made."""
        self.model = wait.waited(self.model, note.basis, actual_s)

    def _taken(self, event: TurnTaken) -> None:
        if self._watched_until is None:
            self._watched_until = event.taken_at
        self._watch(event.taken_at)
        self.model = learned.taken(self.model, at=event.taken_at, priority=class_of(event.priority))

    def _note(self, event: TurnTaken) -> None:
        """Note what is expected for the new turn, and now and then for those that were waiting already.

        The arrival of a turn is a neutral moment. Right after a call would not be: a service has just begun then.
        """
        at = event.taken_at
        look = self._looked_at is None or at - self._looked_at >= LOOKED_AGAIN
        due = self._due(at) if look else [(self.line.turns[event.turn], event.ahead)]
        expectations = Expectations(self.model, at, counters_of(self.line))
        for turn, ahead in due:
            if basis := expectations.basis(class_of(turn.priority), ahead):
                self._notes.setdefault(turn.turn, []).append(Note(ahead=ahead, basis=basis))

    def _due(self, at: datetime) -> list[tuple[Turn, int]]:
        """Waiting turns to note, and how many are ahead of each: never noted, noted long ago, or half as many ahead."""
        self._looked_at = at
        due = []
        for ahead, waiting in enumerate(calls_to_come(self.line)):
            turn, notes = self.line.turns[waiting], self._notes.get(waiting)
            last = notes[-1] if notes else None
            if last is None:
                if turn.first_called_at is None:
                    due.append((turn, ahead))
            elif ahead * 2 <= last.ahead > 0 or at - last.basis.at >= NOTED_AGAIN:
                due.append((turn, ahead))
        return due

    def _called(self, event: TurnCalled, turn: Turn | None) -> None:
        self._cost(event.counter, event.called_at)
        self._watch(event.called_at)
        if turn is None or turn.first_called_at:
            return
        self.model = learned.called(self.model)
        for note in self._notes.pop(event.turn, ()):
            self.waited(note, (event.called_at - note.basis.at).total_seconds())

    def _ended(self, turn: Turn | None, at: datetime, *, came: bool) -> None:
        counter = self.line.counters.get(turn.counter or 0) if turn else None
        if counter and turn and counter.turn == turn.turn and counter.busy_since:
            self._done[counter.number] = _Done(called_at=counter.busy_since, ended_at=at, came=came)

    def _gone(self, turn: Turn | None, at: datetime) -> None:
        if turn is None:
            return
        if turn.state == "WAITING":
            self._notes.pop(turn.turn, None)
            if turn.first_called_at is None:
                self.model = learned.left(self.model)
        elif turn.state in ("CALLED", "SERVING"):
            self._ended(turn, at, came=turn.state == "SERVING")

    def _watch(self, at: datetime) -> None:
        """Record how many counters were open since the last change, within the line's hours."""
        if self._watched_until and self.line.opened:
            since = self._watched_until
            until = self._watched_until = max(since, min(at, self.line.opened.closes_at))
            self.model = learned.staffed(self.model, since=since, until=until, counters=self.line.counters_open)

    def _cost(self, counter: int, next_at: datetime | None) -> None:
        """Record how long the last turn kept a counter busy: until its next call, if somebody always waited."""
        done = self._done.pop(counter, None)
        if done is None:
            return
        busy_s = ((next_at or done.ended_at) - done.called_at).total_seconds()
        if done.came:
            self.model = learned.served(self.model, at=done.called_at, busy_s=busy_s)
        else:
            self.model = learned.absent(self.model, busy_s=busy_s)
