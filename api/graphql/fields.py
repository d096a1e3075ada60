"""Declares root fields of the schema: the name, who may use it, and the function that answers.

A context declares its root fields as functions in its modules, with the decorators below and `command` (in
api/graphql/commands.py). api/graphql/schema.py collects them.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Iterator, Mapping
from inspect import signature
from typing import Annotated, Any, Literal, NoReturn, TypeVar, get_args, get_type_hints

import msgspec
import strawberry
from msgspec import Meta
from strawberry.types import Info as StrawberryInfo

from api.access.grant import Grant
from api.graphql.access import Rule
from api.graphql.context import Context
from api.graphql.engine.request_errors import as_graphql_error
from api.graphql.errors import UserError
from api.graphql.scalars import Position
from domain.decider import Command
from domain.decision import DECISIONS
from domain.errors import Hint, InvalidInput
from domain.identifiers import is_id_or_code

T = TypeVar("T")

Info = StrawberryInfo[Context, None]
Root = Literal["Query", "Mutation", "Subscription"]

AtLeast = Annotated[
    Position | None,
    strawberry.argument(description="Wait at most a few seconds until the answer includes this position of the log."),
]
Input = Annotated[T, strawberry.argument(description="The command's fields, and an idempotency key for the request.")]


class RootField(msgspec.Struct, frozen=True):
    """A root field of the schema.

    Attributes:
        root: the root type to which it belongs.
        description: for the schema.
        who: who may use it.
        function: answers it. Its parameters are `info`, `grant` if it needs one, and the arguments.
        commands: the commands of a mutation; each request performs one of them.

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
        """The type of the answer."""
        return self._hints["return"]

    @property
    def forms(self) -> dict[str, Meta]:
        """The forms of ids and codes: of the arguments, or of the fields of a mutation's input, also within lists.

        An argument declares its form: Annotated[str, SLUG, …]. A field of an input has that of the command's field.
        """
        if self.root != "Mutation":
            return _forms_in(self._hints)
        given = {one.name for one in dataclasses.fields(get_args(self._hints["input"])[0])}
        hints: dict[str, Any] = {}
        for kind in self.commands:
            hints |= get_type_hints(kind, include_extras=True)
        return _forms_in({name: hint for name, hint in hints.items() if name in given})

    @property
    def _hints(self) -> dict[str, Any]:
        return get_type_hints(self.function, include_extras=True)


def _forms_in(hints: Mapping[str, Any]) -> dict[str, Meta]:
    """The forms of ids and codes among annotations, by name."""
    found: dict[str, Meta] = {}
    for name, hint in hints.items():
        found.update((name, one) for one in _metas(hint) if is_id_or_code(one))
    return found


def _metas(hint: Any) -> Iterator[Meta]:
    """The constraints of a type and of its parts: of `Annotated[…] | None`, and of the items of a list."""
    for part in get_args(hint):
        if isinstance(part, Meta):
            yield part
        else:
            yield from _metas(part)


class NodeQuery(msgspec.Struct, frozen=True):
    """A root query that finds one object, and the name of its one argument: "id" or "code"."""

    field: RootField
    key: Literal["id", "code"]
    takes_grant: bool

    async def ask(self, info: Info, grant: Grant, key: str) -> Any:
        """The answer for somebody who may use the query."""
        return await (self.field.function(info, grant, key) if self.takes_grant else self.field.function(info, key))


NODE_QUERIES: dict[str, NodeQuery] = {}  # by the kind of object: "service-point"

Declared = Callable[[Callable[..., Any]], RootField]


def query(description: str, *, who: Rule) -> Declared:
    """Declare a query."""
    return lambda function: RootField("Query", description, who, function)


def node_query(kind: str, description: str, *, who: Rule) -> Declared:
    """Declare the query that finds an object by its id or by its code: its one argument, `id` or `code`.

    `node` and the links of other objects use it, too, see api/graphql/nodes.py and links.py. Raises TypeError if the
    kind has a query already.
    """

    def declare(function: Callable[..., Any]) -> RootField:
        field = RootField("Query", description, who, function)
        key: Literal["id", "code"] = "code" if "code" in signature(function).parameters else "id"
        if NODE_QUERIES.setdefault(kind, query := NodeQuery(field, key, field.takes_grant)) is not query:
            raise TypeError(f"two queries find an object of the kind {kind}")
        return field

    return declare


def subscription(description: str, *, who: Rule) -> Declared:
    """Declare a subscription; the function below is an async generator of its messages."""
    return lambda function: RootField("Subscription", description, who, function)


def mutation(
    *commands: type[Command], description: str, who: Rule
) -> Callable[[Callable[..., Awaitable["Payload"]]], RootField]:
    """Declare a mutation that `command` can't derive. The function below returns a payload or raises Rejected."""
    return lambda function: RootField("Mutation", description, who, function, commands)


@strawberry.interface(description="An object with an id, by which `node` finds it.")
class Node:
    id: strawberry.ID = strawberry.field(description="Unique among all objects, and permanent. Copy it in full.")


def coded_id(kind: str, code: str) -> strawberry.ID:
    """The id of an object that has a code."""
    return strawberry.ID(f"{kind}:{code}")


@strawberry.input(description="The fields that every mutation takes.")
class KeyedInput:
    idempotency_key: str = strawberry.field(
        description="A text that the client chooses for this request. For seven days, the same key with the same"
        " content returns the first outcome; with other content it is refused."
    )


@strawberry.type(description="The fields that every mutation returns.")
class Payload:
    position: Position | None = strawberry.field(
        default=None,
        description="The objects below include all changes up to this position of the log, including this command's.",
    )
    errors: list[UserError] = strawberry.field(
        default_factory=list, description="Why the command was refused; empty if it was accepted."
    )


def refuse(info: Info, path: str, hint: Hint) -> NoReturn:
    """Raise the GraphQLError for an invalid argument of a query."""
    raise as_graphql_error(InvalidInput(path=path, hint=hint), info.context.language)
