"""Turns: taking, leaving, requeueing, transfer, notices."""

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
    """Ana was called and absent; the others wait."""
    office = both().after(take("ana"), *map(take, others), call())
    return office.after(mark_absent("ana"), now=ABSENT_AT)


def notices(answer: Answer) -> list[tuple[str, int]]:
    """The turns that get a notice, with the number ahead."""
    return [(event.turn, event.ahead) for event in recorded(answer, NoticeGiven)]


# Taking a turn


def test_a_turn_gets_a_number() -> None:
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


def test_a_reason_makes_a_turn_preferential() -> None:
    (taken,) = recorded(given(line_opened()).when(take("ana", reason="PREGNANT")), TurnTaken)
    assert (taken.priority, taken.reason, taken.number) == ("PREFERENTIAL", "PREGNANT", 1)


def test_each_class_has_its_own_numbers() -> None:
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


def test_a_number_is_never_reused() -> None:
    office = given(line_opened()).after(take("ana"), take("eva"), leave("eva"), take("luis"))
    assert waiting(office) == ["A-001", "A-003"]


def test_a_turn_records_turns_ahead_and_open_counters() -> None:
    office = given(line_opened()).after(take("ana"), take("eva"), take("luis"), pause(2))
    (normal,) = recorded(office.when(take("rosa")), TurnTaken)
    (preferential,) = recorded(office.when(take("rosa", reason="PREGNANT")), TurnTaken)
    assert (normal.ahead, normal.counters) == (3, 1)
    assert (preferential.ahead, preferential.counters) == (0, 1)


def test_repeating_a_turn_changes_nothing_even_after_the_last_turn() -> None:
    office = given(line_opened()).after(take("ana"))
    for now in (NOW, LAST_TURN, CLOSES):
        office.when(take("ana"), now=now).nothing()
    office.after(call(), start("ana"), finish("ana")).when(take("ana")).nothing()


def test_paper_tickets_have_no_person_and_no_limit() -> None:
    office = given(line_opened()).after(*(take_paper(name) for name in ("a", "b", "c")))
    assert waiting(office) == ["A-001", "A-002", "A-003"]
    assert line_state(office).live == {}


def test_a_turn_from_home_needs_a_person() -> None:
    answer = given(line_opened()).when(take_paper("ana", channel="WEB"))
    answer.rejected("invalid_input", path="person", hint="opaque")


def test_a_registered_person_s_age_is_not_claimed() -> None:
    answer = given(line_opened()).when(take("ana", reason="AGE", channel="COUNTER"))
    answer.rejected("invalid_input", path="reason", hint="one_of")
    given(line_opened()).when(take_paper("ana", reason="AGE")).accepted()


def test_turns_are_given_between_opening_and_last_turn() -> None:
    office = given(line_opened())
    office.when(take("ana"), now=OPENS - MOMENT).rejected("line_not_open_yet", path="line", at=OPENS)
    office.when(take("ana"), now=OPENS).accepted()
    office.when(take("ana"), now=LAST_TURN - MOMENT).accepted()
    office.when(take("ana"), now=LAST_TURN).rejected("no_more_turns", path="line", at=LAST_TURN)
    office.when(take("ana"), now=CLOSES - MOMENT).rejected("no_more_turns", path="line", at=LAST_TURN)
    office.when(take("ana"), now=CLOSES).rejected("line_closed", path="line", at=CLOSES)
    closed = office.after(close(), now=at("09:00"))
    closed.when(take("ana"), now=at("09:01")).rejected("line_closed", path="line", at=at("09:00"))


def test_an_unopened_line_gives_no_turns() -> None:
    given().when(take("ana")).rejected("line_unknown", path="line")


def test_a_turn_s_id_contains_its_line() -> None:
    elsewhere = TakeTurn(line=LINE, turn=turn("ana", OTHER), channel="WEB", person=opaque("ana"))
    both().when(elsewhere).rejected("invalid_input", path="turn", hint="opaque")


def test_a_person_has_one_live_turn_in_a_line() -> None:
    again = TakeTurn(line=LINE, turn=turn("again"), channel="WEB", person=opaque("ana"))
    office = both().after(take("ana"))
    for live in (office, office.after(call()), office.after(call(), start("ana"))):
        live.when(again).rejected("has_a_turn", path="person", turn=turn("ana"), number="A-001")
        live.when(take("ana", OTHER)).accepted()


def test_a_person_takes_another_turn_after_the_first_ended() -> None:
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


def test_the_number_of_turns_in_a_line_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_waiting_called_and_absent_turns_can_leave() -> None:
    left = (stream(LINE), TurnLeft(turn=turn("ana"), left_at=ABSENT_AT))
    waits = both().after(take("ana"))
    for office in (waits, waits.after(call()), absent()):
        office.when(leave("ana"), now=ABSENT_AT).then(left)


def test_a_counter_is_free_after_its_turn_left() -> None:
    office = both().after(take("ana"), take("eva"), call(), leave("ana"))
    office.when(call()).accepted()


def test_leaving_again_changes_nothing() -> None:
    both().after(take("ana"), leave("ana")).when(leave("ana"), now=CLOSES).nothing()


def test_served_and_ended_turns_cannot_leave() -> None:
    serving = both().after(take("ana"), call(), start("ana"))
    for office, state in (
        (serving, "SERVING"),
        (serving.after(finish("ana")), "SERVED"),
        (both().after(take("ana"), transfer("ana")), "TRANSFERRED"),
        (both().after(take("ana"), close()), "UNSERVED"),
    ):
        office.when(leave("ana")).rejected("turn_elsewhere", path="turn", number="A-001", state=state)


def test_leaving_an_old_turn_does_not_affect_the_new_one() -> None:
    again = TakeTurn(line=LINE, turn=turn("again"), channel="WEB", person=opaque("ana"))
    office = absent().after(again, leave("ana"), now=ABSENT_AT)
    assert line_state(office).live == {opaque("ana"): turn("again")}
    assert waiting(office) == ["A-002"]


# Coming back


def test_a_requeued_turn_is_behind_the_next_two() -> None:
    office = absent("eva", "luis", "rosa")
    office.when(requeue("ana"), now=at("07:10")).then(
        (stream(LINE), TurnRequeued(turn=turn("ana"), requeued_at=at("07:10")))
    )
    assert waiting(office.after(requeue("ana"), now=at("07:10"))) == ["A-002", "A-003", "A-001", "A-004"]
    assert waiting(absent("eva").after(requeue("ana"), now=at("07:10"))) == ["A-002", "A-001"]
    assert waiting(absent().after(requeue("ana"), now=at("07:10"))) == ["A-001"]


def test_requeued_turns_keep_their_order() -> None:
    office = absent("eva", "luis", "rosa", "juan").after(requeue("ana"), now=ABSENT_AT)
    office = office.after(call(), now=ABSENT_AT).after(mark_absent("eva"), now=ABSENT_AT + timedelta(seconds=90))
    assert waiting(office) == ["A-003", "A-001", "A-004", "A-005"]
    assert waiting(office.after(requeue("eva"), now=at("07:10"))) == ["A-003", "A-001", "A-004", "A-002", "A-005"]


def test_turns_per_person_are_limited() -> None:
    office = given(line_opened())
    for n in range(5):
        name = f"n{n + 2}"
        office = office.after(TakeTurn(line=LINE, turn=turn(name), channel="WEB", person=opaque("ana")), leave(name))
    one_more = TakeTurn(line=LINE, turn=turn("more"), channel="WEB", person=opaque("ana"))
    office.when(one_more).rejected("too_many_turns", path="person", limit=5)
    office.when(take("eva")).accepted()


def test_notice_requests_per_turn_are_limited() -> None:
    office = given(line_opened()).after(take("ana"))
    for _ in range(5):
        office = office.after(ask_notice("ana", ahead=3))  # it is due already
    office.when(ask_notice("ana", ahead=3)).rejected("too_many_wishes", path="turn", limit=5)


def test_no_notice_is_requested_after_closing_time() -> None:
    office = given(line_opened()).after(take("ana"))
    office.when(ask_notice("ana", ahead=3), now=CLOSES).rejected("line_closed", path="turn")


def test_the_next_two_are_of_the_same_class() -> None:
    office = absent("eva", "luis", "rosa").after(*(take(name, reason="INFANT") for name in ("p", "q", "r")))
    back = office.after(requeue("ana"), now=ABSENT_AT)
    assert waiting(back) == ["P-001", "P-002", "A-002", "P-003", "A-003", "A-001", "A-004"]


def test_a_requeue_has_a_time_limit() -> None:
    absent().when(requeue("ana"), now=BACK_UNTIL).accepted()
    absent().when(requeue("ana"), now=BACK_UNTIL + MOMENT).rejected("absent_too_long", path="turn", at=BACK_UNTIL)


def test_the_number_of_requeues_is_limited() -> None:
    office, now = absent(), ABSENT_AT
    for _ in range(2):
        office = office.after(requeue("ana"), call(), now=now)
        now += timedelta(seconds=90)
        office = office.after(mark_absent("ana"), now=now)
    office.when(requeue("ana"), now=now).rejected("requeued_too_often", path="turn", limit=2)


def test_repeating_a_requeue_changes_nothing() -> None:
    absent().after(requeue("ana"), now=ABSENT_AT).when(requeue("ana"), now=ABSENT_AT).nothing()


def test_only_absent_turns_are_requeued() -> None:
    office = both().after(take("ana"))
    office.when(requeue("ana")).rejected("turn_elsewhere", path="turn", number="A-001", state="WAITING")
    left = absent().after(leave("ana"), now=ABSENT_AT)
    left.when(requeue("ana"), now=ABSENT_AT).rejected("turn_elsewhere", path="turn", state="LEFT")
    office.when(requeue("eva")).rejected("turn_unknown", path="turn")
    given().when(requeue("ana")).rejected("line_unknown", path="turn")
    absent().after(close(), now=at("07:05")).when(requeue("ana"), now=at("07:06")).rejected("line_closed", path="turn")


def test_no_requeue_while_the_person_has_another_turn() -> None:
    again = TakeTurn(line=LINE, turn=turn("again"), channel="WEB", person=opaque("ana"))
    office = absent().after(again, now=ABSENT_AT)
    answer = office.when(requeue("ana"), now=ABSENT_AT)
    answer.rejected("has_a_turn", path="turn", turn=turn("again"), number="A-002")
    office.after(leave("again"), now=ABSENT_AT).when(requeue("ana"), now=ABSENT_AT).accepted()


def test_a_requeued_turn_is_called_and_served() -> None:
    office = absent().after(requeue("ana"), call(2), start("ana"), finish("ana"), now=ABSENT_AT)
    assert turn_state(office, "ana") == "SERVED"


# Going on in another line


def test_a_transferred_turn_keeps_its_wait() -> None:
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


def test_a_transferred_turn_with_a_longer_wait_is_placed_before() -> None:
    office = both().after(take("eva", OTHER)).after(take("ana"), now=at("07:10"))
    office = office.after(take("luis", OTHER), now=at("07:20"))
    (taken,) = recorded(office.when(transfer("ana"), now=at("07:30")), TurnTaken)
    assert taken.ahead == 1
    moved = office.after(transfer("ana"), now=at("07:30"))
    assert waiting(moved, OTHER) == ["A-001", "A-003", "A-002"]


def test_a_transferred_turn_with_an_equal_wait_is_placed_behind() -> None:
    office = both().after(take("eva", OTHER), take("ana"))
    assert waiting(office.after(transfer("ana")), OTHER) == ["A-001", "A-002"]


def test_a_transfer_frees_the_counter() -> None:
    called = both().after(take("ana"), take("eva"), call())
    for office in (called, called.after(start("ana"))):
        moved = office.after(transfer("ana"))
        assert turn_state(moved, "ana") == "TRANSFERRED"
        assert line_state(moved).turns[turn("ana")].moved_to == turn("ana", OTHER)
        assert waiting(moved, OTHER) == ["A-001"]
        moved.when(call()).accepted()


def test_a_turn_can_be_transferred_back() -> None:
    office = both().after(take("ana"), take("eva"), transfer("ana"))
    back = TransferTurn(turn=turn("ana", OTHER), to=LINE, moved_to=turn("back"))
    assert waiting(office.after(back), LINE) == ["A-002", "A-003"]  # they came at the same moment
    assert waiting(office.after(back), OTHER) == []


def test_repeating_a_transfer_changes_nothing() -> None:
    both().after(take("ana"), transfer("ana")).when(transfer("ana"), now=at("13:00")).nothing()


def test_a_second_transfer_of_a_transferred_turn_is_refused() -> None:
    again = TransferTurn(turn=turn("ana"), to=OTHER, moved_to=turn("again", OTHER))
    answer = both().after(take("ana"), transfer("ana")).when(again)
    answer.rejected("turn_elsewhere", path="turn", number="A-001", state="TRANSFERRED")


def test_a_transfer_needs_another_line_and_its_new_turn_id() -> None:
    office = both().after(take("ana"), take("eva", OTHER))
    office.when(transfer("ana", LINE)).rejected("invalid_input", path="to", hint="another_line")
    for name in (turn("new"), turn("eva", OTHER)):
        answer = office.when(TransferTurn(turn=turn("ana"), to=OTHER, moved_to=name))
        answer.rejected("invalid_input", path="moved_to", hint="opaque")


def test_a_transfer_needs_an_open_line_even_after_last_turn() -> None:
    given(line_opened()).after(take("ana")).when(transfer("ana")).rejected("line_unknown", path="to")
    office = given(line_opened(), line_opened(OTHER, opens_at=at("08:00"))).after(take("ana"))
    office.when(transfer("ana"), now=at("08:00") - MOMENT).rejected("line_not_open_yet", path="to", at=at("08:00"))
    office.when(transfer("ana"), now=at("08:00")).accepted()
    office.when(transfer("ana"), now=LAST_TURN).accepted()
    office.when(transfer("ana"), now=CLOSES - MOMENT).accepted()
    office.when(transfer("ana"), now=CLOSES).rejected("line_closed", path="to", at=CLOSES)


def test_only_live_turns_are_transferred() -> None:
    both().when(transfer("ana")).rejected("turn_unknown", path="turn")
    served = both().after(take("ana"), call(), start("ana"), finish("ana"))
    for office, state in ((served, "SERVED"), (absent(), "ABSENT"), (both().after(take("ana"), leave("ana")), "LEFT")):
        office.when(transfer("ana"), now=ABSENT_AT).rejected("turn_elsewhere", path="turn", state=state)


def test_no_transfer_to_a_line_in_which_the_person_waits() -> None:
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
def test_a_ficha_counts_only_in_its_hospital(here: str | None, there: str | None, becomes: str) -> None:
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


def test_a_due_notice_is_in_the_commit_that_makes_it_due() -> None:
    office = six().after(ask_notice("d", ahead=2))
    called = office.when(call())
    assert notices(called) == [(turn("d"), 2)]
    assert [type(event).__name__ for _, event in called.recorded] == ["TurnCalled", "NoticeGiven"]


NEARER: list[tuple[Command, str]] = [
    (call(), "the next is called"),
    (call_turn("b"), "another is called"),
    (leave("c"), "one before leaves"),
    (transfer("a"), "one before goes on elsewhere"),
]


@pytest.mark.parametrize(("command", "why"), NEARER, ids=[why for _, why in NEARER])
def test_every_event_that_moves_a_turn_forward_gives_due_notices(command: Command, why: str) -> None:
    office = given(line_opened(direct_calls=True), line_opened(OTHER))
    office = office.after(*(take(name) for name in ("a", "b", "c", "d")), ask_notice("d", ahead=2))
    assert notices(office.when(command)) == [(turn("d"), 2)]
    after = office.after(command)
    assert notices(after.when(call(2))) == []


def test_other_events_give_no_notices() -> None:
    office = six().after(call(), ask_notice("d", ahead=1))
    for command in (leave("e"), leave("a"), take("g"), transfer("f")):
        assert notices(office.when(command)) == []


def test_a_request_that_is_already_due_is_answered_at_once() -> None:
    six().when(ask_notice("c", ahead=2), now=at("07:01")).then(
        (stream(LINE), NoticeAsked(turn=turn("c"), ahead=2)),
        (
            stream(LINE),
            NoticeGiven(turn=turn("c"), number=3, priority="NORMAL", ahead=2, given_at=at("07:01"), person=opaque("c")),
        ),
    )
    assert notices(six().when(ask_notice("d", ahead=2))) == []


def test_the_last_notice_request_counts() -> None:
    office = six().after(ask_notice("f", ahead=4), ask_notice("f", ahead=1))
    assert notices(office.when(call())) == []
    later = six().after(ask_notice("f", ahead=4), ask_notice("f", minutes=10))
    assert notices(later.when(call())) == []
    assert notices(later.when(give_notice("f"))) == [(turn("f"), 5)]


def test_repeating_a_notice_request_changes_nothing_until_it_is_given() -> None:
    office = six().after(ask_notice("f", ahead=4))
    office.when(ask_notice("f", ahead=4)).nothing()
    assert notices(office.after(call()).when(ask_notice("f", ahead=4))) == [(turn("f"), 4)]


def test_a_notice_request_ends_or_moves_with_its_turn() -> None:
    office = six().after(ask_notice("f", minutes=5), ask_notice("e", minutes=5), ask_notice("d", minutes=5))
    office = office.after(leave("f"), transfer("e"))
    assert list(line_state(office).notices) == [turn("d")]
    assert line_state(office, OTHER).notices == {turn("e", OTHER): Notice(minutes=5)}
    for command in (close(), leave("d"), transfer("d")):
        assert line_state(office.after(command)).notices == {}


def test_a_call_ends_the_notice_request() -> None:
    office = both().after(take("a"), take("b"), ask_notice("a", minutes=5), call())
    assert line_state(office).notices == {}
    back = office.after(mark_absent("a"), requeue("a"), now=ABSENT_AT)
    assert notices(back.when(call(2), now=ABSENT_AT)) == []


def test_a_notice_by_time_is_given_once() -> None:
    office = six().after(ask_notice("f", minutes=15), call())
    now = at("07:02")
    given_one = NoticeGiven(
        turn=turn("f"), number=6, priority="NORMAL", ahead=4, given_at=now, person=opaque("f"), minutes=15
    )
    office.when(give_notice("f"), now=now).then((stream(LINE), given_one))
    office.after(give_notice("f")).when(give_notice("f")).nothing()


def test_a_withdrawn_notice_by_time_is_not_given() -> None:
    six().when(give_notice("f")).nothing()
    six().after(ask_notice("f", ahead=2)).when(give_notice("f")).nothing()
    six().after(ask_notice("a", minutes=5), call()).when(give_notice("a")).nothing()
    six().when(give_notice("z")).rejected("turn_unknown", path="turn")


def test_a_notice_request_needs_a_waiting_turn_and_one_kind() -> None:
    for both_or_none in (ask_notice("a"), ask_notice("a", ahead=1, minutes=1)):
        six().when(both_or_none).rejected("invalid_input", path="minutes", hint="one_of_two")
    six().when(ask_notice("z", ahead=1)).rejected("turn_unknown", path="turn")
    called = six().after(call())
    called.when(ask_notice("a", ahead=1)).rejected("turn_elsewhere", path="turn", number="A-001", state="CALLED")


@pytest.mark.parametrize(("field", "least", "most"), [("ahead", 0, 100), ("minutes", 1, 240)])
def test_notice_requests_have_limits(field: str, least: int, most: int) -> None:
    for right in (least, most):
        assert build(AskNotice, turn=turn("a"), **{field: right})
    for wrong in (least - 1, most + 1):
        with pytest.raises(Rejected) as refusal:
            build(AskNotice, turn=turn("a"), **{field: wrong})
        assert (refusal.value.code, refusal.value.path) == ("invalid_input", field)


def test_notices_of_one_commit_are_in_the_order_of_calls() -> None:
    office = six().after(ask_notice("f", ahead=4), ask_notice("b", ahead=0), ask_notice("d", ahead=1))
    assert notices(office.when(call())) == [(turn("b"), 0), (turn("f"), 4)]


# A recall or a leaving turn also gives notices to the others


def test_recalls_and_pauses_give_no_notices() -> None:
    office = six().after(call(), ask_notice("d", ahead=1))
    quiet: list[Command] = [recall("a"), start("a"), pause(2)]
    kinds: list[type[Event]] = [type(event) for command in quiet for _, event in office.when(command).recorded]
    assert NoticeGiven not in kinds
    assert len(kinds) == len(quiet)


def test_ahead_of_a_turn_that_is_not_waiting_is_the_whole_line() -> None:
    office = six().after(call())
    assert ahead_of(line_state(office), turn("a")) == 5
    assert ahead_of(line_state(office), turn("f")) == 4
