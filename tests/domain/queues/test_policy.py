"""The policy, by examples. tests/properties/test_lines.py tests it as a law."""

from datetime import timedelta
from typing import Any

import pytest

from domain.decider import Recorded
from domain.queues.line import Line, TurnTaken, stream
from domain.queues.order import ahead_of_new, calls_to_come, next_turn
from domain.queues.policy import format_number
from tests.office import NOW, Office, given
from tests.waiting import (
    LINE,
    call,
    call_turn,
    leave,
    line_opened,
    line_state,
    mark_absent,
    requeue,
    take_paper,
    turn,
    waiting,
)


def arrived(letter: str, number: int) -> Recorded:
    """A turn of the class with this letter, with the name in lower case."""
    priority = {"P": "PREFERENTIAL", "F": "APPOINTMENT", "A": "NORMAL"}[letter]
    name = letter.lower() + "abcdefghij"[number - 1]
    return stream(LINE), TurnTaken(
        turn=turn(name),
        number=number,
        priority=priority,
        channel="KIOSK",
        since=NOW,
        taken_at=NOW,
        ahead=0,
        counters=1,
    )


def crowd(preferential: int = 0, appointments: int = 0, normal: int = 0, **policy: Any) -> Office:
    classes = {"P": preferential, "F": appointments, "A": normal}
    turns = [arrived(letter, number) for letter, many in classes.items() for number in range(1, many + 1)]
    return given(line_opened(counters=20, **policy), *turns)


def order(office: Office) -> str:
    """The classes of the waiting turns, in the order of their calls."""
    return "".join(shown[0] for shown in waiting(office))


def test_the_first_class_is_first_but_one_in_three_is_normal() -> None:
    assert order(crowd(5, 2, 4)) == "PPAPPAPFAFA"
    assert waiting(crowd(2, 1, 2)) == ["P-001", "P-002", "A-001", "F-001", "A-002"]


@pytest.mark.parametrize(
    ("one_in", "calls"), [(2, "PAPAPAPPPP"), (3, "PPAPPAPPAP"), (5, "PPPPAPPPAA"), (20, "PPPPPPPAAA")]
)
def test_the_policy_sets_the_share(one_in: int, calls: str) -> None:
    assert order(crowd(7, 0, 3, one_in=one_in)) == calls


def test_without_a_share_classes_are_called_strictly_in_order() -> None:
    assert order(crowd(3, 2, 2, at_least=None)) == "PPPFFAA"


def test_order_and_share_are_data() -> None:
    assert order(crowd(2, 2, 2, order=("NORMAL", "APPOINTMENT", "PREFERENTIAL"), at_least=None)) == "AAFFPP"
    assert order(crowd(2, 2, 4, order=("NORMAL", "APPOINTMENT", "PREFERENTIAL"), at_least="PREFERENTIAL")) == "AAPAAPFF"
    assert order(crowd(4, 2, 2, at_least="APPOINTMENT")) == "PPFPPFAA"
    assert order(crowd(2, 1, 2, at_least="PREFERENTIAL")) == "PPFAA"


def test_calls_count_only_while_the_share_has_waiting_turns() -> None:
    office = crowd(6).after(call(1), call(2), call(3))
    late = office.after(take_paper("late"))
    assert order(late) == "PPAP"


def test_a_call_of_the_share_restarts_the_count() -> None:
    office = crowd(6, 0, 3).after(*(call(counter) for counter in (1, 2, 3, 4)))
    assert order(office) == "PAPPA"


def test_the_count_restarts_when_the_share_s_last_turn_leaves() -> None:
    office = crowd(6, 0, 1).after(call(1), call(2), leave("aa"))
    assert order(office.after(take_paper("late"))) == "PPAPP"
    stays = crowd(6, 0, 2).after(call(1), call(2), leave("aa"))
    assert order(stays) == "APPPP"


def crowd_after_a_direct_call() -> Office:
    """P-004 and two normal turns wait, the first of them overdue: the order of calls is APA."""
    return crowd(4, 0, 2, direct_calls=True).after(call(1), call(2), call_turn("pc", 3))


def test_a_direct_call_counts_like_the_others() -> None:
    of_the_share = crowd(4, 0, 3, direct_calls=True).after(call(1), call(2), call_turn("ab", 3))
    assert order(of_the_share) == "PPAA"
    of_another = crowd(5, 0, 2, direct_calls=True).after(call(1), call(2), call_turn("pc", 3))
    assert line_state(of_another).passed == 3
    assert order(of_another) == "APPA"
    assert ahead_of_new(line_state(crowd_after_a_direct_call()), "PREFERENTIAL") == 2
    overtaken = crowd(2, 0, 2, direct_calls=True).after(call_turn("ab", 1))
    assert waiting(overtaken) == ["P-001", "P-002", "A-001"]


def test_a_requeued_turn_does_not_use_the_share() -> None:
    later = NOW + timedelta(seconds=90)
    office = crowd(1, 0, 4).after(call(1), call(2)).after(mark_absent("aa"), requeue("aa"), now=later)
    assert waiting(office) == ["A-002", "A-003", "A-001", "A-004"]


def test_an_unopened_line_calls_no_turn() -> None:
    assert next_turn(Line()) is None
    assert list(calls_to_come(Line())) == []
    assert ahead_of_new(Line(), "NORMAL") == 0


def test_numbers_are_shown_by_class() -> None:
    assert [format_number(priority, 7) for priority in ("PREFERENTIAL", "APPOINTMENT", "NORMAL", "FRIENDS")] == [
        "P-007",
        "F-007",
        "A-007",
        "X-007",
    ]
    assert format_number("NORMAL", 1_234) == "A-1234"
