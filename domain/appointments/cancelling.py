"""Cancelling an appointment."""

from datetime import datetime
from typing import Annotated, Literal

from domain.appointments import patient as patients
from domain.appointments.agenda import Agenda, AppointmentBooked, AppointmentCancelled, AppointmentUnknown, stream
from domain.appointments.attendance import CheckedInAlready
from domain.appointments.patient import Patient, VisitGivenUp
from domain.decider import Command, Decided, Stream
from domain.decision import decides
from domain.errors import Rejected
from domain.identifiers import (
    APPOINTMENT_NAME,
    AgendaId,
    AppointmentId,
    agenda_of,
)

Reason = Literal["PATIENT", "HOSPITAL", "MISTAKE", "OTHER"]  # no free text: it would outlive an erasure


class AppointmentOver(
    Rejected,
    es="La ficha era para el {at}: ya no se puede cancelar ni reprogramar.",
    en="The appointment was on {at}: it can no longer be cancelled or moved.",
):
    at: datetime


class CancelAppointment(Command):
    """Cancel an appointment; its slot is free again at once (reversión de cita)."""

    appointment: Annotated[AppointmentId, APPOINTMENT_NAME]
    reason: Reason = "PATIENT"

    @property
    def agenda(self) -> AgendaId:
        return agenda_of(self.appointment)


def patient_stream_of(agenda: Agenda, appointment: AppointmentId) -> Stream[Patient] | None:
    """The stream of the appointment's patient; None if the agenda has no such appointment."""
    booked = agenda.appointments.get(appointment)
    return patients.stream(booked.patient) if booked else None


def refuse_given_up_late(agenda: Agenda, booked: AppointmentBooked, now: datetime) -> None:
    """Raise Rejected if the patient has checked in or the appointment has begun."""
    attendance, start = agenda.attendance.get(booked.appointment), agenda.slots[booked.slot].start
    if attendance == "CHECKED_IN":
        raise CheckedInAlready(path="appointment")
    if start <= now or attendance == "NO_SHOW":  # marked by a process whose clock is ahead
        raise AppointmentOver(path="appointment", at=start)


@decides(
    CancelAppointment,
    reads=lambda c: (stream(c.agenda),),
    then=lambda c, agenda: (patient_stream_of(agenda, c.appointment),),
)
def cancel_appointment(
    command: CancelAppointment, agenda: Agenda, patient: Patient | None = None, *, now: datetime
) -> Decided:
    if patient is None:
        raise AppointmentUnknown(path="appointment")
    if command.appointment in agenda.cancelled:
        return
    booked = agenda.appointments[command.appointment]
    refuse_given_up_late(agenda, booked, now)
    yield (
        stream(command.agenda),
        AppointmentCancelled(
            appointment=command.appointment, slot=booked.slot, channel=booked.channel, reason=command.reason
        ),
    )
    yield patients.stream(booked.patient), VisitGivenUp(appointment=command.appointment)
