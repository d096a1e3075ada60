"""The query of a service point's lines by day, from the read models."""

from datetime import date as Date
from typing import Annotated

import strawberry

from api.graphql.access import EVERYBODY
from api.graphql.fields import AtLeast, Info, query
from api.graphql.links import link
from api.graphql.paging import Connection, Listing, PageArguments, paged
from api.graphql.queues.arguments import FirstDay, OfService, ServicePointCode
from api.graphql.read_models import BEHIND
from api.graphql.scalars import Instant, optional_instant
from projections.queues import lines as views


@strawberry.type(description="The record of a line, without personal data.")
class LineDay:
    line = link("line", "The line with its board, as it is now in the log.", key="line_id")
    service: str = strawberry.field(description="The service's code.")
    date: Date = strawberry.field(description="The date in La Paz.")
    hospital = link(
        "hospital",
        "The hospital whose appointments (fichas) have their own class in this line; null if there is none.",
        key="hospital_code",
    )
    opens_at: Instant = strawberry.field(description="When it begins to give turns.")
    last_turn_at: Instant = strawberry.field(description="When it stops giving turns.")
    closes_at: Instant = strawberry.field(description="When it stops calling turns.")
    closed_at: Instant | None = strawberry.field(description="When it was closed; null if it was not.")
    counters_open: int = strawberry.field(description="The number of open counters.")
    taken: int = strawberry.field(
        description="The number of turns taken. The numbers below say in which state they are."
    )
    waiting: int = strawberry.field(description="The number of waiting turns.")
    waiting_preferential: int = strawberry.field(description="How many of those are preferential.")
    waiting_appointment: int = strawberry.field(description="How many of those have an appointment.")
    waiting_normal: int = strawberry.field(description="How many of those are normal.")
    waiting_since: Instant | None = strawberry.field(
        description="When the longest wait began; null if no turn is waiting."
    )
    called: int = strawberry.field(description="The number of turns that are called.")
    serving: int = strawberry.field(description="The number of turns that are being served.")
    served: int = strawberry.field(description="The number of turns that were served.")
    absent: int = strawberry.field(
        description="The number of turns that were called, but for which nobody came or came back."
    )
    left: int = strawberry.field(description="The number of turns that were given up.")
    transferred: int = strawberry.field(description="The number of turns that moved to another line.")
    unserved: int = strawberry.field(
        description="The number of turns that were still waiting when the line was closed."
    )
    line_id: strawberry.Private[str]
    hospital_code: strawberry.Private[str | None]


def _line_day(row: views.LineSeen) -> LineDay:
    return LineDay(
        line_id=row.line,
        service=row.service,
        date=row.date,
        hospital_code=row.hospital,
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


_LINES = Listing("lines", views.BY_DATE)


@query(
    "A service point's lines by date and service, from one day to another. `line` reads one line from"
    " the log." + BEHIND,
    who=EVERYBODY,
)
@paged
async def lines(
    info: Info,
    *,
    service_point: ServicePointCode,
    on_or_after: FirstDay,
    page: PageArguments,
    to: Annotated[Date | None, strawberry.argument(description="The last day in La Paz; default: no limit.")] = None,
    service: OfService = None,
    at_least: AtLeast = None,
) -> Connection[LineDay]:
    wanted = page.of(info, _LINES, service_point)
    question = views.of_service_point(service_point, on_or_after=on_or_after, to=to, service=service, part=wanted.part)
    found = wanted.found(await info.context.ask(question, at_least=at_least))
    return found.connection([_line_day(row) for row in found.items])
