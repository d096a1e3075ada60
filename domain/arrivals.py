"""Turns that depend on other contexts: turns for an appointment of today, or by a person's age.

Only modules like this one know several contexts. See docs/adr/0012.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated

from domain import people
from domain.appointments.agenda import Agenda
from domain.appointments.agenda import stream as agenda_stream
from domain.appointments.attendance import CheckIn, NotItsDay, check_in, live_slot
from domain.calendar import local_date
from domain.decider import MUST_BE_REGISTERED, Command, Decided, Stream, StreamName
from domain.decision import decides
from domain.errors import Rejected
from domain.identifiers import (
    APPOINTMENT_NAME,
    LINE_NAME,
    OPAQUE,
    TURN_NAME,
    AppointmentId,
    LineId,
    SubjectId,
    TurnId,
    agenda_of,
    hospital_of,
)
from domain.people import Person
from domain.people.dependants import birthday
from domain.queues.calling import HasATurn
from domain.queues.line import LIVE, Line, TurnTaken
from domain.queues.line import stream as line_stream
from domain.queues.opening import opening_if_open
from domain.queues.turns import Channel, turn_taken

PREFERENCE_AGE_YEARS = 60


class NotPreferential(
    Rejected,
    es="La atención preferencial por edad es a partir de los {limit} años.",
    en="Preferential service by age starts at {limit} years.",
):
    limit: int


class TakeTurnByAge(Command):
    """Take a preferential turn by age. The person's birth date is looked up, not claimed."""

    line: Annotated[LineId, LINE_NAME]
    turn: Annotated[TurnId, TURN_NAME]
    channel: Channel
    person: Annotated[SubjectId, OPAQUE, MUST_BE_REGISTERED]


@decides(TakeTurnByAge, reads=lambda c: (line_stream(c.line), people.stream(c.person)))
def take_turn_by_age(command: TakeTurnByAge, line: Line, person: Person, *, now: datetime) -> Decided:
    if command.turn in line.turns:
        return
    born = person.registered.birth_date if person.registered else None
    if born is None or local_date(now) < birthday(born, PREFERENCE_AGE_YEARS):
        raise NotPreferential(path="reason", limit=PREFERENCE_AGE_YEARS)
    yield from turn_taken(
        line,
        command.turn,
        priority="PREFERENTIAL",
        channel=command.channel,
        person=command.person,
        reason="AGE",
        now=now,
    )


class TakeTurnForAppointment(Command):
    """Take a turn for an appointment of today at the line's hospital, from some time before it begins."""

    line: Annotated[LineId, LINE_NAME]
    turn: Annotated[TurnId, TURN_NAME]
    channel: Channel
    appointment: Annotated[AppointmentId, APPOINTMENT_NAME]


class CheckInToLine(Command):
    """The patient is here: check in, and take a turn for the appointment in the same commit."""

    line: Annotated[LineId, LINE_NAME]
    turn: Annotated[TurnId, TURN_NAME]
    appointment: Annotated[AppointmentId, APPOINTMENT_NAME]


def _reads(command: TakeTurnForAppointment | CheckInToLine) -> tuple[Stream[Line], Stream[Agenda]]:
    return line_stream(command.line), agenda_stream(agenda_of(command.appointment))


@decides(TakeTurnForAppointment, reads=_reads)
def take_turn_for_appointment(command: TakeTurnForAppointment, line: Line, agenda: Agenda, *, now: datetime) -> Decided:
    yield from _taken_for(command, line, agenda, channel=command.channel, now=now)


@decides(CheckInToLine, reads=_reads)
def check_in_to_line(command: CheckInToLine, line: Line, agenda: Agenda, *, now: datetime) -> Decided:
    yield from check_in(CheckIn(appointment=command.appointment), agenda, now=now)
    # A patient who took the turn at home already has it, and only arrives now.
    earlier = line.appointments.get(command.appointment)
    if earlier is None or line.turns[earlier].state not in LIVE:
        yield from _taken_for(command, line, agenda, channel="COUNTER", now=now)


class AppointmentElsewhere(
    Rejected,
    es="Esa ficha es de otro hospital.",
    en="That appointment is at another hospital.",
): ...


class TooEarly(
    Rejected,
    es="Para esta ficha se dan turnos desde el {at}.",
    en="Turns for this appointment are given from {at} on.",
):
    at: datetime


def _taken_for(
    command: TakeTurnForAppointment | CheckInToLine, line: Line, agenda: Agenda, *, channel: Channel, now: datetime
) -> Iterator[tuple[StreamName, TurnTaken]]:
    if command.turn in line.turns:
        return
    opened = opening_if_open(line, now, "line")
    slot = live_slot(agenda, command.appointment)
    if opened.hospital != hospital_of(command.appointment):
        raise AppointmentElsewhere(path="appointment")
    if local_date(now) != local_date(slot.start):
        raise NotItsDay(path="appointment", at=slot.start)
    from_when = slot.start - timedelta(minutes=opened.policy.early_minutes_max)
    if now < from_when:
        raise TooEarly(path="appointment", at=from_when)
    earlier = line.appointments.get(command.appointment)
    if earlier and line.turns[earlier].state in LIVE | {"SERVED", "TRANSFERRED"}:
        raise HasATurn(path="appointment", turn=earlier, number=line.turns[earlier].shown)
    yield from turn_taken(
        line,
        command.turn,
        priority="APPOINTMENT",
        channel=channel,
        person=agenda.appointments[command.appointment].patient,
        appointment=command.appointment,
        now=now,
    )
