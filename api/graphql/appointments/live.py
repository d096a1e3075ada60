"""Live fields: what an agenda, an appointment, a line or a turn is, and again with each change, folded from the log."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import strawberry
from graphql import GraphQLError, VariableNode

from api.graphql.appointments import Agenda, Appointment, AppointmentState, shown_agenda, shown_appointment
from api.graphql.current_lines import CurrentLines, current_line
from api.graphql.engine.live import SHARED_FOR_S, Change, Concerns, Following, Snapshot, one_entity, whole_stream
from api.graphql.errors import as_graphql_error
from api.graphql.fields import Info, refuse
from api.graphql.queues import Line, Turn, shown_line, shown_turn
from api.graphql.scalars import Position
from domain.appointments import agenda as agendas
from domain.appointments.attendance import appointment_state
from domain.appointments.patient import VisitTaken
from domain.decider import StreamName
from domain.errors import Code, Rejected
from domain.identifiers import AGENDA_NAME, APPOINTMENT_NAME, LINE_NAME, TURN_NAME, agenda_of, fits, line_of
from domain.queues import line as lines
from infra.log.log import Unavailable
from infra.reactions.lines import LineNow

if TYPE_CHECKING:
    from graphql import GraphQLResolveInfo

    from api.graphql.context import Context

T = TypeVar("T")

STILL = lines.LIVE | {"ABSENT"}  # turns of which something may still become

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


@strawberry.type(description="A line after one or more changes.")
class LineChange(Told):
    line: Line = strawberry.field(description="The board as it is at `position`, at the time of sending.")


@strawberry.type(description="A turn after one or more changes in its line.")
class TurnChange(Told):
    turn: Turn = strawberry.field(description="The turn as it is at `position`, at the time of sending.")


@asynccontextmanager
async def _follow(
    info: Info, stream: StreamName, *, after: Position | None, concerns: Concerns = whole_stream
) -> AsyncIterator[Following]:
    """Follow a stream for this operation. Refusals are raised as GraphQLErrors."""
    context = info.context
    if context.resumes_after is not None:
        after = context.resumes_after
    try:
        async with context.services.live.follow(stream, after=after, concerns=concerns) as following:
            context.following = following
            context.after_variable = _after_variable(info)
            yield following
    except Rejected as refusal:
        raise as_graphql_error(refusal, context.language) from None
    except Unavailable:
        raise as_graphql_error(Rejected("unavailable"), context.language) from None


async def _changes(info: Info, following: Following, show: Callable[[Change], T]) -> AsyncGenerator[T, None]:
    """The shown value of each change. api/http/connections.py may call `show` for changes in between."""

    def shown(change: Change) -> T:
        info.context.snapshot = change.snapshot
        return show(change)

    info.context.show = shown
    while True:
        yield shown(await following.change())


def _after_variable(info: Info) -> str | None:
    """The variable that holds `after`, if one does. It can hold nothing else: no other argument is a position."""
    asked = cast("GraphQLResolveInfo[Context]", info)
    for argument in asked.field_nodes[0].arguments or ():
        if argument.name.value == "after" and isinstance(argument.value, VariableNode):
            return argument.value.name.value
    return None


def _of_turn(turn: str) -> Concerns:
    """Every change in a line concerns who waits; once a turn is over, only its own."""

    def is_open(line: lines.Line) -> bool:
        known = line.turns.get(turn)
        return known is None or known.state in STILL

    return one_entity(lines.stream_of(turn), turn, any_while=is_open)


def _now(info: Info, snapshot: Snapshot) -> LineNow:
    """The line of a snapshot now, with what is computed of it for all who are told it at this time."""
    computed = cast("LineNow | None", snapshot.computed)
    services = info.context.services
    if computed is None or not timedelta(0) <= services.now() - computed.now < timedelta(seconds=SHARED_FOR_S):
        snapshot.computed = computed = services.of(CurrentLines).now_of(snapshot.state)
    return computed


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

            def show(change: Change) -> AgendaChange:
                agenda = shown_agenda(change.snapshot.state, info.context.services.now())
                assert agenda is not None
                return AgendaChange(
                    position=Position(change.position), previous=_position(change.previous), agenda=agenda
                )

            async with aclosing(_changes(info, following, show)) as changes:
                async for change in changes:
                    yield change

    @strawberry.subscription(description="An appointment: as it is, and again when something becomes of it.")
    async def appointment(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The appointment.")],
        after: Annotated[Position | None, strawberry.argument(description=AFTER)] = None,
    ) -> AsyncGenerator[AppointmentChange, None]:
        if not fits(APPOINTMENT_NAME, id):
            refuse(info, "id", "opaque")
        stream = agendas.stream(agenda_of(id))
        async with _follow(info, stream, after=after, concerns=one_entity(stream, id)) as following:
            if id not in (await following.snapshot()).state.appointments:
                # Booked a moment ago, it is in the log, and here soon.
                agenda: agendas.Agenda = await info.context.state(stream)
                if id not in agenda.appointments:
                    raise _unknown(info, "appointment_unknown")
                await following.snapshot(lambda state: id in state.appointments)

            def show(change: Change) -> AppointmentChange:
                return AppointmentChange(
                    position=Position(change.position),
                    previous=_position(change.previous),
                    appointment=_appointment_in(change.snapshot.state, id),
                )

            async with aclosing(_changes(info, following, show)) as changes:
                async for change in changes:
                    yield change

    @strawberry.subscription(
        description="A line, the board: as it is, and again with each change. Slow clients skip states."
    )
    async def line(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The line: service point/service/date.")],
        after: Annotated[Position | None, strawberry.argument(description=AFTER)] = None,
    ) -> AsyncGenerator[LineChange, None]:
        if not fits(LINE_NAME, id):
            refuse(info, "id", "line")
        async with _follow(info, lines.stream(id), after=after) as following:
            if (await following.snapshot()).state.opened is None:
                raise _unknown(info, "line_unknown")

            def show(change: Change) -> LineChange:
                line = shown_line(_now(info, change.snapshot))
                assert line is not None
                return LineChange(position=Position(change.position), previous=_position(change.previous), line=line)

            async with aclosing(_changes(info, following, show)) as changes:
                async for change in changes:
                    yield change

    @strawberry.subscription(
        description="A turn, the follow-up: as it is, and again with each change in its line, until it is over."
    )
    async def turn(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The turn.")],
        after: Annotated[Position | None, strawberry.argument(description=AFTER)] = None,
    ) -> AsyncGenerator[TurnChange, None]:
        if not fits(TURN_NAME, id):
            refuse(info, "id", "opaque")
        async with _follow(info, lines.stream_of(id), after=after, concerns=_of_turn(id)) as following:
            if id not in (await following.snapshot()).state.turns:
                if not await current_line(info.context, line_of(id), lambda now: id in now.line.turns):
                    raise _unknown(info, "turn_unknown")
                await following.snapshot(lambda state: id in state.turns)  # taken a moment ago

            def show(change: Change) -> TurnChange:
                turn = shown_turn(_now(info, change.snapshot), id)
                assert turn is not None
                return TurnChange(position=Position(change.position), previous=_position(change.previous), turn=turn)

            async with aclosing(_changes(info, following, show)) as changes:
                async for change in changes:
                    yield change


def _position(position: int | None) -> Position | None:
    return None if position is None else Position(position)
