"""An agenda: one practitioner (or room) on one date, a list of slots.

A slot has at most one live appointment or hold. Holding and booking write the agenda's stream and the patient's, so
that neither a slot nor a patient is ever in two places.
"""

from bisect import bisect_left, insort
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta

from domain.appointments import hospital as hospitals
from domain.appointments import patient as patients
from domain.appointments.availability import PublishedAgenda, Slot, nearest_free
from domain.appointments.hospital import Hospital, HospitalUnknown
from domain.appointments.patient import HoldTaken, Patient, VisitGivenUp, VisitTaken
from domain.calendar import local_date
from domain.decider import Command, Decided, Event, Instant, State, Stream, Value, evolves, names_stream_of, upcasts
from domain.decision import decides
from domain.errors import Hint, InThePast, InvalidInput, Rejected, TooFarAhead
from domain.identifiers import (
    AGENDA_NAME,
    APPOINTMENT_NAME,
    OPAQUE,
    SLUG,
    AgendaId,
    AppointmentId,
    HoldId,
    HospitalId,
    OpaqueHint,
    PractitionerId,
    SpecialtyId,
    SubjectId,
    agenda_id,
    agenda_of,
)

SLOTS_PER_AGENDA_MAX = 5_000
SLOT_MINUTES_MAX = patients.VISIT_MINUTES_MAX  # a slot becomes a visit
PUBLISH_AHEAD_DAYS_MAX = 366
HOLD_RENEWALS_MAX = 1
HOLD_SECONDS_MAX = 3_600

# Words of commands alone: an event keeps its word as text, so that one that is dropped here stays readable.
Channel = Literal["WEB", "PHONE", "WINDOW", "ASSISTED"]
Reason = Literal["PATIENT", "HOSPITAL", "MISTAKE", "OTHER"]  # a word of a list: free text would outlive an erasure
Attendance = Literal["CHECKED_IN", "NO_SHOW"]
SlotNumber = Annotated[int, Meta(ge=1, le=SLOTS_PER_AGENDA_MAX)]


class AgendaPublished(Event, name="agenda_published.v1"):
    agenda: AgendaId
    hospital: HospitalId
    specialty: SpecialtyId
    practitioner: PractitionerId
    date: date
    slots: list[Slot]
    quotas: dict[str, int] = {}
    release_at: Instant | None = None


class SlotHeld(Event, name="slot_held.v1"):
    hold: HoldId
    slot: int
    patient: SubjectId
    held_until: Instant
    renewals: int = 0


class AppointmentBooked(Event, name="appointment_booked.v1"):
    appointment: AppointmentId
    slot: int
    patient: SubjectId
    channel: str


class AppointmentCancelled(Event, name="appointment_cancelled.v2"):
    """`slot` and `channel` are the booking's, so that who reads this need not look for it: 0 and "" in old ones."""

    appointment: AppointmentId
    slot: int
    channel: str
    reason: str


@upcasts("appointment_cancelled.v1", to="appointment_cancelled.v2")
def _cancelled_before(stored: dict[str, Any]) -> dict[str, Any]:
    return stored | {"slot": 0, "channel": ""}


class PatientCheckedIn(Event, name="patient_checked_in.v1"):
    appointment: AppointmentId


class NoShowMarked(Event, name="no_show_marked.v1"):
    appointment: AppointmentId


class Agenda(State):
    """Slots by number; the last hold of each slot, expired or not; and all holds that there were, by id.

    `booked` maps a slot to its one live appointment, which keeps it whether the patient comes or not; `attendance`
    maps an appointment to what was said last about that.

    `unbooked` are the numbers of the other slots in order, so that free ones are found without looking at all.
    """

    published: AgendaPublished | None = None
    slots: dict[int, Slot] = {}
    holds: dict[int, SlotHeld] = {}
    all_holds: dict[HoldId, SlotHeld] = {}
    booked: dict[int, AppointmentId] = {}
    unbooked: list[int] = []
    appointments: dict[AppointmentId, AppointmentBooked] = {}
    cancelled: dict[AppointmentId, AppointmentCancelled] = {}
    taken: dict[str, int] = {}
    attendance: dict[AppointmentId, Attendance] = {}

    @property
    def release_at(self) -> datetime | None:
        return self.published.release_at if self.published else None


@names_stream_of(Agenda)
def stream(agenda: AgendaId) -> str:
    return f"agenda/{agenda}"


def touches(event: Event) -> list[AppointmentId]:
    """The appointment that an event is about, if it is about one."""
    appointment: AppointmentId | None = getattr(event, "appointment", None)
    return [appointment] if appointment else []


@evolves("agenda", Agenda, touches=touches)
def evolve(agenda: Agenda, event: Event) -> Agenda:
    match event:
        case AgendaPublished():
            agenda.published = event
            agenda.slots = {slot.number: slot for slot in event.slots}
            agenda.unbooked = sorted(agenda.slots.keys() - agenda.booked.keys())
        case SlotHeld():
            agenda.holds[event.slot] = event
            agenda.all_holds[event.hold] = event
        case AppointmentBooked():
            agenda.holds.pop(event.slot, None)
            agenda.booked[event.slot] = event.appointment
            _take_out(agenda.unbooked, event.slot)
            agenda.appointments[event.appointment] = event
            agenda.taken[event.channel] = agenda.taken.get(event.channel, 0) + 1
        case AppointmentCancelled():
            appointment = agenda.appointments.get(event.appointment)
            if appointment and event.appointment not in agenda.cancelled:
                agenda.cancelled[event.appointment] = event
                if agenda.booked.pop(appointment.slot, None):
                    insort(agenda.unbooked, appointment.slot)
                agenda.taken[appointment.channel] -= 1
        case PatientCheckedIn():
            agenda.attendance[event.appointment] = "CHECKED_IN"
        case NoShowMarked():
            agenda.attendance[event.appointment] = "NO_SHOW"
    return agenda


def _take_out(numbers: list[int], number: int) -> None:
    at = bisect_left(numbers, number)
    if at < len(numbers) and numbers[at] == number:
        del numbers[at]


def live_hold(agenda: Agenda, slot: int, now: datetime) -> SlotHeld | None:
    """The hold that keeps others from the slot at this moment. One that expired holds nothing, without any event."""
    hold = agenda.holds.get(slot)
    return hold if hold and now < hold.held_until else None


def published_agenda(agenda: Agenda) -> PublishedAgenda | None:
    """The agenda as readers see it; None if it was never published."""
    published = agenda.published
    if published is None:
        return None
    return PublishedAgenda(
        agenda=published.agenda,
        hospital=published.hospital,
        specialty=published.specialty,
        practitioner=published.practitioner,
        date=published.date,
        release_at=published.release_at,
        quotas=published.quotas,
        taken=agenda.taken,
        slots=agenda.slots,
        holds=agenda.holds,
        booked=agenda.booked,
        unbooked=agenda.unbooked,
    )


class SlotTime(Value, forbid_unknown_fields=True):
    start: Instant
    minutes: Annotated[int, Meta(ge=1, le=SLOT_MINUTES_MAX)]


class AgendaExists(
    Rejected,
    es="Ya hay una agenda distinta de este profesional para esa fecha.",
    en="There is another agenda of this practitioner on that date already.",
):
    agenda: AgendaId


class SlotDateHint(Hint, es="el turno debe empezar el día {at} en La Paz", en="the slot must start on {at} in La Paz"):
    at: date


class PublishAgenda(Command):
    hospital: Annotated[HospitalId, SLUG]
    specialty: Annotated[SpecialtyId, SLUG]
    practitioner: Annotated[PractitionerId, SLUG]
    date: date
    slots: Annotated[list[SlotTime], Meta(min_length=1, max_length=SLOTS_PER_AGENDA_MAX)]
    quotas: dict[Channel, Annotated[int, Meta(ge=0, le=SLOTS_PER_AGENDA_MAX)]] = {}
    release_at: Instant | None = None

    @property
    def agenda(self) -> AgendaId:
        return agenda_id(self.hospital, self.date, self.practitioner)


def _published(command: PublishAgenda) -> AgendaPublished:
    times = sorted(command.slots, key=lambda slot: (slot.start, slot.minutes))
    return AgendaPublished(
        agenda=command.agenda,
        hospital=command.hospital,
        specialty=command.specialty,
        practitioner=command.practitioner,
        date=command.date,
        slots=[
            Slot(number=number, start=slot.start.astimezone(UTC), minutes=slot.minutes)
            for number, slot in enumerate(times, start=1)
        ],
        quotas=dict(command.quotas.items()),
        release_at=command.release_at.astimezone(UTC) if command.release_at else None,
    )


@decides(PublishAgenda, reads=lambda c: (hospitals.stream(c.hospital), stream(c.agenda)))
def publish_agenda(command: PublishAgenda, hospital: Hospital, agenda: Agenda, *, now: datetime) -> Decided:
    published = _published(command)
    if agenda.published == published:
        return
    if agenda.published:
        raise AgendaExists(path="practitioner", agenda=command.agenda)
    if hospital.registered is None:
        raise HospitalUnknown(path="hospital", hospital=command.hospital)
    today = local_date(now)
    if command.date < today:
        raise InThePast(path="date", at=command.date)
    if command.date > today + timedelta(days=PUBLISH_AHEAD_DAYS_MAX):
        raise TooFarAhead(path="date", limit=PUBLISH_AHEAD_DAYS_MAX)
    for index, slot in enumerate(command.slots):
        if local_date(slot.start) != command.date:
            raise InvalidInput(path=f"slots.{index}.start", hint=SlotDateHint(at=command.date))
    yield stream(command.agenda), published


class AgendaUnknown(Rejected, es="No existe esa agenda.", en="There is no such agenda."): ...


class SlotUnknown(
    Rejected,
    es="La agenda no tiene el turno {slot}; va del 1 al {limit}.",
    en="The agenda has no slot {slot}; it goes from 1 to {limit}.",
):
    slot: int
    limit: int


class NotReleasedYet(
    Rejected,
    es="Las fichas de esta agenda se habilitan el {at}.",
    en="This agenda opens for booking on {at}.",
):
    at: datetime


def _slot_on_offer(agenda: Agenda, number: int, now: datetime) -> tuple[AgendaPublished, Slot]:
    """The slot, if it may be asked for at all at this moment. Raises Rejected."""
    if agenda.published is None:
        raise AgendaUnknown(path="agenda")
    slot = agenda.slots.get(number)
    if slot is None:
        raise SlotUnknown(path="slot", slot=number, limit=len(agenda.slots))
    if slot.start <= now:
        raise InThePast(path="slot", at=slot.start)
    release_at = agenda.published.release_at
    if release_at is not None and now < release_at:
        raise NotReleasedYet(path="agenda", at=release_at)
    return agenda.published, slot


class SlotTaken(Rejected, es="El turno {slot} ya está tomado.", en="Slot {slot} is taken."):
    slot: int
    alternatives: list[Slot]


def _refuse_taken(agenda: Agenda, slot: Slot, patient: SubjectId, now: datetime) -> None:
    hold = live_hold(agenda, slot.number, now)
    if slot.number in agenda.booked or (hold and hold.patient != patient):
        raise SlotTaken(path="slot", slot=slot.number, alternatives=nearest_free(agenda, slot, now))


def _visit(appointment: AppointmentId, published: AgendaPublished, slot: Slot) -> VisitTaken:
    return VisitTaken(
        appointment=appointment,
        hospital=published.hospital,
        specialty=published.specialty,
        slot=slot.number,
        start=slot.start,
        minutes=slot.minutes,
    )


def _hold_and_book_reads(command: "HoldSlot | BookAppointment") -> tuple[Stream[Agenda], Stream[Patient]]:
    return stream(command.agenda), patients.stream(command.patient)


class HoldRenewedAlready(
    Rejected,
    es="La reserva ya fue renovada; vence el {at}.",
    en="The hold was renewed already; it ends on {at}.",
):
    at: datetime


class HoldSlot(Command):
    """Keep a slot for `hold_s` seconds. Renewable once, by a second command for the same slot."""

    agenda: Annotated[AgendaId, AGENDA_NAME]
    slot: SlotNumber
    patient: Annotated[SubjectId, OPAQUE]
    hold: Annotated[HoldId, OPAQUE]
    hold_s: Annotated[int, Meta(ge=1, le=HOLD_SECONDS_MAX)]


@decides(HoldSlot, reads=_hold_and_book_reads)
def hold_slot(command: HoldSlot, agenda: Agenda, patient: Patient, *, now: datetime) -> Decided:
    if command.hold in agenda.all_holds:
        return
    published, slot = _slot_on_offer(agenda, command.slot, now)
    _refuse_taken(agenda, slot, command.patient, now)
    own = live_hold(agenda, slot.number, now)
    if own and own.renewals >= HOLD_RENEWALS_MAX:
        raise HoldRenewedAlready(path="slot", at=own.held_until)
    patients.refuse_another_hold(patient, command.agenda, slot.number, now)
    patients.refuse_another_visit(patient, _visit("", published, slot), now)
    held_until = now + timedelta(seconds=command.hold_s)
    if own:
        held_until = max(held_until, own.held_until)
    yield (
        stream(command.agenda),
        SlotHeld(
            hold=command.hold,
            slot=slot.number,
            patient=command.patient,
            held_until=held_until,
            renewals=own.renewals + 1 if own else 0,
        ),
    )
    yield (
        patients.stream(command.patient),
        HoldTaken(hold=command.hold, agenda=command.agenda, slot=slot.number, held_at=now, held_until=held_until),
    )


class QuotaExhausted(
    Rejected,
    es="Se agotó el cupo de {limit} fichas para el canal {channel}.",
    en="The quota of {limit} appointments for the channel {channel} is used up.",
):
    channel: Channel
    limit: int


class BookAppointment(Command):
    """Take a slot, held by this patient before or not."""

    agenda: Annotated[AgendaId, AGENDA_NAME]
    slot: SlotNumber
    patient: Annotated[SubjectId, OPAQUE]
    channel: Channel
    appointment: Annotated[AppointmentId, APPOINTMENT_NAME]


@decides(BookAppointment, reads=_hold_and_book_reads)
def book_appointment(command: BookAppointment, agenda: Agenda, patient: Patient, *, now: datetime) -> Decided:
    if agenda_of(command.appointment) != command.agenda:
        raise InvalidInput(path="appointment", hint=OpaqueHint())
    if command.appointment in agenda.appointments:
        return
    published, slot = _slot_on_offer(agenda, command.slot, now)
    _refuse_taken(agenda, slot, command.patient, now)
    quota = published.quotas.get(command.channel)
    if quota is not None and agenda.taken.get(command.channel, 0) >= quota:
        raise QuotaExhausted(path="channel", channel=command.channel, limit=quota)
    visit = _visit(command.appointment, published, slot)
    patients.refuse_another_visit(patient, visit, now)
    yield (
        stream(command.agenda),
        AppointmentBooked(
            appointment=command.appointment, slot=slot.number, patient=command.patient, channel=command.channel
        ),
    )
    yield patients.stream(command.patient), visit


class AppointmentUnknown(Rejected, es="No existe esa ficha.", en="There is no such appointment."): ...


class CheckedInAlready(
    Rejected,
    es="El paciente ya se presentó a esta cita.",
    en="The patient has checked in for this appointment already.",
): ...


class AppointmentOver(
    Rejected,
    es="La cita era el {at}: ya no se puede cancelar.",
    en="The appointment was on {at}: it can no longer be cancelled.",
):
    at: datetime


class CancelAppointment(Command):
    """Give an appointment up, so that its slot is free again at once (reversión de cita)."""

    appointment: Annotated[AppointmentId, APPOINTMENT_NAME]
    reason: Reason = "PATIENT"

    @property
    def agenda(self) -> AgendaId:
        return agenda_of(self.appointment)


def _patient(command: CancelAppointment, agenda: Agenda) -> tuple[Stream[Patient] | None]:
    booked = agenda.appointments.get(command.appointment)
    return (patients.stream(booked.patient) if booked else None,)


@decides(CancelAppointment, reads=lambda c: (stream(c.agenda),), then=_patient)
def cancel_appointment(
    command: CancelAppointment, agenda: Agenda, patient: Patient | None = None, *, now: datetime
) -> Decided:
    if patient is None:
        raise AppointmentUnknown(path="appointment")
    if command.appointment in agenda.cancelled:
        return
    booked = agenda.appointments[command.appointment]
    attendance, start = agenda.attendance.get(command.appointment), agenda.slots[booked.slot].start
    if attendance == "CHECKED_IN":
        raise CheckedInAlready(path="appointment")
    if start <= now or attendance == "NO_SHOW":  # said by a clock that is ahead of this one
        raise AppointmentOver(path="appointment", at=start)
    yield (
        stream(command.agenda),
        AppointmentCancelled(
            appointment=command.appointment, slot=booked.slot, channel=booked.channel, reason=command.reason
        ),
    )
    yield patients.stream(booked.patient), VisitGivenUp(appointment=command.appointment)
