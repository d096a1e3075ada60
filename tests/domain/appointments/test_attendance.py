"""Attendance: check-in on the day, no-shows after the slot has begun."""

from datetime import timedelta

import pytest

from domain.appointments.agenda import Agenda, NoShowMarked, PatientCheckedIn, stream
from domain.appointments.attendance import appointment_state
from domain.appointments.availability import slot_state
from domain.decider import Command
from tests.office import (
    AGENDA,
    ANA,
    DAY,
    LUIS,
    MOMENT,
    NOW,
    Office,
    appointment,
    at,
    book,
    cancel,
    check_in,
    given,
    hold,
    mark_no_show,
    published,
)

NEXT_DAY = DAY + timedelta(days=1)
CHECKED_IN = (stream(AGENDA), PatientCheckedIn(appointment=appointment()))
MISSED = (stream(AGENDA), NoShowMarked(appointment=appointment()))
BEGUN = at("08:00")  # the first slot; each has twenty minutes


def booked() -> Office:
    return given(published()).after(book(ANA))


def agenda(office: Office) -> Agenda:
    state: Agenda = office.state(stream(AGENDA))
    return state


# Checking in


def test_a_patient_is_checked_in() -> None:
    booked().when(check_in()).then(CHECKED_IN)


def test_check_in_is_allowed_all_day_in_la_paz() -> None:
    midnight = at("00:00", NEXT_DAY)
    yesterday = given(published()).after(book(ANA), now=at("12:00", DAY - timedelta(days=1)))
    yesterday.when(check_in(), now=at("00:00") - MOMENT).rejected("not_its_day", path="appointment", at=BEGUN)
    yesterday.when(check_in(), now=at("00:00")).then(CHECKED_IN)
    booked().when(check_in(), now=midnight - MOMENT).then(CHECKED_IN)
    booked().when(check_in(), now=midnight).rejected("not_its_day", path="appointment", at=BEGUN)


def test_repeating_a_check_in_changes_nothing() -> None:
    office = booked().after(check_in())
    office.when(check_in()).nothing()
    office.when(check_in(), now=at("12:00", NEXT_DAY)).nothing()


def test_a_no_show_can_check_in_later_on_the_same_day() -> None:
    office = booked().after(mark_no_show(), now=BEGUN)
    office.when(check_in(), now=at("08:10")).then(CHECKED_IN)
    corrected = office.after(check_in(), now=at("08:10"))
    assert appointment_state(agenda(corrected), appointment()) == "CHECKED_IN"
    corrected.when(mark_no_show(), now=at("08:11")).rejected("checked_in_already", path="appointment")


def test_a_no_show_cannot_check_in_on_a_later_day() -> None:
    office = booked().after(mark_no_show(), now=BEGUN)
    office.when(check_in(), now=at("00:00", NEXT_DAY)).rejected("not_its_day", path="appointment", at=BEGUN)


# Marking no-shows


def test_a_no_show_cannot_be_marked_before_the_slot_begins() -> None:
    booked().when(mark_no_show(), now=BEGUN - MOMENT).rejected("not_begun_yet", path="appointment", at=BEGUN)
    booked().when(mark_no_show(), now=BEGUN).then(MISSED)


def test_a_no_show_may_be_marked_days_later() -> None:
    booked().when(mark_no_show(), now=at("12:00", DAY + timedelta(days=40))).then(MISSED)


def test_repeating_a_no_show_changes_nothing() -> None:
    booked().after(mark_no_show(), now=BEGUN).when(mark_no_show(), now=at("09:00")).nothing()
    booked().after(mark_no_show(), now=BEGUN).when(mark_no_show(), now=NOW).nothing()  # by a clock that is behind


def test_a_checked_in_patient_cannot_be_marked_a_no_show() -> None:
    booked().after(check_in()).when(mark_no_show(), now=BEGUN).rejected("checked_in_already", path="appointment")


# Both, and what they leave as it is

EITHER = pytest.mark.parametrize("command", [check_in(), mark_no_show()], ids=["check in", "mark no-show"])


@EITHER
def test_attendance_needs_a_booked_appointment(command: Command) -> None:
    for office in (given(), given(published()), given(published()).after(book(LUIS, name="other"))):
        office.when(command, now=BEGUN).rejected("appointment_unknown", path="appointment")


@EITHER
def test_attendance_of_a_cancelled_appointment_is_refused(command: Command) -> None:
    office = booked().after(cancel())
    office.when(command, now=BEGUN).rejected("appointment_cancelled", path="appointment")


@EITHER
def test_attendance_does_not_free_the_slot(command: Command) -> None:
    office = booked().after(command, now=BEGUN)
    assert slot_state(agenda(office), 1, BEGUN) == "BOOKED"
    assert agenda(office).booked == {1: appointment()}
    office.when(book(LUIS, name="other")).rejected("slot_taken", path="slot")
    office.when(hold(LUIS)).rejected("slot_taken", path="slot")


def test_a_checked_in_appointment_cannot_be_cancelled() -> None:
    booked().after(check_in()).when(cancel()).rejected("checked_in_already", path="appointment")


def test_a_no_show_cannot_be_cancelled_even_if_the_clock_is_behind() -> None:
    office = booked().after(mark_no_show(), now=BEGUN)
    office.when(cancel(), now=BEGUN - MOMENT).rejected("appointment_over", path="appointment", at=BEGUN)


def test_an_appointment_is_booked_until_attendance_or_cancellation() -> None:
    states = {
        "BOOKED": booked(),
        "CANCELLED": booked().after(cancel()),
        "CHECKED_IN": booked().after(check_in()),
        "NO_SHOW": booked().after(mark_no_show(), now=BEGUN),
    }
    assert {state: appointment_state(agenda(office), appointment()) for state, office in states.items()} == {
        state: state for state in states
    }


def test_attendance_concerns_one_appointment_only() -> None:
    office = booked().after(book(LUIS, 2, name="other"), check_in())
    assert appointment_state(agenda(office), appointment("other")) == "BOOKED"
    office.when(cancel("other")).accepted()
