"""Learning waits from a line's own log."""

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from domain.decider import Event
from domain.queues.learning import Learner, counters_of
from domain.queues.line import (
    CounterPaused,
    LineClosed,
    LineOpened,
    ServiceFinished,
    ServiceStarted,
    TurnAbsent,
    TurnCalled,
    TurnLeft,
    TurnRequeued,
    TurnTaken,
    TurnTransferred,
)
from domain.queues.policy import Policy
from domain.queues.wait import Expectations, busy_mean_s
from domain.queues.wait_model import BUCKETS, WaitModel
from tests.office import DAY, at

LINE = f"sopocachi/cadastre/{DAY}"
OPENS = at("07:00")


def opened(counters: int = 1) -> LineOpened:
    return LineOpened(
        line=LINE,
        counters=list(range(1, counters + 1)),
        policy=Policy(),
        opens_at=OPENS,
        last_turn_at=at("16:00"),
        closes_at=at("16:00"),
    )


def taken(number: int, when: datetime, *, ahead: int = 0) -> TurnTaken:
    return TurnTaken(
        turn=f"{LINE}/{number}",
        number=number,
        priority="NORMAL",
        channel="KIOSK",
        since=when,
        taken_at=when,
        ahead=ahead,
        counters=1,
    )


def served(number: int, when: datetime, seconds: int) -> list[Event]:
    turn = f"{LINE}/{number}"
    return [
        TurnCalled(turn=turn, counter=1, called_at=when),
        ServiceStarted(turn=turn, counter=1, started_at=when + timedelta(seconds=5)),
        ServiceFinished(turn=turn, counter=1, finished_at=when + timedelta(seconds=seconds), outcome="DONE"),
    ]


def day(turns: int, *, each_s: int) -> list[Event]:
    """All turns are taken at the opening, and one counter serves them in order, `each_s` seconds each."""
    events: list[Event] = [opened(), *(taken(n, OPENS, ahead=n - 1) for n in range(1, turns + 1))]
    for n in range(turns):
        events += served(n + 1, OPENS + timedelta(seconds=each_s * n), each_s)
    return events


def learned(events: list[Event], model: WaitModel | None = None) -> Learner:
    learner = Learner(model or WaitModel())
    for event in events:
        learner.tell(event)
    return learner


def test_service_times_are_learned_after_some_days() -> None:
    model = WaitModel()
    before = Expectations(model, at("09:00"), [None]).of("NORMAL", 5)
    for _ in range(20):
        model = learned(day(20, each_s=1_200), model).model
    after = Expectations(model, at("09:00"), [None]).of("NORMAL", 5)
    assert before is not None
    assert after is not None
    assert before.high_50_s < 5_500 < after.low_50_s < after.high_50_s < 8_000
    assert after.high_50_s / after.low_50_s < before.high_50_s / before.low_50_s


def test_learning_is_deterministic() -> None:
    events = day(10, each_s=300)
    assert learned(events).model == learned(events).model


def test_leaving_and_absence_are_counted_separately() -> None:
    events: list[Event] = [
        opened(),
        *(taken(n, OPENS, ahead=n - 1) for n in range(1, 4)),
        TurnLeft(turn=f"{LINE}/2", left_at=OPENS + timedelta(seconds=10)),
        TurnCalled(turn=f"{LINE}/1", counter=1, called_at=OPENS + timedelta(seconds=20)),
        TurnAbsent(turn=f"{LINE}/1", counter=1, absent_at=OPENS + timedelta(seconds=110)),
        TurnCalled(turn=f"{LINE}/3", counter=1, called_at=OPENS + timedelta(seconds=120)),
    ]
    model = learned(events).model
    assert (model.left, model.called, model.absent.count) == (1, 2, 1)
    assert model.absent.seconds == 100  # until the next call: somebody waited all the time
    # Back in the line, and called again: that was not its first wait.
    back = learned(
        [
            *events,
            TurnRequeued(turn=f"{LINE}/1", requeued_at=OPENS + timedelta(seconds=130)),
            ServiceFinished(turn=f"{LINE}/3", counter=1, finished_at=OPENS + timedelta(seconds=240), outcome="DONE"),
            TurnCalled(turn=f"{LINE}/1", counter=1, called_at=OPENS + timedelta(seconds=250)),
        ]
    ).model
    assert (back.called, sum(tally.count for tally in back.served)) == (2, 1)
    assert sum(tally.seconds for tally in back.served) == 130


@pytest.mark.parametrize(("gap_s", "busy_s"), [(0, 60 + 60), (30, 90 + 60)])
def test_time_until_the_next_call_counts_if_turns_waited(gap_s: int, busy_s: int) -> None:
    events: list[Event] = [
        opened(),
        taken(1, OPENS),
        taken(2, OPENS, ahead=1),
        *served(1, OPENS, 60),
        *served(2, OPENS + timedelta(seconds=60 + gap_s), 60),
    ]
    assert sum(tally.seconds for tally in learned(events).model.served) == busy_s


def minute(number: float) -> datetime:
    return OPENS + timedelta(minutes=number)


def busy_s(events: list[Event]) -> list[int]:
    """The seconds of service by hour, for hours with a service."""
    return [tally.seconds for tally in learned(events).model.served if tally.count]


def closed(when: datetime, *unserved: int) -> LineClosed:
    return LineClosed(line=LINE, closed_at=when, unserved=[f"{LINE}/{number}" for number in unserved])


def test_a_service_at_closing_time_counts() -> None:
    began: list[Event] = [opened(), taken(1, OPENS), taken(2, OPENS, ahead=1), *served(1, OPENS, 240)]
    called, started, finished = served(2, minute(4), 600)
    assert busy_s([*began, called, started, closed(minute(5)), finished]) == [240 + 600]
    assert busy_s([*began, closed(minute(5), 2)]) == [240]  # one waited, and nobody called them


def test_a_counter_that_waits_for_an_absent_turn_is_not_busy() -> None:
    """Only a called, absent turn is waiting: the counter is free until it returns."""
    turn = f"{LINE}/1"
    events: list[Event] = [
        opened(counters=2),
        taken(1, OPENS),
        TurnCalled(turn=turn, counter=1, called_at=OPENS),
        taken(2, minute(1)),
        TurnCalled(turn=f"{LINE}/2", counter=2, called_at=minute(1)),
        TurnAbsent(turn=turn, counter=1, absent_at=minute(2)),
        ServiceStarted(turn=f"{LINE}/2", counter=2, started_at=minute(2)),
        ServiceFinished(turn=f"{LINE}/2", counter=2, finished_at=minute(3), outcome="DONE"),
        TurnRequeued(turn=turn, requeued_at=minute(9)),
        TurnCalled(turn=turn, counter=2, called_at=minute(10)),
    ]
    model = learned(events).model
    assert [tally.seconds for tally in model.served if tally.count] == [120]
    assert model.absent.seconds == 120


def test_a_counter_is_not_busy_after_the_last_turn_left() -> None:
    events: list[Event] = [
        opened(),
        taken(1, OPENS),
        taken(2, OPENS, ahead=1),
        *served(1, OPENS, 60),
        TurnLeft(turn=f"{LINE}/2", left_at=minute(2)),
        taken(3, minute(20)),
        *served(3, minute(21), 60),
    ]
    assert busy_s(events) == [120]


def test_a_requeued_turn_that_leaves_counts_as_called() -> None:
    turn = f"{LINE}/1"
    model = learned(
        [
            opened(),
            taken(1, OPENS),
            TurnCalled(turn=turn, counter=1, called_at=OPENS),
            TurnAbsent(turn=turn, counter=1, absent_at=minute(2)),
            TurnRequeued(turn=turn, requeued_at=minute(3)),
            TurnLeft(turn=turn, left_at=minute(4)),
        ]
    ).model
    assert (model.called, model.left) == (1, 0)


def test_a_transferred_turn_waits_in_the_other_line_from_then_on() -> None:
    turn = f"{LINE}/2"
    moved = TurnTransferred(turn=turn, moved_to="sopocachi/other/1", moved_at=minute(1))
    model = learned([opened(), taken(1, OPENS), taken(2, OPENS, ahead=1), moved]).model
    assert (model.called, model.left) == (0, 1)
    arrived = replace(taken(9, minute(30)), since=OPENS, moved_from="sopocachi/other/1")
    learner = learned([opened(), taken(1, minute(10)), arrived, *served(9, minute(31), 60)])
    assert sum(learner.model.ratios[2 * BUCKETS]) == 1  # a counter was free: a minute, not half an hour
    assert learner.model.ratios[2 * BUCKETS][-1] == 0


def test_counters_are_not_open_after_the_closing_time() -> None:
    events: list[Event] = [opened(), taken(1, at("15:00")), *served(1, at("15:00"), 60), closed(at("23:00"))]
    model = learned(events).model
    assert sum(model.watched_s) == sum(model.staffed_s) == 3600


def test_each_turn_is_noted_and_a_rush_is_sampled() -> None:
    rush = [taken(n, OPENS + timedelta(milliseconds=100 * n), ahead=n - 1) for n in range(1, 201)]
    calls = [TurnCalled(turn=f"{LINE}/{n}", counter=1, called_at=minute(n)) for n in range(1, 201)]
    counts = [sum(cell) for cell in learned([opened(), *rush, *calls]).model.ratios if cell]
    assert sum(counts) == 200
    later = [*rush, taken(201, minute(11), ahead=200), *calls]
    counts = [sum(cell) for cell in learned([opened(), *later]).model.ratios if cell]
    assert sum(counts) == 2 * 200  # all were noted again, and the last is not called


def test_there_are_no_estimates_without_open_counters() -> None:
    learner = learned([opened(), CounterPaused(counter=1, paused_at=OPENS), taken(1, OPENS), *served(1, OPENS, 60)[:1]])
    assert counters_of(learner.line) == []
    assert learner.model.called == 1
    assert busy_mean_s(learner.model, 7) == learner.model.assumed_s
