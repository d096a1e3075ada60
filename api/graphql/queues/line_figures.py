"""The figures of lines, from the read models: for a line by hour, and for a service point by day."""

from datetime import date as Date
from typing import Annotated

import strawberry

from api.graphql.fields import AtLeast, Info, query
from api.graphql.links import link
from api.graphql.queues.access import readers_at
from api.graphql.queues.arguments import FirstDay, LineName, OfService, ServicePointCode
from api.graphql.read_models import BEHIND, period
from projections.queues import line_figures as views
from projections.queues.line_figures import HISTORY_DAYS_MAX


@strawberry.type(description="A summary of durations in seconds.")
class Spread:
    median_seconds: float = strawberry.field(description="The median.")
    nine_in_ten_seconds: float = strawberry.field(
        description="The 90th percentile: nine in ten durations were not longer."
    )
    mean_seconds: float = strawberry.field(description="The mean.")


@strawberry.type(description="How turns ended, and how long they took.")
class TurnFigures:
    taken: int = strawberry.field(description="The number of turns taken.")
    called: int = strawberry.field(description="How many of those taken were called at least once.")
    served: int = strawberry.field(description="How many of those taken were served.")
    absent: int = strawberry.field(description="How many of those taken were called, but nobody came or came back.")
    left: int = strawberry.field(description="How many of those taken were given up.")
    transferred: int = strawberry.field(description="How many of those taken moved to another line.")
    unserved: int = strawberry.field(description="How many of those taken were still waiting when the line was closed.")
    abandoned: float = strawberry.field(
        description="The share of those taken that is `left` or `absent`: 0.25 is one in four."
    )
    wait: Spread | None = strawberry.field(
        description="From the start of the wait, possibly in another line, to the first call; null if none was called."
    )
    service: Spread | None = strawberry.field(
        description="From the start of a service to its end; null if none was served."
    )


@strawberry.type(description="The figures of turns taken in one hour of the day.")
class HourFigures:
    hour: int = strawberry.field(description="The hour in La Paz, 0 to 23.")
    figures: TurnFigures = strawberry.field(description="Their figures.")


@strawberry.type(description="The figures of a line, and its state at the time of the request.")
class LineFigures:
    line = link("line", "The line.", key="line_id")
    waiting: int = strawberry.field(description="The number of turns waiting now.")
    longest_wait_seconds: float | None = strawberry.field(
        description="The longest wait of a turn waiting now; null if none is waiting."
    )
    counters_open: int = strawberry.field(description="The number of counters open now.")
    total: TurnFigures = strawberry.field(description="The figures of all its turns.")
    hours: list[HourFigures] = strawberry.field(
        description="The figures by the hour in which turns were taken, without empty hours."
    )
    line_id: strawberry.Private[str]


@strawberry.type(description="A service on one day.")
class DayFigures:
    date: Date = strawberry.field(description="The date in La Paz.")
    service: str = strawberry.field(description="The service's code.")
    figures: TurnFigures = strawberry.field(description="The figures of its line.")


def _spread(spread: views.Spread | None) -> Spread | None:
    if spread is None:
        return None
    return Spread(median_seconds=spread.p50_s, nine_in_ten_seconds=spread.p90_s, mean_seconds=spread.mean_s)


def _figures(row: views.Figures) -> TurnFigures:
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


@query(
    "A line's figures: now, by hour of the day, and in total; null if it was never opened." + BEHIND,
    who=readers_at("line"),
)
async def line_figures(info: Info, line: LineName, at_least: AtLeast = None) -> LineFigures | None:
    moment = views.at_moment(line, info.context.services.now())
    if not (found := await info.context.ask(moment, at_least=at_least)):
        return None
    *hours, total = await info.context.ask(views.by_hour(line), at_least=at_least)
    return LineFigures(
        line_id=line,
        waiting=found[0].waiting,
        longest_wait_seconds=found[0].longest_wait_s,
        counters_open=found[0].counters_open,
        total=_figures(total),
        hours=[HourFigures(hour=row.hour, figures=_figures(row)) for row in hours if row.hour is not None],
    )


@query(
    f"The figures of a service point's lines by date and service, for at most {HISTORY_DAYS_MAX} days,"
    " including lines without turns." + BEHIND,
    who=readers_at("service_point"),
)
async def line_history(
    info: Info,
    *,
    service_point: ServicePointCode,
    on_or_after: FirstDay,
    to: Annotated[Date, strawberry.argument(description="The last day in La Paz.")],
    service: OfService = None,
    at_least: AtLeast = None,
) -> list[DayFigures]:
    begin, end = period(on_or_after, to, info, days=1, days_max=HISTORY_DAYS_MAX)
    question = views.by_day(service_point, service=service, first=begin, last=end)
    rows = await info.context.ask(question, at_least=at_least)
    return [DayFigures(date=row.date, service=row.service_code, figures=_figures(row)) for row in rows]
