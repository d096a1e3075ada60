"""Appointments in the schema: hospitals, agendas and their slots, holding, booking, cancelling."""

import re
from bisect import bisect_right
from collections.abc import Callable
from datetime import date as Date
from datetime import datetime
from enum import Enum
from itertools import islice
from typing import Annotated, Any, cast

import strawberry

from api.graphql.context import STREAMS_AT_ONCE_MAX
from api.graphql.errors import ERROR_TYPES, UserError
from api.graphql.fields import Info, Input, KeyedInput, Node, Payload, explain, refuse
from api.graphql.paging import After, Connection, First, page, page_size
from api.graphql.scalars import Instant, Position
from domain import people
from domain.appointments import agenda as agendas
from domain.appointments import availability
from domain.appointments import hospital as hospitals
from domain.appointments import patient as patients
from domain.appointments.attendance import appointment_state
from domain.decider import build
from domain.errors import Rejected
from domain.identifiers import SLUG, agenda_of, fits, hospital_of
from infra.log.lane import Outcome


@strawberry.enum(description="Through which channel an appointment is booked.")
class Channel(Enum):
    WEB = strawberry.enum_value("WEB", description="The patient, or family, on a page or in an app.")
    PHONE = strawberry.enum_value("PHONE", description="By telephone.")
    WINDOW = strawberry.enum_value("WINDOW", description="At the hospital's window.")
    ASSISTED = strawberry.enum_value("ASSISTED", description="By somebody who helps patients, elsewhere.")


@strawberry.enum(description="What can be done with a slot at the time of asking.")
class SlotState(Enum):
    FREE = strawberry.enum_value("FREE", description="Booking is open and nobody has it.")
    NOT_RELEASED = strawberry.enum_value(
        "NOT_RELEASED", description="Nobody has it, and nobody may take it before the agenda's `releaseAt`."
    )
    HELD = strawberry.enum_value("HELD", description="Somebody holds it until `heldUntil`.")
    BOOKED = strawberry.enum_value("BOOKED", description="It has its appointment.")
    PAST = strawberry.enum_value("PAST", description="It began without one.")


@strawberry.enum(description="What became of an appointment.")
class AppointmentState(Enum):
    BOOKED = strawberry.enum_value("BOOKED", description="Nothing more is known of it.")
    CANCELLED = strawberry.enum_value("CANCELLED", description="It was given up before it began.")
    CHECKED_IN = strawberry.enum_value("CHECKED_IN", description="The patient is, or was, here.")
    NO_SHOW = strawberry.enum_value("NO_SHOW", description="The patient did not come.")


@strawberry.enum(description="Whose cause it is that an appointment is cancelled.")
class CancellationReason(Enum):
    PATIENT = strawberry.enum_value("PATIENT", description="The patient does not come.")
    HOSPITAL = strawberry.enum_value("HOSPITAL", description="The hospital can't see the patient.")
    MISTAKE = strawberry.enum_value("MISTAKE", description="It should not have been booked.")
    OTHER = strawberry.enum_value("OTHER", description="None of these.")


@strawberry.type(description="A hospital of the municipality.")
class Hospital(Node):
    id: strawberry.ID = strawberry.field(description="Its code: la-merced.")
    name: str = strawberry.field(description="Its name.")


@strawberry.type(description="A time in an agenda that one patient can have.")
class Slot:
    number: int = strawberry.field(description="Counts from 1; the number on the ficha.")
    start: Instant = strawberry.field(description="When it begins.")
    minutes: int = strawberry.field(description="How long it lasts.")
    state: SlotState = strawberry.field(description="What can be done with it at the time of asking.")
    held_until: Instant | None = strawberry.field(description="When the hold on it ends by itself, if it is held.")


@strawberry.type(description="How many appointments a channel may book in an agenda.")
class Quota:
    channel: Channel = strawberry.field(description="The channel.")
    limit: int = strawberry.field(description="Appointments at most.")
    taken: int = strawberry.field(description="Live appointments booked through it.")


def _slot(agenda: agendas.Agenda, slot: agendas.Slot, now: datetime) -> Slot:
    state = agendas.slot_state(agenda, slot.number, now)
    held_until = Instant(agenda.holds[slot.number].held_until) if state == "HELD" else None
    return Slot(
        number=slot.number,
        start=Instant(slot.start),
        minutes=slot.minutes,
        state=SlotState[state],
        held_until=held_until,
    )


@strawberry.type(description="One practitioner (or room) on one date: a list of slots.")
class Agenda(Node):
    id: strawberry.ID = strawberry.field(description="hospital/date/practitioner")
    hospital: strawberry.ID = strawberry.field(description="The hospital's code.")
    specialty: str = strawberry.field(description="The specialty's code.")
    practitioner: str = strawberry.field(description="The practitioner's or the room's code.")
    date: Date = strawberry.field(description="The date in La Paz.")
    release_at: Instant | None = strawberry.field(
        description="When booking opens; null if it is open since it is known."
    )
    quotas: list[Quota] = strawberry.field(description="Limits by channel; a channel that is not listed has none.")
    free_slots: int = strawberry.field(
        description="How many slots are FREE at the time of asking: none before `releaseAt`."
    )
    agenda: strawberry.Private[agendas.Agenda]
    now: strawberry.Private[datetime]

    @strawberry.field(description="The slots in order of number.")
    def slots(
        self,
        info: Info,
        first: First,
        after: After = None,
        state: Annotated[SlotState | None, strawberry.argument(description="Only slots in this state.")] = None,
    ) -> Connection[Slot]:
        first = page_size(first, info)
        if after is not None and not re.fullmatch("[1-9][0-9]{0,3}", after):
            refuse(info, "after", "cursor")
        in_state = cast("agendas.SlotState", state.name) if state else None
        wanted = availability.slots_in(self.agenda, in_state, self.now, after=int(after or 0))
        slots = [_slot(self.agenda, slot, self.now) for slot in islice(wanted, first + 1)]
        return page(slots, first, lambda slot: str(slot.number))


def shown_agenda(state: agendas.Agenda, now: datetime) -> Agenda | None:
    said = state.published
    if said is None:
        return None
    quotas = [
        Quota(channel=Channel(channel), limit=limit, taken=state.taken.get(channel, 0))
        for channel, limit in said.quotas.items()
        if channel in Channel.__members__  # nobody can book through a channel that was dropped
    ]
    return Agenda(
        id=strawberry.ID(said.agenda),
        hospital=strawberry.ID(said.hospital),
        specialty=said.specialty,
        practitioner=said.practitioner,
        date=said.date,
        release_at=Instant(said.release_at) if said.release_at else None,
        quotas=quotas,
        free_slots=availability.free_count(state, now),
        agenda=state,
        now=now,
    )


@strawberry.type(description="A slot kept for a patient for some minutes.")
class Hold:
    id: strawberry.ID = strawberry.field(description="The hold.")
    agenda: strawberry.ID = strawberry.field(description="The agenda.")
    slot: int = strawberry.field(description="The slot's number.")
    held_until: Instant = strawberry.field(description="When it ends by itself.")


@strawberry.type(description="A ficha: a slot that a patient has.")
class Appointment(Node):
    id: strawberry.ID = strawberry.field(description="The agenda, then an opaque part.")
    agenda: strawberry.ID = strawberry.field(description="The agenda.")
    hospital: strawberry.ID = strawberry.field(description="The hospital's code.")
    specialty: str = strawberry.field(description="The specialty's code.")
    slot: int = strawberry.field(description="The slot's number.")
    start: Instant = strawberry.field(description="When it begins.")
    minutes: int = strawberry.field(description="How long it lasts.")
    patient: strawberry.ID = strawberry.field(description="The patient's opaque id.")
    state: AppointmentState = strawberry.field(description="What became of it.")


def shown_appointment(patient: str, visit: patients.VisitTaken, state: AppointmentState) -> Appointment:
    return Appointment(
        id=strawberry.ID(visit.appointment),
        agenda=strawberry.ID(agenda_of(visit.appointment)),
        hospital=strawberry.ID(visit.hospital),
        specialty=visit.specialty,
        slot=visit.slot,
        start=Instant(visit.start),
        minutes=visit.minutes,
        patient=strawberry.ID(patient),
        state=state,
    )


@strawberry.type(description="A person as hospitals see them.")
class Patient:
    id: strawberry.ID = strawberry.field(description="The person's opaque id.")
    holds: list[Hold] = strawberry.field(description="Live holds at the time of asking, two at most.")
    patient: strawberry.Private[patients.Patient]
    hospitals: strawberry.Private[frozenset[str] | None]

    @strawberry.field(description="Appointments by start, cancelled ones too.")
    async def appointments(self, info: Info, first: First, after: After = None) -> Connection[Appointment]:
        first = page_size(first, info)
        known = {
            name: visit
            for name, visit in (*self.patient.visits.items(), *self.patient.given_up.items())
            if self.hospitals is None or visit.hospital in self.hospitals
        }
        visits = sorted(known.values(), key=_by_start)
        begin = 0
        if after is not None:
            last = known.get(after)
            if last is None:
                refuse(info, "after", "cursor")
            begin = bisect_right(visits, _by_start(last), key=_by_start)
        wanted = visits[begin : begin + first + 1]
        states = await _states(info, [visit.appointment for visit in wanted])
        shown = [shown_appointment(self.id, visit, states[visit.appointment]) for visit in wanted]
        return page(shown, first, lambda appointment: appointment.id)


async def _states(info: Info, appointments: list[str]) -> dict[str, AppointmentState]:
    """What became of these appointments: their agendas tell."""
    streams = sorted({agendas.stream(agenda_of(appointment)) for appointment in appointments})
    found: dict[str, agendas.Agenda] = {}
    for begin in range(0, len(streams), STREAMS_AT_ONCE_MAX):
        found |= await info.context.states(streams[begin : begin + STREAMS_AT_ONCE_MAX])
    return {
        appointment: AppointmentState[appointment_state(found[agendas.stream(agenda_of(appointment))], appointment)]
        for appointment in appointments
    }


def _by_start(visit: patients.VisitTaken) -> tuple[datetime, str]:
    return visit.start, visit.appointment


def _hold(agenda: str, held: agendas.SlotHeld | patients.HoldTaken) -> Hold:
    return Hold(
        id=strawberry.ID(held.hold),
        agenda=strawberry.ID(agenda),
        slot=held.slot,
        held_until=Instant(held.held_until),
    )


def _patient(id: str, state: patients.Patient, now: datetime, hospitals: frozenset[str] | None) -> Patient:
    """The person as those see them who may know of these hospitals; None for all."""
    holds = [
        _hold(hold.agenda, hold)
        for hold in patients.live_holds(state, now)
        if hospitals is None or hospital_of(hold.agenda) in hospitals
    ]
    return Patient(id=strawberry.ID(id), holds=holds, patient=state, hospitals=hospitals)


@strawberry.type(description="Somebody else has the slot.")
class SlotTaken(UserError):
    alternatives: list[Slot] = strawberry.field(description="Free slots of the same agenda, the nearest in time first.")


@strawberry.type(description="The agenda is not open for booking yet.")
class NotReleasedYet(UserError):
    release_at: Instant = strawberry.field(description="When it opens.")


@strawberry.type(description="The patient holds as many slots as one may.")
class HoldLimitReached(UserError):
    free_again_at: Instant = strawberry.field(description="When the first of these holds ends by itself.")


@strawberry.type(description="The patient has another appointment that rules this one out.")
class VisitConflict(UserError):
    appointment: strawberry.ID = strawberry.field(description="The other appointment.")


def _slot_taken(details: dict[str, Any], **said: Any) -> UserError:
    free = [
        Slot(number=slot.number, start=slot.start, minutes=slot.minutes, state=SlotState.FREE, held_until=None)
        for slot in details["alternatives"]
    ]
    return SlotTaken(alternatives=free, **said)


def _visit_conflict(details: dict[str, Any], **said: Any) -> UserError:
    return VisitConflict(appointment=strawberry.ID(details["appointment"]), **said)


ERROR_TYPES |= {
    "slot_taken": _slot_taken,
    "not_released_yet": lambda details, **said: NotReleasedYet(release_at=details["at"], **said),
    "hold_limit_reached": lambda details, **said: HoldLimitReached(free_again_at=details["at"], **said),
    "visits_overlap": _visit_conflict,
    "already_seen_here": _visit_conflict,
}


async def _pages(info: Info, prefix: str, *, after: str, first: int, shown: Callable[[Any], Any]) -> list[Any]:
    """What `shown` makes of the streams that begin with `prefix`, one more than `first` of them if there are."""
    names = await info.context.stream_names(prefix, after=after, first=first + 1)
    found = []
    for begin in range(0, len(names), STREAMS_AT_ONCE_MAX):
        states = await info.context.states(names[begin : begin + STREAMS_AT_ONCE_MAX])
        found += [shown(state) for state in states.values()]
    return found


HospitalCode = Annotated[strawberry.ID, strawberry.argument(description="The hospital's code: la-merced.")]


async def hospital_by_id(info: Info, id: str) -> Hospital | None:
    said = (await info.context.state(hospitals.stream(id))).registered
    return Hospital(id=strawberry.ID(said.hospital), name=said.name) if said else None


async def agenda_by_id(info: Info, id: str) -> Agenda | None:
    return shown_agenda(await info.context.state(agendas.stream(id)), info.context.services.now())


async def appointment_by_id(info: Info, id: str) -> Appointment | None:
    """An appointment as it is at the time of asking; None if nobody booked it."""
    agenda: agendas.Agenda = await info.context.state(agendas.stream(agenda_of(id)))
    booked = agenda.appointments.get(id)
    if booked is None:
        return None
    state: patients.Patient = await info.context.state(patients.stream(booked.patient))
    visit = state.visits.get(id) or state.given_up[id]
    return shown_appointment(booked.patient, visit, AppointmentState[appointment_state(agenda, id)])


@strawberry.type
class AppointmentsQuery:
    @strawberry.field(description="The hospitals, by code.")
    async def hospitals(self, info: Info, first: First, after: After = None) -> Connection[Hospital]:
        first = page_size(first, info)
        if after is not None and not fits(SLUG, after):
            refuse(info, "after", "cursor")
        found = await _pages(
            info, "hospital/", after=f"hospital/{after or ''}", first=first, shown=lambda state: state.registered
        )
        nodes = [Hospital(id=strawberry.ID(said.hospital), name=said.name) for said in found]
        return page(nodes, first, lambda hospital: hospital.id)

    @strawberry.field(description="A hospital by its code; null if none is registered under it.")
    async def hospital(self, info: Info, id: HospitalCode) -> Hospital | None:
        return await hospital_by_id(info, id)

    @strawberry.field(description="An agenda by id; null if it was not published.")
    async def agenda(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="hospital/date/practitioner")]
    ) -> Agenda | None:
        return await agenda_by_id(info, id)

    @strawberry.field(description="An appointment by id, as it is at the time of asking; null if nobody booked it.")
    async def appointment(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The appointment's id.")]
    ) -> Appointment | None:
        return await appointment_by_id(info, id)

    @strawberry.field(
        description="A person's appointments and live holds; null if nobody was registered under that id. Those of an"
        " erased person stay."
    )
    async def patient(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The person's opaque id.")]
    ) -> Patient | None:
        person, patient, hospitals = people.stream(id), patients.stream(id), info.context.hospitals_seen
        states = await info.context.states([person, patient])
        if states[person].registered is None:
            return None
        return _patient(id, states[patient], info.context.services.now(), hospitals)


@strawberry.input(description="A hospital to register.")
class RegisterHospitalInput(KeyedInput):
    hospital: strawberry.ID = strawberry.field(description="Its code: la-merced.")
    name: str = strawberry.field(description="Its name.")


@strawberry.type(description="What came of registering a hospital.")
class RegisterHospitalPayload(Payload):
    hospital: Hospital | None = strawberry.field(default=None, description="The hospital.")


@strawberry.input(description="A time in an agenda.")
class SlotInput:
    start: Instant = strawberry.field(description="When it begins, on the agenda's date in La Paz.")
    minutes: int = strawberry.field(description="How long it lasts.")


@strawberry.input(description="How many appointments a channel may book.")
class QuotaInput:
    channel: Channel = strawberry.field(description="The channel.")
    limit: int = strawberry.field(description="Appointments at most.")


@strawberry.input(description="An agenda to publish. Slots are numbered in order of their start.")
class PublishAgendaInput(KeyedInput):
    hospital: strawberry.ID = strawberry.field(description="The hospital's code.")
    specialty: str = strawberry.field(description="The specialty's code: pediatrics.")
    practitioner: str = strawberry.field(description="The practitioner's or the room's code.")
    date: Date = strawberry.field(description="The date in La Paz.")
    slots: list[SlotInput] = strawberry.field(description="1 to 5000 slots.")
    quotas: list[QuotaInput] = strawberry.field(default_factory=list, description="Limits by channel; none: no limit.")
    release_at: Instant | None = strawberry.field(default=None, description="When booking opens; null: at once.")


@strawberry.type(description="What came of publishing an agenda.")
class PublishAgendaPayload(Payload):
    agenda: Agenda | None = strawberry.field(default=None, description="The agenda.")


@strawberry.input(description="A slot to hold. A second time renews the hold, once.")
class HoldSlotInput(KeyedInput):
    agenda: strawberry.ID = strawberry.field(description="The agenda.")
    slot: int = strawberry.field(description="The slot's number.")
    patient: strawberry.ID = strawberry.field(description="The person for whom it is kept.")


@strawberry.type(description="What came of holding a slot.")
class HoldSlotPayload(Payload):
    hold: Hold | None = strawberry.field(default=None, description="The hold.")


@strawberry.input(description="A slot to book, held by the patient before or not.")
class BookAppointmentInput(KeyedInput):
    agenda: strawberry.ID = strawberry.field(description="The agenda.")
    slot: int = strawberry.field(description="The slot's number.")
    patient: strawberry.ID = strawberry.field(description="The person who is to be seen.")
    channel: Channel = strawberry.field(default=Channel.WEB, description="Through which channel it is booked.")


@strawberry.type(description="What came of booking.")
class BookAppointmentPayload(Payload):
    appointment: Appointment | None = strawberry.field(default=None, description="The ficha.")


@strawberry.input(description="An appointment to give up (reversión de cita).")
class CancelAppointmentInput(KeyedInput):
    appointment: strawberry.ID = strawberry.field(description="The appointment.")
    reason: CancellationReason = strawberry.field(default=CancellationReason.PATIENT, description="Whose cause it is.")


@strawberry.type(description="What came of cancelling.")
class CancelAppointmentPayload(Payload):
    appointment: Appointment | None = strawberry.field(default=None, description="The appointment, cancelled.")


async def _slot_held(info: Info, command: agendas.HoldSlot, outcome: Outcome) -> agendas.SlotHeld:
    """The hold that this command made, now or when it came first: by its id, never by the outcome's position.

    Once the key is forgotten, a repetition does nothing, and its position is that of whatever was written last.
    """
    for _, event in outcome.recorded:
        if isinstance(event, agendas.SlotHeld):
            return event
    agenda: agendas.Agenda = await info.context.state(agendas.stream(command.agenda))
    return agenda.all_holds[command.hold]


def _just_booked(command: agendas.BookAppointment, outcome: Outcome) -> Appointment | None:
    """The appointment as the log has it at the outcome's position; None if it was booked earlier and may be over."""
    for _, event in outcome.recorded:
        if isinstance(event, patients.VisitTaken):
            return shown_appointment(command.patient, event, AppointmentState.BOOKED)
    return None


@strawberry.type
class AppointmentsMutation:
    @strawberry.mutation(description="Register a hospital. Repeating it changes nothing.")
    async def register_hospital(self, info: Info, input: Input[RegisterHospitalInput]) -> RegisterHospitalPayload:
        fields = {"hospital": input.hospital, "name": input.name.strip()}
        try:
            command, outcome = await info.context.perform(
                input.idempotency_key,
                fields,
                hospitals.RegisterHospital,
                lambda _: build(hospitals.RegisterHospital, **fields),
            )
        except Rejected as refusal:
            return RegisterHospitalPayload(errors=explain(refusal, info.context))
        hospital = Hospital(id=strawberry.ID(command.hospital), name=command.name)
        return RegisterHospitalPayload(hospital=hospital, position=Position(outcome.position))

    @strawberry.mutation(description="Publish an agenda. Publishing the same again changes nothing.")
    async def publish_agenda(self, info: Info, input: Input[PublishAgendaInput]) -> PublishAgendaPayload:
        fields = {
            "hospital": input.hospital,
            "specialty": input.specialty,
            "practitioner": input.practitioner,
            "date": input.date,
            "slots": [{"start": slot.start, "minutes": slot.minutes} for slot in input.slots],
            "quotas": {quota.channel.value: quota.limit for quota in input.quotas},
            "release_at": input.release_at,
        }
        try:
            if len({quota.channel for quota in input.quotas}) < len(input.quotas):
                raise Rejected("invalid_input", path="quotas", hint="once")
            command, outcome = await info.context.perform(
                input.idempotency_key,
                fields,
                agendas.PublishAgenda,
                lambda _: build(agendas.PublishAgenda, **fields),
            )
        except Rejected as refusal:
            return PublishAgendaPayload(errors=explain(refusal, info.context))
        state = await info.context.state(agendas.stream(command.agenda))
        return PublishAgendaPayload(
            agenda=shown_agenda(state, info.context.services.now()), position=Position(outcome.position)
        )

    @strawberry.mutation(description="Keep a slot for some minutes. The hold ends by itself.")
    async def hold_slot(self, info: Info, input: Input[HoldSlotInput]) -> HoldSlotPayload:
        fields = {"agenda": input.agenda, "slot": input.slot, "patient": input.patient}
        hold_s = info.context.services.settings.hold_s
        try:
            command, outcome = await info.context.perform(
                input.idempotency_key,
                fields,
                agendas.HoldSlot,
                lambda id: build(agendas.HoldSlot, **fields, hold=id, hold_s=hold_s),
                person=input.patient,
            )
        except Rejected as refusal:
            return HoldSlotPayload(errors=explain(refusal, info.context))
        hold = _hold(command.agenda, await _slot_held(info, command, outcome))
        return HoldSlotPayload(hold=hold, position=Position(outcome.position))

    @strawberry.mutation(description="Book a slot: hold and confirm in one step, or confirm the patient's own hold.")
    async def book_appointment(self, info: Info, input: Input[BookAppointmentInput]) -> BookAppointmentPayload:
        fields = {
            "agenda": input.agenda,
            "slot": input.slot,
            "patient": input.patient,
            "channel": input.channel.value,
        }
        try:
            command, outcome = await info.context.perform(
                input.idempotency_key,
                fields,
                agendas.BookAppointment,
                lambda id: build(agendas.BookAppointment, **fields, appointment=f"{input.agenda}/{id}"),
                person=input.patient,
            )
        except Rejected as refusal:
            return BookAppointmentPayload(errors=explain(refusal, info.context))
        appointment = _just_booked(command, outcome) or await appointment_by_id(info, command.appointment)
        return BookAppointmentPayload(appointment=appointment, position=Position(outcome.position))

    @strawberry.mutation(description="Give an appointment up, so that its slot is free again at once.")
    async def cancel_appointment(self, info: Info, input: Input[CancelAppointmentInput]) -> CancelAppointmentPayload:
        fields = {"appointment": input.appointment, "reason": input.reason.value}
        try:
            command, outcome = await info.context.perform(
                input.idempotency_key,
                fields,
                agendas.CancelAppointment,
                lambda _: build(agendas.CancelAppointment, **fields),
            )
        except Rejected as refusal:
            return CancelAppointmentPayload(errors=explain(refusal, info.context))
        appointment = await appointment_by_id(info, command.appointment)
        return CancelAppointmentPayload(appointment=appointment, position=Position(outcome.position))
