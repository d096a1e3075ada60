"""Rescheduling: the old slot is freed and the new one taken in one commit, or nothing changes."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from domain.appointments.agenda import Agenda, AppointmentBooked, AppointmentCancelled, Channel, stream
from domain.appointments.availability import Slot
from domain.appointments.patient import Patient, VisitGivenUp, VisitTaken
from domain.appointments.patient import stream as patient_stream
from domain.identifiers import agenda_id
from tests.office import (
    AGENDA,
    ANA,
    COTAHUMA,
    DAY,
    DENTISTRY,
    LA_MERCED,
    LUIS,
    MOMENT,
    PEDIATRICS,
    Office,
    appointment,
    at,
    book,
    cancel,
    check_in,
    given,
    hold,
    mark_no_show,
    on_its_stream,
    published,
    reschedule,
)

TOMORROW = DAY + timedelta(days=1)
NEXT_DAY = agenda_id(LA_MERCED, TOMORROW, "p-1")
ELSEWHERE = agenda_id(COTAHUMA, DAY, "p-1")
DENTIST = agenda_id(LA_MERCED, DAY, "p-3")


def city(*, booked_by: Channel = "WEB", slots: int = 3, quotas: dict[Channel, int] | None = None) -> Office:
    """Three agendas of pediatrics, one of them at another hospital, and a dentist's. Ana has a ficha in the first."""
    return given(
        on_its_stream(published(slots, quotas=quotas)),
        on_its_stream(published(day=TOMORROW, quotas=quotas)),
        on_its_stream(published(hospital=COTAHUMA, quotas=quotas)),
        on_its_stream(published(practitioner="p-3", specialty=DENTISTRY)),
    ).after(book(ANA, channel=booked_by))


def booked(office: Office, agenda: str) -> dict[int, str]:
    state: Agenda = office.state(stream(agenda))
    return state.booked


def visits(office: Office, patient: str) -> list[str]:
    state: Patient = office.state(patient_stream(patient))
    return list(state.visits)


def test_rescheduling_frees_the_old_slot_and_takes_the_new_one() -> None:
    city(booked_by="PHONE").when(reschedule(slot=3, to=ELSEWHERE)).then(
        (
            stream(AGENDA),
            AppointmentCancelled(appointment=appointment(), slot=1, channel="PHONE", reason="RESCHEDULED"),
        ),
        (patient_stream(ANA), VisitGivenUp(appointment=appointment())),
        (
            stream(ELSEWHERE),
            AppointmentBooked(appointment=appointment("moved", ELSEWHERE), slot=3, patient=ANA, channel="PHONE"),
        ),
        (
            patient_stream(ANA),
            VisitTaken(
                appointment=appointment("moved", ELSEWHERE),
                hospital=COTAHUMA,
                specialty=PEDIATRICS,
                slot=3,
                start=at("08:40"),
                minutes=20,
            ),
        ),
    )


@pytest.mark.parametrize("to", [AGENDA, NEXT_DAY, ELSEWHERE])
def test_rescheduling_works_within_and_between_agendas(to: str) -> None:
    office = city().after(reschedule(to=to))
    assert booked(office, to) == {2: appointment("moved", to)}
    assert booked(office, AGENDA) == ({2: appointment("moved")} if to == AGENDA else {})
    assert visits(office, ANA) == [appointment("moved", to)]
    office.when(book(LUIS, name="other")).accepted()


def test_repeating_a_rescheduling_changes_nothing() -> None:
    moved = city().after(reschedule(to=NEXT_DAY))
    moved.when(reschedule(to=NEXT_DAY)).nothing()
    moved.after(cancel("moved", agenda=NEXT_DAY)).when(reschedule(to=NEXT_DAY)).nothing()


def test_only_the_new_appointment_can_be_rescheduled_again() -> None:
    moved = city().after(reschedule(to=NEXT_DAY))
    moved.when(reschedule("moved", 3, agenda=NEXT_DAY, to=AGENDA, moved_to="again")).accepted()
    moved.when(reschedule(slot=3, moved_to="again")).rejected("appointment_cancelled", path="appointment")


def test_a_taken_slot_is_refused_and_the_old_one_stays() -> None:
    office = city(slots=4).after(book(LUIS, 2, name="luis"))
    alternatives = [Slot(number=3, start=at("08:40"), minutes=20), Slot(number=4, start=at("09:00"), minutes=20)]
    answer = office.when(reschedule(slot=2))
    answer.rejected("slot_taken", path="slot", slot=2, alternatives=alternatives)
    assert booked(office, AGENDA) == {1: appointment(), 2: appointment("luis")}
    held = city().after(hold(LUIS, 2))
    held.when(reschedule(slot=2)).rejected("slot_taken", path="slot")


def test_the_appointment_s_present_slot_is_taken() -> None:
    city().when(reschedule(slot=1)).rejected("slot_taken", path="slot")


def test_the_patient_s_own_hold_is_confirmed() -> None:
    # Who has a visit holds nothing at the same hospital for the same specialty: the hold is elsewhere.
    office = city().after(hold(ANA, 2, agenda=ELSEWHERE)).after(reschedule(to=ELSEWHERE))
    state: Patient = office.state(patient_stream(ANA))
    assert state.holds == {}


def test_only_clerks_change_the_specialty() -> None:
    city().when(reschedule(to=DENTIST)).rejected("another_specialty", path="agenda", specialty=PEDIATRICS)
    city().when(reschedule(to=DENTIST, any_specialty=True)).accepted()


def test_other_visits_block_a_rescheduling_the_old_one_does_not() -> None:
    office = city().after(book(ANA, 3, agenda=DENTIST, name="dentist"))
    office.when(reschedule(slot=3)).rejected("visits_overlap", path="slot", appointment=appointment("dentist", DENTIST))
    office.when(reschedule(slot=2)).accepted()
    elsewhere = city().after(book(ANA, 3, agenda=ELSEWHERE, name="other"))
    elsewhere.when(reschedule(slot=2, to=ELSEWHERE)).rejected("already_seen_here", path="agenda")


def test_rescheduling_counts_in_the_new_agenda_s_quota() -> None:
    office = city(quotas={"WEB": 1}).after(book(LUIS, agenda=NEXT_DAY, name="luis"))
    office.when(reschedule(to=NEXT_DAY)).rejected("quota_exhausted", path="agenda", limit=1)
    office.when(reschedule(to=AGENDA)).accepted()


def test_a_past_missed_or_attended_appointment_is_not_rescheduled() -> None:
    begun = at("08:00")
    city().when(reschedule(to=NEXT_DAY), now=begun - MOMENT).accepted()
    city().when(reschedule(to=NEXT_DAY), now=begun).rejected("appointment_over", path="appointment", at=begun)
    city().after(check_in()).when(reschedule()).rejected("checked_in_already", path="appointment")
    missed = city().after(mark_no_show(), now=begun)
    missed.when(reschedule(), now=begun - MOMENT).rejected("appointment_over", path="appointment", at=begun)


def test_rescheduling_needs_a_slot_that_can_be_booked() -> None:
    office = city()
    office.when(reschedule("nobody")).rejected("appointment_unknown", path="appointment")
    office.when(reschedule(to=agenda_id(LA_MERCED, DAY, "p-9"))).rejected("agenda_unknown", path="agenda")
    office.when(reschedule(slot=4)).rejected("slot_unknown", path="slot", limit=3)
    later = given(
        on_its_stream(published(first="09:00")), on_its_stream(published(hospital=COTAHUMA, first="08:00"))
    ).after(book(ANA))
    later.when(reschedule(slot=1, to=ELSEWHERE), now=at("08:00")).rejected("in_the_past", path="slot")
    opens = at("07:30")
    unreleased = given(on_its_stream(published()), on_its_stream(published(hospital=COTAHUMA, release_at=opens))).after(
        book(ANA)
    )
    unreleased.when(reschedule(to=ELSEWHERE)).rejected("not_released_yet", path="agenda", at=opens)
    unreleased.when(reschedule(to=ELSEWHERE), now=opens).accepted()


def test_the_new_appointment_s_id_contains_its_agenda() -> None:
    wrong = replace(reschedule(to=ELSEWHERE), moved_to=appointment("moved", AGENDA))
    city().when(wrong).rejected("invalid_input", path="moved_to")
