"""Live fields: an agenda or an appointment as it is, and again with each change, folded from the log itself."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, cast

import strawberry
from graphql import GraphQLError, VariableNode

from api.graphql.appointments import Agenda, Appointment, AppointmentState, shown_agenda, shown_appointment
from api.graphql.shared import Info, Position, as_graphql_error, refuse
from api.live import Following
from domain.appointments import agenda as agendas
from domain.appointments.attendance import appointment_state
from domain.appointments.patient import VisitTaken
from domain.decider import StreamName
from domain.errors import Code, Rejected
from domain.identifiers import AGENDA_NAME, APPOINTMENT_NAME, agenda_of, fits
from infra.log import Unavailable

if TYPE_CHECKING:
    from graphql import GraphQLResolveInfo

    from api.graphql.shared import Context

AFTER = "Go on from this position: the first message comes with the first change after it. Without: the state now."


@strawberry.type(description="A place in the log and the one told before: what was told in between is nothing.")
class Told:
    position: Position = strawberry.field(
        description="Where the last change that is in this message stands in the log."
    )
    previous: Position | None = strawberry.field(
        description="The position of the message before, or `after` in the first one; null if there was neither."
        " Whatever happened between the two is in this message."
    )


@strawberry.type(description="An agenda after one or more changes.")
class AgendaChange(Told):
    agenda: Agenda = strawberry.field(description="The agenda as it is at `position`, at the time of sending.")


@strawberry.type(description="An appointment after one or more changes.")
class AppointmentChange(Told):
    appointment: Appointment = strawberry.field(description="The appointment as it is at `position`.")


@asynccontextmanager
async def _follow(
    info: Info, stream: StreamName, *, after: Position | None, about: str = ""
) -> AsyncIterator[Following]:
    """Follow a stream for this operation. Refusals are raised as GraphQLErrors."""
    context = info.context
    if context.resumes_after is not None:
        after = context.resumes_after
    try:
        async with context.services.live.follow(stream, after=after, about=about) as following:
            context.following = following
            context.after_variable = _after_variable(info)
            yield following
    except Rejected as refusal:
        raise as_graphql_error(refusal, context.language) from None
    except Unavailable:
        raise as_graphql_error(Rejected("unavailable"), context.language) from None


def _after_variable(info: Info) -> str | None:
    """The variable that holds `after`, if one does. It can hold nothing else: no other argument is a position."""
    asked = cast("GraphQLResolveInfo[Context]", info)
    for argument in asked.field_nodes[0].arguments or ():
        if argument.name.value == "after" and isinstance(argument.value, VariableNode):
            return argument.value.name.value
    return None


def _unknown(info: Info, code: Code) -> GraphQLError:
    return as_graphql_error(Rejected(code, path="id"), info.context.language)


def _appointment_in(agenda: agendas.Agenda, id: str) -> Appointment:
    """An appointment by its agenda alone: the patient's stream says the same of it, in the same commit."""
    said, booked = agenda.published, agenda.appointments[id]
    assert said is not None
    slot = agenda.slots[booked.slot]
    visit = VisitTaken(
        appointment=id,
        hospital=said.hospital,
        specialty=said.specialty,
        slot=slot.number,
        start=slot.start,
        minutes=slot.minutes,
    )
    return shown_appointment(booked.patient, visit, AppointmentState[appointment_state(agenda, id)])


@strawberry.type(
    description="What is told as it happens, as an event stream or over WebSockets (graphql-transport-ws)."
)
class Subscription:
    @strawberry.subscription(description="An agenda: as it is, and again with each change. Slow clients skip states.")
    async def agenda(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The agenda: hospital/date/practitioner.")],
        after: Annotated[Position | None, strawberry.argument(description=AFTER)] = None,
    ) -> AsyncGenerator[AgendaChange, None]:
        if not fits(AGENDA_NAME, id):
            refuse(info, "id", "agenda")
        async with _follow(info, agendas.stream(id), after=after) as following:
            if (await following.snapshot()).state.published is None:
                raise _unknown(info, "agenda_unknown")
            while True:
                change = await following.change()
                info.context.snapshot = change.snapshot
                agenda = shown_agenda(change.snapshot.state, info.context.services.now())
                assert agenda is not None
                yield AgendaChange(
                    position=Position(change.position), previous=_position(change.previous), agenda=agenda
                )

    @strawberry.subscription(description="An appointment: as it is, and again when something becomes of it.")
    async def appointment(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The appointment.")],
        after: Annotated[Position | None, strawberry.argument(description=AFTER)] = None,
    ) -> AsyncGenerator[AppointmentChange, None]:
        if not fits(APPOINTMENT_NAME, id):
            refuse(info, "id", "opaque")
        async with _follow(info, agendas.stream(agenda_of(id)), after=after, about=id) as following:
            if id not in (await following.snapshot()).state.appointments:
                raise _unknown(info, "appointment_unknown")
            while True:
                change = await following.change()
                info.context.snapshot = change.snapshot
                yield AppointmentChange(
                    position=Position(change.position),
                    previous=_position(change.previous),
                    appointment=_appointment_in(change.snapshot.state, id),
                )


def _position(position: int | None) -> Position | None:
    return None if position is None else Position(position)
