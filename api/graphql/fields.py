"""Root fields of the schema: what each is called, who may ask it, and which function answers.

A context declares its root fields by the decorators below and by `command` (api/graphql/commands.py), as functions of
its modules. api/graphql/schema.py collects them.
"""

from collections.abc import Awaitable, Callable
from inspect import signature
from typing import Annotated, Any, Literal, NoReturn, TypeVar, get_type_hints

import msgspec
import strawberry
from strawberry.types import Info as StrawberryInfo

from api.graphql.access import Rule
from api.graphql.context import Context
from api.graphql.engine.request_errors import as_graphql_error
from api.graphql.errors import UserError
from api.graphql.scalars import Position
from domain.decider import Command
from domain.decision import DECISIONS
from domain.errors import Hint, InvalidInput

T = TypeVar("T")

Info = StrawberryInfo[Context, None]
Root = Literal["Query", "Mutation", "Subscription"]

AtLeast = Annotated[
    Position | None,
    strawberry.argument(
        description="Wait, a few seconds at most, until what stands at this position of the log is in the answer."
    ),
]
Input = Annotated[T, strawberry.argument(description="What is to be done, and the client's name for the request.")]


class RootField(msgspec.Struct, frozen=True):
    """A field of the schema's roots.

    Attributes:
        root: under which root it is.
        description: for the schema.
        who: who may ask it.
        function: answers it. It takes `info`, then `grant` if it has a parameter of that name, then the arguments.
        commands: what a mutation performs, one of them at a time.

    Raises TypeError for a command without a decision.
    """

    root: Root
    description: str
    who: Rule
    function: Callable[..., Any]
    commands: tuple[type[Command], ...] = ()

    def __post_init__(self) -> None:
        for command in self.commands:
            if command not in DECISIONS:
                raise TypeError(f"{self.name}: nothing decides {command.__name__}: its decision needs @decides")

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def takes_grant(self) -> bool:
        return "grant" in signature(self.function).parameters

    @property
    def answer(self) -> Any:
        """The type of its answer."""
        return get_type_hints(self.function, include_extras=True)["return"]


Declared = Callable[[Callable[..., Any]], RootField]


def query(description: str, *, who: Rule) -> Declared:
    """Declare a root field that answers a question."""
    return lambda function: RootField("Query", description, who, function)


def subscription(description: str, *, who: Rule) -> Declared:
    """Declare a live field: an async generator of its messages."""
    return lambda function: RootField("Subscription", description, who, function)


def mutation(
    *commands: type[Command], description: str, who: Rule
) -> Callable[[Callable[..., Awaitable["Payload"]]], RootField]:
    """Declare a mutation that is more than its command. It returns its payload or raises Rejected."""
    return lambda function: RootField("Mutation", description, who, function, commands)


@strawberry.interface(description="What has an id of its own, by which `node` finds it again.")
class Node:
    id: strawberry.ID = strawberry.field(description="Never changes, and is no other thing's. Copy it whole.")


@strawberry.input(description="What every mutation takes.")
class KeyedInput:
    idempotency_key: str = strawberry.field(
        description="The client's name for this request: the same key with the same content gives the first outcome"
        " again, for seven days; with other content it is refused."
    )


@strawberry.type(description="What every mutation answers.")
class Payload:
    position: Position | None = strawberry.field(
        default=None, description="What was done stands in the log at this place or before."
    )
    errors: list[UserError] = strawberry.field(
        default_factory=list, description="Why it was refused; empty if it was done."
    )


def refuse(info: Info, path: str, hint: Hint) -> NoReturn:
    """Raise the GraphQLError for an argument of a query that is not of the right form."""
    raise as_graphql_error(InvalidInput(path=path, hint=hint), info.context.language)
