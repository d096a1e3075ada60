"""What somebody who waits may do: take a turn, leave, come back, go on in another line, ask to be told."""

from datetime import timedelta

import pytest

from domain.decider import Command, Event, build
from domain.errors import Rejected
from domain.queues import turns
from domain.queues.line import (
    Notice,
    NoticeAsked,
    NoticeGiven,
    TurnLeft,
    TurnRequeued,
    TurnTaken,
    TurnTransferred,
    stream,
)
from domain.queues.order import ahead_of
from domain.queues.turns import AskNotice, TakeTurn, TransferTurn
from tests.office import LA_MERCED, MOMENT, NOW, Answer, Office, at, given, opaque
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
    give_notice,
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
    waiting,
)

ABSENT_AT = NOW + timedelta(seconds=90)
BACK_UNTIL = ABSENT_AT + timedelta(seconds=900)


def both() -> Office:
    return given(line_opened(), line_opened(OTHER))


def absent(*others: str) -> Office:
    """Ana was called and not there; the others wait."""
    office = both().after(take("ana"), *map(take, others), call())
    return office.after(mark_absent("ana"), now=ABSENT_AT)


def told(answer: Answer) -> list[tuple[str, int]]:
    """Who is told, and that so many are called before."""
    return [(event.turn, event.ahead) for event in recorded(answer, NoticeGiven)]


# Taking a turn


def test_somebody_gets_a_number() -> None:
    given(line_opened()).when(take("ana")).then(
        (
            stream(LINE),
            TurnTaken(
                turn=turn("ana"),
                number=1,
                priority="NORMAL",
                channel="WEB",
                since=NOW,
                taken_at=NOW,
                ahead=0,
                counters=2,
                person=opaque("ana"),
            ),
        )
    )


def test_with_a_reason_it_is_a_preferential_one() -> None:
    (taken,) = recorded(given(line_opened()).when(take("ana", reason="PREGNANT")), TurnTaken)
    assert (taken.priority, taken.reason, taken.number) == ("PREFERENTIAL", "PREGNANT", 1)


def test_each_class_has_numbers_of_its_own() -> None:
    office = given(line_opened()).after(
        take("ana"), take("eva", reason="INFANT"), take("luis"), take_paper("rosa", reason="AGE"), call()
    )
    assert waiting(office) == ["P-002", "A-001", "A-002"]
    assert waiting(office.after(take("juan", reason="DISABILITY"), take("jose"))) == [
        "P-002",
        "A-001",
        "P-003",
        "A-002",
        "A-003",
    ]


def test_a_number_is_never_given_again() -> None:
    office = given(line_opened()).after(take("ana"), take("eva"), leave("eva"), take("luis"))
    assert waiting(office) == ["A-001", "A-003"]


def test_a_turn_tells_how_many_are_called_before_and_by_how_many_counters() -> None:
    office = given(line_opened()).after(take("ana"), take("eva"), take("luis"), pause(2))
    (normal,) = recorded(office.when(take("rosa")), TurnTaken)
    (preferential,) = recorded(office.when(take("rosa", reason="PREGNANT")), TurnTaken)
    assert (normal.ahead, normal.counters) == (3, 1)
    assert (preferential.ahead, preferential.counters) == (0, 1)


def test_taking_it_again_is_nothing_also_when_no_more_are_given() -> None:
    office = given(line_opened()).after(take("ana"))
    for now in (NOW, LAST_TURN, CLOSES):
        office.when(take("ana"), now=now).nothing()
    office.after(call(), start("ana"), finish("ana")).when(take("ana")).nothing()


def test_who_has_no_phone_gets_a_number_as_nobody_and_so_often_as_they_ask() -> None:
    office = given(line_opened()).after(*(take_paper(name) for name in ("a", "b", "c")))
    assert waiting(office) == ["A-001", "A-002", "A-003"]
    assert line_state(office).live == {}


def test_at_home_nobody_is_nobody() -> None:
    said = given(line_opened()).when(take_paper("ana", channel="WEB"))
    said.rejected("invalid_input", path="person", hint="opaque")


def test_the_age_of_who_is_known_is_not_claimed() -> None:
    said = given(line_opened()).when(take("ana", reason="AGE", channel="COUNTER"))
    said.rejected("invalid_input", path="reason", hint="one_of")
    given(line_opened()).when(take_paper("ana", reason="AGE")).accepted()


def test_turns_are_given_while_the_line_is_open_for_them() -> None:
    office = given(line_opened())
    office.when(take("ana"), now=OPENS - MOMENT).rejected("line_not_open_yet", path="line", at=OPENS)
    office.when(take("ana"), now=OPENS).accepted()
    office.when(take("ana"), now=LAST_TURN - MOMENT).accepted()
    office.when(take("ana"), now=LAST_TURN).rejected("no_more_turns", path="line", at=LAST_TURN)
    office.when(take("ana"), now=CLOSES - MOMENT).rejected("no_more_turns", path="line", at=LAST_TURN)
    office.when(take("ana"), now=CLOSES).rejected("line_closed", path="line", at=CLOSES)
    closed = office.after(close(), now=at("09:00"))
    closed.when(take("ana"), now=at("09:01")).rejected("line_closed", path="line", at=at("09:00"))


def test_there_are_no_turns_in_no_line() -> None:
    given().when(take("ana")).rejected("line_unknown", path="line")


def test_a_turn_is_of_the_line_that_it_names() -> None:
    elsewhere = TakeTurn(line=LINE, turn=turn("ana", OTHER), channel="WEB", person=opaque("ana"))
    both().when(elsewhere).rejected("invalid_input", path="turn", hint="opaque")


def test_a_person_has_one_live_turn_in_a_line() -> None:
    again = TakeTurn(line=LINE, turn=turn("again"), channel="WEB", person=opaque("ana"))
    office = both().after(take("ana"))
    for live in (office, office.after(call()), office.after(call(), start("ana"))):
        live.when(again).rejected("has_a_turn", path="person", turn=turn("ana"), number="A-001")
        live.when(take("ana", OTHER)).accepted()


def test_whose_turn_is_over_takes_another() -> None:
    again = TakeTurn(line=LINE, turn=turn("again"), channel="WEB", person=opaque("ana"))
    office = both().after(take("ana"))
    for over in (
        office.after(call(), start("ana"), finish("ana")),
        office.after(leave("ana")),
        office.after(transfer("ana")),
        absent(),
    ):
        (taken,) = recorded(over.when(again, now=ABSENT_AT), TurnTaken)
        assert taken.number == 2


def test_a_line_gets_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURNS_PER_LINE_MAX", 2)
    office = both().after(take("ana"), take("eva"), take("luis", OTHER), leave("eva"))
    office.when(take("rosa")).rejected("line_full", path="line", limit=2)
    office.when(transfer("luis", LINE, line=OTHER)).rejected("line_full", path="to", limit=2)


@pytest.mark.parametrize(
    ("field", "value"),
    [("line", "sopocachi"), ("turn", "ana"), ("channel", "PHONE"), ("person", "ana"), ("reason", "FRIEND")],
)
def test_its_fields_have_a_form(field: str, value: str) -> None:
    fields = {"line": LINE, "turn": turn("ana"), "channel": "WEB", "person": opaque("ana"), "reason": "INFANT"}
    assert build(TakeTurn, **fields)
    with pytest.raises(Rejected) as refusal:
        build(TakeTurn, **fields | {field: value})
    assert (refusal.value.code, refusal.value.path) == ("invalid_input", field)


# Leaving


def test_who_waits_may_leave_and_who_was_called_and_who_was_absent() -> None:
    left = (stream(LINE), TurnLeft(turn=turn("ana"), left_at=ABSENT_AT))
    waits = both().after(take("ana"))
    for office in (waits, waits.after(call()), absent()):
        office.when(leave("ana"), now=ABSENT_AT).then(left)


def test_a_counter_whose_turn_left_is_free() -> None:
    office = both().after(take("ana"), take("eva"), call(), leave("ana"))
    office.when(call()).accepted()


def test_leaving_twice_is_nothing() -> None:
    both().after(take("ana"), leave("ana")).when(leave("ana"), now=CLOSES).nothing()


def test_who_is_served_or_gone_does_not_leave() -> None:
    serving = both().after(take("ana"), call(), start("ana"))
    for office, state in (
        (serving, "SERVING"),
        (serving.after(finish("ana")), "SERVED"),
        (both().after(take("ana"), transfer("ana")), "TRANSFERRED"),
        (both().after(take("ana"), close()), "UNSERVED"),
    ):
        office.when(leave("ana")).rejected("turn_elsewhere", path="turn", number="A-001", state=state)


def test_leaving_an_old_turn_leaves_the_new_one_as_it_is() -> None:
    again = TakeTurn(line=LINE, turn=turn("again"), channel="WEB", person=opaque("ana"))
    office = absent().after(again, leave("ana"), now=ABSENT_AT)
    assert line_state(office).live == {opaque("ana"): turn("again")}
    assert waiting(office) == ["A-002"]


# Coming back


def test_who_was_absent_comes_back_behind_the_next_two() -> None:
    office = absent("eva", "luis", "rosa")
    office.when(requeue("ana"), now=at("07:10")).then(
        (stream(LINE), TurnRequeued(turn=turn("ana"), requeued_at=at("07:10")))
    )
    assert waiting(office.after(requeue("ana"), now=at("07:10"))) == ["A-002", "A-003", "A-001", "A-004"]
    assert waiting(absent("eva").after(requeue("ana"), now=at("07:10"))) == ["A-002", "A-001"]
    assert waiting(absent().after(requeue("ana"), now=at("07:10"))) == ["A-001"]


def test_nobody_who_comes_back_overtakes_who_came_back_before() -> None:
    office = absent("eva", "luis", "rosa", "juan").after(requeue("ana"), now=ABSENT_AT)
    office = office.after(call(), now=ABSENT_AT).after(mark_absent("eva"), now=ABSENT_AT + timedelta(seconds=90))
    assert waiting(office) == ["A-003", "A-001", "A-004", "A-005"]
    assert waiting(office.after(requeue("eva"), now=at("07:10"))) == ["A-003", "A-001", "A-004", "A-002", "A-005"]


def test_one_takes_so_many_turns_in_a_line_and_no_more() -> None:
    office = given(line_opened())
    for n in range(5):
        name = f"n{n + 2}"
        office = office.after(TakeTurn(line=LINE, turn=turn(name), channel="WEB", person=opaque("ana")), leave(name))
    one_more = TakeTurn(line=LINE, turn=turn("more"), channel="WEB", person=opaque("ana"))
    office.when(one_more).rejected("too_many_turns", path="person", limit=5)
    office.when(take("eva")).accepted()


def test_one_asks_to_be_told_so_often_and_no_more() -> None:
    office = given(line_opened()).after(take("ana"))
    for _ in range(5):
        office = office.after(ask_notice("ana", ahead=3))  # it is near already: told at once
    office.when(ask_notice("ana", ahead=3)).rejected("too_many_wishes", path="turn", limit=5)


def test_nobody_asks_to_be_told_in_a_line_whose_time_is_over() -> None:
    office = given(line_opened()).after(take("ana"))
    office.when(ask_notice("ana", ahead=3), now=CLOSES).rejected("line_closed", path="turn")


def test_only_those_of_one_s_class_are_the_next_two() -> None:
    office = absent("eva", "luis", "rosa").after(*(take(name, reason="INFANT") for name in ("p", "q", "r")))
    back = office.after(requeue("ana"), now=ABSENT_AT)
    assert waiting(back) == ["P-001", "P-002", "A-002", "P-003", "A-003", "A-001", "A-004"]


def test_one_may_come_back_for_some_time() -> None:
    absent().when(requeue("ana"), now=BACK_UNTIL).accepted()
    absent().when(requeue("ana"), now=BACK_UNTIL + MOMENT).rejected("absent_too_long", path="turn", at=BACK_UNTIL)


def test_one_may_come_back_so_often() -> None:
    office, now = absent(), ABSENT_AT
    for _ in range(2):
        office = office.after(requeue("ana"), call(), now=now)
        now += timedelta(seconds=90)
        office = office.after(mark_absent("ana"), now=now)
    office.when(requeue("ana"), now=now).rejected("requeued_too_often", path="turn", limit=2)


def test_coming_back_twice_is_nothing() -> None:
    absent().after(requeue("ana"), now=ABSENT_AT).when(requeue("ana"), now=ABSENT_AT).nothing()


def test_only_who_was_absent_comes_back() -> None:
    office = both().after(take("ana"))
    office.when(requeue("ana")).rejected("turn_elsewhere", path="turn", number="A-001", state="WAITING")
    left = absent().after(leave("ana"), now=ABSENT_AT)
    left.when(requeue("ana"), now=ABSENT_AT).rejected("turn_elsewhere", path="turn", state="LEFT")
    office.when(requeue("eva")).rejected("turn_unknown", path="turn")
    given().when(requeue("ana")).rejected("line_unknown", path="turn")
    absent().after(close(), now=at("07:05")).when(requeue("ana"), now=at("07:06")).rejected("line_closed", path="turn")


def test_nobody_comes_back_beside_their_new_turn() -> None:
    again = TakeTurn(line=LINE, turn=turn("again"), channel="WEB", person=opaque("ana"))
    office = absent().after(again, now=ABSENT_AT)
    said = office.when(requeue("ana"), now=ABSENT_AT)
    said.rejected("has_a_turn", path="turn", turn=turn("again"), number="A-002")
    office.after(leave("again"), now=ABSENT_AT).when(requeue("ana"), now=ABSENT_AT).accepted()


def test_who_came_back_is_called_and_served_like_the_others() -> None:
    office = absent().after(requeue("ana"), call(2), start("ana"), finish("ana"), now=ABSENT_AT)
    assert turn_state(office, "ana") == "SERVED"


# Going on in another line


def test_a_turn_goes_on_in_another_line_with_its_wait() -> None:
    office = both().after(take("eva", OTHER), take("ana", reason="INFANT"))
    now = at("07:30")
    office.when(transfer("ana"), now=now).then(
        (stream(LINE), TurnTransferred(turn=turn("ana"), moved_to=turn("ana", OTHER), moved_at=now)),
        (
            stream(OTHER),
            TurnTaken(
                turn=turn("ana", OTHER),
                number=1,
                priority="PREFERENTIAL",
                channel="COUNTER",
                since=NOW,
                taken_at=now,
                ahead=0,
                counters=2,
                person=opaque("ana"),
                reason="INFANT",
                moved_from=turn("ana"),
            ),
        ),
    )


def test_who_has_waited_longer_elsewhere_is_before_and_the_turn_says_so() -> None:
    office = both().after(take("eva", OTHER)).after(take("ana"), now=at("07:10"))
    office = office.after(take("luis", OTHER), now=at("07:20"))
    (taken,) = recorded(office.when(transfer("ana"), now=at("07:30")), TurnTaken)
    assert taken.ahead == 1
    moved = office.after(transfer("ana"), now=at("07:30"))
    assert waiting(moved, OTHER) == ["A-001", "A-003", "A-002"]


def test_who_has_waited_as_long_is_behind_who_was_there() -> None:
    office = both().after(take("eva", OTHER), take("ana"))
    assert waiting(office.after(transfer("ana")), OTHER) == ["A-001", "A-002"]


def test_who_is_at_a_counter_goes_on_elsewhere_and_it_is_free() -> None:
    called = both().after(take("ana"), take("eva"), call())
    for office in (called, called.after(start("ana"))):
        moved = office.after(transfer("ana"))
        assert turn_state(moved, "ana") == "TRANSFERRED"
        assert line_state(moved).turns[turn("ana")].moved_to == turn("ana", OTHER)
        assert waiting(moved, OTHER) == ["A-001"]
        moved.when(call()).accepted()


def test_a_turn_may_come_back_by_the_same_way() -> None:
    office = both().after(take("ana"), take("eva"), transfer("ana"))
    back = TransferTurn(turn=turn("ana", OTHER), to=LINE, moved_to=turn("back"))
    assert waiting(office.after(back), LINE) == ["A-002", "A-003"]  # they came at the same moment
    assert waiting(office.after(back), OTHER) == []


def test_transferring_twice_is_nothing() -> None:
    both().after(take("ana"), transfer("ana")).when(transfer("ana"), now=at("13:00")).nothing()


def test_another_name_for_a_turn_that_has_gone_on_comes_too_late() -> None:
    again = TransferTurn(turn=turn("ana"), to=OTHER, moved_to=turn("again", OTHER))
    said = both().after(take("ana"), transfer("ana")).when(again)
    said.rejected("turn_elsewhere", path="turn", number="A-001", state="TRANSFERRED")


def test_the_other_line_is_another_and_the_new_name_one_of_its_own() -> None:
    office = both().after(take("ana"), take("eva", OTHER))
    office.when(transfer("ana", LINE)).rejected("invalid_input", path="to", hint="another_line")
    for name in (turn("new"), turn("eva", OTHER)):
        said = office.when(TransferTurn(turn=turn("ana"), to=OTHER, moved_to=name))
        said.rejected("invalid_input", path="moved_to", hint="opaque")


def test_the_other_line_is_running_though_it_gives_no_more_turns() -> None:
    given(line_opened()).after(take("ana")).when(transfer("ana")).rejected("line_unknown", path="to")
    office = given(line_opened(), line_opened(OTHER, opens_at=at("08:00"))).after(take("ana"))
    office.when(transfer("ana"), now=at("08:00") - MOMENT).rejected("line_not_open_yet", path="to", at=at("08:00"))
    office.when(transfer("ana"), now=at("08:00")).accepted()
    office.when(transfer("ana"), now=LAST_TURN).accepted()
    office.when(transfer("ana"), now=CLOSES - MOMENT).accepted()
    office.when(transfer("ana"), now=CLOSES).rejected("line_closed", path="to", at=CLOSES)


def test_only_what_is_live_goes_on() -> None:
    both().when(transfer("ana")).rejected("turn_unknown", path="turn")
    served = both().after(take("ana"), call(), start("ana"), finish("ana"))
    for office, state in ((served, "SERVED"), (absent(), "ABSENT"), (both().after(take("ana"), leave("ana")), "LEFT")):
        office.when(transfer("ana"), now=ABSENT_AT).rejected("turn_elsewhere", path="turn", state=state)


def test_nobody_goes_on_where_they_wait_already() -> None:
    office = both().after(take("ana"), TakeTurn(line=OTHER, turn=turn("x", OTHER), channel="WEB", person=opaque("ana")))
    office.when(transfer("ana")).rejected("has_a_turn", path="turn", turn=turn("x", OTHER), number="A-001")


FICHA = f"{LA_MERCED}/2027-01-15/p-1/{opaque('ficha')}"


@pytest.mark.parametrize(
    ("here", "there", "becomes"),
    [
        (LA_MERCED, LA_MERCED, "APPOINTMENT"),
        (LA_MERCED, "cotahuma", "NORMAL"),
        (LA_MERCED, None, "NORMAL"),
        (None, None, "NORMAL"),
    ],
)
def test_a_ficha_counts_in_its_own_hospital_alone(here: str | None, there: str | None, becomes: str) -> None:
    with_ficha = TurnTaken(
        turn=turn("ana"),
        number=1,
        priority="APPOINTMENT",
        channel="WEB",
        since=NOW,
        taken_at=NOW,
        ahead=0,
        counters=2,
        person=opaque("ana"),
        appointment=FICHA,
    )
    office = given(line_opened(hospital=here), line_opened(OTHER, hospital=there), (stream(LINE), with_ficha))
    (taken,) = recorded(office.when(transfer("ana")), TurnTaken)
    assert (taken.priority, taken.appointment) == (becomes, FICHA if becomes == "APPOINTMENT" else None)


# Notices


def six() -> Office:
    return both().after(*(take(name) for name in ("a", "b", "c", "d", "e", "f")))


def test_who_asked_is_told_in_the_commit_that_brings_them_near() -> None:
    office = six().after(ask_notice("d", ahead=2))
    called = office.when(call())
    assert told(called) == [(turn("d"), 2)]
    assert [type(event).__name__ for _, event in called.recorded] == ["TurnCalled", "NoticeGiven"]


NEARER: list[tuple[Command, str]] = [
    (call(), "the next is called"),
    (call_turn("b"), "another is called"),
    (leave("c"), "one before leaves"),
    (transfer("a"), "one before goes on elsewhere"),
]


@pytest.mark.parametrize(("command", "why"), NEARER, ids=[why for _, why in NEARER])
def test_whatever_brings_them_near_they_are_told(command: Command, why: str) -> None:
    office = given(line_opened(direct_calls=True), line_opened(OTHER))
    office = office.after(*(take(name) for name in ("a", "b", "c", "d")), ask_notice("d", ahead=2))
    assert told(office.when(command)) == [(turn("d"), 2)]
    after = office.after(command)
    assert told(after.when(call(2))) == []


def test_nobody_is_told_by_what_is_behind_them_or_changes_no_order() -> None:
    office = six().after(call(), ask_notice("d", ahead=1))
    for command in (leave("e"), leave("a"), take("g"), transfer("f")):
        assert told(office.when(command)) == []


def test_who_is_near_already_is_told_at_once() -> None:
    six().when(ask_notice("c", ahead=2), now=at("07:01")).then(
        (stream(LINE), NoticeAsked(turn=turn("c"), ahead=2)),
        (
            stream(LINE),
            NoticeGiven(turn=turn("c"), number=3, priority="NORMAL", ahead=2, given_at=at("07:01"), person=opaque("c")),
        ),
    )
    assert told(six().when(ask_notice("d", ahead=2))) == []


def test_one_s_last_wish_counts() -> None:
    office = six().after(ask_notice("f", ahead=4), ask_notice("f", ahead=1))
    assert told(office.when(call())) == []
    later = six().after(ask_notice("f", ahead=4), ask_notice("f", minutes=10))
    assert told(later.when(call())) == []
    assert told(later.when(give_notice("f"))) == [(turn("f"), 5)]


def test_asking_the_same_again_is_nothing_until_it_was_told() -> None:
    office = six().after(ask_notice("f", ahead=4))
    office.when(ask_notice("f", ahead=4)).nothing()
    assert told(office.after(call()).when(ask_notice("f", ahead=4))) == [(turn("f"), 4)]


def test_with_a_turn_its_wish_is_over_or_goes_along() -> None:
    office = six().after(ask_notice("f", minutes=5), ask_notice("e", minutes=5), ask_notice("d", minutes=5))
    office = office.after(leave("f"), transfer("e"))
    assert list(line_state(office).notices) == [turn("d")]
    assert line_state(office, OTHER).notices == {turn("e", OTHER): Notice(minutes=5)}
    for command in (close(), leave("d"), transfer("d")):
        assert line_state(office.after(command)).notices == {}


def test_who_was_called_wishes_nothing_any_more_and_is_not_told_when_they_come_back() -> None:
    office = both().after(take("a"), take("b"), ask_notice("a", minutes=5), call())
    assert line_state(office).notices == {}
    back = office.after(mark_absent("a"), requeue("a"), now=ABSENT_AT)
    assert told(back.when(call(2), now=ABSENT_AT)) == []


def test_a_notice_by_time_is_given_when_the_time_has_come_and_once() -> None:
    office = six().after(ask_notice("f", minutes=15), call())
    now = at("07:02")
    given_one = NoticeGiven(
        turn=turn("f"), number=6, priority="NORMAL", ahead=4, given_at=now, person=opaque("f"), minutes=15
    )
    office.when(give_notice("f"), now=now).then((stream(LINE), given_one))
    office.after(give_notice("f")).when(give_notice("f")).nothing()


def test_a_notice_by_time_that_nobody_wants_any_more_is_nothing() -> None:
    six().when(give_notice("f")).nothing()
    six().after(ask_notice("f", ahead=2)).when(give_notice("f")).nothing()
    six().after(ask_notice("a", minutes=5), call()).when(give_notice("a")).nothing()
    six().when(give_notice("z")).rejected("turn_unknown", path="turn")


def test_one_asks_for_one_thing_while_one_waits() -> None:
    for both_or_none in (ask_notice("a"), ask_notice("a", ahead=1, minutes=1)):
        six().when(both_or_none).rejected("invalid_input", path="minutes", hint="one_of_two")
    six().when(ask_notice("z", ahead=1)).rejected("turn_unknown", path="turn")
    called = six().after(call())
    called.when(ask_notice("a", ahead=1)).rejected("turn_elsewhere", path="turn", number="A-001", state="CALLED")


@pytest.mark.parametrize(("field", "least", "most"), [("ahead", 0, 100), ("minutes", 1, 240)])
def test_wishes_have_limits(field: str, least: int, most: int) -> None:
    for right in (least, most):
        assert build(AskNotice, turn=turn("a"), **{field: right})
    for wrong in (least - 1, most + 1):
        with pytest.raises(Rejected) as refusal:
            build(AskNotice, turn=turn("a"), **{field: wrong})
        assert (refusal.value.code, refusal.value.path) == ("invalid_input", field)


def test_several_are_told_at_once_in_the_order_of_their_calls() -> None:
    office = six().after(ask_notice("f", ahead=4), ask_notice("b", ahead=0), ask_notice("d", ahead=1))
    assert told(office.when(call())) == [(turn("b"), 0), (turn("f"), 4)]


# What is said of a turn that was recalled or left is not lost on the others


def test_a_recall_and_a_pause_tell_nobody() -> None:
    office = six().after(call(), ask_notice("d", ahead=1))
    quiet: list[Command] = [recall("a"), start("a"), pause(2)]
    kinds: list[type[Event]] = [type(event) for command in quiet for _, event in office.when(command).recorded]
    assert NoticeGiven not in kinds
    assert len(kinds) == len(quiet)


def test_how_many_are_ahead_of_who_does_not_wait_is_how_many_wait() -> None:
    office = six().after(call())
    assert ahead_of(line_state(office), turn("a")) == 5
    assert ahead_of(line_state(office), turn("f")) == 4
