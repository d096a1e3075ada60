"""An agenda: the slots of one practitioner (or room) on one date. Here are its events and its state.

The commands are in `publishing`, `holding`, `booking`, `cancelling`, `rescheduling` and `attendance`. A slot has at
most one live appointment or hold. Holding and booking write both the agenda's stream and the patient's, so that no slot
is given twice and no patient has two appointments at the same time.
"""

from bisect import bisect_left, insort
from datetime import date, datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from domain.appointments.availability import PublishedAgenda, Slot, is_live
from domain.decider import Event, Instant, State, evolves, names_stream_of, upcasts
from domain.errors import Rejected
from domain.identifiers import (
    AgendaId,
    AppointmentId,
    HoldId,
    HospitalId,
    PractitionerId,
    SpecialtyId,
    SubjectId,
)

SLOTS_PER_AGENDA_MAX = 5_000

# Only commands are limited to these words. Events store text, so they stay readable after a word is dropped here.
Channel = Literal["WEB", "PHONE", "WINDOW", "ASSISTED"]
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
    """`slot` and `channel` are copied from the booking, so that readers need not look it up: 0 and "" in old events."""

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
    """The state of an agenda.

    `slots` is by number. `holds` has the last hold of each slot, expired or not; `all_holds` has every hold, by id.
    `booked` maps a slot to its live appointment, whether or not the patient came; `attendance` maps an appointment to
    the last attendance recorded for it. `taken` counts live appointments by channel.

    `unbooked` has the numbers of the other slots in order, so that free slots are found without looking at every slot.
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
    """The appointment that an event concerns, if any."""
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
    """The live hold on the slot, if there is one."""
    hold = agenda.holds.get(slot)
    return hold if hold and is_live(hold, now) else None


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


class AgendaUnknown(Rejected, es="No existe esa agenda.", en="There is no such agenda."): ...


class AppointmentUnknown(Rejected, es="No existe esa ficha.", en="There is no such appointment."): ...
