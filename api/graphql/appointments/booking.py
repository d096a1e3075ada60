"""Bookings in the schema: holding, booking and cancelling a slot."""

from enum import Enum
from typing import Annotated, Any

import strawberry

from api.access.grant import Grant
from api.graphql.access import DOERS_OF_ALL, argument, only
from api.graphql.appointments.access import READERS, by_web, not_by_web, own_appointment, own_hospital
from api.graphql.appointments.agendas import Slot, SlotState
from api.graphql.appointments.directory import Specialty, specialty_of
from api.graphql.commands import Done, Given, Gives, Takes, command, words_of
from api.graphql.errors import UserError, error_of
from api.graphql.fields import Info, Node, node_query
from api.graphql.links import LinkTo, link
from api.graphql.people.acting import own_people
from api.graphql.scalars import Instant
from domain.appointments import agenda as agendas
from domain.appointments import attendance, booking, cancelling, holding
from domain.appointments import patient as patients
from domain.identifiers import APPOINTMENT_NAME, agenda_of, hospital_of


@words_of(attendance.AppointmentState)
@strawberry.enum(description="The state of an appointment.")
class AppointmentState(Enum):
    BOOKED = strawberry.enum_value(
        "BOOKED", description="It is booked, and the patient has neither come nor been marked as a no-show."
    )
    CANCELLED = strawberry.enum_value("CANCELLED", description="It was cancelled before it began.")
    CHECKED_IN = strawberry.enum_value("CHECKED_IN", description="The patient came.")
    NO_SHOW = strawberry.enum_value("NO_SHOW", description="The patient did not come.")


@words_of(cancelling.Reason)
@strawberry.enum(description="Why an appointment is cancelled.")
class CancellationReason(Enum):
    PATIENT = strawberry.enum_value("PATIENT", description="The patient can't come.")
    HOSPITAL = strawberry.enum_value("HOSPITAL", description="The hospital can't see the patient.")
    MISTAKE = strawberry.enum_value("MISTAKE", description="It should not have been booked.")
    OTHER = strawberry.enum_value("OTHER", description="None of these.")


@strawberry.type(description="A slot that is held for a patient for some minutes.")
class Hold:
    agenda = link("agenda", "The agenda.", key="agenda_id")
    slot: int = strawberry.field(description="The slot's number.")
    held_until: Instant = strawberry.field(description="When the hold expires.")
    agenda_id: strawberry.Private[str]


@strawberry.type(description="An appointment (ficha): a slot booked for a patient.")
class Appointment(Node):
    id: strawberry.ID = strawberry.field(description="The agenda's id, then an opaque part.")
    agenda = link("agenda", "The agenda.", key="agenda_id")
    hospital = link("hospital", "The hospital.", key="hospital_code")
    specialty: Specialty = strawberry.field(description="The specialty.")
    slot: int = strawberry.field(description="The slot's number.")
    start: Instant = strawberry.field(description="When it begins.")
    minutes: int = strawberry.field(description="Its length in minutes.")
    patient = link("person", "The patient.", key="patient_id")
    state: AppointmentState = strawberry.field(description="Its state.")
    agenda_id: strawberry.Private[str]
    hospital_code: strawberry.Private[str]
    patient_id: strawberry.Private[str]


AgendaLink = Annotated[str, LinkTo("agenda")]


def appointment_to_graphql(patient: str, visit: patients.VisitTaken, state: AppointmentState) -> Appointment:
    return Appointment(
        id=strawberry.ID(visit.appointment),
        agenda_id=agenda_of(visit.appointment),
        hospital_code=visit.hospital,
        specialty=specialty_of(visit.specialty),
        slot=visit.slot,
        start=Instant(visit.start),
        minutes=visit.minutes,
        patient_id=patient,
        state=state,
    )


def hold_to_graphql(agenda: str, held: agendas.SlotHeld | patients.HoldTaken) -> Hold:
    return Hold(
        agenda_id=agenda,
        slot=held.slot,
        held_until=Instant(held.held_until),
    )


@strawberry.type(description="The slot is booked, or held for somebody else.")
class SlotTaken(UserError):
    alternatives: list[Slot] = strawberry.field(description="Free slots of the same agenda, the nearest in time first.")


@strawberry.type(description="The agenda is not open for booking yet.")
class NotReleasedYet(UserError):
    release_at: Instant = strawberry.field(description="When it opens.")


@strawberry.type(description="The patient has reached the limit of live holds.")
class HoldLimitReached(UserError):
    free_again_at: Instant = strawberry.field(description="When the first of these holds expires.")


@strawberry.type(description="The patient has another appointment that conflicts with this one.")
class VisitConflict(UserError):
    appointment = link("appointment", "The other appointment.", key="appointment_id")
    appointment_id: strawberry.Private[str]


@error_of(booking.SlotTaken)
def _slot_taken(refusal: booking.SlotTaken, _grant: Grant | None, **common: Any) -> UserError:
    free = [
        Slot(number=slot.number, start=Instant(slot.start), minutes=slot.minutes, state=SlotState.FREE, held_until=None)
        for slot in refusal.alternatives
    ]
    return SlotTaken(alternatives=free, **common)


@error_of(booking.NotReleasedYet)
def _not_released_yet(refusal: booking.NotReleasedYet, _grant: Grant | None, **common: Any) -> UserError:
    return NotReleasedYet(release_at=Instant(refusal.at), **common)


@error_of(patients.HoldLimitReached)
def _hold_limit_reached(refusal: patients.HoldLimitReached, _grant: Grant | None, **common: Any) -> UserError:
    return HoldLimitReached(free_again_at=Instant(refusal.at), **common)


@error_of(patients.VisitsOverlap, patients.AlreadySeenHere)
def _visit_conflict(
    refusal: patients.VisitsOverlap | patients.AlreadySeenHere, grant: Grant | None, **common: Any
) -> UserError | None:
    appointment = refusal.appointment
    hospitals = grant.bounds if grant else None
    if hospitals is not None and hospital_of(appointment) not in hospitals:
        return None  # a clerk must not learn about appointments at other hospitals
    return VisitConflict(appointment_id=appointment, **common)


async def appointment_by_id(info: Info, id: str) -> Appointment | None:
    """An appointment as it is now; None if there is no such appointment."""
    agenda: agendas.Agenda = await info.context.state(agendas.stream(agenda_of(id)))
    booked = agenda.appointments.get(id)
    if booked is None:
        return None
    state: patients.Patient = await info.context.state(patients.stream(booked.patient))
    visit = state.visits.get(id) or state.given_up[id]
    return appointment_to_graphql(booked.patient, visit, AppointmentState[attendance.appointment_state(agenda, id)])


@node_query(
    "appointment", "An appointment by id, as it is at the time of the request; null if there is none.", who=READERS
)
async def appointment(
    info: Info, id: Annotated[strawberry.ID, APPOINTMENT_NAME, strawberry.argument(description="The appointment's id.")]
) -> Appointment | None:
    return await appointment_by_id(info, id)


@command(
    holding.HoldSlot,
    "Hold a slot for some minutes. The hold then expires.",
    who={"citizen": own_people("input.patient"), "hospital_clerk": own_hospital("input.agenda"), **DOERS_OF_ALL},
    takes=Takes(
        "A slot to hold. Holding it a second time renews the hold, once.",
        agenda="The agenda.",
        slot="The slot's number.",
        patient="The person for whom it is held.",
    ),
    gives=Gives("The result of holding a slot.", hold="The hold.", agenda="The agenda, with the slot held."),
    new_id="hold",
    adds={"hold_s": lambda context, _grant: context.services.settings.hold_s},
)
async def hold_slot(info: Info, done: Done[holding.HoldSlot]) -> tuple[Hold, AgendaLink]:
    # Found by the hold's id: for a repetition whose key has expired, the outcome's position is the end of the log.
    command = done.command
    held = next((event for _, event in done.outcome.recorded if isinstance(event, agendas.SlotHeld)), None)
    if held is None:
        agenda: agendas.Agenda = await info.context.state(agendas.stream(command.agenda))
        held = agenda.all_holds[command.hold]
    return hold_to_graphql(command.agenda, held), command.agenda


@command(
    booking.BookAppointment,
    "Book a slot, whether or not the patient holds it.",
    who={
        "citizen": only(own_people("input.patient"), "through WEB", by_web),
        "hospital_clerk": only(own_hospital("input.agenda"), "through other channels than WEB", not_by_web),
        **DOERS_OF_ALL,
    },
    takes=Takes(
        "A slot to book, held by the patient or free.",
        agenda="The agenda.",
        slot="The slot's number.",
        patient="The person who is to be seen.",
        channel=Given("The channel through which it is booked.", default="WEB"),
    ),
    gives=Gives(
        "The result of booking a slot.", appointment="The appointment.", agenda="The agenda, with the slot booked."
    ),
    new_id="appointment",
    within="agenda",
)
async def book_appointment(info: Info, done: Done[booking.BookAppointment]) -> tuple[Appointment | None, AgendaLink]:
    command = done.command
    for _, event in done.outcome.recorded:
        if isinstance(event, patients.VisitTaken):
            return appointment_to_graphql(command.patient, event, AppointmentState.BOOKED), command.agenda
    # A repetition: the appointment may be over by now.
    return await appointment_by_id(info, command.appointment), command.agenda


@command(
    cancelling.CancelAppointment,
    "Cancel an appointment. Its slot is free again at once.",
    who={
        "citizen": only(
            own_appointment("input.appointment"),
            "except with the reason HOSPITAL",
            lambda arguments: bool(argument(arguments, "input.reason") != "HOSPITAL"),
        ),
        "hospital_clerk": own_hospital("input.appointment"),
        **DOERS_OF_ALL,
    },
    takes=Takes(
        "An appointment to cancel (reversión de cita).",
        appointment="The appointment.",
        reason="Why it is cancelled.",
    ),
    gives=Gives(
        "The result of cancelling an appointment.",
        appointment="The cancelled appointment.",
        agenda="Its agenda, with the slot free again.",
    ),
)
async def cancel_appointment(
    info: Info, done: Done[cancelling.CancelAppointment]
) -> tuple[Appointment | None, AgendaLink]:
    appointment = done.command.appointment
    return await appointment_by_id(info, appointment), agenda_of(appointment)
