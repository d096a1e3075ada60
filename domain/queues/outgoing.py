"""The messages about lines that are sent to external programs: see docs/webhooks.md."""

from typing import Any

from domain.identifiers import line_of
from domain.outbox import Data, sends
from domain.queues.line import Line, LineClosed, NoticeGiven, stream
from domain.queues.policy import format_number


@sends(
    NoticeGiven,
    "notice_given",
    description="A notice that somebody in line asked for is due.",
    happened_at=lambda event: event.given_at,
)
def notice_given(event: NoticeGiven) -> dict[str, Any]:
    return {
        "turn": event.turn,
        "line": line_of(event.turn),
        "number": format_number(event.priority, event.number),
        "ahead": event.ahead,
        "minutes": event.minutes,
        "person": event.person,
    }


def _with_persons(data: Data, line: Line) -> Data:
    """Add numbers and persons from the line's state: the event has only the ids of turns."""
    turns = [line.turns[name] for name in data["unserved"]]
    unserved = [{"turn": turn.turn, "number": turn.shown, "person": turn.person} for turn in turns]
    return {**data, "unserved": unserved}


@sends(
    LineClosed,
    "line_closed",
    description="A line was closed; `unserved` are the turns that were still waiting.",
    happened_at=lambda event: event.closed_at,
    reads=lambda data: stream(data["line"]),
    complete=_with_persons,
)
def line_closed(event: LineClosed) -> dict[str, Any]:
    return {"line": event.line, "unserved": event.unserved}
