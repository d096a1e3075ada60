"""What programs outside hear of lines, by webhook: see docs/webhooks.md."""

from typing import Any

from domain.identifiers import line_of
from domain.outbox import Data, sends
from domain.queues.line import Line, LineClosed, NoticeGiven, stream
from domain.queues.policy import shown_number


@sends(
    NoticeGiven,
    "notice_given",
    description="Somebody who waits asked to be told, and it is time.",
    happened_at=lambda event: event.given_at,
)
def notice_given(event: NoticeGiven) -> dict[str, Any]:
    return {
        "turn": event.turn,
        "line": line_of(event.turn),
        "number": shown_number(event.priority, event.number),
        "ahead": event.ahead,
        "minutes": event.minutes,
        "person": event.person,
    }


def _with_persons(data: Data, line: Line) -> Data:
    """The names of turns alone are in the event: number and person are read in the line's own stream."""
    turns = [line.turns[name] for name in data["unserved"]]
    unserved = [{"turn": turn.turn, "number": turn.shown, "person": turn.person} for turn in turns]
    return {**data, "unserved": unserved}


@sends(
    LineClosed,
    "line_closed",
    description="A line was closed, with those who waited still.",
    happened_at=lambda event: event.closed_at,
    reads=lambda data: stream(data["line"]),
    complete=_with_persons,
)
def line_closed(event: LineClosed) -> dict[str, Any]:
    return {"line": event.line, "unserved": event.unserved}
