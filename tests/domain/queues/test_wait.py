"""Expected waits: laws that hold for any model, and what is learned from what."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.queues import wait
from domain.queues import wait_model as learned
from domain.queues.policy import Priority
from domain.queues.wait import Basis, Expectations, Wait
from domain.queues.wait_model import WaitModel

NOON = datetime(2026, 11, 26, 16, tzinfo=UTC)  # in La Paz

priorities: st.SearchStrategy[Priority] = st.sampled_from(list(learned.PRIORITIES))
moments = st.integers(0, 60 * 24).map(lambda minutes: NOON + timedelta(minutes=minutes))
elapsed = st.one_of(st.none(), st.integers(0, 7200))
counters = st.lists(elapsed, min_size=1, max_size=8)


@st.composite
def models(draw: st.DrawFn) -> WaitModel:
    """Any model, likely or not."""
    model = WaitModel(assumed_s=draw(st.integers(10, 3600)))
    for _ in range(draw(st.integers(0, 25))):
        at = draw(moments)
        match draw(st.integers(0, 5)):
            case 0:
                model = learned.served(model, at=at, busy_s=draw(st.floats(0, 9000)))
            case 1:
                model = learned.absent(model, busy_s=draw(st.floats(0, 300)))
            case 2:
                model = learned.left(model) if draw(st.booleans()) else learned.called(model)
            case 3:
                until = at + timedelta(seconds=draw(st.integers(0, 7200)))
                model = learned.staffed(model, since=at, until=until, counters=draw(st.integers(0, 9)))
            case 4:
                model = learned.taken(model, at=at, priority=draw(priorities))
            case _:
                estimate = Expectations(model, at, (None, at)).of(draw(priorities), draw(st.integers(0, 99)))
                assert estimate is not None
                model = wait.waited(model, estimate.basis, draw(st.floats(0, 30_000)))
    return model


Turns = list[tuple[Priority, int]]  # of which class, and how many are ahead


def expect_all(model: WaitModel, now: datetime, counters: Sequence[datetime | None], turns: Turns) -> list[Wait]:
    """Estimates of a whole line at once."""
    expectations = Expectations(model, now, counters)
    found = [expectations.of(priority, ahead) for priority, ahead in turns]
    return [one for one in found if one]


def since(now: datetime, elapsed_s: list[int | None]) -> list[datetime | None]:
    return [None if seconds is None else now - timedelta(seconds=seconds) for seconds in elapsed_s]


def ends(estimate: Wait) -> tuple[int, ...]:
    return (estimate.low_90_s, estimate.low_50_s, estimate.middle_s, estimate.high_50_s, estimate.high_90_s)


@given(models(), moments, counters, priorities, st.integers(0, 2000))
def test_an_interval_is_in_order(
    model: WaitModel, now: datetime, busy: list[int | None], priority: Priority, ahead: int
) -> None:
    [estimate] = expect_all(model, now, since(now, busy), [(priority, ahead)])
    assert list(ends(estimate)) == sorted(ends(estimate))
    assert estimate.low_90_s >= 0
    assert estimate.high_90_s <= wait.WAIT_MAX_S


@given(models(), moments, counters, priorities, st.lists(st.integers(0, 300), min_size=2, max_size=30))
def test_more_people_ahead_never_make_a_wait_shorter(
    model: WaitModel, now: datetime, busy: list[int | None], priority: Priority, ahead: list[int]
) -> None:
    estimate = expect_all(model, now, since(now, busy), [(priority, number) for number in sorted(ahead)])
    for fewer, more in pairwise(estimate):
        assert all(low <= high for low, high in zip(ends(fewer), ends(more), strict=True))


@given(models(), moments, counters, elapsed, st.tuples(priorities, st.integers(0, 200)))
def test_one_more_counter_never_makes_a_wait_longer(
    model: WaitModel, now: datetime, busy: list[int | None], new: int | None, turn: tuple[Priority, int]
) -> None:
    [few] = expect_all(model, now, since(now, busy), [turn])
    [many] = expect_all(model, now, since(now, [*busy, new]), [turn])
    assert all(shorter <= longer for shorter, longer in zip(ends(many), ends(few), strict=True))


@given(models(), moments, counters, st.lists(st.tuples(priorities, st.integers(0, 99)), max_size=9))
def test_a_whole_line_is_estimated_like_single_turns(
    model: WaitModel, now: datetime, busy: list[int | None], turns: list[tuple[Priority, int]]
) -> None:
    open_ = since(now, busy)
    one_by_one = [Expectations(model, now, open_).of(priority, ahead) for priority, ahead in turns]
    assert expect_all(model, now, open_, turns) == one_by_one
    expectations = Expectations(model, now, open_)
    assert [expectations.basis(*turn) for turn in turns] == [found.basis for found in one_by_one if found]


@given(models())
def test_the_model_round_trips_through_json(model: WaitModel) -> None:
    assert msgspec.json.decode(msgspec.json.encode(model), type=WaitModel) == model


def test_there_is_no_estimate_without_an_open_counter() -> None:
    nobody = Expectations(WaitModel(), NOON, [])
    assert (nobody.of("NORMAL", 3), nobody.basis("NORMAL", 3)) == (None, None)


class Situation(NamedTuple):
    """A turn in a line with these counters."""

    now: datetime
    priority: Priority
    ahead: int
    counters: tuple[datetime | None, ...]


def situation(ahead: int = 10, priority: Priority = "NORMAL", now: datetime = NOON) -> Situation:
    return Situation(now=now, priority=priority, ahead=ahead, counters=(now, now))


def estimate(model: WaitModel, asked: Situation) -> Wait:
    found = Expectations(model, asked.now, asked.counters).of(asked.priority, asked.ahead)
    assert found is not None
    return found


def after_calls(busy_s: float, *, calls: int = 500, assumed_s: int = 300, days: int = 1) -> WaitModel:
    """A model after calls of equal duration around noon."""
    model = WaitModel(assumed_s=assumed_s)
    for day in range(days):
        model = learned.taken(model, at=NOON + timedelta(days=day), priority="NORMAL")
    for _ in range(calls):
        model = learned.served(model, at=NOON, busy_s=busy_s)
    return model


def after_waits(model: WaitModel, actual_s: float, *, waits: int, asked: Situation | None = None) -> WaitModel:
    for _ in range(waits):
        basis = estimate(model, asked or situation()).basis
        model = wait.waited(model, basis, actual_s)
    return model


def test_the_assumed_time_is_replaced_by_measured_times() -> None:
    new = estimate(WaitModel(assumed_s=600), situation())
    assert 2000 < new.middle_s < 4500  # eleven calls of ten minutes at two counters
    known = estimate(after_calls(60, assumed_s=600), situation())
    assert 200 < known.middle_s < 500
    assert wait.busy_mean_s(after_calls(60, assumed_s=600), 12) == pytest.approx(60, rel=0.2)


def test_slower_hours_are_learned() -> None:
    model = after_calls(60)
    for _ in range(200):
        model = learned.served(model, at=NOON + timedelta(hours=3), busy_s=180)
    assert wait.busy_mean_s(model, 15) > 1.5 * wait.busy_mean_s(model, 12)


def test_an_interval_is_wider_with_little_history() -> None:
    def width(found: Wait) -> float:
        return (found.high_90_s - found.low_90_s) / found.middle_s

    next_one = situation(0)
    few = after_waits(after_calls(300, days=1), 150, waits=10, asked=next_one)
    many = after_waits(after_calls(300, days=40), 150, waits=1000, asked=next_one)
    assert width(estimate(WaitModel(), next_one)) > width(estimate(few, next_one)) > 2 * width(estimate(many, next_one))
    # What was learned of those who are next is not known of those with sixty ahead.
    assert width(estimate(many, situation(60))) > 2 * width(estimate(many, next_one))


def test_one_day_counts_less_than_many_days() -> None:
    many_days = after_calls(300, days=60)
    for number in range(300):
        basis = estimate(many_days, situation(0)).basis
        many_days = wait.waited(many_days, basis, 5 * (number % 60))
    one_day = msgspec.structs.replace(many_days, days=1)
    assert estimate(one_day, situation(0)).high_90_s > estimate(many_days, situation(0)).high_90_s
    assert estimate(one_day, situation(0)).low_50_s < estimate(many_days, situation(0)).low_50_s


def test_errors_of_estimates_are_corrected() -> None:
    before = estimate(after_calls(300), situation()).middle_s
    taught = after_waits(after_calls(300, days=40), 2 * before, waits=500)
    assert estimate(taught, situation()).middle_s == pytest.approx(2 * before, rel=0.1)


def test_each_class_learns_its_own_errors() -> None:
    model = after_calls(300, days=40)
    slow = after_waits(model, 4000, waits=800, asked=situation(10, "APPOINTMENT"))
    both = after_waits(slow, 1600, waits=800, asked=situation(10, "PREFERENTIAL"))
    assert (
        estimate(both, situation(10, "APPOINTMENT")).middle_s
        > 1.5 * estimate(both, situation(10, "PREFERENTIAL")).middle_s
    )


def test_expected_arrivals_of_higher_classes_lengthen_waits() -> None:
    alone = learned.staffed(after_calls(300), since=NOON, until=NOON + timedelta(hours=1), counters=2)
    busy = alone
    for second in range(0, 3600, 400):
        busy = learned.taken(busy, at=NOON + timedelta(seconds=second), priority="PREFERENTIAL")
    assert estimate(busy, situation()).middle_s > 1.2 * estimate(alone, situation()).middle_s
    preferential = situation(10, "PREFERENTIAL")
    assert ends(estimate(busy, preferential))[2] == pytest.approx(estimate(alone, preferential).middle_s, rel=0.05)


def test_expected_absences_cost_their_usual_time() -> None:
    model = after_calls(300)
    with_absent = model
    for _ in range(250):
        with_absent = learned.absent(with_absent, busy_s=90)
    assert estimate(with_absent, situation()).middle_s < 0.9 * estimate(model, situation()).middle_s
    with_left = model
    for number in range(300):
        with_left = learned.left(with_left) if number % 2 else learned.called(with_left)
    assert estimate(with_left, situation()).middle_s < 0.7 * estimate(model, situation()).middle_s


def test_a_usual_lunch_break_is_expected() -> None:
    model = after_calls(300)
    for day in range(20):
        at = NOON + timedelta(days=day)
        for hours, open_ in ((-2, 4), (0, 1), (1, 4)):
            begin = at + timedelta(hours=hours)
            model = learned.staffed(model, since=begin, until=begin + timedelta(hours=abs(hours) or 1), counters=open_)
    before_lunch, early = NOON - timedelta(minutes=5), NOON - timedelta(hours=2)
    assert estimate(model, situation(now=before_lunch)).middle_s > 1.5 * estimate(model, situation(now=early)).middle_s


def test_a_free_counter_calls_the_next_turn_at_once() -> None:
    free = Situation(now=NOON, priority="NORMAL", ahead=0, counters=(None, NOON))
    busy = Situation(now=NOON, priority="NORMAL", ahead=0, counters=(NOON, NOON))
    model = after_calls(300, days=20)
    assert estimate(model, free).high_90_s < 0.2 * estimate(model, busy).high_90_s
    known = after_waits(model, 8, waits=300, asked=free)
    assert estimate(known, free).high_90_s < 15
    assert estimate(known, busy).high_90_s == estimate(model, busy).high_90_s


def test_large_counts_are_halved() -> None:
    old = after_calls(60, calls=learned.CALLS_MAX)
    assert old.served[12].count < learned.CALLS_MAX
    for _ in range(2 * learned.CALLS_MAX):
        old = learned.served(old, at=NOON, busy_s=600)
    assert wait.busy_mean_s(old, 12) > 480
    assert max(old.busy) < learned.CALLS_MAX
    basis = estimate(WaitModel(), situation()).basis
    many = WaitModel()
    for _ in range(wait.COUNTS_MAX + 10):
        many = wait.waited(many, basis, 600)
    assert sum(many.ratios[basis.cell]) < wait.COUNTS_MAX
    for _ in range(20):
        many = learned.staffed(many, since=NOON, until=NOON + timedelta(hours=20), counters=3)
        many = learned.taken(many, at=NOON, priority="NORMAL")
    assert max(many.watched_s) <= learned.WATCHED_MAX_S


def test_staffing_past_midnight_counts_on_the_next_day() -> None:
    at = datetime(2026, 11, 27, 3, 55, tzinfo=UTC)  # 23:55 in La Paz
    model = learned.staffed(WaitModel(), since=at, until=at + timedelta(minutes=10), counters=2)
    assert (model.watched_s[-1], model.watched_s[0], model.staffed_s[0]) == (300, 300, 600)


def test_a_basis_reads_back_from_json() -> None:
    basis = estimate(after_calls(300), situation()).basis
    assert msgspec.json.decode(msgspec.json.encode(basis), type=Basis) == basis
