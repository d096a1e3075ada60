"""A patient's stream: what the fold keeps, and what it refuses. Whole scenarios are in test_agenda.py."""

from datetime import UTC, datetime, timedelta

import hypothesis
import pytest
from hypothesis import strategies as st

from domain.appointments.patient import (
    HOLDS_PER_PATIENT_AND_DAY_MAX,
    VISIT_MINUTES_MAX,
    HoldTaken,
    Patient,
    VisitGivenUp,
    VisitTaken,
    live_holds,
    refuse_another_hold,
    refuse_another_visit,
    stream,
)
from domain.decider import Event
from domain.errors import Rejected
from tests.office import (
    AGENDA,
    ANA,
    COTAHUMA,
    DAY,
    DENTISTRY,
    LA_MERCED,
    MOMENT,
    NOW,
    PEDIATRICS,
    appointment,
    at,
    given,
    opaque,
)


def ana(*events: Event) -> Patient:
    patient: Patient = given(*events).state(stream(ANA))
    return patient


def held(slot: int, held_at: datetime = NOW, hold_s: int = 300) -> HoldTaken:
    return HoldTaken(
        hold=opaque("hold"),
        agenda=AGENDA,
        slot=slot,
        held_at=held_at,
        held_until=held_at + timedelta(seconds=hold_s),
    )


def visit(
    start: str = "08:00", *, hospital: str = LA_MERCED, specialty: str = PEDIATRICS, name: str = "ficha", slot: int = 1
) -> VisitTaken:
    return VisitTaken(
        appointment=appointment(name), hospital=hospital, specialty=specialty, slot=slot, start=at(start), minutes=20
    )


def test_a_visit_is_live_until_it_is_cancelled() -> None:
    taken = visit()
    assert ana(taken).visits == {taken.appointment: taken}
    given_up = ana(taken, VisitGivenUp(appointment=taken.appointment))
    assert given_up.visits == {}
    assert given_up.given_up == {taken.appointment: taken}


def test_cancelling_an_unknown_visit_changes_nothing() -> None:
    assert ana(VisitGivenUp(appointment=appointment())) == Patient()


def test_a_visit_ends_its_minutes_after_its_start() -> None:
    assert visit("08:00").end == at("08:20")


def test_a_visit_uses_up_only_the_hold_that_it_confirms() -> None:
    assert [hold.slot for hold in ana(held(1), held(2), visit(slot=1)).holds.values()] == [2]


def test_a_hold_is_live_until_exactly_its_end() -> None:
    patient = ana(held(1))
    assert [hold.slot for hold in live_holds(patient, at("07:05") - MOMENT)] == [1]
    assert list(live_holds(patient, at("07:05"))) == []


def test_a_new_hold_removes_holds_expired_a_day_ago() -> None:
    patient = ana(held(1), held(2, at("07:01")), held(3, at("07:05") + timedelta(days=1)))
    assert [hold.slot for hold in patient.holds.values()] == [2, 3]


def test_a_hold_at_the_first_moment_of_the_calendar_folds() -> None:
    first = datetime.min.replace(tzinfo=UTC)
    assert [hold.slot for hold in ana(held(1, first), held(2, first)).holds.values()] == [1, 2]


def test_an_expired_hold_is_live_again_if_the_clock_is_set_back() -> None:
    patient = ana(held(1), held(2, at("07:10")))
    assert [hold.slot for hold in live_holds(patient, at("07:10"))] == [2]
    assert [hold.slot for hold in live_holds(patient, at("07:02"))] == [1, 2]


def test_a_renewed_hold_is_one_hold() -> None:
    assert len(ana(held(1), held(1, at("07:04"))).holds) == 1


def test_a_patient_has_at_most_two_live_holds() -> None:
    patient = ana(held(1), held(2, at("07:01")))
    with pytest.raises(Rejected, match="hold_limit_reached") as refused:
        refuse_another_hold(patient, AGENDA, 3, at("07:02"))
    assert refused.value.details == {"limit": 2, "at": at("07:05")}
    refuse_another_hold(patient, AGENDA, 3, at("07:05"))


def test_a_hold_of_the_same_slot_does_not_count() -> None:
    refuse_another_hold(ana(held(1), held(2)), AGENDA, 2, at("07:02"))


def test_a_patient_takes_at_most_twenty_holds_a_day() -> None:
    holds = [held(1, NOW + timedelta(minutes=6 * n)) for n in range(HOLDS_PER_PATIENT_AND_DAY_MAX)]
    refuse_another_hold(ana(*holds[:-1]), AGENDA, 1, at("20:00"))
    with pytest.raises(Rejected, match="too_many_holds_today") as refused:
        refuse_another_hold(ana(*holds), AGENDA, 1, at("20:00"))
    assert refused.value.path == "patient"
    assert refused.value.details == {"limit": HOLDS_PER_PATIENT_AND_DAY_MAX}


def test_a_day_of_holds_ends_at_midnight_in_la_paz() -> None:
    patient = ana(*[held(1, at("20:30"))] * HOLDS_PER_PATIENT_AND_DAY_MAX)
    midnight = at("00:00", DAY + timedelta(days=1))
    with pytest.raises(Rejected, match="too_many_holds_today"):
        refuse_another_hold(patient, AGENDA, 1, midnight - MOMENT)
    refuse_another_hold(patient, AGENDA, 1, midnight)


def test_the_daily_count_restarts_with_the_next_day_s_first_hold() -> None:
    tomorrow = at("00:00", DAY + timedelta(days=1))
    today = [held(1, NOW), held(1, at("20:30"))]
    assert ana(*today).holds_that_day == 2
    assert ana(*today, held(1, tomorrow)).holds_that_day == 1


@pytest.mark.parametrize("start", ["07:41", "08:00", "08:19"])
def test_visits_may_not_overlap(start: str) -> None:
    with pytest.raises(Rejected, match="visits_overlap") as refused:
        refuse_another_visit(ana(visit("08:00")), visit(start, hospital=COTAHUMA), NOW)
    assert refused.value.path == "slot"
    assert refused.value.details == {"appointment": appointment(), "at": at("08:00")}


@pytest.mark.parametrize("start", ["07:40", "08:20"])
def test_adjacent_visits_do_not_overlap(start: str) -> None:
    refuse_another_visit(ana(visit("08:00")), visit(start, hospital=COTAHUMA), NOW)


def test_one_live_visit_per_specialty_and_hospital() -> None:
    patient = ana(visit("08:00"))
    with pytest.raises(Rejected, match="already_seen_here") as refused:
        refuse_another_visit(patient, visit("10:00"), NOW)
    assert refused.value.path == "agenda"
    assert refused.value.details == {"appointment": appointment(), "at": at("08:00")}
    refuse_another_visit(patient, visit("10:00", hospital=COTAHUMA), NOW)
    refuse_another_visit(patient, visit("10:00", specialty=DENTISTRY), NOW)


def test_a_visit_blocks_others_until_its_end() -> None:
    patient = ana(visit("08:00"))
    with pytest.raises(Rejected, match="already_seen_here"):
        refuse_another_visit(patient, visit("10:00"), at("08:20") - MOMENT)
    refuse_another_visit(patient, visit("10:00"), at("08:20"))


def test_a_cancelled_visit_blocks_nothing() -> None:
    refuse_another_visit(ana(visit(), VisitGivenUp(appointment=appointment())), visit("08:10"), NOW)


def refusal_by_every_visit(patient: Patient, wanted: VisitTaken, now: datetime) -> tuple[str, str] | None:
    """The same rule without skipped visits."""
    for visit in patient.visits.values():
        if visit.end <= now:
            continue
        if visit.start < wanted.end and wanted.start < visit.end:
            return "visits_overlap", visit.appointment
        if (visit.hospital, visit.specialty) == (wanted.hospital, wanted.specialty):
            return "already_seen_here", visit.appointment
    return None


@st.composite
def some_visit(draw: st.DrawFn, number: int = 0) -> VisitTaken:
    hour = timedelta(hours=1)
    return VisitTaken(
        appointment=f"a{number}",
        hospital=draw(st.sampled_from(["la-merced", "san-juan"])),
        specialty=draw(st.sampled_from(["pediatrics", "cardiology"])),
        slot=1,
        start=NOW + draw(st.integers(-60, 60)) * hour,
        minutes=draw(st.sampled_from([1, 60, VISIT_MINUTES_MAX - 60, VISIT_MINUTES_MAX])),
    )


@hypothesis.given(st.data())
def test_skipping_visits_does_not_change_the_refusal(data: st.DataObject) -> None:
    visits = [data.draw(some_visit(number)) for number in range(data.draw(st.integers(0, 6)))]
    patient = Patient(visits={visit.appointment: visit for visit in visits})
    wanted = data.draw(some_visit(99))
    now = NOW + timedelta(hours=data.draw(st.integers(-24, 24)))
    found: tuple[str, str] | None = None
    try:
        refuse_another_visit(patient, wanted, now)
    except Rejected as refusal:
        found = refusal.code, refusal.details["appointment"]
    assert found == refusal_by_every_visit(patient, wanted, now)
