"""The read model of lines: one row each, with its counters and the number of turns in each state.

Nothing in it depends on the present moment: `absent_from` is the moment from which a called turn is absent, and the
query compares it with the time.
"""

from datetime import date, datetime, timedelta

import msgspec

from domain.decider import Event, Instant, Value
from domain.identifiers import HospitalId, LineId, ServiceId, ServicePointId, TurnId, id_of, line_parts
from domain.queues.line import (
    CounterPaused,
    CounterResumed,
    LineClosed,
    LineOpened,
    ServiceFinished,
    ServiceStarted,
    TurnAbsent,
    TurnCalled,
    TurnLeft,
    TurnRecalled,
    TurnRequeued,
    TurnTaken,
    TurnTransferred,
)
from domain.queues.policy import Policy
from projections.engine.columns import Fixed
from projections.engine.keyset import ColumnOrder, Range
from projections.engine.projection import Entry, Projection, Row
from projections.engine.query import Query
from projections.queues.turns import TURNS


class AtCounter(Value):
    """A counter with its turn. `called_at` is the turn's last call; None once the person has come."""

    open: bool = True
    turn: TurnId | None = None
    called_at: Instant | None = None


class LineRow(Row):
    """A line. `date` is a day in La Paz.

    `taken` counts all turns that began here; the other counts are by their present state. Absent turns may still come
    back or be given up: `absent_turns` tells them from waiting ones. `absent_from` is when the first called turn is
    absent; None if none is called. `last_at` is the time of the last event.
    """

    line: LineId
    service_point: Fixed[ServicePointId]
    service: Fixed[ServiceId]
    date: Fixed[date]
    hospital: Fixed[HospitalId | None]
    opens_at: Fixed[Instant]
    last_turn_at: Fixed[Instant]
    closes_at: Fixed[Instant]
    policy: Fixed[Policy]
    counters: dict[int, AtCounter]
    closed_at: Instant | None = None
    last_at: Instant | None = None
    absent_from: Instant | None = None
    taken: int = 0
    waiting: int = 0
    called: int = 0
    serving: int = 0
    served: int = 0
    left: int = 0
    transferred: int = 0
    unserved: int = 0
    absent_turns: list[TurnId] = []


def _opened(event: LineOpened) -> LineRow:
    service_point, service, day = line_parts(event.line)
    return LineRow(
        line=event.line,
        service_point=service_point,
        service=service,
        date=day,
        hospital=event.hospital,
        opens_at=event.opens_at,
        last_turn_at=event.last_turn_at,
        closes_at=event.closes_at,
        policy=event.policy,
        counters={number: AtCounter() for number in event.counters},
    )


def _evolve(row: LineRow | None, entry: Entry, _key: str) -> LineRow:
    event = entry.event
    if isinstance(event, LineOpened):
        return _opened(event)
    assert row is not None, "a line's first event is its opening"
    row.last_at = _moment(event)
    match event:
        case TurnTaken():
            row.taken += 1
            row.waiting += 1
        case TurnRequeued():
            row.absent_turns.remove(event.turn)
            row.waiting += 1
        case CounterPaused() | CounterResumed():
            before = row.counters[event.counter]
            row.counters[event.counter] = msgspec.structs.replace(before, open=isinstance(event, CounterResumed))
        case LineClosed():
            row.closed_at = event.closed_at
            row.unserved += len(event.unserved)
            row.waiting -= len(event.unserved)
        case TurnCalled() | TurnRecalled() | ServiceStarted():
            _at_counter(row, event)
        case _:
            _ended(row, event)
    _count_counters(row)
    return row


def _moment(event: Event) -> datetime:
    """The time of an event: its one field for that has a different name in each class."""
    moment: datetime = getattr(event, _MOMENTS[type(event)])
    return moment


def _at_counter(row: LineRow, event: TurnCalled | TurnRecalled | ServiceStarted) -> None:
    if isinstance(event, TurnCalled):
        row.waiting -= 1
    if event.turn in row.absent_turns:  # a person who came late was served all the same
        row.absent_turns.remove(event.turn)
    called_at = None if isinstance(event, ServiceStarted) else event.called_at
    before = row.counters[event.counter]
    row.counters[event.counter] = msgspec.structs.replace(before, turn=event.turn, called_at=called_at)


def _ended(row: LineRow, event: Event) -> None:
    """A turn is no longer in the line. It was at a counter, absent, or else waiting."""
    turn: TurnId = getattr(event, "turn")  # noqa: B009
    at = next((number for number, counter in row.counters.items() if counter.turn == turn), None)
    if at is not None:
        row.counters[at] = AtCounter(open=row.counters[at].open)
    elif turn in row.absent_turns:
        row.absent_turns.remove(turn)
    else:
        row.waiting -= 1
    match event:
        case ServiceFinished():
            row.served += 1
        case TurnAbsent():
            row.absent_turns.append(turn)
        case TurnLeft():
            row.left += 1
        case TurnTransferred():
            row.transferred += 1


def _count_counters(row: LineRow) -> None:
    calls = [counter.called_at for counter in row.counters.values() if counter.called_at]
    row.called = len(calls)
    row.serving = sum(counter.turn is not None for counter in row.counters.values()) - len(calls)
    row.absent_from = min(calls) + timedelta(seconds=row.policy.call_timeout_s) if calls else None


_MOMENTS: dict[type[Event], str] = {
    TurnTaken: "taken_at",
    TurnCalled: "called_at",
    TurnRecalled: "called_at",
    ServiceStarted: "started_at",
    ServiceFinished: "finished_at",
    TurnAbsent: "absent_at",
    TurnRequeued: "requeued_at",
    TurnLeft: "left_at",
    TurnTransferred: "moved_at",
    CounterPaused: "paused_at",
    CounterResumed: "resumed_at",
    LineClosed: "closed_at",
}

LINES = Projection(
    name="lines",
    version=1,
    row=LineRow,
    indexes=("service_point, date, service", "absent_from", "closed_at, closes_at"),
    events=(LineOpened, *_MOMENTS),
    keys=lambda entry: (id_of(entry.stream),),
    evolve=_evolve,
)


class LineSeen(msgspec.Struct, frozen=True):
    """A line in a list. `waiting_since`: when the longest present wait began; None if no turn is waiting."""

    line: LineId
    service_point: ServicePointId
    service: ServiceId
    date: date
    hospital: HospitalId | None
    opens_at: Instant
    last_turn_at: Instant
    closes_at: Instant
    closed_at: Instant | None
    counters_open: int
    taken: int
    waiting_preferential: int
    waiting_appointment: int
    waiting_normal: int
    waiting_since: Instant | None
    called: int
    serving: int
    served: int
    absent: int
    left: int
    transferred: int
    unserved: int

    @property
    def waiting(self) -> int:
        return self.waiting_preferential + self.waiting_appointment + self.waiting_normal


BY_DATE = ColumnOrder(LineSeen, "date", "service")

# For a line `l`: its open counters, and waiting turns by class, which are counted from the turns.
COUNTERS_OPEN = "(SELECT count(*) FROM json_each(l.counters) AS c WHERE (c.value->>'open')::boolean)"
_WAITING = """
    SELECT count(*) FILTER (WHERE t.priority = 'PREFERENTIAL') AS waiting_preferential,
           count(*) FILTER (WHERE t.priority = 'APPOINTMENT') AS waiting_appointment,
           count(*) FILTER (WHERE t.priority = 'NORMAL') AS waiting_normal,
           min(t.since) AS waiting_since
    FROM {turns} AS t WHERE t.line = l.line AND t.state = 'WAITING'
"""


def of_service_point(
    service_point: ServicePointId, *, on_or_after: date, to: date | None, service: ServiceId | None, part: Range
) -> Query[LineSeen]:
    """A part of a service point's lines from one day on, optionally until another, by date and service."""
    page = BY_DATE.keyset(part)
    where = "service_point = %(service_point)s AND date >= %(on_or_after)s"
    where += " AND date <= %(to)s" if to else ""
    where += " AND service = %(service)s" if service else ""
    parameters = {"service_point": service_point, "on_or_after": on_or_after, "to": to, "service": service}
    return Query(
        projections=(LINES.name, TURNS.name),
        select=f"""
            SELECT l.line, l.service_point, l.service, l.date, l.hospital, l.opens_at, l.last_turn_at, l.closes_at,
                   l.closed_at, {COUNTERS_OPEN} AS counters_open, l.taken, w.*, l.called, l.serving, l.served,
                   cardinality(l.absent_turns) AS absent, l.left, l.transferred, l.unserved
            FROM (
                SELECT * FROM {{lines}} WHERE {where}{page.where()} ORDER BY {page.order()} LIMIT %(limit)s
            ) AS l CROSS JOIN LATERAL ({_WAITING}) AS w
            ORDER BY {page.order("l.")}
        """,
        parameters=parameters | page.parameters,
        row=LineSeen,
    )
