"""What the read models know of lines: a service point's days, who waited there, and the figures."""

import re
from collections.abc import Sequence
from datetime import date as Date
from datetime import datetime
from typing import Annotated, cast

import strawberry

from api.graphql.fields import AtLeast, Info, refuse
from api.graphql.paging import After, Connection, First, page, page_size
from api.graphql.queues import PreferenceReason, Priority, ServiceOutcome, TurnChannel, TurnState
from api.graphql.scalars import Instant
from api.graphql.views import BEHIND, code, period
from domain.identifiers import LINE_NAME, OPAQUE, SERVICE_CODE, SLUG, fits, line_parts
from domain.queues.line import TurnState as StateName
from projections.queues import line_figures, lines, turns
from projections.queues.line_figures import HISTORY_DAYS_MAX
from projections.queues.service_points import service_points_after

ServicePointCode = Annotated[strawberry.ID, strawberry.argument(description="The service point's code.")]
LineName = Annotated[strawberry.ID, strawberry.argument(description="The line: service point/service/date.")]
OfService = Annotated[str | None, strawberry.argument(description="Only of this service, by its code.")]
FirstDay = Annotated[Date, strawberry.argument(description="The first day in La Paz.")]


@strawberry.type(description="An office or a ward where people wait.")
class ServicePoint:
    code: strawberry.ID = strawberry.field(description="Its code: sopocachi.")
    name: str = strawberry.field(description="Its name.")
    hospital: strawberry.ID | None = strawberry.field(description="The hospital whose ward it is.")


@strawberry.type(description="A line as it stands in a list of days. Numbers only, nobody's name.")
class LineDay:
    line: strawberry.ID = strawberry.field(description="Its id, by which `line` shows the board.")
    service: str = strawberry.field(description="The service's code.")
    date: Date = strawberry.field(description="The date in La Paz.")
    hospital: strawberry.ID | None = strawberry.field(
        description="The hospital whose fichas have a class of their own here."
    )
    opens_at: Instant = strawberry.field(description="From when on turns are given.")
    last_turn_at: Instant = strawberry.field(description="From when on none are given any more.")
    closes_at: Instant = strawberry.field(description="From when on nobody is called any more.")
    closed_at: Instant | None = strawberry.field(description="When it was closed, if it was.")
    counters_open: int = strawberry.field(description="How many counters go on calling.")
    taken: int = strawberry.field(description="Turns that were taken. The other numbers tell where they are now.")
    waiting: int = strawberry.field(description="Turns that wait.")
    waiting_preferential: int = strawberry.field(description="Of those, preferential ones.")
    waiting_appointment: int = strawberry.field(description="Of those, such with a ficha.")
    waiting_normal: int = strawberry.field(description="Of those, all others.")
    waiting_since: Instant | None = strawberry.field(
        description="Since when the one that has waited longest waits; null if none does."
    )
    called: int = strawberry.field(description="Turns that a counter has called.")
    serving: int = strawberry.field(description="Turns that are being served.")
    served: int = strawberry.field(description="Turns that were served.")
    absent: int = strawberry.field(description="Turns that were called and nobody came, or came back.")
    left: int = strawberry.field(description="Turns that were given up.")
    transferred: int = strawberry.field(description="Turns that went on in another line.")
    unserved: int = strawberry.field(description="Turns that waited still when it was closed.")


@strawberry.type(description="A turn as it is kept: whose, when, how long, and what came of it.")
class TurnRecord:
    id: strawberry.ID = strawberry.field(description="Its id, by which `turn` follows it.")
    line: strawberry.ID = strawberry.field(description="The line.")
    number: str = strawberry.field(description="What is called: A-017.")
    priority: Priority = strawberry.field(description="Its class.")
    reason: PreferenceReason | None = strawberry.field(description="What gave it a preference.")
    channel: TurnChannel = strawberry.field(description="Where it was taken.")
    person: strawberry.ID | None = strawberry.field(description="Whose it is; null for a paper from the machine.")
    appointment: strawberry.ID | None = strawberry.field(description="The appointment that gave it.")
    state: TurnState = strawberry.field(description="Where it is on its way.")
    since: Instant = strawberry.field(description="Since when it has waited, in this line or the one before.")
    taken_at: Instant = strawberry.field(description="When it was taken.")
    ahead: int = strawberry.field(description="How many would have been called before it then.")
    counters_open: int = strawberry.field(description="How many counters went on calling then.")
    counter: int | None = strawberry.field(description="The counter that called it last.")
    calls: int = strawberry.field(description="How often that counter called it.")
    first_called_at: Instant | None = strawberry.field(description="When it was called first.")
    called_at: Instant | None = strawberry.field(description="When it was called last.")
    started_at: Instant | None = strawberry.field(description="When its service began.")
    ended_at: Instant | None = strawberry.field(description="When it was over.")
    outcome: ServiceOutcome | None = strawberry.field(description="What came of the service.")
    requeues: int = strawberry.field(description="How often it came back after nobody had come.")
    moved_from: strawberry.ID | None = strawberry.field(description="The turn of another line that goes on in it.")
    moved_to: strawberry.ID | None = strawberry.field(description="The turn as which it goes on in another line.")


@strawberry.type(description="How long something took, in seconds.")
class Spread:
    median_seconds: float = strawberry.field(description="Half of all times were not longer.")
    nine_in_ten_seconds: float = strawberry.field(description="Nine in ten times were not longer.")
    mean_seconds: float = strawberry.field(description="The mean.")


@strawberry.type(description="What became of turns that were taken, and how long it took.")
class TurnFigures:
    taken: int = strawberry.field(description="Turns that were taken.")
    called: int = strawberry.field(description="Of those, turns that were called at least once.")
    served: int = strawberry.field(description="Of those taken, turns that were served.")
    absent: int = strawberry.field(description="Of those taken, turns that were called and nobody came, or came back.")
    left: int = strawberry.field(description="Of those taken, turns that were given up.")
    transferred: int = strawberry.field(description="Of those taken, turns that went on in another line.")
    unserved: int = strawberry.field(description="Of those taken, turns that waited still when the line was closed.")
    abandoned: float = strawberry.field(description="The part that is `left` or `absent`: 0.25 is one in four.")
    wait: Spread | None = strawberry.field(
        description="From taking a turn, in this line or the one before, until its first call; null if none was called."
    )
    service: Spread | None = strawberry.field(
        description="From the start of a service to its end; null if none was served."
    )


@strawberry.type(description="Turns that were taken in one hour of the day.")
class HourFigures:
    hour: int = strawberry.field(description="The hour in La Paz, 0 to 23.")
    figures: TurnFigures = strawberry.field(description="Their figures.")


@strawberry.type(description="The figures of a line, and how it is at the time of asking.")
class LineFigures:
    line: strawberry.ID = strawberry.field(description="The line.")
    waiting: int = strawberry.field(description="Turns that wait now.")
    longest_wait_seconds: float | None = strawberry.field(
        description="How long the one that has waited longest has waited by now; null if none waits."
    )
    counters_open: int = strawberry.field(description="How many counters go on calling now.")
    total: TurnFigures = strawberry.field(description="Of all its turns.")
    hours: list[HourFigures] = strawberry.field(description="By the hour in which turns were taken; hours with any.")


@strawberry.type(description="A service on one day.")
class DayFigures:
    date: Date = strawberry.field(description="The date in La Paz.")
    service: str = strawberry.field(description="The service's code.")
    figures: TurnFigures = strawberry.field(description="The figures of its line.")


def _instant(at: datetime | None) -> Instant | None:
    return None if at is None else Instant(at)


def _id(name: str | None) -> strawberry.ID | None:
    return None if name is None else strawberry.ID(name)


def _line_day(row: lines.LineSeen) -> LineDay:
    return LineDay(
        line=strawberry.ID(row.line),
        service=row.service,
        date=row.date,
        hospital=_id(row.hospital),
        opens_at=Instant(row.opens_at),
        last_turn_at=Instant(row.last_turn_at),
        closes_at=Instant(row.closes_at),
        closed_at=_instant(row.closed_at),
        counters_open=row.counters_open,
        taken=row.taken,
        waiting=row.waiting,
        waiting_preferential=row.waiting_preferential,
        waiting_appointment=row.waiting_appointment,
        waiting_normal=row.waiting_normal,
        waiting_since=_instant(row.waiting_since),
        called=row.called,
        serving=row.serving,
        served=row.served,
        absent=row.absent,
        left=row.left,
        transferred=row.transferred,
        unserved=row.unserved,
    )


def _record(row: turns.TurnRow) -> TurnRecord:
    return TurnRecord(
        id=strawberry.ID(row.turn),
        line=strawberry.ID(row.line),
        number=row.shown,
        priority=Priority[row.priority],
        reason=PreferenceReason[row.reason] if row.reason else None,
        channel=TurnChannel[row.channel],
        person=_id(row.person),
        appointment=_id(row.appointment),
        state=TurnState[row.state],
        since=Instant(row.since),
        taken_at=Instant(row.taken_at),
        ahead=row.ahead,
        counters_open=row.counters,
        counter=row.counter,
        calls=row.calls,
        first_called_at=_instant(row.first_called_at),
        called_at=_instant(row.called_at),
        started_at=_instant(row.started_at),
        ended_at=_instant(row.ended_at),
        outcome=ServiceOutcome[row.outcome] if row.outcome else None,
        requeues=row.requeues,
        moved_from=_id(row.moved_from),
        moved_to=_id(row.moved_to),
    )


def _spread(spread: line_figures.Spread | None) -> Spread | None:
    if spread is None:
        return None
    return Spread(median_seconds=spread.p50_s, nine_in_ten_seconds=spread.p90_s, mean_seconds=spread.mean_s)


def _figures(row: line_figures.Figures) -> TurnFigures:
    return TurnFigures(
        taken=row.taken,
        called=row.called,
        served=row.served,
        absent=row.absent,
        left=row.left,
        transferred=row.transferred,
        unserved=row.unserved,
        abandoned=row.abandoned,
        wait=_spread(row.wait),
        service=_spread(row.service),
    )


def _place(after: str | None, service_point: str, info: Info) -> lines.Place | None:
    """Where the page before ended: its cursor is the last line."""
    if after is None:
        return None
    if not fits(LINE_NAME, after) or not after.startswith(f"{service_point}/"):
        refuse(info, "after", "cursor")
    try:
        _, service, day = line_parts(after)
    except ValueError:
        refuse(info, "after", "cursor")
    return lines.Place(date=day, service=service)


def _taken_at_position(after: str | None, info: Info) -> int | None:
    """Likewise: its cursor is where in the log the last turn was taken."""
    if after is not None and not re.fullmatch("[0-9]{1,18}", after, re.ASCII):
        refuse(info, "after", "cursor")
    return None if after is None else int(after)


def _turns_page(rows: Sequence[turns.TurnRow], first: int) -> Connection[TurnRecord]:
    cursors = {row.turn: str(row.position) for row in rows}
    return page([_record(row) for row in rows], first, lambda turn: cursors[turn.id])


def _service(service: str | None, info: Info) -> str | None:
    if service is not None and not fits(SERVICE_CODE, service):
        refuse(info, "service", "slug")
    return service


def _line(line: str, info: Info) -> str:
    if not fits(LINE_NAME, line):
        refuse(info, "line", "line")
    return line


@strawberry.type
class LineViewsQuery:
    @strawberry.field(description="Where people wait, by code." + BEHIND)
    async def service_points(
        self, info: Info, first: First, after: After = None, at_least: AtLeast = None
    ) -> Connection[ServicePoint]:
        first = page_size(first, info)
        if after is not None and not fits(SLUG, after):
            refuse(info, "after", "cursor")
        rows = await info.context.ask(service_points_after(after or "", first=first + 1), at_least=at_least)
        nodes = [
            ServicePoint(code=strawberry.ID(row.service_point), name=row.name, hospital=_id(row.hospital))
            for row in rows
        ]
        return page(nodes, first, lambda point: point.code)

    @strawberry.field(
        description="A service point's lines by date and service, from a day on, until another if it is said. `line`"
        " shows one as the log has it." + BEHIND
    )
    async def lines(
        self,
        info: Info,
        *,
        service_point: ServicePointCode,
        on_or_after: FirstDay,
        first: First,
        to: Annotated[Date | None, strawberry.argument(description="The last day in La Paz; without, all.")] = None,
        service: OfService = None,
        after: After = None,
        at_least: AtLeast = None,
    ) -> Connection[LineDay]:
        first = page_size(first, info)
        code(service_point, "service_point", info)
        question = lines.of_service_point(
            service_point,
            on_or_after=on_or_after,
            to=to,
            service=_service(service, info),
            after=_place(after, service_point, info),
            first=first + 1,
        )
        rows = await info.context.ask(question, at_least=at_least)
        return page([_line_day(row) for row in rows], first, lambda day: day.line)

    @strawberry.field(description="A person's turns, the last taken first." + BEHIND)
    async def turns(
        self,
        info: Info,
        person: Annotated[strawberry.ID, strawberry.argument(description="The person's opaque id.")],
        first: First,
        after: After = None,
        at_least: AtLeast = None,
    ) -> Connection[TurnRecord]:
        first = page_size(first, info)
        if not fits(OPAQUE, person):
            refuse(info, "person", "opaque")
        question = turns.of_person(
            person,
            service_points=info.context.service_points_seen,
            after=_taken_at_position(after, info),
            first=first + 1,
        )
        return _turns_page(await info.context.ask(question, at_least=at_least), first)

    @strawberry.field(
        description="A line's turns in the order in which they were taken; of one state if it is named." + BEHIND
    )
    async def line_turns(
        self,
        info: Info,
        *,
        line: LineName,
        first: First,
        state: Annotated[TurnState | None, strawberry.argument(description="Only those in this state.")] = None,
        after: After = None,
        at_least: AtLeast = None,
    ) -> Connection[TurnRecord]:
        first = page_size(first, info)
        question = turns.of_line(
            _line(line, info),
            state=cast("StateName", state.name) if state else None,
            after=_taken_at_position(after, info),
            first=first + 1,
        )
        return _turns_page(await info.context.ask(question, at_least=at_least), first)

    @strawberry.field(
        description="A line's figures: now, by hour of the day, and in all; null if it was never opened." + BEHIND
    )
    async def line_figures(self, info: Info, line: LineName, at_least: AtLeast = None) -> LineFigures | None:
        moment = line_figures.at_moment(_line(line, info), info.context.services.now())
        if not (found := await info.context.ask(moment, at_least=at_least)):
            return None
        *hours, total = await info.context.ask(line_figures.by_hour(line), at_least=at_least)
        return LineFigures(
            line=line,
            waiting=found[0].waiting,
            longest_wait_seconds=found[0].longest_wait_s,
            counters_open=found[0].counters_open,
            total=_figures(total),
            hours=[HourFigures(hour=row.hour, figures=_figures(row)) for row in hours if row.hour is not None],
        )

    @strawberry.field(
        description=f"The figures of a service point's lines by date and service, {HISTORY_DAYS_MAX} days at most;"
        " lines in which nobody took a turn too." + BEHIND
    )
    async def line_history(
        self,
        info: Info,
        *,
        service_point: ServicePointCode,
        on_or_after: FirstDay,
        to: Annotated[Date, strawberry.argument(description="The last day in La Paz.")],
        service: OfService = None,
        at_least: AtLeast = None,
    ) -> list[DayFigures]:
        begin, end = period(on_or_after, to, info, days=1, days_max=HISTORY_DAYS_MAX)
        code(service_point, "service_point", info)
        question = line_figures.by_day(service_point, service=_service(service, info), first=begin, last=end)
        rows = await info.context.ask(question, at_least=at_least)
        return [DayFigures(date=row.date, service=row.service_code, figures=_figures(row)) for row in rows]
