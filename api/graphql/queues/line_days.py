"""A service point's lines day by day in the schema, from the read models."""

from datetime import date as Date
from typing import Annotated

import strawberry

from api.graphql.access import EVERYBODY
from api.graphql.fields import AtLeast, Info, query, refuse
from api.graphql.paging import After, Connection, CursorHint, First, page, page_size
from api.graphql.queues.arguments import FirstDay, OfService, ServicePointCode, service_code
from api.graphql.read_models import BEHIND, code
from api.graphql.scalars import Instant, optional_id, optional_instant
from domain.identifiers import LINE_NAME, fits, line_parts
from projections.queues import lines as views


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


def _line_day(row: views.LineSeen) -> LineDay:
    return LineDay(
        line=strawberry.ID(row.line),
        service=row.service,
        date=row.date,
        hospital=optional_id(row.hospital),
        opens_at=Instant(row.opens_at),
        last_turn_at=Instant(row.last_turn_at),
        closes_at=Instant(row.closes_at),
        closed_at=optional_instant(row.closed_at),
        counters_open=row.counters_open,
        taken=row.taken,
        waiting=row.waiting,
        waiting_preferential=row.waiting_preferential,
        waiting_appointment=row.waiting_appointment,
        waiting_normal=row.waiting_normal,
        waiting_since=optional_instant(row.waiting_since),
        called=row.called,
        serving=row.serving,
        served=row.served,
        absent=row.absent,
        left=row.left,
        transferred=row.transferred,
        unserved=row.unserved,
    )


def _place(after: str | None, service_point: str, info: Info) -> views.Place | None:
    """Where the page before ended: its cursor is the last line."""
    if after is None:
        return None
    if not fits(LINE_NAME, after) or not after.startswith(f"{service_point}/"):
        refuse(info, "after", CursorHint())
    try:
        _, service, day = line_parts(after)
    except ValueError:
        refuse(info, "after", CursorHint())
    return views.Place(date=day, service=service)


@query(
    "A service point's lines by date and service, from a day on, until another if it is said. `line`"
    " shows one as the log has it." + BEHIND,
    who=EVERYBODY,
)
async def lines(
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
    question = views.of_service_point(
        service_point,
        on_or_after=on_or_after,
        to=to,
        service=service_code(service, info),
        after=_place(after, service_point, info),
        first=first + 1,
    )
    rows = await info.context.ask(question, at_least=at_least)
    return page([_line_day(row) for row in rows], first, lambda day: day.line)
