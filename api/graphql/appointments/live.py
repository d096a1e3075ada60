"""Live fields: what an agenda or an appointment is, and again with each change, folded from the log."""

from collections.abc import AsyncGenerator
from typing import Annotated

import strawberry

from api.graphql.access import EVERYBODY
from api.graphql.appointments.access import READERS
from api.graphql.appointments.agendas import Agenda, shown_agenda
from api.graphql.appointments.booking import Appointment, AppointmentState
from api.graphql.engine.live import Change, one_entity
from api.graphql.fields import Info, refuse, subscription
from api.graphql.following import AfterPosition, Message, follow, previous_of, showing
from api.graphql.scalars import Instant, Position
from domain.appointments import agenda as agendas
from domain.appointments.agenda import AgendaUnknown, AppointmentUnknown
from domain.appointments.attendance import appointment_state
from domain.identifiers import AGENDA_NAME, APPOINTMENT_NAME, AgendaHint, OpaqueHint, agenda_of, fits


@strawberry.type(description="An agenda after one or more changes.")
class AgendaChange(Message):
    agenda: Agenda = strawberry.field(description="The agenda as it is at `position`, at the time of sending.")


@strawberry.type(description="An appointment after one or more changes.")
class AppointmentChange(Message):
    appointment: Appointment = strawberry.field(description="The appointment as it is at `position`.")


def _appointment_in(agenda: agendas.Agenda, id: str) -> Appointment:
    """An appointment by its agenda alone: the patient's stream says the same of it, in the same commit."""
    said, booked = agenda.published, agenda.appointments[id]
    assert said is not None
    slot = agenda.slots[booked.slot]
    return Appointment(
        id=strawberry.ID(id),
        agenda=strawberry.ID(said.agenda),
        hospital=strawberry.ID(said.hospital),
        specialty=said.specialty,
        slot=slot.number,
        start=Instant(slot.start),
        minutes=slot.minutes,
        patient=strawberry.ID(booked.patient),
        state=AppointmentState[appointment_state(agenda, id)],
    )


@subscription("An agenda: as it is, and again with each change. Slow clients skip states.", who=EVERYBODY)
async def agenda(
    info: Info,
    id: Annotated[strawberry.ID, strawberry.argument(description="The agenda: hospital/date/practitioner.")],
    after: AfterPosition = None,
) -> AsyncGenerator[AgendaChange, None]:
    if not fits(AGENDA_NAME, id):
        refuse(info, "id", AgendaHint())
    async with follow(info, agendas.stream(id), after=after) as following:
        if (await following.snapshot()).state.published is None:
            raise AgendaUnknown(path="id")

        def show(change: Change) -> AgendaChange:
            agenda = shown_agenda(change.snapshot.state, info.context.services.now())
            assert agenda is not None
            return AgendaChange(position=Position(change.position), previous=previous_of(change), agenda=agenda)

        shown = showing(info, show)
        while True:
            yield shown(await following.change())


@subscription("An appointment: as it is, and again when something becomes of it.", who=READERS)
async def appointment(
    info: Info,
    id: Annotated[strawberry.ID, strawberry.argument(description="The appointment.")],
    after: AfterPosition = None,
) -> AsyncGenerator[AppointmentChange, None]:
    if not fits(APPOINTMENT_NAME, id):
        refuse(info, "id", OpaqueHint())
    stream = agendas.stream(agenda_of(id))
    async with follow(info, stream, after=after, concerns=one_entity(stream, id)) as following:
        if id not in (await following.snapshot()).state.appointments:
            # Booked a moment ago, it is in the log, and here soon.
            agenda: agendas.Agenda = await info.context.state(stream)
            if id not in agenda.appointments:
                raise AppointmentUnknown(path="id")
            await following.snapshot(lambda state: id in state.appointments)

        def show(change: Change) -> AppointmentChange:
            return AppointmentChange(
                position=Position(change.position),
                previous=previous_of(change),
                appointment=_appointment_in(change.snapshot.state, id),
            )

        shown = showing(info, show)
        while True:
            yield shown(await following.change())
