"""Attendance: a patient checks in at the hospital, or is marked as a no-show.

Both are events of the agenda's stream, defined and folded in `agenda`. The appointment keeps its slot either way.
"""

from datetime import datetime
from typing import Annotated, Literal

from domain.appointments.agenda import (
    Agenda,
    AppointmentUnknown,
    NoShowMarked,
    PatientCheckedIn,
    stream,
)
from domain.appointments.availability import Slot
from domain.calendar import local_date
from domain.decider import Command, Decided, Stream
from domain.decision import decides
from domain.errors import Rejected
from domain.identifiers import APPOINTMENT_NAME, AppointmentId, agenda_of

AppointmentState = Literal["BOOKED", "CANCELLED", "CHECKED_IN", "NO_SHOW"]


def appointment_state(agenda: Agenda, appointment: AppointmentId) -> AppointmentState:
    """The present state of an appointment that was booked in this agenda."""
    if appointment in agenda.cancelled:
        return "CANCELLED"
    return agenda.attendance.get(appointment, "BOOKED")


class AppointmentIsCancelled(
    Rejected,
    code="appointment_cancelled",
    es="La ficha fue cancelada.",
    en="The appointment was cancelled.",
): ...


def live_slot(agenda: Agenda, appointment: AppointmentId) -> Slot:
    """The slot of an appointment that was booked and not cancelled. Raises Rejected."""
    booked = agenda.appointments.get(appointment)
    if booked is None:
        raise AppointmentUnknown(path="appointment")
    if appointment in agenda.cancelled:
        raise AppointmentIsCancelled(path="appointment")
    return agenda.slots[booked.slot]


def _reads(command: "CheckIn | MarkNoShow") -> tuple[Stream[Agenda]]:
    return (stream(agenda_of(command.appointment)),)


class NotItsDay(
    Rejected,
    es="La ficha es para el {at}: la llegada se registra ese mismo día.",
    en="The appointment is on {at}: the patient checks in on that day.",
):
    at: datetime


class CheckedInAlready(
    Rejected,
    es="La llegada del paciente ya está registrada.",
    en="The patient has already checked in for this appointment.",
): ...


class CheckIn(Command):
    """The patient is here. Allowed on the appointment's day only, also after a no-show if the patient came late."""

    appointment: Annotated[AppointmentId, APPOINTMENT_NAME]


@decides(CheckIn, reads=_reads)
def check_in(command: CheckIn, agenda: Agenda, *, now: datetime) -> Decided:
    slot = live_slot(agenda, command.appointment)
    if agenda.attendance.get(command.appointment) == "CHECKED_IN":
        return
    if local_date(now) != local_date(slot.start):
        raise NotItsDay(path="appointment", at=slot.start)
    yield stream(agenda_of(command.appointment)), PatientCheckedIn(appointment=command.appointment)


class NotBegunYet(
    Rejected,
    es="La ficha es para el {at}: la inasistencia se marca desde esa hora.",
    en="The appointment begins on {at}: it can't be marked as a no-show before then.",
):
    at: datetime


class MarkNoShow(Command):
    """The patient did not come. Allowed from the slot's start on, that day or later."""

    appointment: Annotated[AppointmentId, APPOINTMENT_NAME]


@decides(MarkNoShow, reads=_reads)
def mark_no_show(command: MarkNoShow, agenda: Agenda, *, now: datetime) -> Decided:
    slot = live_slot(agenda, command.appointment)
    attendance = agenda.attendance.get(command.appointment)
    if attendance == "NO_SHOW":
        return
    if attendance == "CHECKED_IN":
        raise CheckedInAlready(path="appointment")
    if now < slot.start:
        raise NotBegunYet(path="appointment", at=slot.start)
    yield stream(agenda_of(command.appointment)), NoShowMarked(appointment=command.appointment)
