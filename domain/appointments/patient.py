"""A patient's holds and visits: visits do not overlap, and the number of holds is limited.

Each person has one stream for life. It stays short because holds and visits are limited (docs/adr/0006).
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from domain.appointments.availability import is_live
from domain.calendar import local_date
from domain.decider import Event, Instant, State, evolves, names_stream_of
from domain.errors import Rejected
from domain.identifiers import AgendaId, AppointmentId, HoldId, HospitalId, SpecialtyId, SubjectId, agenda_of

VISIT_MINUTES_MAX = 24 * 60
LONGEST_VISIT = timedelta(minutes=VISIT_MINUTES_MAX)
LIVE_HOLDS_PER_PATIENT_MAX = 2
HOLDS_PER_PATIENT_AND_DAY_MAX = 20
# A hold that has ended by one clock is still live by a clock that is behind it, or was set back.
ENDED_HOLDS_KEPT_FOR = timedelta(days=1)


class HoldTaken(Event, name="hold_taken.v1"):
    hold: HoldId
    agenda: AgendaId
    slot: int
    held_at: Instant
    held_until: Instant


class VisitTaken(Event, name="visit_taken.v1"):
    appointment: AppointmentId
    hospital: HospitalId
    specialty: SpecialtyId
    slot: int
    start: Instant
    minutes: int

    @property
    def end(self) -> datetime:
        return self.start + timedelta(minutes=self.minutes)


class VisitGivenUp(Event, name="visit_given_up.v1"):
    appointment: AppointmentId


class Patient(State):
    """`holds` is by agenda and slot; ended holds are kept for a day. `visits` has those not given up, by appointment.

    All are in order of arrival.
    """

    holds: dict[tuple[AgendaId, int], HoldTaken] = {}
    visits: dict[AppointmentId, VisitTaken] = {}
    given_up: dict[AppointmentId, VisitTaken] = {}
    last_hold_day: date | None = None
    holds_that_day: int = 0


@names_stream_of(Patient)
def stream(patient: SubjectId) -> str:
    return f"patient/{patient}"


@evolves("patient", Patient)
def evolve(patient: Patient, event: Event) -> Patient:
    match event:
        case HoldTaken():
            day = local_date(event.held_at)
            patient.holds_that_day = 1 + (patient.holds_that_day if day == patient.last_hold_day else 0)
            patient.last_hold_day = day
            patient.holds = {
                # A difference of instants fits at the ends of the calendar too, where an earlier instant would not.
                key: hold
                for key, hold in patient.holds.items()
                if event.held_at - hold.held_until < ENDED_HOLDS_KEPT_FOR
            }
            patient.holds[event.agenda, event.slot] = event
        case VisitTaken():
            if patient.holds:
                patient.holds.pop((agenda_of(event.appointment), event.slot), None)
            patient.visits[event.appointment] = event
        case VisitGivenUp():
            visit = patient.visits.pop(event.appointment, None)
            if visit:
                patient.given_up[event.appointment] = visit
    return patient


def live_holds(patient: Patient, now: datetime) -> Iterator[HoldTaken]:
    """The holds that still keep others from their slots."""
    return (hold for hold in patient.holds.values() if is_live(hold, now))


class HoldLimitReached(
    Rejected,
    es="Se pueden reservar {limit} horarios a la vez como máximo; la primera reserva vence el {at}.",
    en="At most {limit} slots can be held at a time; the first hold expires on {at}.",
):
    limit: int
    at: datetime


class TooManyHoldsToday(
    Rejected,
    es="Una persona puede reservar {limit} veces al día como máximo.",
    en="A person can hold slots at most {limit} times a day.",
):
    limit: int


def refuse_another_hold(patient: Patient, agenda: AgendaId, slot: int, now: datetime) -> None:
    """Raise Rejected if this patient has reached the limit of live holds or of holds per day."""
    others = [hold for hold in live_holds(patient, now) if (hold.agenda, hold.slot) != (agenda, slot)]
    if len(others) >= LIVE_HOLDS_PER_PATIENT_MAX:
        free_again_at = min(hold.held_until for hold in others)
        raise HoldLimitReached(path="patient", limit=LIVE_HOLDS_PER_PATIENT_MAX, at=free_again_at)
    if patient.last_hold_day == local_date(now) and patient.holds_that_day >= HOLDS_PER_PATIENT_AND_DAY_MAX:
        raise TooManyHoldsToday(path="patient", limit=HOLDS_PER_PATIENT_AND_DAY_MAX)


class VisitsOverlap(
    Rejected,
    es="El paciente ya tiene una ficha a esa hora, para el {at}.",
    en="The patient has another appointment at that time, on {at}.",
):
    appointment: AppointmentId
    at: datetime


class AlreadySeenHere(
    Rejected,
    es="El paciente ya tiene una ficha de esta especialidad en este hospital, para el {at}.",
    en="The patient already has an appointment for this specialty and hospital, on {at}.",
):
    appointment: AppointmentId
    at: datetime


def refuse_another_visit(
    patient: Patient, wanted: VisitTaken, now: datetime, *, instead_of: AppointmentId = ""
) -> None:
    """Raise Rejected if the visit would overlap a live one, or be a second one for the same specialty and hospital.

    `instead_of` is the appointment that the visit replaces: it does not count.
    """
    start, end = wanted.start, wanted.end
    earliest = start - LONGEST_VISIT
    for visit in patient.visits.values():
        same = visit.specialty == wanted.specialty and visit.hospital == wanted.hospital
        if not same and not earliest < visit.start < end:
            continue  # can't conflict, so skip computing its end
        if visit.end <= now or visit.appointment == instead_of:
            continue
        if visit.start < end and start < visit.end:
            raise VisitsOverlap(path="slot", appointment=visit.appointment, at=visit.start)
        if same:
            raise AlreadySeenHere(path="agenda", appointment=visit.appointment, at=visit.start)
