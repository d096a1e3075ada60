"""Live fields: what a line or a turn is, and again with each change, folded from the log."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Annotated, cast

import strawberry

from api.graphql.access import EVERYBODY
from api.graphql.engine.live import SHARED_FOR_S, Change, Concerns, Snapshot, one_entity
from api.graphql.fields import Info, refuse, subscription
from api.graphql.following import AfterPosition, Message, follow, previous_of, showing
from api.graphql.queues.current_lines import CurrentLines, current_line
from api.graphql.queues.lines import Line, shown_line
from api.graphql.queues.turns import Turn, shown_turn
from api.graphql.scalars import Position
from domain.identifiers import LINE_NAME, TURN_NAME, LineHint, OpaqueHint, fits, line_of
from domain.queues import line as lines
from domain.queues.calling import TurnUnknown
from domain.queues.opening import LineUnknown
from infra.reactions.queues.lines import LineNow

STILL = lines.LIVE | {"ABSENT"}  # turns of which something may still become


@strawberry.type(description="A line after one or more changes.")
class LineChange(Message):
    line: Line = strawberry.field(description="The board as it is at `position`, at the time of sending.")


@strawberry.type(description="A turn after one or more changes in its line.")
class TurnChange(Message):
    turn: Turn = strawberry.field(description="The turn as it is at `position`, at the time of sending.")


def _of_turn(turn: str) -> Concerns:
    """Every change in a line concerns who waits; once a turn is over, only its own."""

    def is_open(line: lines.Line) -> bool:
        known = line.turns.get(turn)
        return known is None or known.state in STILL

    return one_entity(lines.stream_of(turn), turn, any_while=is_open)


def _now(info: Info, snapshot: Snapshot) -> LineNow:
    """The line of a snapshot now. All who follow it share what is computed, as long as they share an answer."""
    computed = cast("LineNow | None", snapshot.computed)
    services = info.context.services
    if computed is None or not timedelta(0) <= services.now() - computed.now < timedelta(seconds=SHARED_FOR_S):
        snapshot.computed = computed = services.of(CurrentLines).now_of(snapshot.state)
    return computed


@subscription("A line, the board: as it is, and again with each change. Slow clients skip states.", who=EVERYBODY)
async def line(
    info: Info,
    id: Annotated[strawberry.ID, strawberry.argument(description="The line: service point/service/date.")],
    after: AfterPosition = None,
) -> AsyncGenerator[LineChange, None]:
    if not fits(LINE_NAME, id):
        refuse(info, "id", LineHint())
    async with follow(info, lines.stream(id), after=after) as following:
        if (await following.snapshot()).state.opened is None:
            raise LineUnknown(path="id")

        def show(change: Change) -> LineChange:
            line = shown_line(_now(info, change.snapshot))
            assert line is not None
            return LineChange(position=Position(change.position), previous=previous_of(change), line=line)

        shown = showing(info, show)
        while True:
            yield shown(await following.change())


@subscription(
    "A turn, the follow-up: as it is, and again with each change in its line, until it is over.", who=EVERYBODY
)
async def turn(
    info: Info,
    id: Annotated[strawberry.ID, strawberry.argument(description="The turn.")],
    after: AfterPosition = None,
) -> AsyncGenerator[TurnChange, None]:
    if not fits(TURN_NAME, id):
        refuse(info, "id", OpaqueHint())
    async with follow(info, lines.stream_of(id), after=after, concerns=_of_turn(id)) as following:
        if id not in (await following.snapshot()).state.turns:
            if not await current_line(info.context, line_of(id), lambda now: id in now.line.turns):
                raise TurnUnknown(path="id")
            await following.snapshot(lambda state: id in state.turns)  # taken a moment ago

        def show(change: Change) -> TurnChange:
            turn = shown_turn(_now(info, change.snapshot), id)
            assert turn is not None
            return TurnChange(position=Position(change.position), previous=previous_of(change), turn=turn)

        shown = showing(info, show)
        while True:
            yield shown(await following.change())
