"""`igob bench eta`: is a turn called when it was told that it would be, as often as was said?

Days are replayed event by event, as the city's own read model would see them. From the first ones the experience is
learned; on the later ones it is frozen, and each expectation is held against what happened, beside two simpler ways.
"""

import csv
import gc
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

import msgspec

from bench.day import SERVICES, Day, Line, Opening, Service, Turn, days
from domain.calendar import TIME_ZONE
from domain.queues import wait
from domain.queues.wait import Basis, Experience, Priority, Wait

TICK = timedelta(minutes=10)
NOTED_AGAIN = timedelta(minutes=10)
Moment: TypeAlias = Literal["taken", "later"]
_ORDER = ("ended", "closed", "opened", "left", "taken", "called", "ended_at_once", "tick")


class Sample(msgspec.Struct):
    """One expectation and what came of it. `quantiles_s`: at wait.QUANTILES."""

    moment: Moment
    hour: int
    ahead: int
    counters: int
    quantiles_s: tuple[int, ...]
    actual_s: float


class Note(msgspec.Struct):
    """What was expected of a turn that waits, at how many ahead."""

    ahead: int
    basis: Basis


def events_of(day: Day, *, ticks: bool) -> list[tuple[datetime, int, int, Turn | Opening | None]]:
    """What happened, in order."""
    found: list[tuple[datetime, str, int, Turn | Opening | None]] = []
    for opening in day.openings:
        found.append((opening.since, "opened", opening.counter, opening))
        found.append((opening.until, "closed", opening.counter, opening))
    for turn in day.turns:
        found.append((turn.taken_at, "taken", turn.number, turn))
        if turn.called_at:
            found.append((turn.called_at, "called", turn.number, turn))
            if turn.ended_at:
                late = turn.ended_at <= turn.called_at
                found.append((max(turn.ended_at, turn.called_at), "ended_at_once" if late else "ended", turn.number, turn))
        elif turn.outcome == "LEFT" and turn.ended_at:
            found.append((max(turn.ended_at, turn.taken_at), "left", turn.number, turn))
    if ticks and found:
        at, last = min(found)[0], max(found, key=lambda one: one[0])[0]
        while at < last:
            found.append((at, "tick", 0, None))
            at += TICK
    return sorted((at, _ORDER.index(kind), number, about) for at, kind, number, about in found)


class Replay:
    """Tells an experience what happens, as the read model of a line does, and asks it what to expect."""

    def __init__(self, experience: Experience) -> None:
        self.experience = experience
        self.ratios: list[tuple[float, float]] = []  # of the plain point: (point, actual), where it was noted

    def learn(self, day: Day) -> None:
        _Replayed(self, day, learning=True).run()

    def test(self, day: Day) -> list[Sample]:
        return _Replayed(self, day, learning=False).run()


class _Replayed:
    """One day of a replay."""

    def __init__(self, replay: Replay, day: Day, *, learning: bool) -> None:
        self.replay, self.day, self.learning = replay, day, learning
        self.line = Line()
        self.counters: dict[int, datetime | None] = {}
        self.done: dict[int, Turn] = {}  # of a counter: the last turn, until it is known how long it cost
        self.empty_at: datetime | None = None
        self.notes: dict[int, list[Note]] = {}
        self.asked: dict[int, list[tuple[Moment, datetime, int, int, Wait]]] = {}
        self.samples: list[Sample] = []
        self.since: datetime | None = None

    def run(self) -> list[Sample]:
        for at, kind, _, about in events_of(self.day, ticks=not self.learning):
            getattr(self, "_" + _ORDER[kind])(at, about)
        if self.learning:
            for counter in list(self.done):
                self._cost(counter, None)
        return self.samples

    def _expect(self, at: datetime, turns: Sequence[tuple[Priority, int]]) -> list[Wait]:
        return wait.expect_all(self.replay.experience, at, list(self.counters.values()), turns)

    def _ask(self, at: datetime, moment: Moment, turns: Sequence[tuple[Turn, int]]) -> None:
        waits = self._expect(at, [(turn.priority, ahead) for turn, ahead in turns])
        for (turn, ahead), found in zip(turns, waits, strict=False):
            self.asked.setdefault(turn.number, []).append((moment, at, ahead, len(self.counters), found))

    def _taken(self, at: datetime, turn: Turn) -> None:
        if not self.line:
            self.empty_at = at
        if self.since is None:
            self.since = at
        if self.learning:
            self._staff(at)
            self.replay.experience = wait.taken(self.replay.experience, at=at, priority=turn.priority)
        self.line.add(turn)
        ahead = next(number for number, one in enumerate(self.line.order()) if one is turn)
        if self.learning:
            self._note(at, [(turn, ahead)])
        else:
            self._ask(at, "taken", [(turn, ahead)])

    def _tick(self, at: datetime, _: None) -> None:
        self._ask(at, "later", [(turn, ahead) for ahead, turn in enumerate(self.line.order())])

    def _note(self, at: datetime, turns: Sequence[tuple[Turn, int]]) -> None:
        waits = self._expect(at, [(turn.priority, ahead) for turn, ahead in turns])
        for (turn, ahead), found in zip(turns, waits, strict=False):
            self.notes.setdefault(turn.number, []).append(Note(ahead=ahead, basis=found.basis))

    def _note_nearer(self, at: datetime) -> None:
        """Of those with half as many ahead as when something was last noted of them, or none any more."""
        nearer = []
        for ahead, turn in enumerate(self.line.order()):
            notes = self.notes.get(turn.number)
            if not notes or ahead * 2 <= notes[-1].ahead > 0 or at - notes[-1].basis.at >= NOTED_AGAIN:
                nearer.append((turn, ahead))
        if nearer:
            self._note(at, nearer)

    def _called(self, at: datetime, turn: Turn) -> None:
        self._cost(turn.counter, at)
        self.line.called(turn)
        if not self.line:
            self.empty_at = at
        self._staff(at)
        self.counters[turn.counter] = at
        if self.learning:
            experience = wait.called(self.replay.experience)
            for note in self.notes.pop(turn.number, ()):
                experience = wait.waited(experience, note.basis, (at - note.basis.at).total_seconds())
            self.replay.experience = experience
            self._note_nearer(at)
        for moment, when, ahead, counters, found in self.asked.pop(turn.number, ()):
            self.samples.append(
                Sample(moment, when.astimezone(TIME_ZONE).hour, ahead, counters, quantiles(found), (at - when).total_seconds())
            )

    def _ended(self, at: datetime, turn: Turn) -> None:
        if turn.counter in self.counters:
            self.counters[turn.counter] = None
        self.done[turn.counter] = turn

    _ended_at_once = _ended

    def _left(self, at: datetime, turn: Turn) -> None:
        self.line.remove(turn)
        self.notes.pop(turn.number, None)
        if not self.line:
            self.empty_at = at
        if self.learning:
            self.replay.experience = wait.left(self.replay.experience)
            self._note_nearer(at)

    def _opened(self, at: datetime, opening: Opening) -> None:
        self._staff(at)
        self.counters[opening.counter] = None

    def _closed(self, at: datetime, opening: Opening) -> None:
        self._staff(at)
        self.counters.pop(opening.counter, None)
        self._cost(opening.counter, None)

    def _staff(self, at: datetime) -> None:
        """Counters were open since the last change."""
        if self.learning and self.since:
            self.replay.experience = wait.staffed(
                self.replay.experience, since=self.since, until=at, counters=len(self.counters)
            )
            self.since = at

    def _cost(self, counter: int, next_at: datetime | None) -> None:
        """The last call's cost is known: with the while until the next, if somebody waited all the time."""
        turn = self.done.pop(counter, None)
        if turn is None or not self.learning or turn.called_at is None or turn.ended_at is None:
            return
        waited_on = next_at is not None and (self.empty_at is None or self.empty_at < turn.ended_at)
        until = next_at if next_at is not None and waited_on else turn.ended_at
        busy_s = (until - turn.called_at).total_seconds()
        experience = self.replay.experience
        self.replay.experience = (
            wait.absent(experience, busy_s=busy_s)
            if turn.outcome == "ABSENT"
            else wait.served(experience, at=turn.called_at, busy_s=busy_s)
        )


def quantiles(found: Wait) -> tuple[int, ...]:
    return (found.low_90_s, found.low_50_s, found.middle_s, found.high_50_s, found.high_90_s)


def pinball_s(quantiles_s: Sequence[float], actual_s: float) -> float:
    """The mean pinball loss at wait.QUANTILES."""
    losses = (
        max(level * (actual_s - said), (level - 1) * (actual_s - said))
        for level, said in zip(wait.QUANTILES, quantiles_s, strict=True)
    )
    return sum(losses) / len(wait.QUANTILES)
