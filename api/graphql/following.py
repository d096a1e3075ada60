"""What live fields of all contexts have in common: a stream is followed, and each change is shown.

A live field is an async generator of this form:

    async with follow(info, stream, after=after) as following:
        if (await following.snapshot()).state.opened is None:
            raise LineUnknown(path="id")
        shown = showing(info, show)
        while True:
            yield shown(await following.change())
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import strawberry
from graphql import VariableNode

from api.graphql.engine.live import Change, Concerns, Following, whole_stream
from api.graphql.engine.request_errors import as_graphql_error
from api.graphql.fields import Info
from api.graphql.scalars import Position
from domain.decider import StreamName
from domain.errors import Rejected
from infra.log.submission import ServiceUnavailable
from infra.postgres.connections import Unavailable

if TYPE_CHECKING:
    from graphql import GraphQLResolveInfo

    from api.graphql.context import Context

T = TypeVar("T")

AfterPosition = Annotated[
    Position | None,
    strawberry.argument(
        description="Go on from this position: the first message comes with the first change after it. Without: the"
        " state now."
    ),
]


@strawberry.type(description="A message of a live field: where in the log it stands, and where the one before did.")
class Message:
    position: Position = strawberry.field(
        description="Where the last change that is in this message stands in the log."
    )
    previous: Position | None = strawberry.field(
        description="The position of the message before, or `after` in the first one; null if there was neither."
        " Whatever happened between the two is in this message."
    )


def previous_of(change: Change) -> Position | None:
    """The `previous` of the message that shows a change."""
    return None if change.previous is None else Position(change.previous)


@asynccontextmanager
async def follow(
    info: Info, stream: StreamName, *, after: Position | None, concerns: Concerns = whole_stream
) -> AsyncIterator[Following]:
    """Follow a stream for this operation. What is raised as Rejected in the block goes on as a GraphQLError."""
    context = info.context
    if context.resumes_after is not None:
        after = context.resumes_after
    try:
        async with context.services.live.follow(stream, after=after, concerns=concerns) as following:
            context.following = following
            context.after_variable = _after_variable(info)
            yield following
    except Rejected as refusal:
        raise as_graphql_error(refusal, context.language) from None
    except Unavailable:
        raise as_graphql_error(ServiceUnavailable(), context.language) from None


def showing(info: Info, show: Callable[[Change], T]) -> Callable[[Change], T]:
    """How this operation shows a change. api/http/updates.py calls `show` too, for changes in between."""

    def shown(change: Change) -> T:
        info.context.snapshot = change.snapshot
        return show(change)

    info.context.show = shown
    return shown


def _after_variable(info: Info) -> str | None:
    """The variable that holds `after`, if one does. It can hold nothing else: no other argument is a position."""
    asked = cast("GraphQLResolveInfo[Context]", info)
    for argument in asked.field_nodes[0].arguments or ():
        if argument.name.value == "after" and isinstance(argument.value, VariableNode):
            return argument.value.name.value
    return None
