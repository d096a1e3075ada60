"""Turns that depend on other contexts: a person's age, a ficha of today."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

import pytest
from msgspec.structs import replace

from domain.appointments.agenda import PatientCheckedIn
from domain.appointments.agenda import stream as agenda_stream
from domain.arrivals import PREFERENCE_AGE_YEARS, CheckInToLine, TakeTurnByAge, TakeTurnForAppointment
from domain.decider import Command, Recorded
from domain.identifiers import AppointmentId, agenda_id
from domain.people import PersonErased, PersonRegistered
from domain.people import stream as person_stream
from domain.queues.line import TurnTaken, stream
from tests.office import (
    AGENDA,
    ANA,
    COTAHUMA,
    DAY,
    LA_MERCED,
    MOMENT,
    NOW,
    Office,
    appointment,
    at,
    book,
    cancel,
    check_in,
    given,
    mark_no_show,
    on_its_stream,
    published,
)
from tests.waiting import (
    CLOSES,
    LAST_TURN,
    LINE,
    OPENS,
    OTHER,
    call,
    close,
    finish,
    leave,
    line_opened,
    line_state,
    mark_absent,
    recorded,
    start,
    take,
    transfer,
    turn,
    waiting,
)

# By age


def person(born: date) -> Recorded:
    registered = PersonRegistered(
        person=ANA,
        identity_digest="a1" * 32,
        identity="4820193",
        given_names="Ana",
        family_names="Mamani",
        birth_date=born,
        sex="F",
        phone="",
        email="",
    )
    return person_stream(ANA), registered


def take_by_age(name: str = "ana") -> TakeTurnByAge:
    return TakeTurnByAge(line=LINE, turn=turn(name), channel="WEB", person=ANA)


def open_on(day: date) -> Recorded:
    """A line that is open all of that day and the next."""
    end = at("23:59", day + timedelta(days=1))
    return line_opened(opens_at=at("00:00", day), last_turn_at=end, closes_at=end)


SIXTY = date(DAY.year - PREFERENCE_AGE_YEARS, DAY.month, DAY.day)


TAKEN_BY_AGE = (
    stream(LINE),
    TurnTaken(
        turn=turn("ana"),
        number=1,
        priority="PREFERENTIAL",
        channel="WEB",
        since=NOW,
        taken_at=NOW,
        ahead=0,
        counters=2,
        person=ANA,
        reason="AGE",
    ),
)
ERASED = (person_stream(ANA), PersonErased(person=ANA))


def test_a_person_of_60_gets_a_preferential_turn() -> None:
    given(line_opened(), person(SIXTY)).when(take_by_age()).then(TAKEN_BY_AGE)


def test_the_day_before_the_60th_birthday_is_not_enough() -> None:
    office = given(line_opened(), person(SIXTY + timedelta(days=1)))
    office.when(take_by_age()).rejected("not_preferential", path="reason", limit=60)


@pytest.mark.parametrize(
    ("born", "sixty"),
    [
        (date(1967, 1, 15), date(2027, 1, 15)),
        (date(1968, 2, 29), date(2028, 2, 29)),
        (date(2040, 2, 29), date(2100, 3, 1)),  # no leap year
    ],
)
def test_a_person_is_60_from_midnight_in_la_paz(born: date, sixty: date) -> None:
    office = given(open_on(sixty - timedelta(days=1)), person(born))
    office.when(take_by_age(), now=at("00:00", sixty) - MOMENT).rejected("not_preferential", path="reason")
    office.when(take_by_age(), now=at("00:00", sixty)).accepted()


def test_unknown_and_erased_persons_have_no_age() -> None:
    given(line_opened()).when(take_by_age()).rejected("not_preferential", path="reason")
    erased = given(line_opened(), person(SIXTY), ERASED)
    erased.when(take_by_age()).rejected("not_preferential", path="reason")


def test_repeating_a_turn_by_age_changes_nothing() -> None:
    office = given(line_opened(), person(SIXTY), TAKEN_BY_AGE)
    office.when(take_by_age(), now=CLOSES).nothing()
    given(line_opened(), person(SIXTY), TAKEN_BY_AGE, ERASED).when(take_by_age()).nothing()


def test_a_turn_by_age_follows_the_line_s_rules() -> None:
    office = given(line_opened(), person(SIXTY))
    twice = office.after(take("ana")).when(take_by_age("again"))
    twice.rejected("has_a_turn", path="person", turn=turn("ana"), number="A-001")
    office.when(take_by_age(), now=LAST_TURN).rejected("no_more_turns", path="line")
    given(person(SIXTY)).when(take_by_age()).rejected("line_unknown", path="line")


# By a ficha

NEXT_DAY = DAY + timedelta(days=1)
SLOT = at("09:00")
FICHA = appointment()
FROM = at("08:00")  # an hour before


def at_the_hospital(*, early_minutes_max: int = 60) -> Office:
    """A ward's line from seven, and Ana's ficha at nine."""
    agenda = on_its_stream(published(first="09:00"))
    return given(line_opened(hospital=LA_MERCED, early_minutes_max=early_minutes_max), agenda).after(book(ANA))


def take_for(name: str = "ana", ficha: AppointmentId = FICHA) -> TakeTurnForAppointment:
    return TakeTurnForAppointment(line=LINE, turn=turn(name), channel="WEB", appointment=ficha)


def come(name: str = "ana", ficha: AppointmentId = FICHA) -> CheckInToLine:
    return CheckInToLine(line=LINE, turn=turn(name), appointment=ficha)


def taken(channel: str, now: datetime = FROM) -> Recorded:
    event = TurnTaken(
        turn=turn("ana"),
        number=1,
        priority="APPOINTMENT",
        channel=channel,
        since=now,
        taken_at=now,
        ahead=0,
        counters=2,
        person=ANA,
        appointment=appointment(),
    )
    return stream(LINE), event


CHECKED_IN = (agenda_stream(AGENDA), PatientCheckedIn(appointment=appointment()))
EITHER = pytest.mark.parametrize("command", [take_for(), come()], ids=["at home", "at the counter"])
Kind = Callable[..., Command]


def test_a_turn_for_a_ficha_can_be_taken_from_home() -> None:
    at_the_hospital().when(take_for(), now=FROM).then(taken("WEB"))


def test_check_in_and_turn_are_one_commit() -> None:
    at_the_hospital().when(come(), now=FROM).then(CHECKED_IN, taken("COUNTER"))


def test_a_patient_with_a_turn_is_only_checked_in() -> None:
    office = at_the_hospital().after(take_for(), now=FROM)
    for there in (office, office.after(call(), now=FROM), office.after(call(), start("ana"), now=FROM)):
        there.when(come("other"), now=FROM).then(CHECKED_IN)


def test_a_checked_in_patient_gets_a_turn() -> None:
    at_the_hospital().after(check_in()).when(come(), now=FROM).then(taken("COUNTER"))


@EITHER
def test_repeating_an_arrival_changes_nothing(command: Command) -> None:
    office = at_the_hospital().after(command, now=FROM)
    office.when(command, now=at("08:30")).nothing()
    if isinstance(command, CheckInToLine):
        office.when(come("other"), now=at("08:30")).nothing()


@EITHER
def test_a_ficha_gives_a_turn_from_earlyminutesmax_on(command: Command) -> None:
    office = at_the_hospital()
    office.when(command, now=FROM - MOMENT).rejected("too_early", path="appointment", at=FROM)
    office.when(command, now=FROM).accepted()
    strict = at_the_hospital(early_minutes_max=0)
    strict.when(command, now=SLOT - MOMENT).rejected("too_early", path="appointment", at=SLOT)
    strict.when(command, now=SLOT).accepted()


@EITHER
def test_a_late_patient_gets_a_turn(command: Command) -> None:
    at_the_hospital().when(command, now=LAST_TURN - MOMENT).accepted()
    missed = at_the_hospital().after(mark_no_show(), now=SLOT)
    missed.when(command, now=at("10:00")).accepted()


@EITHER
def test_without_a_ficha_there_is_no_turn(command: Command) -> None:
    agenda = on_its_stream(published(first="09:00"))
    nothing_booked = given(line_opened(hospital=LA_MERCED), agenda)
    nothing_booked.when(command, now=FROM).rejected("appointment_unknown", path="appointment")
    cancelled = at_the_hospital().after(cancel())
    cancelled.when(command, now=FROM).rejected("appointment_cancelled", path="appointment")


@EITHER
@pytest.mark.parametrize("hospital", [COTAHUMA, None])
def test_a_ficha_counts_only_in_its_hospital(command: Command, hospital: str | None) -> None:
    agenda = on_its_stream(published(first="09:00"))
    office = given(line_opened(hospital=hospital), agenda).after(book(ANA))
    office.when(command, now=FROM).rejected("appointment_elsewhere", path="appointment")


@pytest.mark.parametrize("kind", [take_for, come])
def test_a_ficha_counts_only_on_its_day_in_la_paz(kind: Kind) -> None:
    ficha = appointment(agenda=agenda_id(LA_MERCED, NEXT_DAY, "p-1"))
    night = on_its_stream(published(day=NEXT_DAY, first="00:10"))
    line = line_opened(hospital=LA_MERCED, last_turn_at=at("23:59"), closes_at=at("23:59"))
    office = given(line, night).after(book(ANA, agenda=agenda_id(LA_MERCED, NEXT_DAY, "p-1")))
    answer = office.when(kind(ficha=ficha), now=at("23:50"))
    answer.rejected("not_its_day", path="appointment", at=at("00:10", NEXT_DAY))


@EITHER
def test_the_line_must_be_giving_turns(command: Command) -> None:
    agenda = on_its_stream(published(first="07:30"))
    office = given(line_opened(hospital=LA_MERCED), agenda).after(book(ANA))
    office.when(command, now=OPENS - MOMENT).rejected("line_not_open_yet", path="line", at=OPENS)
    office.when(command, now=OPENS).accepted()
    office.when(command, now=LAST_TURN).rejected("no_more_turns", path="line", at=LAST_TURN)
    office.when(command, now=CLOSES).rejected("line_closed", path="line", at=CLOSES)
    office.after(close()).when(command, now=at("07:01")).rejected("line_closed", path="line", at=NOW)
    given(agenda).after(book(ANA)).when(command).rejected("line_unknown", path="line")


@EITHER
def test_a_turn_s_id_contains_its_line(command: Command) -> None:
    elsewhere = replace(command, turn=turn("ana", OTHER))
    at_the_hospital().when(elsewhere, now=FROM).rejected("invalid_input", path="turn", hint="opaque")


def test_a_ficha_has_one_turn_at_a_time() -> None:
    office = at_the_hospital().after(take_for(), now=FROM)
    for live in (office, office.after(call(), now=FROM), office.after(call(), start("ana"), now=FROM)):
        answer = live.when(take_for("again"), now=FROM)
        answer.rejected("has_a_turn", path="appointment", turn=turn("ana"), number="F-001")


@pytest.mark.parametrize("kind", [take_for, come])
def test_a_served_ficha_gives_no_other_turn(kind: Kind) -> None:
    office = at_the_hospital().after(take_for(), call(), start("ana"), finish("ana"), now=FROM)
    answer = office.when(kind("again"), now=SLOT)
    answer.rejected("has_a_turn", path="appointment", turn=turn("ana"), number="F-001")


@pytest.mark.parametrize("kind", [take_for, come])
def test_an_absent_or_left_ficha_gives_another_turn(kind: Kind) -> None:
    office = at_the_hospital().after(take_for(), now=FROM)
    for over in (
        office.after(leave("ana"), now=FROM),
        office.after(call(), now=FROM).after(mark_absent("ana"), now=SLOT),
    ):
        (again,) = recorded(over.when(kind("again"), now=SLOT), TurnTaken)
        assert (again.priority, again.number, again.appointment) == ("APPOINTMENT", 2, appointment())


@pytest.mark.parametrize("kind", [take_for, come])
def test_a_waiting_person_has_a_turn_already(kind: Kind) -> None:
    office = at_the_hospital().after(take("ana"))
    office.when(kind("again"), now=FROM).rejected("has_a_turn", path="appointment", turn=turn("ana"), number="A-001")


def test_a_ficha_s_turn_has_its_class_and_follows_the_policy() -> None:
    office = at_the_hospital().after(take("eva"), take("rosa", reason="INFANT")).after(come(), now=FROM)
    assert waiting(office) == ["P-001", "F-001", "A-001"]


def test_a_transfer_within_the_hospital_keeps_the_ficha() -> None:
    lines = line_opened(hospital=LA_MERCED), line_opened(OTHER, hospital=LA_MERCED)
    office = given(*lines, on_its_stream(published(first="09:00"))).after(book(ANA))
    moved = office.after(take_for(), transfer("ana"), now=FROM)
    assert waiting(moved, OTHER) == ["F-001"]
    assert line_state(moved, OTHER).appointments == {appointment(): turn("ana", OTHER)}
