"""Live fields: what an agenda, an appointment, a line or a turn is, and again with each change, folded from the log."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Annotated, cast

import strawberry

from api.graphql.appointments import Agenda, Appointment, AppointmentState, shown_agenda, shown_appointment
from api.graphql.context import Context
from api.graphql.current_lines import CurrentLines, current_line
from api.graphql.engine.live import SHARED_FOR_S, Change, Concerns, Snapshot, one_entity
from api.graphql.fields import Info
from api.graphql.following import AfterPosition, LiveField, Message, place_of
from api.graphql.queues import Line, Turn, shown_line, shown_turn
from domain.appointments import agenda as agendas
from domain.appointments.agenda import AgendaUnknown, AppointmentUnknown
from domain.appointments.attendance import appointment_state
from domain.appointments.patient import VisitTaken
from domain.decider import StreamName
from domain.identifiers import (
    AGENDA_NAME,
    APPOINTMENT_NAME,
    LINE_NAME,
    TURN_NAME,
    AgendaHint,
    LineHint,
    OpaqueHint,
    agenda_of,
    line_of,
)
from domain.queues import line as lines
from domain.queues.calling import TurnUnknown
from domain.queues.opening import LineUnknown
from infra.reactions.queues.lines import LineNow

# Appointments


@strawberry.type(description="An agenda after one or more changes.")
class AgendaChange(Message):
    agenda: Agenda = strawberry.field(description="The agenda as it is at `position`, at the time of sending.")


@strawberry.type(description="An appointment after one or more changes.")
class AppointmentChange(Message):
    appointment: Appointment = strawberry.field(description="The appointment as it is at `position`.")


def _agenda_changed(info: Info, change: Change, id: str) -> AgendaChange:
    agenda = shown_agenda(change.snapshot.state, info.context.services.now())
    assert agenda is not None
    return AgendaChange(agenda=agenda, **place_of(change))


def _appointment_changed(info: Info, change: Change, id: str) -> AppointmentChange:
    return AppointmentChange(appointment=_appointment_in(change.snapshot.state, id), **place_of(change))


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


async def _is_booked(context: Context, appointment: str) -> bool:
    agenda: agendas.Agenda = await context.state(agendas.stream(agenda_of(appointment)))
    return appointment in agenda.appointments


AGENDA = LiveField(
    form=AGENDA_NAME,
    hint=AgendaHint(),
    unknown=AgendaUnknown,
    stream=agendas.stream,
    is_known=lambda agenda, id: agenda.published is not None,
    show=_agenda_changed,
)
APPOINTMENT = LiveField(
    form=APPOINTMENT_NAME,
    hint=OpaqueHint(),
    unknown=AppointmentUnknown,
    stream=lambda id: agendas.stream(agenda_of(id)),
    is_known=lambda agenda, id: id in agenda.appointments,
    is_in_log=_is_booked,
    show=_appointment_changed,
    concerns=one_entity,
)


@strawberry.type
class AppointmentsSubscription:
    @strawberry.subscription(description="An agenda: as it is, and again with each change. Slow clients skip states.")
    def agenda(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The agenda: hospital/date/practitioner.")],
        after: AfterPosition = None,
    ) -> AsyncGenerator[AgendaChange, None]:
        return AGENDA.follow(info, id, after)

    @strawberry.subscription(description="An appointment: as it is, and again when something becomes of it.")
    def appointment(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The appointment.")],
        after: AfterPosition = None,
    ) -> AsyncGenerator[AppointmentChange, None]:
        return APPOINTMENT.follow(info, id, after)


# Queues

STILL_OPEN = lines.LIVE | {"ABSENT"}  # turns in these states may still change


@strawberry.type(description="A line after one or more changes.")
class LineChange(Message):
    line: Line = strawberry.field(description="The board as it is at `position`, at the time of sending.")


@strawberry.type(description="A turn after one or more changes in its line.")
class TurnChange(Message):
    turn: Turn = strawberry.field(description="The turn as it is at `position`, at the time of sending.")


def _line_changed(info: Info, change: Change, id: str) -> LineChange:
    line = shown_line(_line_now(info, change.snapshot))
    assert line is not None
    return LineChange(line=line, **place_of(change))


def _turn_changed(info: Info, change: Change, id: str) -> TurnChange:
    turn = shown_turn(_line_now(info, change.snapshot), id)
    assert turn is not None
    return TurnChange(turn=turn, **place_of(change))


def _line_now(info: Info, snapshot: Snapshot) -> LineNow:
    """The line of a snapshot now, computed once for all followers who are told of it at this time."""
    computed = cast("LineNow | None", snapshot.computed)
    services = info.context.services
    if computed is None or not timedelta(0) <= services.now() - computed.now < timedelta(seconds=SHARED_FOR_S):
        snapshot.computed = computed = services.of(CurrentLines).now_of(snapshot.state)
    return computed


async def _is_taken(context: Context, turn: str) -> bool:
    return await current_line(context, line_of(turn), lambda now: turn in now.line.turns)


def _changes_of_turn(stream: StreamName, turn: str) -> Concerns:
    """Every change in a line concerns an open turn; once it is over, only its own."""

    def is_open(line: lines.Line) -> bool:
        known = line.turns.get(turn)
        return known is None or known.state in STILL_OPEN

    return one_entity(stream, turn, any_while=is_open)


LINE = LiveField(
    form=LINE_NAME,
    hint=LineHint(),
    unknown=LineUnknown,
    stream=lines.stream,
    is_known=lambda line, id: line.opened is not None,
    show=_line_changed,
)
TURN = LiveField(
    form=TURN_NAME,
    hint=OpaqueHint(),
    unknown=TurnUnknown,
    stream=lines.stream_of,
    is_known=lambda line, id: id in line.turns,
    is_in_log=_is_taken,
    show=_turn_changed,
    concerns=_changes_of_turn,
)


@strawberry.type
class QueuesSubscription:
    @strawberry.subscription(
        description="A line, the board: as it is, and again with each change. Slow clients skip states."
    )
    def line(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The line: service point/service/date.")],
        after: AfterPosition = None,
    ) -> AsyncGenerator[LineChange, None]:
        return LINE.follow(info, id, after)

    @strawberry.subscription(
        description="A turn, the follow-up: as it is, and again with each change in its line, until it is over."
    )
    def turn(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The turn.")],
        after: AfterPosition = None,
    ) -> AsyncGenerator[TurnChange, None]:
        return TURN.follow(info, id, after)


@strawberry.type(
    description="What is told as it happens, as an event stream or over WebSockets (graphql-transport-ws)."
)
class Subscription(AppointmentsSubscription, QueuesSubscription):
    pass
