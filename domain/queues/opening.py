"""Opening and closing a line, and pausing and resuming its counters."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from msgspec import Meta
from msgspec.structs import asdict

from domain.calendar import local_date
from domain.decider import Command, Decided, Instant
from domain.decision import decides
from domain.errors import Hint, InThePast, InvalidInput, OnceHint, Rejected, TooFarAhead
from domain.identifiers import LINE_NAME, SERVICE_CODE, SLUG, LineId, ServiceId, ServicePointId, line_id
from domain.queues import service_point as service_points
from domain.queues.line import Counter, CounterPaused, CounterResumed, Line, LineClosed, LineOpened, stream
from domain.queues.order import calls_to_come
from domain.queues.policy import Policy, PolicyTerms
from domain.queues.service_point import ServicePoint, ServicePointUnknown

COUNTERS_MAX = 100
OPEN_AHEAD_DAYS_MAX = 31
CounterNumber = Annotated[int, Meta(ge=1, le=COUNTERS_MAX)]


class LineUnknown(Rejected, es="No existe esa fila.", en="There is no such line."): ...


class LineIsClosed(Rejected, code="line_closed", es="La fila cerró el {at}.", en="The line closed on {at}."):
    at: datetime


class LineNotOpenYet(Rejected, es="La fila abre el {at}.", en="The line opens on {at}."):
    at: datetime


def opening_if_open(line: Line, now: datetime, path: str) -> LineOpened:
    """The opening of a line that is open now. Raises Rejected if it is not."""
    opened = line.opened
    if opened is None:
        raise LineUnknown(path=path)
    if line.closed or now >= opened.closes_at:
        raise LineIsClosed(path=path, at=line.closed.closed_at if line.closed else opened.closes_at)
    if now < opened.opens_at:
        raise LineNotOpenYet(path=path, at=opened.opens_at)
    return opened


class CounterUnknown(
    Rejected,
    es="Esta fila no tiene la ventanilla {counter}.",
    en="This line has no counter {counter}.",
):
    counter: int


def counter_of(line: Line, number: int) -> Counter:
    """A counter of the line. Raises Rejected if there is no such counter."""
    counter = line.counters.get(number)
    if counter is None:
        raise CounterUnknown(path="counter", counter=number)
    return counter


class LineExists(
    Rejected, es="Esa fila ya está abierta, con otros datos.", en="That line is already open, with other data."
):
    line: LineId


class OpenLine(Command):
    """Open a line, today or later. Turns are given from `opens_at` until `last_turn_at` (None: `closes_at`)."""

    service_point: Annotated[ServicePointId, SLUG]
    service: Annotated[ServiceId, SERVICE_CODE]
    date: date
    counters: Annotated[list[CounterNumber], Meta(min_length=1, max_length=COUNTERS_MAX)]
    opens_at: Instant
    closes_at: Instant
    last_turn_at: Instant | None = None
    policy: PolicyTerms = PolicyTerms()

    @property
    def line(self) -> LineId:
        return line_id(self.service_point, self.service, self.date)


@decides(OpenLine, reads=lambda c: (service_points.stream(c.service_point), stream(c.line)))
def open_line(command: OpenLine, point: ServicePoint, line: Line, *, now: datetime) -> Decided:
    opened = LineOpened(
        line=command.line,
        counters=sorted(command.counters),
        policy=Policy(**asdict(command.policy)),
        opens_at=command.opens_at.astimezone(UTC),
        last_turn_at=(command.last_turn_at or command.closes_at).astimezone(UTC),
        closes_at=command.closes_at.astimezone(UTC),
        hospital=point.registered.hospital if point.registered else None,
    )
    if line.opened == opened:
        return
    if line.opened:
        raise LineExists(path="service", line=command.line)
    if point.registered is None:
        raise ServicePointUnknown(path="service_point", service_point=command.service_point)
    today = local_date(now)
    if command.date < today or command.closes_at <= now:
        raise InThePast(path="date" if command.date < today else "closes_at", at=command.closes_at)
    if command.date > today + timedelta(days=OPEN_AHEAD_DAYS_MAX):
        raise TooFarAhead(path="date", limit=OPEN_AHEAD_DAYS_MAX)
    _refuse_wrong_times(command, opened)
    if len(set(command.counters)) < len(command.counters):
        raise InvalidInput(path="counters", hint=OnceHint())
    if len(set(command.policy.order)) < len(command.policy.order):
        raise InvalidInput(path="policy.order", hint=OnceHint())
    yield stream(command.line), opened


class LineDateHint(
    Hint,
    es="una fila debe abrir y cerrar en su misma fecha, en La Paz: {at}",
    en="the hours of a line must be on its date in La Paz: {at}",
):
    at: date


class LineTimesHint(
    Hint,
    es="una fila debe abrir antes de dar su último turno, y cerrar en ese momento o después",
    en="a line must open before it gives its last turn, and close at that time or later",
): ...


def _refuse_wrong_times(command: OpenLine, opened: LineOpened) -> None:
    for path in ("opens_at", "last_turn_at", "closes_at"):
        if local_date(getattr(opened, path)) != command.date:
            raise InvalidInput(path=path, hint=LineDateHint(at=command.date))
    if not opened.opens_at < opened.last_turn_at <= opened.closes_at:
        raise InvalidInput(path="last_turn_at" if command.last_turn_at else "closes_at", hint=LineTimesHint())


class CloseLine(Command):
    """Stop calling turns; service at counters is finished. Anybody may close a line from `closes_at` on."""

    line: Annotated[LineId, LINE_NAME]


@decides(CloseLine, reads=lambda c: (stream(c.line),))
def close_line(command: CloseLine, line: Line, *, now: datetime) -> Decided:
    if line.opened is None:
        raise LineUnknown(path="line")
    if line.closed:
        return
    unserved = list(calls_to_come(line))
    yield stream(command.line), LineClosed(line=command.line, closed_at=now, unserved=unserved)


class PauseCounter(Command):
    """Pause a counter: it finishes its present turn, and calls no other until it is resumed."""

    line: Annotated[LineId, LINE_NAME]
    counter: CounterNumber


class ResumeCounter(Command):
    line: Annotated[LineId, LINE_NAME]
    counter: CounterNumber


@decides(PauseCounter, reads=lambda c: (stream(c.line),))
def pause_counter(command: PauseCounter, line: Line, *, now: datetime) -> Decided:
    _refuse_closed(line)
    if counter_of(line, command.counter).open:
        yield stream(command.line), CounterPaused(counter=command.counter, paused_at=now)


@decides(ResumeCounter, reads=lambda c: (stream(c.line),))
def resume_counter(command: ResumeCounter, line: Line, *, now: datetime) -> Decided:
    _refuse_closed(line)
    if not counter_of(line, command.counter).open:
        yield stream(command.line), CounterResumed(counter=command.counter, resumed_at=now)


def _refuse_closed(line: Line) -> None:
    """Raise Rejected if the line is closed. Counters may be paused and resumed before it opens."""
    if line.opened is None:
        raise LineUnknown(path="line")
    if line.closed:
        raise LineIsClosed(path="line", at=line.closed.closed_at)
