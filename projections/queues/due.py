"""Queries for work that falls due in lines as time passes; the scheduler repeats them."""

from datetime import datetime

import msgspec

from domain.decider import Instant
from domain.due import Job
from domain.identifiers import LineId, TurnId
from domain.queues.calling import MarkAbsent
from domain.queues.opening import CloseLine
from projections.engine.due import Due
from projections.engine.query import Query
from projections.queues.lines import LINES
from projections.queues.turns import TURNS


class AbsentTurn(msgspec.Struct, frozen=True):
    """A called turn for which, as far as the read model knows, nobody came before `absent_from`."""

    turn: TurnId
    line: LineId
    absent_from: Instant


class LineWithWishes(msgspec.Struct, frozen=True):
    """A line with a waiting turn for which a notice some minutes before the call was requested."""

    line: LineId


class LineToClose(msgspec.Struct, frozen=True):
    """A line that is still open after `closes_at`."""

    line: LineId
    closes_at: Instant


def absent_turns(now: datetime, first: int) -> Query[AbsentTurn]:
    """At most `first` called turns whose time to come is over, the earliest first.

    Turns of closed lines are included, because their counters have to become free.
    """
    return Query(
        projections=(LINES.name,),
        select="""
            SELECT c.turn, l.line, c.absent_from
            FROM {lines} AS l CROSS JOIN LATERAL (
                SELECT value->>'turn' AS turn, (value->>'called_at')::timestamptz
                       + make_interval(secs => (l.policy->>'call_timeout_s')::int) AS absent_from
                FROM json_each(l.counters)
            ) AS c
            WHERE l.absent_from <= %(now)s AND c.absent_from <= %(now)s
            ORDER BY c.absent_from, c.turn LIMIT %(limit)s
        """,
        parameters={"now": now, "limit": first},
        row=AbsentTurn,
    )


def lines_with_wishes(after: LineId, first: int) -> Query[LineWithWishes]:
    """At most `first` lines after this one with notices by time. No read model knows when these are due."""
    return Query(
        projections=(TURNS.name,),
        select="SELECT DISTINCT line FROM {turns} WHERE notice_minutes IS NOT NULL AND line > %(after)s"
        " ORDER BY line LIMIT %(limit)s",
        parameters={"after": after, "limit": first},
        row=LineWithWishes,
    )


def lines_to_close(now: datetime, first: int) -> Query[LineToClose]:
    """At most `first` lines that should be closed, the earliest first."""
    return Query(
        projections=(LINES.name,),
        select="""
            SELECT line, closes_at FROM {lines} WHERE closed_at IS NULL AND closes_at <= %(now)s
            ORDER BY closes_at, line LIMIT %(limit)s
        """,
        parameters={"now": now, "limit": first},
        row=LineToClose,
    )


def _mark_absent(row: AbsentTurn) -> Job:
    # The key has the time, because a turn that came back can be called and become absent again.
    return Job(command=MarkAbsent(turn=row.turn), key=f"absent:{row.turn}:{row.absent_from.isoformat()}")


def _close(row: LineToClose) -> Job:
    return Job(command=CloseLine(line=row.line), key=f"close:{row.line}")


DUE = (Due(absent_turns, _mark_absent), Due(lines_to_close, _close))
