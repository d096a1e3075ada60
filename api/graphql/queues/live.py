"""Live fields of lines and turns: the present state, then the state after each change, from the log."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Annotated, cast

import strawberry

from api.graphql.access import EVERYBODY
from api.graphql.context import Context
from api.graphql.engine.live import SHARED_FOR_S, Change, Concerns, Snapshot, one_entity
from api.graphql.fields import Info, subscription
from api.graphql.following import AfterPosition, LiveField, Message, place_of
from api.graphql.queues.current_lines import CurrentLines, current_line
from api.graphql.queues.lines import Line, line_to_graphql
from api.graphql.queues.turns import Turn, turn_to_graphql
from domain.decider import StreamName
from domain.identifiers import LINE_NAME, TURN_NAME, line_of
from domain.queues import line as lines
from domain.queues.calling import TurnUnknown
from domain.queues.line_now import LineNow
from domain.queues.opening import LineUnknown

STILL_OPEN = lines.LIVE | {"ABSENT"}  # turns in these states may still change


@strawberry.type(description="A line after one or more changes.")
class LineChange(Message):
    line: Line = strawberry.field(
        description="The board with all changes up to `position`, as seen at the time of sending."
    )


@strawberry.type(description="A turn after one or more changes in its line.")
class TurnChange(Message):
    turn: Turn = strawberry.field(
        description="The turn with all changes up to `position`, as seen at the time of sending."
    )


def _now(info: Info, snapshot: Snapshot) -> LineNow:
    """The line of a snapshot as it is now. Followers share what is computed, as long as they share an answer."""
    computed = cast("LineNow | None", snapshot.computed)
    services = info.context.services
    if computed is None or not timedelta(0) <= services.now() - computed.now < timedelta(seconds=SHARED_FOR_S):
        snapshot.computed = computed = services.of(CurrentLines).now_of(snapshot.state)
    return computed


def _line_changed(info: Info, change: Change, id: str) -> LineChange:
    line = line_to_graphql(_now(info, change.snapshot))
    assert line is not None
    return LineChange(line=line, **place_of(change))


def _turn_changed(info: Info, change: Change, id: str) -> TurnChange:
    turn = turn_to_graphql(_now(info, change.snapshot), id)
    assert turn is not None
    return TurnChange(turn=turn, **place_of(change))


async def _is_taken(context: Context, turn: str) -> bool:
    return await current_line(context, line_of(turn), lambda now: turn in now.line.turns)


def _changes_of_turn(stream: StreamName, turn: str) -> Concerns:
    """Every change in a line concerns a turn until the turn is over; then only changes of the turn itself do."""

    def is_open(line: lines.Line) -> bool:
        known = line.turns.get(turn)
        return known is None or known.state in STILL_OPEN

    return one_entity(stream, turn, any_while=is_open)


LINE = LiveField(
    unknown=LineUnknown,
    stream=lines.stream,
    is_known=lambda line, id: line.opened is not None,
    show=_line_changed,
)
TURN = LiveField(
    unknown=TurnUnknown,
    stream=lines.stream_of,
    is_known=lambda line, id: id in line.turns,
    is_in_log=_is_taken,
    show=_turn_changed,
    concerns=_changes_of_turn,
)


@subscription("A line: its present board, then its board after each change. Slow clients skip states.", who=EVERYBODY)
def line(
    info: Info,
    id: Annotated[strawberry.ID, LINE_NAME, strawberry.argument(description="The line: service point/service/date.")],
    after: AfterPosition = None,
) -> AsyncGenerator[LineChange, None]:
    return LINE.follow(info, id, after)


@subscription(
    "A turn: its present state, then its state after each change in its line, until it is over.", who=EVERYBODY
)
def turn(
    info: Info,
    id: Annotated[strawberry.ID, TURN_NAME, strawberry.argument(description="The turn.")],
    after: AfterPosition = None,
) -> AsyncGenerator[TurnChange, None]:
    return TURN.follow(info, id, after)
