"""The read model of turns: one row each, for lists, figures and learning."""

from collections.abc import Collection
from datetime import date
from typing import Any

from domain.calendar import TIME_ZONE
from domain.decider import Event, Instant
from domain.identifiers import AppointmentId, LineId, ServiceId, ServicePointId, SubjectId, TurnId, line_of, line_parts
from domain.queues.line import (
    LineClosed,
    NoticeAsked,
    NoticeGiven,
    ServiceFinished,
    ServiceStarted,
    TurnAbsent,
    TurnCalled,
    TurnLeft,
    TurnRecalled,
    TurnRequeued,
    TurnState,
    TurnTaken,
    TurnTransferred,
)
from domain.queues.policy import format_number
from projections.engine.columns import BigInt, Fixed, SmallInt, Text
from projections.engine.keyset import ColumnOrder, Keyset, Range
from projections.engine.projection import Entry, Projection, Row
from projections.engine.query import Query


class TurnRow(Row):
    """A turn. `position` is the log position at which it was taken, `hour` the hour in La Paz.

    `ahead` and `counters` are from when it was taken; `since`, `called_at`, `ended_at` and the others are as in the
    domain's `Turn`. An absent turn has ended, until it comes back. `notice_minutes`: a notice is requested this long
    before the call, and was not given yet.
    """

    turn: TurnId
    position: Fixed[BigInt]
    line: Fixed[LineId]
    service_point: Fixed[ServicePointId]
    service: Fixed[ServiceId]
    date: Fixed[date]
    hour: Fixed[SmallInt]
    number: Fixed[int]
    priority: Fixed[Text]
    channel: Fixed[Text]
    person: Fixed[SubjectId | None]
    reason: Fixed[Text]
    appointment: Fixed[AppointmentId | None]
    since: Fixed[Instant]
    taken_at: Fixed[Instant]
    ahead: Fixed[int]
    counters: Fixed[int]
    moved_from: Fixed[TurnId | None]
    state: TurnState = "WAITING"
    counter: int | None = None
    calls: int = 0
    first_called_at: Instant | None = None
    called_at: Instant | None = None
    started_at: Instant | None = None
    ended_at: Instant | None = None
    outcome: Text | None = None
    moved_to: TurnId | None = None
    requeues: int = 0
    notice_minutes: SmallInt | None = None

    @property
    def shown(self) -> str:
        return format_number(self.priority, self.number)


def _taken(event: TurnTaken, position: int) -> TurnRow:
    line = line_of(event.turn)
    service_point, service, day = line_parts(line)
    return TurnRow(
        turn=event.turn,
        position=position,
        line=line,
        service_point=service_point,
        service=service,
        date=day,
        hour=event.taken_at.astimezone(TIME_ZONE).hour,
        number=event.number,
        priority=event.priority,
        channel=event.channel,
        person=event.person,
        reason=event.reason,
        appointment=event.appointment,
        since=event.since,
        taken_at=event.taken_at,
        ahead=event.ahead,
        counters=event.counters,
        moved_from=event.moved_from,
    )


def _evolve(row: TurnRow | None, entry: Entry, _key: str) -> TurnRow:
    event = entry.event
    if isinstance(event, TurnTaken):
        return _taken(event, entry.position)
    assert row is not None, "a turn's first event is that it was taken"
    if not isinstance(event, ServiceStarted | TurnRecalled):
        row.notice_minutes = event.minutes if isinstance(event, NoticeAsked) else None
    match event:
        case TurnCalled():
            row.state, row.counter, row.calls, row.called_at = "CALLED", event.counter, 1, event.called_at
            row.first_called_at = row.first_called_at or event.called_at
        case TurnRecalled():
            row.calls, row.called_at = row.calls + 1, event.called_at
        case ServiceStarted():
            row.state, row.started_at, row.ended_at = "SERVING", event.started_at, None
        case TurnRequeued():
            row.state, row.ended_at, row.requeues = "WAITING", None, row.requeues + 1
        case _:
            _end(row, event)
    return row


def _end(row: TurnRow, event: Event) -> None:
    match event:
        case ServiceFinished():
            row.state, row.ended_at, row.outcome = "SERVED", event.finished_at, event.outcome
        case TurnAbsent():
            row.state, row.ended_at = "ABSENT", event.absent_at
        case TurnLeft():
            row.state, row.ended_at = "LEFT", event.left_at
        case TurnTransferred():
            row.state, row.ended_at, row.moved_to = "TRANSFERRED", event.moved_at, event.moved_to
        case LineClosed():
            row.state, row.ended_at = "UNSERVED", event.closed_at


def _keys(entry: Entry) -> tuple[str, ...]:
    event: Any = entry.event
    return tuple(event.unserved) if isinstance(event, LineClosed) else (event.turn,)


TURNS = Projection(
    name="turns",
    version=1,
    row=TurnRow,
    indexes=(
        "line, position",
        "line, state, position",
        "person, position",
        "notice_minutes, line",
    ),
    events=(
        TurnTaken,
        NoticeAsked,
        NoticeGiven,
        TurnCalled,
        TurnRecalled,
        ServiceStarted,
        ServiceFinished,
        TurnAbsent,
        TurnRequeued,
        TurnLeft,
        TurnTransferred,
        LineClosed,
    ),
    keys=_keys,
    evolve=_evolve,
    created_by=(TurnTaken,),
)


BY_TAKING = ColumnOrder(TurnRow, "position")
LATEST_FIRST = ColumnOrder(TurnRow, "position", descending=True)


def of_person(
    person: SubjectId, *, service_points: Collection[ServicePointId] | None = None, part: Range
) -> Query[TurnRow]:
    """A part of a person's turns, the one taken last first.

    Only those at these service points; None for all.
    """
    where = "person = %(person)s"
    where += "" if service_points is None else " AND service_point = ANY(%(service_points)s)"
    return _turns(where, {"person": person, "service_points": list(service_points or ())}, LATEST_FIRST.keyset(part))


def of_line(line: LineId, *, state: TurnState | None, part: Range) -> Query[TurnRow]:
    """A part of a line's turns in the order in which they were taken."""
    where = "line = %(line)s" + ("" if state is None else " AND state = %(state)s")
    return _turns(where, {"line": line, "state": state}, BY_TAKING.keyset(part))


def _turns(where: str, parameters: dict[str, Any], page: Keyset) -> Query[TurnRow]:
    return Query(
        projections=(TURNS.name,),
        select=f"SELECT * FROM {{turns}} WHERE {where}{page.where()} ORDER BY {page.order()} LIMIT %(limit)s",
        parameters=parameters | page.parameters,
        row=TurnRow,
    )
