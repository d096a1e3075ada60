"""A line's day: opening, counters, closing."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from domain.decider import Recorded, build
from domain.errors import Rejected
from domain.queues import service_point
from domain.queues.line import CounterPaused, CounterResumed, LineClosed, LineOpened, TurnTaken, stream
from domain.queues.opening import OPEN_AHEAD_DAYS_MAX, OpenLine
from domain.queues.policy import Policy, PolicyTerms
from domain.queues.service_point import ServicePointRegistered
from tests.office import DAY, LA_MERCED, MOMENT, NOW, Office, at, given
from tests.waiting import (
    CLOSES,
    LAST_TURN,
    LINE,
    OPENS,
    OTHER,
    SOPOCACHI,
    call,
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
    resume,
    start,
    take,
    transfer,
    turn,
    turn_state,
    waiting,
)

TERMS = PolicyTerms()
NEXT_DAY = DAY + timedelta(days=1)
YESTERDAY = DAY - timedelta(days=1)


def point(hospital: str | None = None) -> Recorded:
    registered = ServicePointRegistered(service_point=SOPOCACHI, name="Sopocachi", hospital=hospital)
    return service_point.stream(SOPOCACHI), registered


def open_line(
    *,
    day: date = DAY,
    counters: tuple[int, ...] = (1, 2),
    opens_at: datetime = OPENS,
    closes_at: datetime = CLOSES,
    last_turn_at: datetime | None = LAST_TURN,
    policy: PolicyTerms = TERMS,
) -> OpenLine:
    """The command that gives `line_opened`."""
    return OpenLine(
        service_point=SOPOCACHI,
        service="cadastre",
        date=day,
        counters=list(counters),
        opens_at=opens_at,
        closes_at=closes_at,
        last_turn_at=last_turn_at,
        policy=policy,
    )


# Opening


def test_a_line_is_opened_before_its_time() -> None:
    given(point()).when(open_line(), now=at("20:00", YESTERDAY)).then(line_opened())


def test_turns_are_given_until_closing_by_default() -> None:
    given(point()).when(open_line(last_turn_at=None)).then(line_opened(last_turn_at=CLOSES))
    given(point()).when(open_line(last_turn_at=CLOSES)).then(line_opened(last_turn_at=CLOSES))


def test_a_line_at_a_ward_knows_its_hospital() -> None:
    given(point(LA_MERCED)).when(open_line()).then(line_opened(hospital=LA_MERCED))


def test_counters_are_sorted_and_times_in_utc() -> None:
    terms = PolicyTerms(order=("NORMAL", "APPOINTMENT", "PREFERENTIAL"), at_least=None, direct_calls=True)
    la_paz = timezone(timedelta(hours=-4))
    command = open_line(
        counters=(7, 3),
        policy=terms,
        opens_at=OPENS.astimezone(la_paz),
        last_turn_at=LAST_TURN.astimezone(la_paz),
        closes_at=CLOSES.astimezone(la_paz),
    )
    (opened,) = recorded(given(point()).when(command), LineOpened)
    assert opened.counters == [3, 7]
    said = Policy(order=("NORMAL", "APPOINTMENT", "PREFERENTIAL"), at_least=None, direct_calls=True)
    assert opened.policy == said
    assert type(opened.policy) is Policy
    assert {instant.tzinfo for instant in (opened.opens_at, opened.last_turn_at, opened.closes_at)} == {UTC}


def test_opening_the_same_line_again_changes_nothing() -> None:
    office = given(point()).after(open_line())
    office.when(open_line()).nothing()
    office.when(open_line(counters=(2, 1))).nothing()
    office.when(open_line(), now=at("08:00", NEXT_DAY)).nothing()


def test_opening_a_different_line_in_its_place_is_refused() -> None:
    office = given(point()).after(open_line())
    office.when(open_line(counters=(1, 2, 3))).rejected("line_exists", path="service", line=LINE)


def test_a_line_needs_a_registered_service_point() -> None:
    given().when(open_line()).rejected("service_point_unknown", path="service_point", service_point=SOPOCACHI)


def test_a_line_of_a_past_day_is_refused() -> None:
    late = open_line(closes_at=at("23:59:59"), last_turn_at=None)
    given(point()).when(late, now=at("23:59:59") - MOMENT).accepted()
    given(point()).when(late, now=at("23:59:59")).rejected("in_the_past", path="closes_at", at=at("23:59:59"))
    given(point()).when(late, now=at("00:00", NEXT_DAY)).rejected("in_the_past", path="date")


def test_a_line_too_far_ahead_is_refused() -> None:
    first = at("00:00", DAY - timedelta(days=OPEN_AHEAD_DAYS_MAX))
    answer = given(point()).when(open_line(), now=first - MOMENT)
    answer.rejected("too_far_ahead", path="date", limit=OPEN_AHEAD_DAYS_MAX)
    given(point()).when(open_line(), now=first).accepted()


@pytest.mark.parametrize("path", ["opens_at", "last_turn_at", "closes_at"])
def test_a_line_s_times_are_on_its_day_in_la_paz(path: str) -> None:
    times: dict[str, Any] = {"opens_at": at("00:00"), "last_turn_at": at("12:00"), "closes_at": at("23:59:59.999999")}
    given(point()).when(open_line(**times), now=at("00:00")).accepted()
    beyond = at("00:00") - MOMENT if path == "opens_at" else at("00:00", NEXT_DAY)
    answer = given(point()).when(open_line(**times | {path: beyond}), now=at("00:00"))
    answer.rejected("invalid_input", path=path, hint="line_date", at=DAY)


@pytest.mark.parametrize(
    ("last_turn_at", "closes_at", "path"),
    [
        (OPENS, CLOSES, "last_turn_at"),
        (CLOSES + MOMENT, CLOSES, "last_turn_at"),
        (None, OPENS, "closes_at"),
        (None, OPENS - MOMENT, "closes_at"),
    ],
)
def test_a_line_s_times_are_in_order(last_turn_at: datetime | None, closes_at: datetime, path: str) -> None:
    answer = given(point()).when(open_line(last_turn_at=last_turn_at, closes_at=closes_at), now=at("00:00"))
    answer.rejected("invalid_input", path=path, hint="line_times")
    given(point()).when(open_line(last_turn_at=OPENS + MOMENT)).accepted()


def test_counters_and_classes_are_unique() -> None:
    given(point()).when(open_line(counters=(1, 2, 1))).rejected("invalid_input", path="counters", hint="once")
    twice = PolicyTerms(order=("NORMAL", "NORMAL", "PREFERENTIAL"))
    given(point()).when(open_line(policy=twice)).rejected("invalid_input", path="policy.order", hint="once")


FIELDS: dict[str, Any] = {
    "service_point": SOPOCACHI,
    "service": "cadastre",
    "date": DAY,
    "counters": [1, 100],
    "opens_at": OPENS,
    "closes_at": CLOSES,
}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"counters": []}, "counters"),
        ({"counters": [1] * 101}, "counters"),
        ({"counters": [0]}, "counters.0"),
        ({"counters": [101]}, "counters.0"),
        ({"service": "2027-01-15"}, "service"),
        ({"opens_at": datetime(2027, 1, 15, 8)}, "opens_at"),  # noqa: DTZ001
        ({"policy": {"order": ["NORMAL", "PREFERENTIAL"]}}, "policy.order"),
        ({"policy": {"at_least": "FRIENDS"}}, "policy.at_least"),
        ({"policy": {"one_in": 1}}, "policy.one_in"),
        ({"policy": {"one_in": 21}}, "policy.one_in"),
        ({"policy": {"recalls_max": -1}}, "policy.recalls_max"),
        ({"policy": {"recalls_max": 11}}, "policy.recalls_max"),
        ({"policy": {"call_timeout_s": 9}}, "policy.call_timeout_s"),
        ({"policy": {"call_timeout_s": 1_801}}, "policy.call_timeout_s"),
        ({"policy": {"requeue_within_s": -1}}, "policy.requeue_within_s"),
        ({"policy": {"requeue_within_s": 14_401}}, "policy.requeue_within_s"),
        ({"policy": {"requeues_max": 11}}, "policy.requeues_max"),
        ({"policy": {"early_minutes_max": 721}}, "policy.early_minutes_max"),
        ({"policy": {"friends_first": True}}, "policy.friends_first"),
    ],
    ids=str,
)
def test_every_field_has_its_limits(change: dict[str, Any], path: str) -> None:
    with pytest.raises(Rejected) as refusal:
        build(OpenLine, **FIELDS | change)
    assert (refusal.value.code, refusal.value.path) == ("invalid_input", path)


@pytest.mark.parametrize(
    "policy",
    [
        {"one_in": 2, "recalls_max": 0, "call_timeout_s": 10, "requeue_within_s": 0, "requeues_max": 0},
        {"one_in": 20, "recalls_max": 10, "call_timeout_s": 1_800, "requeue_within_s": 14_400, "requeues_max": 10},
        {"at_least": None, "early_minutes_max": 720},
    ],
    ids=str,
)
def test_values_at_the_limits_are_accepted(policy: dict[str, Any]) -> None:
    given(point()).when(build(OpenLine, **FIELDS | {"policy": policy})).accepted()


# Counters


def test_a_counter_pauses_and_resumes() -> None:
    office = given(line_opened()).after(take("ana"))
    office.when(pause()).then((stream(LINE), CounterPaused(counter=1, paused_at=NOW)))
    paused = office.after(pause())
    paused.when(call(1)).rejected("counter_paused", path="counter", counter=1)
    paused.when(call(2)).accepted()
    paused.when(resume(), now=at("08:00")).then((stream(LINE), CounterResumed(counter=1, resumed_at=at("08:00"))))
    paused.after(resume()).when(call(1)).accepted()


def test_a_paused_counter_finishes_its_turn() -> None:
    office = given(line_opened()).after(take("ana"), take("eva"), call(1), pause(1))
    office.when(call(1)).rejected("counter_busy", path="counter", number="A-001")
    served = office.after(start("ana"), finish("ana"))
    assert turn_state(served, "ana") == "SERVED"
    served.when(call(1)).rejected("counter_paused", path="counter", counter=1)


def test_repeating_a_pause_or_resume_changes_nothing() -> None:
    given(line_opened()).when(resume()).nothing()
    given(line_opened()).after(pause()).when(pause()).nothing()
    given(line_opened()).after(pause(), resume()).when(resume()).nothing()


def test_counters_can_pause_before_the_line_opens() -> None:
    office = given(line_opened()).after(pause(2), now=at("06:00"))
    (taken,) = recorded(office.when(take("ana")), TurnTaken)
    assert taken.counters == 1


@pytest.mark.parametrize("command", [pause, resume])
def test_unknown_lines_and_counters_are_refused(command: Any) -> None:
    given().when(command()).rejected("line_unknown", path="line")
    given(line_opened()).when(command(3)).rejected("counter_unknown", path="counter", counter=3)
    given(line_opened()).after(close()).when(command()).rejected("line_closed", path="line", at=NOW)


# Closing


def test_a_closing_lists_waiting_turns_in_the_order_of_calls() -> None:
    office = given(line_opened()).after(
        take("ana"), take("eva"), take("luis", reason="PREGNANT"), take("rosa", reason="INFANT")
    )
    unserved = [turn("luis"), turn("rosa"), turn("ana"), turn("eva")]
    office.when(close(), now=CLOSES).then((stream(LINE), LineClosed(line=LINE, closed_at=CLOSES, unserved=unserved)))
    closed = office.after(close(), now=CLOSES)
    assert {turn_state(closed, name) for name in ("ana", "eva", "luis", "rosa")} == {"UNSERVED"}
    assert waiting(closed) == []
    assert line_state(closed).live == {}


def test_a_line_is_closed_at_any_time() -> None:
    nobody = (stream(LINE), LineClosed(line=LINE, closed_at=at("05:00"), unserved=[]))
    given(line_opened()).when(close(), now=at("05:00")).then(nobody)
    given(line_opened()).when(close(), now=at("09:00", NEXT_DAY)).accepted()


def test_closing_again_changes_nothing() -> None:
    given(line_opened()).after(take("ana"), close()).when(close(), now=at("13:00")).nothing()


def test_an_unopened_line_cannot_be_closed() -> None:
    given().when(close()).rejected("line_unknown", path="line")


def shut() -> Office:
    """A closed line: ana was called, eva is served, luis was absent, rosa was waiting."""
    office = given(line_opened(counters=3), line_opened(OTHER))
    office = office.after(take("luis"), take("ana"), take("eva"), take("rosa"), call(1))
    office = office.after(mark_absent("luis"), call(2), call(3), start("eva"), now=at("07:05"))
    return office.after(close(), now=at("07:06"))


def test_a_closed_line_gives_and_calls_no_turns() -> None:
    now = at("07:07")
    for command, path in (
        (call(1), "line"),
        (take("new"), "line"),
        (recall("ana"), "turn"),
        (requeue("luis"), "turn"),
    ):
        shut().when(command, now=now).rejected("line_closed", path=path, at=at("07:06"))
    back = shut().after(take("new", OTHER), now=now)
    back.when(transfer("new", LINE, line=OTHER), now=now).rejected("line_closed", path="to", at=at("07:06"))


def test_a_service_goes_on_after_closing() -> None:
    office = shut()
    assert turn_state(office, "ana") == "CALLED"
    served = office.after(start("ana"), finish("ana"), finish("eva"), now=at("07:30"))
    assert {turn_state(served, name) for name in ("ana", "eva")} == {"SERVED"}
    assert not any(counter.turn for counter in line_state(served).counters.values())


def test_a_called_turn_can_end_in_any_way_after_closing() -> None:
    for command, becomes in (
        (mark_absent("ana"), "ABSENT"),
        (leave("ana"), "LEFT"),
        (transfer("ana"), "TRANSFERRED"),
    ):
        office = shut().after(command, now=at("07:30"))
        assert turn_state(office, "ana") == becomes
        assert line_state(office).counters[2].turn is None


def test_an_unserved_turn_has_no_further_steps() -> None:
    for command in (leave("rosa"), transfer("rosa"), start("rosa")):
        shut().when(command, now=at("07:07")).rejected("turn_elsewhere", path="turn", number="A-004", state="UNSERVED")
    shut().when(take("rosa", OTHER), now=at("07:07")).accepted()
