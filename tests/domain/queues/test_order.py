"""The number of turns ahead, computed from the lengths of the queues, equals a walk through the calls."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.queues.line import Line, LineOpened, TurnTaken, evolve
from domain.queues.line_now import LineNow
from domain.queues.order import ahead_of, ahead_of_new, calls_to_come
from domain.queues.policy import Policy
from domain.queues.wait_model import WaitModel
from tests.office import MOMENT, at
from tests.waiting import LINE

CLASSES = ("PREFERENTIAL", "APPOINTMENT", "NORMAL")


@st.composite
def lines(draw: st.DrawFn) -> Line:
    """A line with turns of all classes, under any policy, at any step of its sequence of calls."""
    shared = draw(st.sampled_from([None, *CLASSES]))
    one_in = draw(st.integers(2, 6))
    policy = Policy(order=tuple(draw(st.permutations(CLASSES))), at_least=shared, one_in=one_in)
    line = evolve(
        Line(),
        LineOpened(
            line=LINE,
            counters=[1, 2],
            policy=policy,
            opens_at=at("07:00"),
            last_turn_at=at("11:00"),
            closes_at=at("12:00"),
        ),
    )
    for number, priority in enumerate(draw(st.lists(st.sampled_from(CLASSES), max_size=30))):
        since = at("07:00") + timedelta(seconds=number)
        line = evolve(
            line,
            TurnTaken(
                turn=f"{LINE}/turn-{number}",
                number=number,
                priority=priority,
                channel="KIOSK",
                since=since,
                taken_at=since,
                ahead=0,
                counters=2,
            ),
        )
    if shared and line.queue(shared):
        line.passed = draw(st.integers(0, 8))
    return line


@given(lines())
def test_ahead_equals_the_number_of_earlier_calls(line: Line) -> None:
    for place, turn in enumerate(calls_to_come(line)):
        assert ahead_of(line, turn) == place
    assert ahead_of(line, f"{LINE}/nobody") == line.waiting
    for priority in CLASSES:
        assert ahead_of_new(line, priority) == _walked(line, priority)


def _walked(line: Line, priority: str) -> int:
    """The number of calls before another turn of this class, by a walk through the calls."""
    line.queue(priority).append("one more")
    try:
        return list(calls_to_come(line)).index("one more")
    finally:
        line.queue(priority).remove("one more")


@given(lines())
def test_line_now_counts_the_same_with_and_without_its_index(line: Line) -> None:
    called = list(calls_to_come(line))
    now = LineNow(line, at("08:00") + MOMENT, WaitModel())
    assert [now.ahead(turn) for turn in called] == list(range(len(called)))
    assert [LineNow(line, at("08:00"), WaitModel()).ahead(turn) for turn in called] == list(range(len(called)))
    assert now.ahead(f"{LINE}/nobody") is None
    assert LineNow(line, at("12:00"), WaitModel()).ahead(called[0] if called else "") is None
