"""Live fields: a context declares what it follows and how that is shown, in a few lines."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypedDict, TypeVar, cast

import strawberry
from graphql import VariableNode
from msgspec import Meta

from api.graphql.context import Context
from api.graphql.engine.live import Change, Concerns, Following, whole_stream
from api.graphql.engine.request_errors import as_graphql_error
from api.graphql.fields import Info, refuse
from api.graphql.scalars import Position
from domain.decider import StreamName
from domain.errors import Hint, Rejected
from domain.identifiers import fits
from infra.log.submission import ServiceUnavailable
from infra.postgres.connections import Unavailable

if TYPE_CHECKING:
    from graphql import GraphQLResolveInfo

T = TypeVar("T")

AfterPosition = Annotated[
    Position | None,
    strawberry.argument(
        description="Go on from this position: the first message comes with the first change after it."
        " Without: the state now."
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


class Place(TypedDict):
    """The fields of `Message`."""

    position: Position
    previous: Position | None


def place_of(change: Change) -> Place:
    """Where a change stands in the log: `AgendaChange(agenda=…, **place_of(change))`."""
    previous = None if change.previous is None else Position(change.previous)
    return Place(position=Position(change.position), previous=previous)


async def _never(context: Context, id: str) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class LiveField(Generic[T]):
    """A field of the subscription root: what has an id, as it is, and again with each change.

    Attributes:
        form: the pattern of ids; another id is refused with `hint`.
        stream: the stream that is followed.
        is_known: whether a state of the stream has what the id names; if it has not, the refusal is `unknown`.
        is_in_log: whether the log has it, asked if the state does not have it yet.
        show: the message that tells of a change. It must not await.
        concerns: which changes are told; all of the stream, unless `one_entity` says less.
    """

    form: Meta
    hint: Hint
    unknown: Callable[..., Rejected]
    stream: Callable[[str], StreamName]
    is_known: Callable[[Any, str], bool]
    show: Callable[[Info, Change, str], T]
    is_in_log: Callable[[Context, str], Awaitable[bool]] = _never
    concerns: Callable[[StreamName, str], Concerns] = lambda stream, id: whole_stream

    async def follow(self, info: Info, id: str, after: Position | None) -> AsyncGenerator[T, None]:
        """The messages. Refusals are raised as GraphQLErrors."""
        context = info.context
        if not fits(self.form, id):
            refuse(info, "id", self.hint)
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
        """Raises Rejected if there is nothing of this id."""
        if self.is_known((await following.snapshot()).state, id):
            return
        if not await self.is_in_log(context, id):
            raise self.unknown(path="id")
        await following.snapshot(lambda state: self.is_known(state, id))  # written a moment ago


def _after_variable(info: Info) -> str | None:
    """The variable that holds `after`, if one does. It can hold nothing else: no other argument is a position."""
    asked = cast("GraphQLResolveInfo[Context]", info)
    for argument in asked.field_nodes[0].arguments or ():
        if argument.name.value == "after" and isinstance(argument.value, VariableNode):
            return argument.value.name.value
    return None
