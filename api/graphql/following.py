"""Live fields: a context declares which stream a field follows and how a change is shown."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypedDict, TypeVar, cast

import strawberry
from graphql import VariableNode

from api.graphql.context import Context
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

T = TypeVar("T")

AfterPosition = Annotated[
    Position | None,
    strawberry.argument(
        description="Resume after this position: the first message comes with the first change after it."
        " Default: start with the present state."
    ),
]


@strawberry.type(description="A message of a live field: its position in the log, and that of the message before.")
class Message:
    position: Position = strawberry.field(
        description="The objects below include all changes up to this position of the log."
    )
    previous: Position | None = strawberry.field(
        description="The position of the previous message; in the first message, the argument `after` or null. All"
        " changes between the two positions are in this message."
    )


class Place(TypedDict):
    """The fields of `Message`."""

    position: Position
    previous: Position | None


def place_of(change: Change) -> Place:
    """The positions of a message, used as `AgendaChange(agenda=…, **place_of(change))`."""
    previous = None if change.previous is None else Position(change.previous)
    return Place(position=Position(change.position), previous=previous)


async def _never(context: Context, id: str) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class LiveField(Generic[T]):
    """A subscription that follows an object by its id: the present state, then the state after each change.

    Attributes:
        stream: the stream that is followed.
        is_known: whether a state of the stream has the object. If it has not, the refusal is `unknown`.
        is_in_log: whether the log has the object, called if the state does not have it yet.
        show: makes the message for a change. It must not await.
        concerns: which changes are sent: all of the stream, or those of `one_entity`.
    """

    unknown: Callable[..., Rejected]
    stream: Callable[[str], StreamName]
    is_known: Callable[[Any, str], bool]
    show: Callable[[Info, Change, str], T]
    is_in_log: Callable[[Context, str], Awaitable[bool]] = _never
    concerns: Callable[[StreamName, str], Concerns] = lambda stream, id: whole_stream

    async def follow(self, info: Info, id: str, after: Position | None) -> AsyncGenerator[T, None]:
        """Yield the messages. Refusals are raised as GraphQLErrors."""
        context = info.context
        if context.resumes_after is not None:
            after = context.resumes_after
        stream = self.stream(id)

        def shown(change: Change) -> T:
            context.snapshot = change.snapshot
            return self.show(info, change, id)

        try:
            async with context.services.live.follow(stream, after=after, concerns=self.concerns(stream, id)) as one:
                context.following, context.after_variable = one, _after_variable(info)
                await self._wait_until_known(one, context, id)
                context.show = shown  # api/http/updates.py may call it for changes in between
                while True:
                    yield shown(await one.change())
        except Rejected as refusal:
            raise as_graphql_error(refusal, context.language) from None
        except Unavailable:
            raise as_graphql_error(ServiceUnavailable(), context.language) from None

    async def _wait_until_known(self, following: Following, context: Context, id: str) -> None:
        """Raise Rejected if there is no object with this id."""
        if self.is_known((await following.snapshot()).state, id):
            return
        if not await self.is_in_log(context, id):
            raise self.unknown(path="id")
        await following.snapshot(lambda state: self.is_known(state, id))  # it was written a moment ago


def _after_variable(info: Info) -> str | None:
    """The variable that gives `after`, if any. It gives nothing else: no other argument is a position."""
    asked = cast("GraphQLResolveInfo[Context]", info)
    for argument in asked.field_nodes[0].arguments or ():
        if argument.name.value == "after" and isinstance(argument.value, VariableNode):
            return argument.value.name.value
    return None
