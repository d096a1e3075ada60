"""Agendas: publishing, holding slots, booking, cancelling."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.appointments import patient as patients
from domain.appointments.agenda import (
    Agenda,
    AgendaPublished,
    AppointmentBooked,
    AppointmentCancelled,
    Channel,
    SlotHeld,
    live_hold,
    stream,
)
from domain.appointments.availability import ALTERNATIVES_MAX, Slot, is_free, nearest_free
from domain.appointments.booking import BookAppointment
from domain.appointments.cancelling import Reason
from domain.appointments.patient import HOLDS_PER_PATIENT_AND_DAY_MAX, HoldTaken, VisitGivenUp, VisitTaken
from domain.appointments.publishing import PUBLISH_AHEAD_DAYS_MAX, SlotTime, quotas_by_channel
from domain.decider import Command, Recorded
from domain.errors import InvalidInput
from tests.office import (
    AGENDA,
    ANA,
    COTAHUMA,
    DAY,
    DENTISTRY,
    EVA,
    LA_MERCED,
    LUIS,
    MOMENT,
    NOW,
    PEDIATRICS,
    Office,
    appointment,
    at,
    book,
    cancel,
    given,
    hold,
    hospital_registered,
    on_its_stream,
    opaque,
    publish,
    published,
    slot_times,
)

NEXT_DAY = DAY + timedelta(days=1)


def slots(agenda: AgendaPublished, *numbers: int) -> list[Slot]:
    return [agenda.slots[number - 1] for number in numbers]


def recorded_hold(
    patient: str, slot: int = 1, *, held_at: datetime = NOW, name: str = "hold", renewals: int = 0
) -> tuple[Recorded, Recorded]:
    """A hold of five minutes, on both streams."""
    until = held_at + timedelta(seconds=300)
    return (
        (
            stream(AGENDA),
            SlotHeld(hold=opaque(name), slot=slot, patient=patient, held_until=until, renewals=renewals),
        ),
        (
            patients.stream(patient),
            HoldTaken(hold=opaque(name), agenda=AGENDA, slot=slot, held_at=held_at, held_until=until),
        ),
    )


def recorded_booking(patient: str, slot: int = 1, *, channel: Channel = "WEB") -> tuple[Recorded, Recorded]:
    """A booking in an agenda with slots of 20 minutes from 8, on both streams."""
    return (
        (
            stream(AGENDA),
            AppointmentBooked(appointment=appointment(), slot=slot, patient=patient, channel=channel),
        ),
        (
            patients.stream(patient),
            VisitTaken(
                appointment=appointment(),
                hospital=LA_MERCED,
                specialty=PEDIATRICS,
                slot=slot,
                start=at("08:00") + timedelta(minutes=20 * (slot - 1)),
                minutes=20,
            ),
        ),
    )


def recorded_cancellation(patient: str, reason: Reason = "PATIENT") -> tuple[Recorded, Recorded]:
    return (
        (
            stream(AGENDA),
            AppointmentCancelled(appointment=appointment(), slot=1, channel="WEB", reason=reason),
        ),
        (patients.stream(patient), VisitGivenUp(appointment=appointment())),
    )


# Publishing


def test_an_agenda_is_published_with_its_slots_numbered_in_order_of_time() -> None:
    times = slot_times(3)
    given(hospital_registered()).when(publish([times[2], times[0], times[1]])).then((stream(AGENDA), published(3)))


def test_of_two_slots_that_start_together_the_shorter_comes_first() -> None:
    long, short = SlotTime(start=at("08:00"), minutes=30), SlotTime(start=at("08:00"), minutes=10)
    answer = given(hospital_registered()).when(publish([long, short]))
    (_, event), *_ = answer.recorded
    assert isinstance(event, AgendaPublished)
    assert [(slot.number, slot.minutes) for slot in event.slots] == [(1, 10), (2, 30)]


def test_quotas_and_release_are_published_as_given() -> None:
    command = publish(slot_times(1), quotas={"WEB": 5}, release_at=at("07:30"))
    agenda = published(1, quotas={"WEB": 5}, release_at=at("07:30"))
    given(hospital_registered()).when(command).then((stream(AGENDA), agenda))


@pytest.mark.parametrize("now", [NOW, at("07:00", NEXT_DAY)])
def test_publishing_the_same_agenda_again_changes_nothing(now: datetime) -> None:
    given(hospital_registered(), published(3)).when(publish(slot_times(3)), now=now).nothing()
    given(hospital_registered(), published(3)).when(publish(slot_times(3)[::-1]), now=now).nothing()


def test_publishing_a_different_agenda_in_its_place_is_refused() -> None:
    office = given(hospital_registered(), published(3))
    office.when(publish(slot_times(4))).rejected("agenda_exists", path="practitioner", agenda=AGENDA)


def test_an_agenda_of_an_unknown_hospital_is_refused() -> None:
    given().when(publish(slot_times(1))).rejected("hospital_unknown", path="hospital", hospital=LA_MERCED)


def test_today_ends_at_midnight_in_la_paz() -> None:
    command, midnight = publish(slot_times(1)), at("00:00", NEXT_DAY)
    given(hospital_registered()).when(command, now=midnight - MOMENT).accepted()
    given(hospital_registered()).when(command, now=midnight).rejected("in_the_past", path="date", at=DAY)


def test_an_agenda_is_published_at_most_a_year_ahead() -> None:
    last = DAY + timedelta(days=PUBLISH_AHEAD_DAYS_MAX)
    late = last + timedelta(days=1)
    office = given(hospital_registered())
    office.when(publish(slot_times(1, day=last), day=last)).accepted()
    office.when(publish(slot_times(1, day=late), day=late)).rejected("too_far_ahead", path="date", limit=366)


@pytest.mark.parametrize("start", [at("00:00"), at("20:30"), at("23:59")])
def test_a_slot_starts_on_its_agenda_s_day_in_la_paz(start: datetime) -> None:
    given(hospital_registered()).when(publish([SlotTime(start=start, minutes=20)])).accepted()


@pytest.mark.parametrize("start", [at("00:00") - MOMENT, at("00:00", NEXT_DAY)])
def test_a_slot_on_another_day_in_la_paz_is_refused(start: datetime) -> None:
    wrong = publish([*slot_times(1), SlotTime(start=start, minutes=20)])
    given(hospital_registered()).when(wrong).rejected("invalid_input", path="slots.1.start", hint="slot_date", at=DAY)


@pytest.mark.parametrize("start", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_a_slot_at_the_limits_of_the_calendar_is_refused(start: datetime) -> None:
    wrong = publish([SlotTime(start=start, minutes=20)])
    given(hospital_registered()).when(wrong).rejected("invalid_input", path="slots.0.start", hint="slot_date", at=DAY)


# Holding


def test_a_slot_is_held_on_both_streams() -> None:
    given(published(3)).when(hold(ANA, slot=2)).then(*recorded_hold(ANA, 2))


def test_repeating_a_hold_changes_nothing() -> None:
    office = given(published()).after(hold(ANA))
    office.when(hold(ANA)).nothing()
    office.when(hold(ANA), now=at("09:00")).nothing()


def test_a_held_slot_is_refused_to_others_until_the_hold_ends() -> None:
    office = given(published()).after(hold(ANA))
    for command in (hold(LUIS, name="other"), book(LUIS)):
        office.when(command, now=at("07:05") - MOMENT).rejected("slot_taken", path="slot", slot=1)
        office.when(command, now=at("07:05")).accepted()


def test_a_hold_is_renewed_once_from_the_time_of_the_request() -> None:
    office = given(published()).after(hold(ANA))
    office.when(hold(ANA, name="renewed"), now=at("07:03")).then(
        *recorded_hold(ANA, held_at=at("07:03"), name="renewed", renewals=1)
    )


def test_a_hold_is_not_renewed_twice() -> None:
    office = given(published()).after(hold(ANA)).after(hold(ANA, name="renewed"), now=at("07:03"))
    office.when(hold(ANA, name="again"), now=at("07:08") - MOMENT).rejected(
        "hold_renewed_already", path="slot", at=at("07:08")
    )


def test_an_expired_hold_is_replaced_by_a_new_one() -> None:
    office = given(published()).after(hold(ANA)).after(hold(ANA, name="renewed"), now=at("07:03"))
    office.when(hold(ANA, name="again"), now=at("07:08")).then(
        *recorded_hold(ANA, held_at=at("07:08"), name="again", renewals=0)
    )


def test_a_third_live_hold_is_refused_until_the_first_of_the_two_expires() -> None:
    office = given(published()).after(hold(ANA, 1, name="one")).after(hold(ANA, 2, name="two"), now=at("07:01"))
    third = hold(ANA, 3, name="three")
    office.when(third, now=at("07:05") - MOMENT).rejected("hold_limit_reached", path="patient", limit=2, at=at("07:05"))
    office.when(third, now=at("07:05")).accepted()


def test_with_two_live_holds_each_can_be_renewed() -> None:
    office = given(published()).after(hold(ANA, 1, name="one"), hold(ANA, 2, name="two"))
    office.when(hold(ANA, 2, name="again"), now=at("07:04")).accepted()


def test_a_confirmed_hold_no_longer_counts_as_a_hold() -> None:
    elsewhere = published(first="10:00", hospital=COTAHUMA)
    office = given(on_its_stream(published()), on_its_stream(elsewhere))
    office = office.after(hold(ANA, 1, name="one"), hold(ANA, 1, agenda=elsewhere.agenda, name="two"), book(ANA, 1))
    office.when(hold(ANA, 2, agenda=elsewhere.agenda, name="three")).accepted()


def test_holds_of_other_patients_do_not_count() -> None:
    office = given(published()).after(hold(LUIS, 1, name="one"), hold(LUIS, 2, name="two"))
    office.when(hold(ANA, 3, name="three")).accepted()


def test_the_twenty_first_hold_of_a_day_is_refused() -> None:
    office = given(published(first="20:00"))
    for n in range(HOLDS_PER_PATIENT_AND_DAY_MAX):
        office = office.after(hold(ANA, name="hold" + "abcdefghijklmnopqrst"[n]), now=NOW + timedelta(minutes=5 * n))
    office.when(hold(ANA, name="last"), now=at("12:00")).rejected("too_many_holds_today", path="patient", limit=20)


def test_a_hold_is_refused_if_a_booking_would_be() -> None:
    elsewhere = published(first="08:10", hospital=COTAHUMA)
    office = given(on_its_stream(published()), on_its_stream(elsewhere)).after(book(ANA))
    office.when(hold(ANA, 1, agenda=elsewhere.agenda)).rejected(
        "visits_overlap", path="slot", appointment=appointment(), at=at("08:00")
    )
    office.when(hold(ANA, 3)).rejected("already_seen_here", path="agenda", appointment=appointment())


# Holding and booking alike

ASKING = pytest.mark.parametrize("command", [hold(ANA, slot=2), book(ANA, slot=2)], ids=["hold", "book"])


@ASKING
def test_an_unpublished_agenda_has_no_slots(command: Command) -> None:
    given().when(command).rejected("agenda_unknown", path="agenda")


@ASKING
def test_a_slot_number_outside_the_agenda_is_unknown(command: Command) -> None:
    given(published(slots=1)).when(command).rejected("slot_unknown", path="slot", slot=2, limit=1)


@ASKING
def test_a_slot_can_be_held_or_booked_until_it_starts(command: Command) -> None:
    start = at("08:20")
    given(published()).when(command, now=start - MOMENT).accepted()
    given(published()).when(command, now=start).rejected("in_the_past", path="slot", at=start)


@ASKING
def test_no_slot_is_given_before_the_release(command: Command) -> None:
    release = at("07:30")
    office = given(published(release_at=release))
    office.when(command, now=release - MOMENT).rejected("not_released_yet", path="agenda", at=release)
    office.when(command, now=release).accepted()


@ASKING
def test_a_booked_slot_is_taken(command: Command) -> None:
    given(published()).after(book(LUIS, slot=2, name="other")).when(command).rejected("slot_taken", path="slot", slot=2)


@ASKING
def test_a_slot_held_by_another_patient_is_taken(command: Command) -> None:
    given(published()).after(hold(LUIS, slot=2, name="other")).when(command).rejected("slot_taken", path="slot", slot=2)


@ASKING
def test_a_cancelled_slot_is_free_at_once(command: Command) -> None:
    given(published()).after(book(LUIS, slot=2, name="other"), cancel("other")).when(command).accepted()


# Alternatives


def test_a_refusal_lists_the_nearest_free_slots_earlier_ones_first() -> None:
    agenda = published(7)
    office = given(agenda).after(hold(LUIS, slot=4))
    office.when(book(ANA, slot=4)).rejected("slot_taken", path="slot", alternatives=slots(agenda, 3, 5, 2))


def test_alternatives_are_neither_booked_nor_held_nor_past() -> None:
    agenda = published(7)
    office = given(agenda).after(book(LUIS, 4, name="a"), hold(EVA, 5, name="b"), hold(EVA, 6, name="c"))
    office.when(book(ANA, 4), now=at("07:04")).rejected("slot_taken", path="slot", alternatives=slots(agenda, 3, 2, 1))
    office.when(book(ANA, 4), now=at("08:40")).rejected("slot_taken", path="slot", alternatives=slots(agenda, 5, 6, 7))


def test_without_free_slots_there_are_no_alternatives() -> None:
    given(published(1)).after(book(LUIS, name="other")).when(book(ANA)).rejected(
        "slot_taken", path="slot", alternatives=[]
    )


def test_the_number_of_alternatives_is_limited() -> None:
    agenda = published(7)
    state: Agenda = given(agenda).state(stream(AGENDA))
    assert nearest_free(state, agenda.slots[0], NOW) == slots(agenda, 1, 2, 3)
    assert ALTERNATIVES_MAX == 3


def test_a_cancelled_slot_is_an_alternative() -> None:
    agenda = published(3)
    office = given(agenda).after(book(LUIS, 1, name="a"), cancel("a"), book(EVA, 3, name="b"))
    office.when(book(ANA, 3)).rejected("slot_taken", path="slot", alternatives=slots(agenda, 2, 1))


# Booking


def test_a_free_slot_is_booked_on_both_streams() -> None:
    given(published()).when(book(ANA, 2, channel="PHONE")).then(*recorded_booking(ANA, 2, channel="PHONE"))


def test_repeating_a_booking_changes_nothing_even_after_its_end() -> None:
    office = given(published()).after(book(ANA))
    office.when(book(ANA)).nothing()
    office.when(book(ANA), now=at("12:00")).nothing()
    office.after(cancel()).when(book(ANA)).nothing()


def test_a_booking_confirms_the_patient_s_hold() -> None:
    office = given(published()).after(hold(ANA, 2))
    office.when(book(ANA, 2)).then(*recorded_booking(ANA, 2))
    confirmed: Agenda = office.after(book(ANA, 2)).state(stream(AGENDA))
    assert confirmed.holds == {}
    assert confirmed.booked == {2: appointment()}


def test_an_expired_hold_is_confirmed_if_the_slot_is_still_free() -> None:
    office = given(published()).after(hold(ANA))
    office.when(book(ANA), now=at("07:05")).accepted()


def test_an_expired_hold_is_not_confirmed_if_the_slot_was_taken() -> None:
    office = given(published()).after(hold(ANA)).after(hold(LUIS, name="other"), now=at("07:05"))
    office.when(book(ANA), now=at("07:05")).rejected("slot_taken", path="slot", slot=1)


def test_a_hold_confirms_only_its_own_slot() -> None:
    office = given(published()).after(hold(ANA, 1), hold(LUIS, 2, name="other"))
    office.when(book(ANA, 2)).rejected("slot_taken", path="slot", slot=2)


def test_a_patient_cannot_book_the_same_slot_twice() -> None:
    office = given(published()).after(book(ANA))
    office.when(book(ANA, name="again")).rejected("slot_taken", path="slot", slot=1)


def test_a_channel_is_full_at_its_quota_and_others_are_not() -> None:
    office = given(published(quotas={"WEB": 1, "PHONE": 1})).after(book(LUIS, 1, name="other"))
    office.when(book(ANA, 2)).rejected("quota_exhausted", path="channel", channel="WEB", limit=1)
    office.when(book(ANA, 2, channel="PHONE")).accepted()
    office.when(book(ANA, 2, channel="WINDOW")).accepted()


def test_a_quota_of_0_closes_a_channel_even_for_held_slots() -> None:
    office = given(published(quotas={"WEB": 0})).after(hold(ANA))
    office.when(book(ANA)).rejected("quota_exhausted", path="channel", channel="WEB", limit=0)


def test_a_cancellation_frees_its_quota_once() -> None:
    office = given(published(quotas={"WEB": 1})).after(book(LUIS, 1, name="other"), cancel("other"), cancel("other"))
    office.when(book(ANA, 2)).accepted()
    office.after(book(ANA, 2)).when(book(LUIS, 3, name="third")).rejected("quota_exhausted", path="channel")


@pytest.mark.parametrize("first", ["07:41", "08:00", "08:19"])
def test_overlapping_visits_are_refused(first: str) -> None:
    elsewhere = published(1, first=first, hospital=COTAHUMA)
    office = given(on_its_stream(published()), on_its_stream(elsewhere)).after(book(ANA))
    office.when(book(ANA, agenda=elsewhere.agenda)).rejected(
        "visits_overlap", path="slot", appointment=appointment(), at=at("08:00")
    )
    office.when(book(LUIS, agenda=elsewhere.agenda)).accepted()


@pytest.mark.parametrize("first", ["07:40", "08:20"])
def test_adjacent_visits_are_allowed(first: str) -> None:
    elsewhere = published(1, first=first, hospital=COTAHUMA)
    office = given(on_its_stream(published()), on_its_stream(elsewhere)).after(book(ANA))
    office.when(book(ANA, agenda=elsewhere.agenda)).accepted()


def test_one_live_visit_per_specialty_and_hospital() -> None:
    colleague = published(first="10:00", practitioner="p-2")
    office = given(on_its_stream(published()), on_its_stream(colleague)).after(book(ANA))
    second = book(ANA, agenda=colleague.agenda)
    office.when(second, now=at("08:20") - MOMENT).rejected(
        "already_seen_here", path="agenda", appointment=appointment(), at=at("08:00")
    )
    office.when(second, now=at("08:20")).accepted()
    office.after(cancel()).when(second).accepted()


def test_visits_to_another_specialty_or_hospital_are_allowed() -> None:
    dentist = published(first="10:00", practitioner="p-2", specialty=DENTISTRY)
    elsewhere = published(first="11:00", hospital=COTAHUMA)
    office = given(*map(on_its_stream, (published(), dentist, elsewhere))).after(book(ANA))
    office.after(book(ANA, agenda=dentist.agenda)).when(book(ANA, agenda=elsewhere.agenda)).accepted()


# Cancelling


def test_an_appointment_is_cancelled_on_both_streams() -> None:
    given(published()).after(book(ANA)).when(cancel(reason="MISTAKE")).then(*recorded_cancellation(ANA, "MISTAKE"))


def test_repeating_a_cancellation_changes_nothing() -> None:
    office = given(published()).after(book(ANA), cancel())
    office.when(cancel(reason="OTHER")).nothing()
    office.when(cancel(), now=at("12:00")).nothing()


def test_an_unknown_appointment_cannot_be_cancelled() -> None:
    given(published()).when(cancel()).rejected("appointment_unknown", path="appointment")
    given().when(cancel()).rejected("appointment_unknown", path="appointment")
    given(published()).after(book(ANA)).when(cancel("other")).rejected("appointment_unknown", path="appointment")


def test_an_appointment_can_be_cancelled_until_it_starts() -> None:
    office = given(published()).after(book(ANA))
    office.when(cancel(), now=at("08:00") - MOMENT).accepted()
    office.when(cancel(), now=at("08:00")).rejected("appointment_over", path="appointment", at=at("08:00"))


def test_repeating_a_cancellation_keeps_the_slot_s_new_booking() -> None:
    office = given(published()).after(book(ANA), cancel(), book(LUIS, name="other"), cancel())
    state: Agenda = office.state(stream(AGENDA))
    assert state.booked == {1: appointment("other")}
    office.when(book(ANA, name="again")).rejected("slot_taken", path="slot")


# The state


def agenda_of(office: Office) -> Agenda:
    state: Agenda = office.state(stream(AGENDA))
    return state


def test_a_slot_is_free_until_it_is_held_booked_or_begins() -> None:
    office = given(published())
    assert is_free(agenda_of(office), 1, at("08:00") - MOMENT)
    assert not is_free(agenda_of(office), 1, at("08:00"))
    assert not is_free(agenda_of(office.after(hold(ANA))), 1, NOW)
    assert not is_free(agenda_of(office.after(book(ANA))), 1, NOW)
    assert is_free(agenda_of(office.after(book(ANA), cancel())), 1, NOW)


def test_nothing_is_free_before_booking_opens() -> None:
    office = given(published(release_at=NOW))
    assert not is_free(agenda_of(office), 1, NOW - MOMENT)
    assert is_free(agenda_of(office), 1, NOW)


def test_every_past_hold_is_known_by_its_id() -> None:
    first, later = hold(ANA, 1, name="first"), NOW + timedelta(minutes=10)
    office = given(published()).after(first).after(hold(LUIS, 1, name="luis"), now=later)
    state = agenda_of(office.after(book(LUIS), now=later))
    assert {name: held.patient for name, held in state.all_holds.items()} == {
        opaque("first"): ANA,
        opaque("luis"): LUIS,
    }
    assert state.all_holds[opaque("first")].held_until == NOW + timedelta(minutes=5)


def test_a_hold_expires_without_an_event() -> None:
    state = agenda_of(given(published()).after(hold(ANA)))
    assert live_hold(state, 1, at("07:05") - MOMENT) == state.holds[1]
    assert live_hold(state, 1, at("07:05")) is None
    assert is_free(state, 1, at("07:05"))


def test_cancelled_appointments_are_remembered_with_their_reason() -> None:
    state = agenda_of(given(published()).after(book(ANA), cancel(reason="MISTAKE")))
    assert state.cancelled[appointment()].reason == "MISTAKE"
    assert state.appointments[appointment()].patient == ANA
    assert state.taken == {"WEB": 0}


def test_a_cancellation_without_a_booking_folds_to_nothing() -> None:
    agenda = published()
    never = AppointmentCancelled(appointment=appointment(), slot=1, channel="WEB", reason="OTHER")
    assert agenda_of(given(agenda, never)) == agenda_of(given(agenda))


def test_an_appointment_of_another_agenda_is_refused() -> None:
    elsewhere = appointment(agenda="la-merced/2027-01-15/p-9")
    wish = BookAppointment(agenda=AGENDA, slot=1, patient=ANA, channel="WEB", appointment=elsewhere)
    given(published(3)).when(wish).rejected("invalid_input", path="appointment")


def test_a_repeated_old_hold_has_no_effect() -> None:
    first, later = hold(ANA, 1, name="first"), NOW + timedelta(minutes=10)
    office = given(published(3)).after(first).after(hold(LUIS, 1, name="luis"), now=later)
    office.when(first, now=later + timedelta(minutes=10)).nothing()


def test_renewing_never_shortens_a_hold() -> None:
    office = given(published(3)).after(hold(ANA, 1, name="long", hold_s=3_600))
    (_, held), _ = office.when(hold(ANA, 1, name="short", hold_s=1)).recorded
    assert isinstance(held, SlotHeld)
    assert held.held_until == NOW + timedelta(hours=1)


def test_times_in_events_are_in_utc() -> None:
    (_, event), *_ = given(hospital_registered()).when(publish(slot_times(3))).recorded
    assert isinstance(event, AgendaPublished)
    assert {slot.start.tzinfo for slot in event.slots} == {UTC}


def test_quotas_name_a_channel_once() -> None:
    assert quotas_by_channel([("WEB", 3), ("PHONE", 0)]) == {"WEB": 3, "PHONE": 0}
    with pytest.raises(InvalidInput) as twice:
        quotas_by_channel([("WEB", 3), ("PHONE", 1), ("WEB", 3)])
    assert (twice.value.path, twice.value.details) == ("quotas", {"hint": "once"})
