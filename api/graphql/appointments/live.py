"""Live fields of agendas and appointments: the present state, then the state after each change, from the log."""

from collections.abc import AsyncGenerator
from typing import Annotated

import strawberry

from api.graphql.access import EVERYBODY
from api.graphql.appointments.access import READERS
from api.graphql.appointments.agendas import Agenda, agenda_to_graphql
from api.graphql.appointments.booking import Appointment, AppointmentState
from api.graphql.appointments.directory import specialty_of
from api.graphql.context import Context
from api.graphql.engine.live import Change, one_entity
from api.graphql.fields import Info, subscription
from api.graphql.following import AfterPosition, LiveField, Message, place_of
from api.graphql.scalars import Instant
from domain.appointments import agenda as agendas
from domain.appointments.agenda import AgendaUnknown, AppointmentUnknown
from domain.appointments.attendance import appointment_state
from domain.identifiers import AGENDA_NAME, APPOINTMENT_NAME, agenda_of


@strawberry.type(description="An agenda after one or more changes.")
class AgendaChange(Message):
    agenda: Agenda = strawberry.field(
        description="The agenda with all changes up to `position`, as seen at the time of sending."
    )


@strawberry.type(description="An appointment after one or more changes.")
class AppointmentChange(Message):
    appointment: Appointment = strawberry.field(description="The appointment at `position`.")


def _appointment_in(agenda: agendas.Agenda, id: str) -> Appointment:
    """An appointment from its agenda alone: the patient's stream has the same facts, from the same commit."""
    published, booked = agenda.published, agenda.appointments[id]
    assert published is not None
    slot = agenda.slots[booked.slot]
    return Appointment(
        id=strawberry.ID(id),
        agenda_id=published.agenda,
        hospital_code=published.hospital,
        specialty=specialty_of(published.specialty),
        slot=slot.number,
        start=Instant(slot.start),
        minutes=slot.minutes,
        patient_id=booked.patient,
        state=AppointmentState[appointment_state(agenda, id)],
    )


def _agenda_changed(info: Info, change: Change, id: str) -> AgendaChange:
    agenda = agenda_to_graphql(change.snapshot.state, info.context.services.now())
    assert agenda is not None
    return AgendaChange(agenda=agenda, **place_of(change))


def _appointment_changed(info: Info, change: Change, id: str) -> AppointmentChange:
    return AppointmentChange(appointment=_appointment_in(change.snapshot.state, id), **place_of(change))


async def _is_booked(context: Context, appointment: str) -> bool:
    agenda = await context.state(agendas.stream(agenda_of(appointment)))
    return appointment in agenda.appointments


AGENDA = LiveField(
    unknown=AgendaUnknown,
    stream=agendas.stream,
    is_known=lambda agenda, id: agenda.published is not None,
    show=_agenda_changed,
)
APPOINTMENT = LiveField(
    unknown=AppointmentUnknown,
    stream=lambda id: agendas.stream(agenda_of(id)),
    is_known=lambda agenda, id: id in agenda.appointments,
    is_in_log=_is_booked,
    show=_appointment_changed,
    concerns=one_entity,
)


@subscription(
    "An agenda: its present state, then its state after each change. Slow clients skip states.", who=EVERYBODY
)
def agenda(
    info: Info,
    id: Annotated[
        strawberry.ID, AGENDA_NAME, strawberry.argument(description="The agenda: hospital/date/practitioner.")
    ],
    after: AfterPosition = None,
) -> AsyncGenerator[AgendaChange, None]:
    return AGENDA.follow(info, id, after)


@subscription("An appointment: its present state, then its state after each change.", who=READERS)
def appointment(
    info: Info,
    id: Annotated[strawberry.ID, APPOINTMENT_NAME, strawberry.argument(description="The appointment.")],
    after: AfterPosition = None,
) -> AsyncGenerator[AppointmentChange, None]:
    return APPOINTMENT.follow(info, id, after)
