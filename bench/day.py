"""Synthetic days of one service at one service point, for `igob bench eta`.

People come in a rush at opening, during the day, and by appointment. Counters open and pause, half of them at a time
for lunch. Some clerks are slower than others, and have better and worse days. Service times have a heavy tail. Some
people do not come when they are called, and some leave. The domain's own line chooses the next call, by the usual
policy. Nothing here depends on how waits are estimated.
"""

import heapq
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from math import exp
from random import Random
from typing import Any, Literal

import msgspec

from domain.calendar import TIME_ZONE
from domain.decider import Event
from domain.identifiers import TurnId
from domain.queues.line import (
    CounterPaused,
    CounterResumed,
    Line,
    LineClosed,
    LineOpened,
    ServiceFinished,
    ServiceStarted,
    TurnAbsent,
    TurnCalled,
    TurnLeft,
    TurnTaken,
    evolve,
)
from domain.queues.order import ahead_of_new, calls_to_come, next_turn
from domain.queues.policy import Policy, Priority

Outcome = Literal["SERVED", "ABSENT", "LEFT", "NOT_CALLED"]

CALL_TIMEOUT_S = 90
HOUR_S = 3600


class Turn(msgspec.Struct, kw_only=True):
    """One turn; times are aware. `ended_at`: the counter became free, or the turn left; None if neither happened."""

    number: int
    priority: Priority
    taken_at: datetime
    called_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    counter: int = 0
    outcome: Outcome = "NOT_CALLED"


class Opening(msgspec.Struct, kw_only=True):
    """The time from which until which a counter was open."""

    counter: int
    since: datetime
    until: datetime


class Day(msgspec.Struct, kw_only=True):
    """The turns and openings of one day."""

    turns: list[Turn]
    openings: list[Opening]


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of a service; hours are in La Paz time.

    `median_s` and `sigma` are those of the lognormal service times; one in `tail_in` takes `tail` times as long.
    `people` is the number on an average day. `no_show` and `leaves` are the shares that do not come when called, and
    that would leave within 10 to 90 minutes.
    """

    name: str
    median_s: float
    sigma: float
    people: int
    counters: int
    tail: float = 4.0
    tail_in: int = 30
    no_show: float = 0.07
    leaves: float = 0.12
    opens: int = 8
    closes: int = 18


SERVICES = (
    Service(name="payments", median_s=110, sigma=0.9, people=640, counters=5),
    Service(name="licences", median_s=330, sigma=0.7, people=255, counters=5),
    Service(name="hearings", median_s=1300, sigma=0.45, people=112, counters=6, tail=2.5),
)


_ORDER = ("ended", "paused", "resumed", "left", "taken", "called", "started", "gone_at_once")
LINE = "bench/replayed/day"


def turn_id(turn: Turn) -> TurnId:
    return f"{LINE}/{turn.number}"


def taken(turn: Turn, line: Line) -> TurnTaken:
    return TurnTaken(
        turn=turn_id(turn),
        number=turn.number,
        priority=turn.priority,
        channel="KIOSK",
        since=turn.taken_at,
        taken_at=turn.taken_at,
        ahead=ahead_of_new(line, turn.priority),
        counters=line.counters_open,
    )


def called(turn: Turn, at: datetime) -> TurnCalled:
    return TurnCalled(turn=turn_id(turn), counter=turn.counter, called_at=at)


def ended(turn: Turn, at: datetime) -> Event:
    """The event with which a turn left, or its counter became free."""
    if turn.called_at is None:
        return TurnLeft(turn=turn_id(turn), left_at=at)
    if turn.outcome == "ABSENT":
        return TurnAbsent(turn=turn_id(turn), counter=turn.counter, absent_at=at)
    return ServiceFinished(turn=turn_id(turn), counter=turn.counter, finished_at=at, outcome="DONE")


def opened(numbers: Iterable[int], at: datetime, until: datetime) -> LineOpened:
    """A line with the default policy."""
    return LineOpened(
        line=LINE, counters=sorted(numbers), policy=Policy(), opens_at=at, last_turn_at=until, closes_at=until
    )


def events_of(day: Day) -> list[tuple[datetime, Event]]:
    """The events of such a day's line, in order. A counter is not open before its first opening, or first call."""
    found = sorted(
        [*_of_openings(day.openings), *(one for turn in day.turns for one in _of_turn(turn))], key=lambda one: one[:3]
    )
    if not found:
        return []
    begins, ends = found[0][0], found[-1][0]
    numbers = {turn.counter for turn in day.turns if turn.called_at} | {one.counter for one in day.openings}
    log = _Log()
    log.add(begins, opened(numbers, begins, ends))
    for number in sorted(numbers):
        log.add(begins, CounterPaused(counter=number, paused_at=begins))
    for at, _, _, about in found:
        if isinstance(about, Turn):
            log.add(at, taken(about, log.line))
            continue
        if isinstance(about, TurnCalled) and not log.line.counters[about.counter].open:
            log.add(at, CounterResumed(counter=about.counter, resumed_at=at))
        log.add(at, about)
    log.add(ends, LineClosed(line=LINE, closed_at=ends, unserved=list(calls_to_come(log.line))))
    return log.events


class _Log:
    """Events of a line, and the line's state after them."""

    def __init__(self) -> None:
        self.events: list[tuple[datetime, Event]] = []
        self.line = Line()

    def add(self, at: datetime, event: Event) -> None:
        self.events.append((at, event))
        self.line = evolve(self.line, event)


def _left(turn: Turn) -> bool:
    return turn.outcome == "LEFT" and turn.ended_at is not None


def _of_openings(openings: Iterable[Opening]) -> Iterator[tuple[datetime, int, int, Event]]:
    for one in openings:
        resumed = CounterResumed(counter=one.counter, resumed_at=one.since)
        yield one.since, _ORDER.index("resumed"), one.counter, resumed
        yield one.until, _ORDER.index("paused"), one.counter, CounterPaused(counter=one.counter, paused_at=one.until)


def _of_turn(turn: Turn) -> Iterator[tuple[datetime, int, int, Event | Turn]]:
    begins, ends = turn.taken_at, turn.ended_at
    yield begins, _ORDER.index("taken"), turn.number, turn
    if turn.called_at:
        begins = turn.called_at
        yield begins, _ORDER.index("called"), turn.number, called(turn, begins)
        if turn.started_at and ends and begins <= turn.started_at < ends:
            started = ServiceStarted(turn=turn_id(turn), counter=turn.counter, started_at=turn.started_at)
            yield turn.started_at, _ORDER.index("started"), turn.number, started
    elif not _left(turn):
        return
    if ends:
        kind = "gone_at_once" if ends <= begins else "ended" if turn.called_at else "left"
        yield max(ends, begins), _ORDER.index(kind), turn.number, ended(turn, max(ends, begins))


class Simulation:
    """One day; seconds count from midnight in La Paz."""

    def __init__(self, service: Service, day: date, random: Random) -> None:
        self.service, self.random = service, random
        self.midnight = datetime.combine(day, time(), TIME_ZONE).astimezone(UTC)
        self.line = evolve(Line(), opened(range(1, service.counters + 1), self.midnight, self.midnight))
        self.turns: list[Turn] = []
        self.openings: list[Opening] = []
        self.events: list[tuple[float, int, str, Any]] = []
        self.made = 0
        self.free: set[int] = set()
        self.busy: set[int] = set()
        self.since: dict[int, float] = {}  # the opening time of each open counter
        self.pausing: set[int] = set()  # counters that pause as soon as they are free
        self.speed = {number: exp(random.gauss(0, 0.15)) for number in range(1, service.counters + 1)}
        self.slow_today = exp(random.gauss(0, 0.08))

    def at(self, second: float) -> datetime:
        return self.midnight + timedelta(milliseconds=round(1000 * second))

    def plan(self, second: float, what: str, about: Any) -> None:
        self.made += 1
        heapq.heappush(self.events, (second, self.made, what, about))

    def arrivals(self) -> None:
        """Plan arrivals: a rush from 15 minutes before opening, a morning, a quiet noon, an afternoon; appointments."""
        service, random = self.service, self.random
        opens, closes = service.opens * HOUR_S, (service.closes - 0.75) * HOUR_S
        for _ in range(round(service.people * exp(random.gauss(0, 0.12)))):
            kind = random.random()
            if kind < 0.17:
                second = opens - 900 + random.expovariate(1 / 1200)
            elif kind < 0.55:
                second = random.triangular(opens, opens + 5 * HOUR_S, opens + 1.5 * HOUR_S)
            elif kind < 0.75:
                second = random.uniform(opens, closes)
            else:
                second = random.triangular(opens + 5 * HOUR_S, closes, opens + 7 * HOUR_S)
            who = random.random()
            priority: Priority = "PREFERENTIAL" if who < 0.14 else "NORMAL"
            if who > 0.85:
                booked = round(second / 900) * 900
                priority, second = "APPOINTMENT", booked + random.gauss(-400, 300)
            if opens - 900 <= second < closes:
                self.plan(second, "arrives", priority)

    def shifts(self) -> None:
        """Plan the counters' hours: most of the day, with a lunch break in two halves and some pauses."""
        service, random = self.service, self.random
        for counter in range(1, service.counters + 1):
            if random.random() < 0.06 and counter > 1:
                continue  # not staffed today
            lunch = (service.opens + 4 + counter % 2) * HOUR_S + random.uniform(-300, 300)
            begins = service.opens * HOUR_S + max(0.0, random.gauss(60, 120))
            ends = (service.closes + 1 if counter <= 2 else service.closes - random.choice((0, 0, 2))) * HOUR_S
            breaks = [(lunch, lunch + HOUR_S + random.uniform(-300, 600))]
            breaks += [
                (second, second + random.uniform(300, 1200))
                for second in (random.uniform(begins, ends) for _ in range(random.choice((0, 1, 1, 2))))
            ]
            self.plan(begins, "opens", counter)
            for since, until in breaks:
                self.plan(since, "pauses", counter)
                self.plan(until, "opens", counter)
            self.plan(ends, "ends", counter)

    def run(self) -> Day:
        self.arrivals()
        self.shifts()
        while self.events:
            second, _, what, about = heapq.heappop(self.events)
            getattr(self, what)(second, about)
        return Day(turns=self.turns, openings=self.openings)

    def arrives(self, second: float, priority: Priority) -> None:
        turn = Turn(number=len(self.turns) + 1, priority=priority, taken_at=self.at(second))
        self.turns.append(turn)
        self.line = evolve(self.line, taken(turn, self.line))
        if self.random.random() < self.service.leaves:
            self.plan(second + self.random.uniform(600, 5400), "leaves", turn)
        if self.free:
            counter = self.random.choice(sorted(self.free))
            self.free.remove(counter)
            self.busy.add(counter)
            self.plan(second + self.random.uniform(2, 15), "calls", counter)

    def leaves(self, second: float, turn: Turn) -> None:
        if turn.called_at is None:
            turn.ended_at, turn.outcome = self.at(second), "LEFT"
            self.line = evolve(self.line, ended(turn, turn.ended_at))

    def opens(self, second: float, counter: int) -> None:
        self.pausing.discard(counter)
        if counter not in self.since and second < (self.service.closes + 1) * HOUR_S:
            self.since[counter] = second
            self.next(second, counter)

    def pauses(self, second: float, counter: int) -> None:
        self.pausing.add(counter)
        if counter in self.free:
            self.next(second, counter)

    def ends(self, second: float, counter: int) -> None:
        self.pauses(second, counter)
        self.events = [event for event in self.events if event[2:] != ("opens", counter)]
        heapq.heapify(self.events)

    def next(self, second: float, counter: int) -> None:
        """Give a free counter something to do: it pauses, calls soon, or waits for an arrival."""
        self.busy.discard(counter)
        self.free.discard(counter)
        if counter in self.pausing:
            self.pausing.remove(counter)
            self.openings.append(
                Opening(counter=counter, since=self.at(self.since.pop(counter)), until=self.at(second))
            )
        elif self.line.waiting:
            self.busy.add(counter)
            self.plan(second + self.random.uniform(4, 30), "calls", counter)
        else:
            self.free.add(counter)

    def calls(self, second: float, counter: int) -> None:
        following = next_turn(self.line)
        if following is None:
            self.next(second, counter)
            return
        turn = self.turns[self.line.turns[following].number - 1]
        turn.called_at, turn.counter = self.at(second), counter
        self.line = evolve(self.line, called(turn, turn.called_at))
        if self.random.random() < self.service.no_show:
            turn.outcome, ends = "ABSENT", second + CALL_TIMEOUT_S + self.random.uniform(0, 10)
        else:
            begins = second + self.random.uniform(5, 50)
            turn.outcome, turn.started_at = "SERVED", self.at(begins)
            ends = begins + self.service_s(second, counter)
        turn.ended_at = self.at(ends)
        self.plan(ends, "next", counter)

    def service_s(self, second: float, counter: int) -> float:
        service, random = self.service, self.random
        seconds = random.lognormvariate(0, service.sigma) * service.median_s * self.speed[counter] * self.slow_today
        if random.randrange(service.tail_in) == 0:
            seconds *= service.tail
        slower = 1.12 if second > (service.opens + 6) * HOUR_S else 1.0  # tired, and harder cases
        return min(max(10.0, seconds * slower), 3 * HOUR_S)


def days(service: Service, *, seed: int, count: int, first: date = date(2026, 9, 1)) -> list[Day]:
    """This number of working days of a service; the same for the same seed."""
    made: list[Day] = []
    day = first
    while len(made) < count:
        if day.weekday() < 5:
            made.append(Simulation(service, day, Random(f"{seed} {service.name} {day}")).run())
        day += timedelta(days=1)
    return made


def histories(*, seed: int, count: int) -> dict[str, list[Day]]:
    """This number of working days of each service, by its name."""
    return {service.name: days(service, seed=seed, count=count) for service in SERVICES}
