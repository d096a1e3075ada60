"""Moving an appointment to another slot: the old slot is freed and the new one taken in one commit."""

from datetime import datetime
from typing import Annotated

from domain.appointments import booking
from domain.appointments import patient as patients
from domain.appointments.agenda import Agenda, AppointmentBooked, AppointmentCancelled, SlotNumber, stream
from domain.appointments.attendance import live_slot
from domain.appointments.cancelling import patient_stream_of, refuse_given_up_late
from domain.appointments.patient import Patient, VisitGivenUp
from domain.decider import Command, Decided
from domain.decision import decides
from domain.errors import InvalidInput, Rejected
from domain.identifiers import (
    AGENDA_NAME,
    APPOINTMENT_NAME,
    AgendaId,
    AppointmentId,
    OpaqueHint,
    SpecialtyId,
    agenda_of,
)

RESCHEDULED = "RESCHEDULED"  # a reason of cancellation that clients can't give


class AnotherSpecialty(
    Rejected,
    es="La ficha es de {specialty}: solo el hospital puede cambiarla a otra especialidad.",
    en="The appointment is for {specialty}: only the hospital can move it to another specialty.",
):
    specialty: SpecialtyId


class RescheduleAppointment(Command):
    """Move an appointment to another slot, in any agenda. `moved_to` is the id of the new appointment."""

    appointment: Annotated[AppointmentId, APPOINTMENT_NAME]
    agenda: Annotated[AgendaId, AGENDA_NAME]
    slot: SlotNumber
    moved_to: Annotated[AppointmentId, APPOINTMENT_NAME]
    any_specialty: bool = False

    @property
    def old_agenda(self) -> AgendaId:
        return agenda_of(self.appointment)


@decides(
    RescheduleAppointment,
    reads=lambda c: (stream(c.old_agenda), stream(c.agenda)),
    then=lambda c, old, new: (patient_stream_of(old, c.appointment),),
)
def reschedule_appointment(
    command: RescheduleAppointment, old: Agenda, new: Agenda, patient: Patient | None = None, *, now: datetime
) -> Decided:
    if agenda_of(command.moved_to) != command.agenda:
        raise InvalidInput(path="moved_to", hint=OpaqueHint())
    if command.moved_to in new.appointments:
        return
    live_slot(old, command.appointment)
    booked = old.appointments[command.appointment]
    refuse_given_up_late(old, booked, now)
    published, slot = booking.slot_on_offer(new, command.slot, now)
    if not command.any_specialty and old.published and old.published.specialty != published.specialty:
        raise AnotherSpecialty(path="agenda", specialty=old.published.specialty)
    booking.refuse_taken(new, slot, booked.patient, now)
    if command.agenda != command.old_agenda:  # within one agenda the channel's total stays
        booking.refuse_beyond_quota(new, published, booked.channel, path="agenda")
    visit = booking.visit_of(command.moved_to, published, slot)
    assert patient is not None  # the appointment exists, so its patient was read
    patients.refuse_another_visit(patient, visit, now, instead_of=command.appointment)
    yield (
        stream(command.old_agenda),
        AppointmentCancelled(
            appointment=command.appointment, slot=booked.slot, channel=booked.channel, reason=RESCHEDULED
        ),
    )
    yield patients.stream(booked.patient), VisitGivenUp(appointment=command.appointment)
    yield (
        stream(command.agenda),
        AppointmentBooked(
            appointment=command.moved_to, slot=slot.number, patient=booked.patient, channel=booked.channel
        ),
    )
    yield patients.stream(booked.patient), visit
