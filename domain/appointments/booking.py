"""Booking a slot: its rules, and the events on the agenda's stream and on the patient's."""

from datetime import datetime
from typing import Annotated, Any

from domain.appointments import patient as patients
from domain.appointments.agenda import (
    Agenda,
    AgendaPublished,
    AgendaUnknown,
    AppointmentBooked,
    Channel,
    SlotNumber,
    live_hold,
    stream,
)
from domain.appointments.availability import Slot, is_released, nearest_free
from domain.appointments.patient import Patient, VisitTaken
from domain.decider import MUST_BE_REGISTERED, Command, Decided
from domain.decision import decides
from domain.errors import InThePast, InvalidInput, Language, Rejected
from domain.identifiers import (
    AGENDA_NAME,
    APPOINTMENT_NAME,
    OPAQUE,
    AgendaId,
    AppointmentId,
    OpaqueHint,
    SubjectId,
    agenda_of,
)


class SlotUnknown(
    Rejected,
    es="La agenda no tiene el horario {slot}: sus horarios van del 1 al {limit}.",
    en="The agenda has no slot {slot}: its slots go from 1 to {limit}.",
):
    slot: int
    limit: int


class NotReleasedYet(
    Rejected,
    es="Las fichas de esta agenda se dan desde el {at}.",
    en="This agenda opens for booking on {at}.",
):
    at: datetime


def slot_on_offer(agenda: Agenda, number: int, now: datetime) -> tuple[AgendaPublished, Slot]:
    """The agenda and the slot. Raises Rejected if the slot is unknown, in the past or not yet released."""
    if agenda.published is None:
        raise AgendaUnknown(path="agenda")
    slot = agenda.slots.get(number)
    if slot is None:
        raise SlotUnknown(path="slot", slot=number, limit=len(agenda.slots))
    if slot.start <= now:
        raise InThePast(path="slot", at=slot.start)
    if agenda.release_at and not is_released(agenda, now):
        raise NotReleasedYet(path="agenda", at=agenda.release_at)
    return agenda.published, slot


class SlotTaken(Rejected, es="El horario {slot} ya está ocupado.", en="Slot {slot} is taken."):
    slot: int
    alternatives: list[Slot]


def refuse_taken(agenda: Agenda, slot: Slot, patient: SubjectId, now: datetime) -> None:
    """Raise SlotTaken if the slot is booked, or held by somebody other than this patient."""
    hold = live_hold(agenda, slot.number, now)
    if slot.number in agenda.booked or (hold and hold.patient != patient):
        raise SlotTaken(path="slot", slot=slot.number, alternatives=nearest_free(agenda, slot, now))


def visit_of(appointment: AppointmentId, published: AgendaPublished, slot: Slot) -> VisitTaken:
    """The event on the patient's stream for an appointment in this slot."""
    return VisitTaken(
        appointment=appointment,
        hospital=published.hospital,
        specialty=published.specialty,
        slot=slot.number,
        start=slot.start,
        minutes=slot.minutes,
    )


CHANNEL_WORDS: dict[str, dict[Language, str]] = {
    "WEB": {"es": "por internet", "en": "on the web"},
    "PHONE": {"es": "por teléfono", "en": "by telephone"},
    "WINDOW": {"es": "en ventanilla", "en": "at the window"},
    "ASSISTED": {"es": "con ayuda de otra persona", "en": "with assistance"},
}


class QuotaExhausted(
    Rejected,
    es="Se agotó el cupo de {limit} fichas {channel}.",
    en="The quota of {limit} appointments {channel} is used up.",
):
    channel: str  # as stored in events
    limit: int

    def blanks(self, language: Language) -> dict[str, Any]:
        words = CHANNEL_WORDS.get(self.channel, {"es": "por otro canal", "en": "through another channel"})
        return super().blanks(language) | {"channel": words[language]}


def refuse_beyond_quota(agenda: Agenda, published: AgendaPublished, channel: str, *, path: str) -> None:
    """Raise QuotaExhausted if the channel has used up its quota in this agenda. `path` names the field to blame."""
    quota = published.quotas.get(channel)
    if quota is not None and agenda.taken.get(channel, 0) >= quota:
        raise QuotaExhausted(path=path, channel=channel, limit=quota)


class BookAppointment(Command):
    """Book a slot, whether or not this patient held it before."""

    agenda: Annotated[AgendaId, AGENDA_NAME]
    slot: SlotNumber
    patient: Annotated[SubjectId, OPAQUE, MUST_BE_REGISTERED]
    channel: Channel
    appointment: Annotated[AppointmentId, APPOINTMENT_NAME]


@decides(BookAppointment, reads=lambda c: (stream(c.agenda), patients.stream(c.patient)))
def book_appointment(command: BookAppointment, agenda: Agenda, patient: Patient, *, now: datetime) -> Decided:
    if agenda_of(command.appointment) != command.agenda:
        raise InvalidInput(path="appointment", hint=OpaqueHint())
    if command.appointment in agenda.appointments:
        return
    published, slot = slot_on_offer(agenda, command.slot, now)
    refuse_taken(agenda, slot, command.patient, now)
    refuse_beyond_quota(agenda, published, command.channel, path="channel")
    visit = visit_of(command.appointment, published, slot)
    patients.refuse_another_visit(patient, visit, now)
    yield (
        stream(command.agenda),
        AppointmentBooked(
            appointment=command.appointment, slot=slot.number, patient=command.patient, channel=command.channel
        ),
    )
    yield patients.stream(command.patient), visit
