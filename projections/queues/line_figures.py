"""The figures of lines: how many turns were taken, waits, services, and how many were abandoned; by hour and day."""

from datetime import date, datetime

import msgspec

from domain.identifiers import LineId, ServiceId, ServicePointId
from projections.engine.query import Query
from projections.queues.lines import COUNTERS_OPEN, LINES
from projections.queues.turns import TURNS

HISTORY_DAYS_MAX = 92


class Spread(msgspec.Struct, frozen=True):
    """A summary of durations in seconds: the median, the 90th percentile and the mean."""

    p50_s: float
    p90_s: float
    mean_s: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of turns taken: their number, their present states, and their durations.

    `called` counts those called at least once. `wait` is from taking a turn to its first call, `service` from its start
    to its end, for those served; each is None if there was none. `abandoned`: the share of turns that were given up, or
    absent without coming back; 0 if there are no turns.
    """

    taken: int
    called: int
    served: int
    absent: int
    left: int
    transferred: int
    unserved: int
    abandoned: float
    wait: Spread | None
    service: Spread | None


class HourFigures(Figures, frozen=True, kw_only=True):
    """The figures of turns taken in an hour of the day in La Paz; of the whole day if `hour` is None."""

    hour: int | None


class DayFigures(Figures, frozen=True, kw_only=True):
    """The figures of a service on a day in La Paz."""

    date: date
    service_code: ServiceId


class LineMoment(msgspec.Struct, frozen=True):
    """A line at one moment. `longest_wait_s` is the longest wait of a turn still waiting; None if there is none."""

    waiting: int
    longest_wait_s: float | None
    counters_open: int


def _spread(seconds: str, where: str) -> str:
    """SQL for two percentiles with a single sort, and the mean."""
    return f"""
        CASE WHEN count(*) FILTER (WHERE {where}) > 0 THEN (
            SELECT json_build_object('p50_s', p[1], 'p90_s', p[2], 'mean_s', mean) FROM (VALUES (
                percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY {seconds}) FILTER (WHERE {where}),
                avg({seconds}) FILTER (WHERE {where})
            )) AS v (p, mean)
        ) END"""


# Of turns `t`.
_FIGURES = f"""
    count(*) AS taken,
    count(t.first_called_at) AS called,
    count(*) FILTER (WHERE t.state = 'SERVED') AS served,
    count(*) FILTER (WHERE t.state = 'ABSENT') AS absent,
    count(*) FILTER (WHERE t.state = 'LEFT') AS left,
    count(*) FILTER (WHERE t.state = 'TRANSFERRED') AS transferred,
    count(*) FILTER (WHERE t.state = 'UNSERVED') AS unserved,
    coalesce(
        count(*) FILTER (WHERE t.state IN ('LEFT', 'ABSENT'))::float8 / nullif(count(*), 0), 0
    ) AS abandoned,
    {_spread("extract(epoch FROM t.first_called_at - t.since)::float8", "t.first_called_at IS NOT NULL")} AS wait,
    {_spread("extract(epoch FROM t.ended_at - t.started_at)::float8", "t.state = 'SERVED'")} AS service
"""


def by_hour(line: LineId) -> Query[HourFigures]:
    """A line's figures by hour of taking, in order; last those of all its turns, even if there are none."""
    return Query(
        projections=(TURNS.name,),
        select=f"""
            SELECT t.hour, {_FIGURES} FROM {{turns}} AS t WHERE t.line = %(line)s
            GROUP BY GROUPING SETS ((t.hour), ()) ORDER BY t.hour NULLS LAST
        """,
        parameters={"line": line},
        row=HourFigures,
    )


def at_moment(line: LineId, now: datetime) -> Query[LineMoment]:
    """A line at a moment; no row for one that was never opened."""
    return Query(
        projections=(LINES.name, TURNS.name),
        select=f"""
            SELECT w.waiting, w.longest_wait_s, {COUNTERS_OPEN} AS counters_open
            FROM {{lines}} AS l CROSS JOIN LATERAL (
                SELECT count(*) AS waiting, extract(epoch FROM %(now)s - min(t.since))::float8 AS longest_wait_s
                FROM {{turns}} AS t WHERE t.line = l.line AND t.state = 'WAITING'
            ) AS w
            WHERE l.line = %(line)s
        """,
        parameters={"line": line, "now": now},
        row=LineMoment,
    )


def by_day(service_point: ServicePointId, *, service: ServiceId | None, first: date, last: date) -> Query[DayFigures]:
    """The figures of a service point's lines from `first` to `last`, by date and service, optionally of one service.

    Lines without turns are included.
    """
    where = "l.service_point = %(service_point)s AND l.date BETWEEN %(first)s AND %(last)s"
    where += " AND l.service = %(service)s" if service else ""
    return Query(
        projections=(LINES.name, TURNS.name),
        select=f"""
            SELECT l.date, l.service AS service_code, f.*
            FROM {{lines}} AS l CROSS JOIN LATERAL (
                SELECT {_FIGURES} FROM {{turns}} AS t WHERE t.line = l.line
            ) AS f
            WHERE {where} ORDER BY l.date, l.service
        """,
        parameters={"service_point": service_point, "service": service, "first": first, "last": last},
        row=DayFigures,
    )
