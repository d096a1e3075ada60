"""Calls at a counter: the next turn or another, recalls, service, absence."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from domain.decider import Command, build
from domain.errors import Rejected
from domain.queues.calling import FinishService
from domain.queues.line import (
    LAST_CALLS_MAX,
    NoticeGiven,
    ServiceFinished,
    ServiceStarted,
    TurnAbsent,
    TurnCalled,
    TurnRecalled,
    stream,
)
from domain.queues.turns import TakeTurn
from tests.office import MOMENT, NOW, Office, at, given, opaque
from tests.waiting import (
    CLOSES,
    LAST_TURN,
    LINE,
    OPENS,
    OTHER,
    ask_notice,
    call,
    call_turn,
    close,
    finish,
    leave,
    line_opened,
    line_state,
    mark_absent,
    pause,
    recall,
    recorded,
    requeue,
    start,
    take,
    take_paper,
    transfer,
    turn,
    turn_state,
)

ABSENT_FROM = NOW + timedelta(seconds=90)


def two(*, direct_calls: bool = False, recalls_max: int = 3) -> Office:
    """Ana and Eva wait, in this order, with two counters."""
    line = line_opened(direct_calls=direct_calls, recalls_max=recalls_max)
    return given(line, line_opened(OTHER)).after(take("ana"), take("eva"))


def called() -> Office:
    return two().after(call())


def serving() -> Office:
    return called().after(start("ana"))


# Calling


def test_the_next_turn_is_called() -> None:
    two().when(call(), now=at("07:05")).then(
        (stream(LINE), TurnCalled(turn=turn("ana"), counter=1, called_at=at("07:05")))
    )


def test_each_counter_calls_a_different_turn() -> None:
    (second,) = recorded(called().when(call(2)), TurnCalled)
    assert (second.turn, second.counter) == (turn("eva"), 2)


def test_the_next_turn_can_be_called_directly() -> None:
    two().when(call_turn("ana", 2)).then((stream(LINE), TurnCalled(turn=turn("ana"), counter=2, called_at=NOW)))


def test_another_turn_is_called_only_if_the_policy_allows_it() -> None:
    two().when(call_turn("eva")).rejected("not_next", path="turn", number="A-001")
    two(direct_calls=True).when(call_turn("eva")).then(
        (stream(LINE), TurnCalled(turn=turn("eva"), counter=1, called_at=NOW, direct=True))
    )
    (next_one,) = recorded(two(direct_calls=True).when(call_turn("ana")), TurnCalled)
    assert not next_one.direct


def test_calling_a_turn_again_at_its_counter_changes_nothing() -> None:
    called().when(call_turn("ana", 1)).nothing()
    called().when(call_turn("ana", 2)).rejected("turn_elsewhere", path="turn", number="A-001", state="CALLED")
    serving().when(call_turn("ana", 2)).rejected("turn_elsewhere", path="turn", number="A-001", state="SERVING")


def test_a_counter_has_one_turn() -> None:
    for office in (called(), serving()):
        for command in (call(), call_turn("eva")):
            office.when(command).rejected("counter_busy", path="counter", number="A-001")


def test_a_call_needs_a_known_open_counter() -> None:
    for command in (call(3), call_turn("ana", 3)):
        two().when(command).rejected("counter_unknown", path="counter", counter=3)
    for command in (call(2), call_turn("ana", 2)):
        two().after(pause(2)).when(command).rejected("counter_paused", path="counter", counter=2)


def test_a_call_needs_a_waiting_turn() -> None:
    given(line_opened()).when(call()).rejected("nobody_waits", path="line")
    called().after(call(2), start("eva"), finish("eva")).when(call(2)).rejected("nobody_waits", path="line")
    two().when(call_turn("luis")).rejected("turn_unknown", path="turn")


@pytest.mark.parametrize(("command", "path"), [(call(), "line"), (call_turn("ana"), "turn")])
def test_calls_are_made_while_the_line_is_open(command: Command, path: str) -> None:
    given().when(command).rejected("line_unknown", path=path)
    given(line_opened()).when(command, now=OPENS - MOMENT).rejected("line_not_open_yet", path=path, at=OPENS)
    two().when(command, now=LAST_TURN).accepted()
    two().when(command, now=CLOSES - MOMENT).accepted()
    two().when(command, now=CLOSES).rejected("line_closed", path=path, at=CLOSES)
    two().after(close()).when(command, now=at("07:01")).rejected("line_closed", path=path, at=NOW)


@pytest.mark.parametrize("frees", [finish("ana"), mark_absent("ana"), leave("ana"), transfer("ana")], ids=str)
def test_a_counter_is_free_once_its_turn_is_over(frees: Command) -> None:
    office = (serving() if isinstance(frees, FinishService) else called()).after(frees, now=ABSENT_FROM)
    counter = line_state(office).counters[1]
    assert (counter.turn, counter.busy_since) == (None, None)
    (following,) = recorded(office.when(call(), now=ABSENT_FROM), TurnCalled)
    assert following.turn == turn("eva")


def test_the_board_shows_the_last_calls_newest_first() -> None:
    names = "abcdefghijkl"
    office = given(line_opened(counters=len(names))).after(*(take_paper(name) for name in names))
    office = office.after(*(call(counter) for counter in range(1, len(names) + 1)))
    assert line_state(office).last_calls == [turn(name) for name in reversed(names)][:LAST_CALLS_MAX]
    again = line_state(office.after(recall("k"))).last_calls
    assert again[:3] == [turn("k"), turn("l"), turn("j")]
    assert len(again) == len(set(again)) == LAST_CALLS_MAX


# Saying it again


def test_recalls_are_limited() -> None:
    office = called()
    for minute in (1, 2, 3):
        now = NOW + timedelta(minutes=minute)
        said_again = TurnRecalled(turn=turn("ana"), counter=1, called_at=now)
        office.when(recall("ana"), now=now).then((stream(LINE), said_again))
        office = office.after(recall("ana"), now=now)
    office.when(recall("ana")).rejected("recalled_too_often", path="turn", limit=3)
    never = two(recalls_max=0).after(call())
    never.when(recall("ana")).rejected("recalled_too_often", path="turn", limit=0)


def test_recalls_are_counted_again_after_a_requeue() -> None:
    office = two(recalls_max=1).after(call(), recall("ana"))
    office = office.after(mark_absent("ana"), requeue("ana"), call(), call(2), now=ABSENT_FROM)
    office.when(recall("ana"), now=ABSENT_FROM).accepted()


def test_a_recall_restarts_the_call_timeout() -> None:
    office = called().after(recall("ana"), now=at("07:01"))
    absent_from = at("07:01") + timedelta(seconds=90)
    office.when(mark_absent("ana"), now=ABSENT_FROM).rejected("called_just_now", path="turn", at=absent_from)
    office.when(mark_absent("ana"), now=absent_from).accepted()
    first_call = line_state(office).turns[turn("ana")].first_called_at
    assert first_call == NOW


def test_recalls_need_an_open_line() -> None:
    called().when(recall("ana"), now=CLOSES - MOMENT).accepted()
    called().when(recall("ana"), now=CLOSES).rejected("line_closed", path="turn", at=CLOSES)
    given().when(recall("ana")).rejected("line_unknown", path="turn")


# Serving


def test_a_called_turn_is_served() -> None:
    office = called()
    office.when(start("ana"), now=at("07:01")).then(
        (stream(LINE), ServiceStarted(turn=turn("ana"), counter=1, started_at=at("07:01")))
    )
    office.after(start("ana")).when(finish("ana", outcome="REFERRED"), now=at("07:20")).then(
        (stream(LINE), ServiceFinished(turn=turn("ana"), counter=1, finished_at=at("07:20"), outcome="REFERRED"))
    )


def test_a_service_can_end_after_closing() -> None:
    office = called().after(start("ana"), now=CLOSES + timedelta(hours=1))
    office.when(finish("ana"), now=CLOSES + timedelta(days=1)).accepted()


def test_repeating_a_start_or_finish_changes_nothing() -> None:
    serving().when(start("ana")).nothing()
    serving().after(finish("ana")).when(finish("ana")).nothing()


def test_an_outcome_is_one_of_three() -> None:
    with pytest.raises(Rejected) as refusal:
        build(FinishService, turn=turn("ana"), outcome="LOST")
    assert (refusal.value.code, refusal.value.path) == ("invalid_input", "outcome")


# Nobody came


def test_a_called_turn_can_be_absent_after_the_timeout() -> None:
    office = called()
    office.when(mark_absent("ana"), now=ABSENT_FROM - MOMENT).rejected("called_just_now", path="turn", at=ABSENT_FROM)
    office.when(mark_absent("ana"), now=ABSENT_FROM).then(
        (stream(LINE), TurnAbsent(turn=turn("ana"), counter=1, absent_at=ABSENT_FROM))
    )


def test_a_late_turn_is_served_if_not_marked_absent() -> None:
    called().when(start("ana"), now=ABSENT_FROM + timedelta(minutes=5)).accepted()


def test_repeating_an_absence_changes_nothing() -> None:
    office = called().after(mark_absent("ana"), now=ABSENT_FROM)
    office.when(mark_absent("ana"), now=ABSENT_FROM).nothing()
    office.when(mark_absent("ana"), now=NOW).nothing()  # by a clock that is behind


# All of them


Step = Callable[[str], Command]
OFFICES: dict[str, tuple[Office, datetime]] = {
    "WAITING": (two(), NOW),
    "CALLED": (called(), NOW),
    "SERVING": (serving(), NOW),
    "SERVED": (serving().after(finish("ana")), NOW),
    "ABSENT": (called().after(mark_absent("ana"), now=ABSENT_FROM), ABSENT_FROM),
    "LEFT": (two().after(leave("ana")), NOW),
    "TRANSFERRED": (two().after(transfer("ana")), NOW),
}
# Of each step the states from which it is taken, or which it has brought about.
STEPS: list[tuple[Step, set[str]]] = [
    (recall, {"CALLED"}),
    (start, {"CALLED", "SERVING", "ABSENT"}),
    (finish, {"SERVING", "SERVED"}),
    (mark_absent, {"CALLED", "ABSENT"}),
]


@pytest.mark.parametrize(("step", "fine"), STEPS)
@pytest.mark.parametrize("state", OFFICES)
def test_a_step_in_the_wrong_state_is_refused(step: Step, fine: set[str], state: str) -> None:
    office, now = OFFICES[state]
    assert turn_state(office, "ana") == state
    if state not in fine:
        office.when(step("ana"), now=now).rejected("turn_elsewhere", path="turn", number="A-001", state=state)


def test_an_absent_turn_is_served_while_its_counter_is_free() -> None:
    """It makes no difference whether a clerk or the clock marked it absent."""
    absent = called().after(mark_absent("ana"), now=ABSENT_FROM)
    late = absent.after(start("ana"), now=ABSENT_FROM + timedelta(minutes=2))
    assert (turn_state(late, "ana"), line_state(late).counters[1].turn) == ("SERVING", turn("ana"))
    late.when(call(1)).rejected("counter_busy", path="counter", number="A-001")
    late.when(finish("ana")).accepted()
    until = ABSENT_FROM + timedelta(minutes=15)
    absent.when(start("ana"), now=until).accepted()
    refused = [
        absent.when(start("ana"), now=until + MOMENT),
        absent.after(call(), now=ABSENT_FROM).when(start("ana"), now=ABSENT_FROM),
        absent.after(close(), now=ABSENT_FROM).when(start("ana"), now=ABSENT_FROM),
    ]
    for answer in refused:
        answer.rejected("turn_elsewhere", path="turn", number="A-001", state="ABSENT")
    again = absent.after(TakeTurn(line=LINE, turn=turn("again"), channel="WEB", person=opaque("ana")), now=ABSENT_FROM)
    again.when(start("ana"), now=ABSENT_FROM).rejected("has_a_turn", path="turn", number="A-003")


@pytest.mark.parametrize("step", [step for step, _ in STEPS])
def test_a_step_of_an_unknown_turn_is_refused(step: Step) -> None:
    two().when(step("luis")).rejected("turn_unknown", path="turn")


def test_steps_at_a_counter_give_no_notices() -> None:
    office = two().after(take("luis"), call(), ask_notice("luis", minutes=5))
    assert recorded(office.when(mark_absent("ana"), now=ABSENT_FROM), NoticeGiven) == []
