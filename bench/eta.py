"""`igob bench eta`: is a turn called when it was told that it would be, as often as was said?

Days are replayed event by event, as the city's own read model would see them. From the first ones the experience is
learned; on the later ones it is frozen, and each expectation is held against what happened, beside simpler ways.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.day import SERVICES, Day, Line, Opening, Turn, days
from bench.machine import Machine, commit, machine
from bench.queue_csv import History, HistoryRefused, read_history
from domain.queues import wait
from domain.queues.policy import Priority
from domain.queues.wait import Basis, Experience, Wait

TICK = timedelta(minutes=10)
NOTED_AGAIN = timedelta(minutes=10)
LEARNED_DAYS_NEW, HELD_OUT_DAYS_NEW = 2, 10
FIRST_LEARNED, FIRST_HELD_OUT = date(2025, 1, 1), date(2026, 1, 1)
LEARNED_SHARE = 0.7  # of the days of a history
GRACE_S = 30
LINE_LENGTH = 300
TIMED_TIMES = 20
Moment: TypeAlias = Literal["taken", "later"]
_ORDER = ("ended", "closed", "opened", "left", "taken", "called", "ended_at_once", "tick")


class Sample(msgspec.Struct):
    """One expectation and what came of it. `quantiles_s`: at wait.QUANTILES."""

    moment: Moment
    ahead: int
    counters: int
    quantiles_s: tuple[int, ...]
    actual_s: float


class Note(msgspec.Struct):
    """What was expected of a turn that waits, at how many ahead."""

    ahead: int
    counters: int
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
                found.append(
                    (max(turn.ended_at, turn.called_at), "ended_at_once" if late else "ended", turn.number, turn)
                )
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
        self.days = 0
        self.busy_s: list[float] = []  # of calls, and of services alone: what the simpler ways learn from
        self.service_s: list[float] = []
        self.seen: list[tuple[int, int, float]] = []  # ahead, counters, actual wait; of every note

    def learn(self, day: Day) -> None:
        """Learn from what happened on a day."""
        self.days += 1
        _Replayed(self, day, learning=True).run()

    def test(self, day: Day) -> list[Sample]:
        """What would have been expected on a day, and what came of it."""
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
            self._note_again(at)
        else:
            self._ask(at, "taken", [(turn, ahead)])

    def _tick(self, at: datetime, _: None) -> None:
        self._ask(at, "later", [(turn, ahead) for ahead, turn in enumerate(self.line.order())])

    def _note(self, at: datetime, turns: Sequence[tuple[Turn, int]]) -> None:
        waits = self._expect(at, [(turn.priority, ahead) for turn, ahead in turns])
        for (turn, ahead), found in zip(turns, waits, strict=False):
            self.notes.setdefault(turn.number, []).append(Note(ahead, len(self.counters), found.basis))

    def _note_again(self, at: datetime) -> None:
        """Of the new turn, and of those with half as many ahead as when noted last, or noted long ago.

        When somebody comes is as good as any time. Right after a call would not be: then a service has just begun.
        """
        again = []
        for ahead, turn in enumerate(self.line.order()):
            notes = self.notes.get(turn.number)
            last = notes[-1] if notes else None
            if last is None or ahead * 2 <= last.ahead > 0 or at - last.basis.at >= NOTED_AGAIN:
                again.append((turn, ahead))
        self._note(at, again)

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
                actual_s = (at - note.basis.at).total_seconds()
                experience = wait.waited(experience, note.basis, actual_s)
                self.replay.seen.append((note.ahead, note.counters, actual_s))
            self.replay.experience = experience
        for moment, when, ahead, counters, found in self.asked.pop(turn.number, ()):
            self.samples.append(Sample(moment, ahead, counters, quantiles(found), (at - when).total_seconds()))

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
        self.replay.busy_s.append(busy_s)
        if turn.started_at:
            self.replay.service_s.append((turn.ended_at - turn.started_at).total_seconds())
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


Way: TypeAlias = Callable[[Sample], Sequence[float]]  # the quantiles that a way of expecting says


def plain(replay: Replay) -> Way:
    """People ahead × mean ÷ counters: a point, said at every quantile; the mean is that of what a call costs."""
    mean_s = statistics.fmean(replay.busy_s or [wait.ASSUMED_S])
    return lambda sample: [sample.ahead * mean_s / sample.counters] * len(wait.QUANTILES)


def spread(replay: Replay) -> Way:
    """The same with an interval: the point times the quantiles of how far it was off on the learned days."""
    mean_s = statistics.fmean(replay.busy_s or [wait.ASSUMED_S])
    ratios = sorted(
        (actual + GRACE_S) / (ahead * mean_s / counters + GRACE_S) for ahead, counters, actual in replay.seen
    )
    at = [ratios[int(level * len(ratios))] for level in wait.QUANTILES] if ratios else [1.0] * len(wait.QUANTILES)

    def way(sample: Sample) -> list[float]:
        graced = sample.ahead * mean_s / sample.counters + GRACE_S
        return [max(0.0, graced * ratio - GRACE_S) for ratio in at]

    return way


def constant(replay: Replay) -> Way:
    """People ahead × configured minutes ÷ counters, from 0.8 to 1.0 of it; as many minutes as services take, whole."""
    configured_s = 60 * ceil(statistics.fmean(replay.service_s or [wait.ASSUMED_S]) / 60)
    factors = (0.8, 0.8, 0.9, 1.0, 1.0)
    return lambda sample: [sample.ahead * configured_s / sample.counters * factor for factor in factors]


class Scores(msgspec.Struct):
    """Coverage is a share of 1. Pinball losses are means over wait.QUANTILES and expectations, in seconds.

    `to_plain`, `to_spread`, `to_constant`: our loss to that of a simpler way. `constant_coverage`: how many waits are
    within what the configured constant says.
    """

    expectations: int
    coverage_50: float
    coverage_90: float
    width_50_s: float
    width_90_s: float
    pinball_s: float
    plain_pinball_s: float
    spread_pinball_s: float
    constant_pinball_s: float
    to_plain: float
    to_spread: float
    to_constant: float
    constant_coverage: float


class Told(msgspec.Struct):
    """A sample with the quantiles of the simpler ways."""

    sample: Sample
    plain_s: Sequence[float]
    spread_s: Sequence[float]
    constant_s: Sequence[float]


def scores(told: Sequence[Told]) -> Scores | None:
    """None if nothing was told."""
    if not told:
        return None

    def mean(of: Callable[[Told], float]) -> float:
        return statistics.fmean(map(of, told))

    def covered(of: Callable[[Told], Sequence[float]], low: int, high: int) -> float:
        return round(mean(lambda one: of(one)[low] <= one.sample.actual_s <= of(one)[high]), 3)

    ours = mean(lambda one: pinball_s(one.sample.quantiles_s, one.sample.actual_s))
    others = [
        mean(lambda one, name=name: pinball_s(getattr(one, name), one.sample.actual_s))  # type: ignore[misc]
        for name in ("plain_s", "spread_s", "constant_s")
    ]
    ratios = [round(ours / other, 3) if other else 1.0 for other in others]
    return Scores(
        expectations=len(told),
        coverage_50=covered(lambda one: one.sample.quantiles_s, 1, 3),
        coverage_90=covered(lambda one: one.sample.quantiles_s, 0, 4),
        width_50_s=round(mean(lambda one: one.sample.quantiles_s[3] - one.sample.quantiles_s[1])),
        width_90_s=round(mean(lambda one: one.sample.quantiles_s[4] - one.sample.quantiles_s[0])),
        pinball_s=round(ours, 1),
        plain_pinball_s=round(others[0], 1),
        spread_pinball_s=round(others[1], 1),
        constant_pinball_s=round(others[2], 1),
        to_plain=ratios[0],
        to_spread=ratios[1],
        to_constant=ratios[2],
        constant_coverage=covered(lambda one: one.constant_s, 0, 4),
    )


class Row(msgspec.Struct):
    """One service, held-out days after so many learned ones; `seed` is None for all seeds together, or a history.

    `never_called`: turns of the held-out days that left or were still there at the end; `nobody_could_say`: those that
    were taken while no counter was open. `taken`: told with the turn; `later`: told every ten minutes of the wait.
    """

    service: str
    seed: int | None
    learned_days: int
    held_out_days: int
    turns: int
    never_called: int
    nobody_could_say: int
    taken: Scores | None
    later: Scores | None


class Result(msgspec.Struct):
    """`rows`: of each service over all seeds; `seeds`: of each seed; `new_service`: after two days alone.

    `us_per_expectation`: of a line of 300 at once, microseconds of CPU time for each.
    """

    measured_at: str
    commit: str
    machine: Machine
    source: str
    quantiles: tuple[float, ...]
    us_per_expectation: float
    rows: list[Row]
    seeds: list[Row]
    new_service: list[Row]


class HeldOut:
    """What was told on held-out days."""

    def __init__(self, service: str, seed: int | None = None) -> None:
        self.service, self.seed = service, seed
        self.told: list[Told] = []
        self.learned_days = self.held_out_days = self.turns = self.never_called = 0

    def test(self, replay: Replay, held_out: Sequence[Day]) -> None:
        """Hold what `replay` expects against these days."""
        ways = plain(replay), spread(replay), constant(replay)
        self.learned_days = replay.days
        for day in held_out:
            self.held_out_days += 1
            self.turns += len(day.turns)
            self.never_called += sum(1 for turn in day.turns if turn.called_at is None)
            self.told += [Told(sample, *(way(sample) for way in ways)) for sample in replay.test(day)]

    def add(self, other: "HeldOut") -> None:
        """All of another one's too."""
        self.told += other.told
        self.learned_days = other.learned_days
        self.held_out_days += other.held_out_days
        self.turns += other.turns
        self.never_called += other.never_called

    def row(self) -> Row:
        taken = [one for one in self.told if one.sample.moment == "taken"]
        return Row(
            service=self.service,
            seed=self.seed,
            learned_days=self.learned_days,
            held_out_days=self.held_out_days,
            turns=self.turns,
            never_called=self.never_called,
            nobody_could_say=self.turns - self.never_called - len(taken),
            taken=scores(taken),
            later=scores([one for one in self.told if one.sample.moment == "later"]),
        )


def learned(known: Sequence[Day]) -> Replay:
    """The experience of these days, from nothing."""
    replay = Replay(Experience())
    for day in known:
        replay.learn(day)
    return replay


def us_per_expectation(experience: Experience) -> float:
    """CPU time of each expectation when a whole line is expected for at once, the least of some tries."""
    now = datetime(2026, 11, 26, 14, tzinfo=UTC)
    counters = [now - timedelta(seconds=100 * number) for number in range(6)]
    turns: list[tuple[Priority, int]] = [(list(wait.PRIORITIES)[ahead % 3], ahead) for ahead in range(LINE_LENGTH)]
    took_s = []
    for _ in range(TIMED_TIMES):
        began = time.process_time()
        wait.expect_all(experience, now, counters, turns)
        took_s.append(time.process_time() - began)
    return round(1e6 * min(took_s) / LINE_LENGTH, 1)


def _result(source: str, replay: Replay, began_load: float, **rows: list[Row]) -> Result:
    return Result(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        commit=commit(),
        machine=machine({}, load=began_load),
        source=source,
        quantiles=wait.QUANTILES,
        us_per_expectation=us_per_expectation(replay.experience),
        **rows,
    )


def run(*, seed: int, seeds: int, count: int, console: Console) -> Result:
    """Synthetic days: so many learned and so many held out, for each service and each of so many seeds."""
    load = round(psutil.getloadavg()[0], 1)
    per_seed: list[Row] = []
    todo = [(service, number) for service in SERVICES for number in range(seed, seed + seeds)]
    together: dict[str, HeldOut] = {}
    beginners: dict[str, HeldOut] = {}
    for service, number in track(todo, console=console, transient=True, disable=not console.is_terminal):
        known = days(service, seed=number, count=count, first=FIRST_LEARNED)
        held_out = days(service, seed=number, count=count, first=FIRST_HELD_OUT)
        replay = learned(known)
        one = HeldOut(service.name, number)
        one.test(replay, held_out)
        per_seed.append(one.row())
        together.setdefault(service.name, HeldOut(service.name)).add(one)
        beginner = beginners.setdefault(service.name, HeldOut(service.name))
        beginner.test(learned(known[:LEARNED_DAYS_NEW]), held_out[:HELD_OUT_DAYS_NEW])
    return _result(
        f"synthetic days, {seeds} seeds from {seed}",
        replay,
        load,
        rows=[one.row() for one in together.values()],
        seeds=per_seed,
        new_service=[one.row() for one in beginners.values()],
    )


def replay_file(path: Path) -> Result:
    """A history of one's own: the first days are learned, the rest held out. Raises HistoryRefused and OSError."""
    return replay_history(read_history(path), path.name)


def replay_history(history: History, source: str) -> Result:
    """See `replay_file`. Raises HistoryRefused if no service has two days."""
    load = round(psutil.getloadavg()[0], 1)
    rows = []
    for service, all_days in history.items():
        known = min(max(1, round(LEARNED_SHARE * len(all_days))), len(all_days) - 1)
        if known:
            replay = learned(all_days[:known])
            one = HeldOut(service)
            one.test(replay, all_days[known:])
            rows.append(one.row())
    if not rows:
        raise HistoryRefused(f"{source} has no service with two days: one to learn from, one to hold out")
    return _result(source, replay, load, rows=rows, seeds=[], new_service=[])


def show(result: Result, console: Console) -> None:
    """The result for people."""
    for title, rows in (
        (result.source, result.rows),
        ("each seed", result.seeds),
        (f"a new service, {LEARNED_DAYS_NEW} days known", result.new_service),
    ):
        if rows:
            console.print(_table(title, rows))
    for row in result.rows:
        console.print(
            f"{row.service or 'the line'}: {row.turns} turns on {row.held_out_days} days after {row.learned_days};"
            f" {row.never_called} never called, {row.nobody_could_say} taken with no counter open: not counted"
        )
    console.print(f"{result.us_per_expectation} µs for each expectation of a line of {LINE_LENGTH}")
    console.print(result.machine.described().removesuffix("; "))


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1), pad_edge=False)
    for name in ("", "told"):
        table.add_column(name, no_wrap=True)
    for name in ("n", "50 %", "90 %", "min", "min", "loss s", "plain", "spread", "const"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        for told, found in (("first", row.taken), ("later", row.later)):
            if found:
                table.add_row(
                    row.service if row.seed is None else f"{row.service}, {row.seed}",
                    told,
                    f"{found.expectations:,}",
                    f"{found.coverage_50:.1%}",
                    f"{found.coverage_90:.1%}",
                    f"{found.width_50_s / 60:.1f}",
                    f"{found.width_90_s / 60:.1f}",
                    f"{found.pinball_s:,.1f}",
                    f"{found.to_plain:.2f}",
                    f"{found.to_spread:.2f}",
                    f"{found.to_constant:.2f}",
                )
    return table
