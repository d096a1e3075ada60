"""`igob bench eta`: the accuracy of expected waits.

Days are replayed event by event, as the server reads them. A wait model is learned from the first days and frozen for
the others, on which each estimate is compared with the actual wait, and with simpler methods.
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

from bench.day import SERVICES, Day, Service, days, events_of
from bench.machine import Machine, commit, machine
from bench.queue_csv import History, HistoryRefused, read_history
from domain.decider import Event
from domain.identifiers import TurnId
from domain.queues import wait
from domain.queues import wait_model as models
from domain.queues.learning import Learner, Note
from domain.queues.line import Line, TurnCalled, TurnTaken, evolve
from domain.queues.line_now import LineNow
from domain.queues.order import ahead_of_new, calls_to_come
from domain.queues.policy import Priority
from domain.queues.wait import Expectations, Wait
from domain.queues.wait_model import WaitModel
from infra.reactions.queues.lines import LEARNED_DAYS_MAX

TICK = timedelta(minutes=10)
LEARNED_DAYS_NEW, HELD_OUT_DAYS_NEW = 2, 10
FIRST_LEARNED, FIRST_HELD_OUT = date(2025, 1, 1), date(2026, 1, 1)
LEARNED_SHARE = 0.7  # of the days of a history
GRACE_S = 30
LINE_LENGTH = 300
ALL_SERVICES = "all services"
TIMED_TIMES = 20
Moment: TypeAlias = Literal["taken", "later"]


class Sample(msgspec.Struct):
    """One estimate and the actual wait. `quantiles_s`: at wait.QUANTILES."""

    moment: Moment
    ahead: int
    counters: int
    quantiles_s: tuple[int, ...]
    actual_s: float


class _Recorded(Learner):
    """Also records what the simpler methods learn from: people ahead, counters and actual wait of each note."""

    def __init__(self, model: WaitModel, seen: list[tuple[int, int, float]]) -> None:
        super().__init__(model)
        self.seen = seen

    def waited(self, note: Note, actual_s: float) -> None:
        super().waited(note, actual_s)
        self.seen.append((note.ahead, len(note.basis.rests_s), actual_s))


class Replay:
    """Feeds events to a wait model and takes its estimates, as the server does."""

    def __init__(self, model: WaitModel) -> None:
        self.model = model
        self.days = self.events = 0
        self.learning_s = 0.0  # of CPU time
        self.service_s: list[float] = []
        self.seen: list[tuple[int, int, float]] = []

    @property
    def busy_mean_s(self) -> float:
        """The mean time for which a call keeps a counter busy."""
        tallies = [*self.model.served, self.model.absent]
        count = sum(tally.count for tally in tallies)
        return sum(tally.seconds for tally in tallies) / count if count else models.ASSUMED_S

    def learn(self, day: Day) -> None:
        """Learn from a day."""
        self.days += 1
        learner, events = _Recorded(self.model, self.seen), events_of(day)
        began = time.process_time()
        for _, event in events:
            learner.tell(event)
        self.learning_s += time.process_time() - began
        self.events += len(events)
        self.model = learner.model
        self.service_s += [
            (turn.ended_at - turn.started_at).total_seconds() for turn in day.turns if turn.started_at and turn.ended_at
        ]

    def test(self, day: Day, *, today: bool = False) -> list[Sample]:
        """The estimates of a day with the actual waits; `today`: the day is also learned while it goes on."""
        tested = _Tested(self.model, today=today)
        tick: datetime | None = None
        for at, event in events_of(day):
            tick = tick or at
            while tick < at:
                tested.tick(tick)
                tick += TICK
            tested.tell(at, event)
        return tested.samples


class _Tested:
    """One day on which estimates are made."""

    def __init__(self, model: WaitModel, *, today: bool) -> None:
        self.model = model
        self.today = Learner(model) if today else None
        self.line = Line()
        self.asked: dict[TurnId, list[tuple[Moment, datetime, int, int, Wait]]] = {}
        self.samples: list[Sample] = []

    def tell(self, at: datetime, event: Event) -> None:
        if isinstance(event, TurnTaken):
            ahead = ahead_of_new(self.line, event.priority)
            found = LineNow(self.line, at, self.model).expected(event.priority, ahead)
            self._keep(event.turn, "taken", at, ahead, found)
        elif isinstance(event, TurnCalled):
            for moment, when, ahead, counters, estimate in self.asked.pop(event.turn, ()):
                self.samples.append(Sample(moment, ahead, counters, quantiles(estimate), (at - when).total_seconds()))
        self.line = evolve(self.line, event)
        if self.today:
            self.today.tell(event)

    def tick(self, at: datetime) -> None:
        """Estimate for every waiting turn. Then learn from today, if that is enabled."""
        now = LineNow(self.line, at, self.model)
        for ahead, turn in enumerate(calls_to_come(self.line)):
            self._keep(turn, "later", at, ahead, now.expected(self.line.turns[turn].priority, ahead))
        if self.today:
            self.model = self.today.model

    def _keep(self, turn: TurnId, moment: Moment, at: datetime, ahead: int, found: Wait | None) -> None:
        if found:
            self.asked.setdefault(turn, []).append((moment, at, ahead, self.line.counters_open, found))


def quantiles(found: Wait) -> tuple[int, ...]:
    return (found.low_90_s, found.low_50_s, found.middle_s, found.high_50_s, found.high_90_s)


def pinball_s(quantiles_s: Sequence[float], actual_s: float) -> float:
    """The mean pinball loss at wait.QUANTILES."""
    losses = (
        max(level * (actual_s - estimate), (level - 1) * (actual_s - estimate))
        for level, estimate in zip(wait.QUANTILES, quantiles_s, strict=True)
    )
    return sum(losses) / len(wait.QUANTILES)


Method: TypeAlias = Callable[[Sample], Sequence[float]]  # the quantiles of an estimate


def plain(replay: Replay) -> Method:
    """People ahead × mean ÷ counters, the same at every quantile; the mean is that of the time from call to call."""
    mean_s = replay.busy_mean_s
    return lambda sample: [sample.ahead * mean_s / sample.counters] * len(wait.QUANTILES)


def spread(replay: Replay) -> Method:
    """The same with an interval: the value times the quantiles of its errors on the learned days."""
    mean_s = replay.busy_mean_s
    ratios = sorted(
        (actual + GRACE_S) / (ahead * mean_s / counters + GRACE_S) for ahead, counters, actual in replay.seen
    )
    at = [ratios[int(level * len(ratios))] for level in wait.QUANTILES] if ratios else [1.0] * len(wait.QUANTILES)

    def way(sample: Sample) -> list[float]:
        graced = sample.ahead * mean_s / sample.counters + GRACE_S
        return [max(0.0, graced * ratio - GRACE_S) for ratio in at]

    return way


def constant(replay: Replay) -> Method:
    """People ahead × configured minutes ÷ counters, from 0.8 to 1.0 of it; the mean service time, rounded up."""
    configured_s = 60 * ceil(statistics.fmean(replay.service_s or [models.ASSUMED_S]) / 60)
    factors = (0.8, 0.8, 0.9, 1.0, 1.0)
    return lambda sample: [sample.ahead * configured_s / sample.counters * factor for factor in factors]


class Scores(msgspec.Struct):
    """Coverage is a share of 1. Pinball losses are means over wait.QUANTILES and estimates, in seconds.

    `to_plain`, `to_spread`, `to_constant`: our loss to that of a simpler method. `constant_coverage`: the share of
    waits within the interval of the configured constant.
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


class Compared(msgspec.Struct):
    """A sample with the quantiles of the simpler methods."""

    sample: Sample
    plain_s: Sequence[float]
    spread_s: Sequence[float]
    constant_s: Sequence[float]


def scores(compared: Sequence[Compared]) -> Scores | None:
    """The scores; None without estimates."""
    if not compared:
        return None

    def mean(of: Callable[[Compared], float]) -> float:
        return statistics.fmean(map(of, compared))

    def covered(of: Callable[[Compared], Sequence[float]], low: int, high: int) -> float:
        return round(mean(lambda one: of(one)[low] <= one.sample.actual_s <= of(one)[high]), 3)

    ours = mean(lambda one: pinball_s(one.sample.quantiles_s, one.sample.actual_s))
    others = [
        mean(lambda one, name=name: pinball_s(getattr(one, name), one.sample.actual_s))  # type: ignore[misc]
        for name in ("plain_s", "spread_s", "constant_s")
    ]
    ratios = [round(ours / other, 3) if other else 1.0 for other in others]
    return Scores(
        expectations=len(compared),
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
    """One service with days held out after the learned ones; `seed` is None for all seeds together, or a history.

    `never_called`: turns of these days that left or were still waiting at the end; `nobody_could_say`: turns taken
    while no counter was open. `taken`: estimates with the turn; `later`: every ten minutes of the wait.
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
    """`rows`: each service over all seeds; `seeds`: each seed; `new_service`: after only two days.

    `today`: as `rows`, with each held-out day also learned while it goes on. `all_services`: of `rows`, and of `today`.
    `us_per_expectation`: microseconds of CPU time per estimate, for a line of 300 at once. `us_per_event`: per event
    learned.
    """

    measured_at: str
    commit: str
    machine: Machine
    source: str
    quantiles: tuple[float, ...]
    us_per_expectation: float
    us_per_event: float
    rows: list[Row]
    today: list[Row]
    all_services: list[Row]
    seeds: list[Row]
    new_service: list[Row]


class HeldOut:
    """The estimates of held-out days."""

    def __init__(self, service: str, seed: int | None = None) -> None:
        self.service, self.seed = service, seed
        self.compared: list[Compared] = []
        self.learned_days = self.held_out_days = self.turns = self.never_called = 0

    def test(self, replay: Replay, held_out: Sequence[Day], *, today: bool = False) -> "HeldOut":
        """Compare the estimates of `replay` with these days."""
        methods = plain(replay), spread(replay), constant(replay)
        self.learned_days = replay.days
        for day in held_out:
            self.held_out_days += 1
            self.turns += len(day.turns)
            self.never_called += sum(1 for turn in day.turns if turn.called_at is None)
            self.compared += [
                Compared(sample, *(method(sample) for method in methods)) for sample in replay.test(day, today=today)
            ]
        return self

    def add(self, other: "HeldOut") -> None:
        """Add the estimates of another one."""
        self.compared += other.compared
        self.learned_days = other.learned_days
        self.held_out_days += other.held_out_days
        self.turns += other.turns
        self.never_called += other.never_called

    def row(self) -> Row:
        taken = [one for one in self.compared if one.sample.moment == "taken"]
        return Row(
            service=self.service,
            seed=self.seed,
            learned_days=self.learned_days,
            held_out_days=self.held_out_days,
            turns=self.turns,
            never_called=self.never_called,
            nobody_could_say=self.turns - self.never_called - len(taken),
            taken=scores(taken),
            later=scores([one for one in self.compared if one.sample.moment == "later"]),
        )


def learned(known: Sequence[Day]) -> Replay:
    """A replay that has learned these days."""
    replay = Replay(WaitModel())
    for day in known:
        replay.learn(day)
    return replay


def us_per_expectation(model: WaitModel) -> float:
    """CPU time per estimate, for a whole line at once; the minimum of several runs."""
    now = datetime(2026, 11, 26, 14, tzinfo=UTC)
    counters = [now - timedelta(seconds=100 * number) for number in range(6)]
    turns: list[tuple[Priority, int]] = [(list(models.PRIORITIES)[ahead % 3], ahead) for ahead in range(LINE_LENGTH)]
    took_s = []
    for _ in range(TIMED_TIMES):
        began = time.process_time()
        expectations = Expectations(model, now, counters)
        for priority, ahead in turns:
            expectations.of(priority, ahead)
        took_s.append(time.process_time() - began)
    return round(1e6 * min(took_s) / LINE_LENGTH, 1)


class _Services:
    """The estimates of each service, by its name: from earlier days only, and with today."""

    def __init__(self) -> None:
        self.before: dict[str, HeldOut] = {}
        self.today: dict[str, HeldOut] = {}

    def test(self, service: str, replay: Replay, held_out: Sequence[Day]) -> HeldOut:
        one = HeldOut(service).test(replay, held_out)
        self.before.setdefault(service, HeldOut(service)).add(one)
        self.today.setdefault(service, HeldOut(service)).test(replay, held_out, today=True)
        return one

    def rows(self) -> dict[str, list[Row]]:
        both = [list(self.before.values()), list(self.today.values())]
        together = [HeldOut(ALL_SERVICES), HeldOut(ALL_SERVICES)]
        for sum_, services in zip(together, both, strict=True):
            for one in services:
                sum_.add(one)
        rows, today, all_services = ([one.row() for one in some] for some in (*both, together))
        return {"rows": rows, "today": today, "all_services": all_services}


def _result(source: str, replay: Replay, began_load: float, **rows: list[Row]) -> Result:
    return Result(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        commit=commit(),
        machine=machine({}, load=began_load),
        source=source,
        quantiles=wait.QUANTILES,
        us_per_expectation=us_per_expectation(replay.model),
        us_per_event=round(1e6 * replay.learning_s / max(1, replay.events), 1),
        **rows,
    )


def run(*, seed: int, seeds: int, count: int, console: Console, of: Sequence[Service] = SERVICES) -> Result:
    """Measure synthetic days: `count` held out, and as many learned, within limits, for each service and seed."""
    load = round(psutil.getloadavg()[0], 1)
    per_seed: list[Row] = []
    todo = [(service, number) for service in of for number in range(seed, seed + seeds)]
    services, beginners = _Services(), dict[str, HeldOut]()
    for service, number in track(todo, console=console, transient=True, disable=not console.is_terminal):
        known = days(service, seed=number, count=min(count, LEARNED_DAYS_MAX), first=FIRST_LEARNED)
        held_out = days(service, seed=number, count=count, first=FIRST_HELD_OUT)
        replay = learned(known)
        one = services.test(service.name, replay, held_out)
        one.seed = number
        per_seed.append(one.row())
        beginner = beginners.setdefault(service.name, HeldOut(service.name))
        beginner.test(learned(known[:LEARNED_DAYS_NEW]), held_out[:HELD_OUT_DAYS_NEW])
    return _result(
        f"synthetic days, {seeds} seeds from {seed}",
        replay,
        load,
        **services.rows(),
        seeds=per_seed,
        new_service=[one.row() for one in beginners.values()],
    )


def replay_file(path: Path) -> Result:
    """Replay a history: learn the first days, hold out the others. Raises HistoryRefused and OSError."""
    return replay_history(read_history(path), path.name)


def replay_history(history: History, source: str) -> Result:
    """See `replay_file`. Raises HistoryRefused if no service has two days."""
    load = round(psutil.getloadavg()[0], 1)
    services = _Services()
    for service, all_days in history.items():
        known = min(max(1, round(LEARNED_SHARE * len(all_days))), len(all_days) - 1)
        if known:
            replay = learned(all_days[max(0, known - LEARNED_DAYS_MAX) : known])
            services.test(service, replay, all_days[known:])
    if not services.before:
        raise HistoryRefused(f"{source} has no service with two days: one to learn from, one to hold out")
    return _result(source, replay, load, **services.rows(), seeds=[], new_service=[])


def show(result: Result, console: Console) -> None:
    """Print the result as tables."""
    for title, rows in (
        (result.source, [*result.rows, *result.all_services[:1]]),
        ("with today learned as well", [*result.today, *result.all_services[1:]]),
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
    console.print(f"{result.us_per_expectation} µs per estimate of a line of {LINE_LENGTH}")
    console.print(f"{result.us_per_event} µs per event learned")
    console.print(result.machine.described().removesuffix("; "))


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1), pad_edge=False)
    for name in ("", "estimate"):
        table.add_column(name, no_wrap=True)
    for name in ("n", "50 %", "90 %", "min", "min", "loss s", "plain", "spread", "const"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        for moment, found in (("first", row.taken), ("later", row.later)):
            if found:
                table.add_row(
                    row.service if row.seed is None else f"{row.service}, {row.seed}",
                    moment,
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
