"""What every field and mutation of the schema is made of."""

from typing import Annotated, Any, NoReturn, TypeVar

import strawberry
from strawberry.types import Info as StrawberryInfo

from api.graphql.context import Context
from api.graphql.errors import ERROR_TYPES, Refused, UserError, as_graphql_error, path_names
from api.graphql.scalars import Position
from domain.errors import Hint, InvalidInput, Rejected
from domain.identifiers import hospital_of

T = TypeVar("T")

Info = StrawberryInfo[Context, None]

AtLeast = Annotated[
    Position | None,
    strawberry.argument(
        description="Wait, a few seconds at most, until what stands at this position of the log is in the answer."
    ),
]
Input = Annotated[T, strawberry.argument(description="What is to be done, and the client's name for the request.")]


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


def explain(refusal: Rejected, context: Context) -> list[UserError]:
    """The typed, translated form of a refusal, for the `errors` of a payload."""
    context.refusals.append(refusal.code)
    said: dict[str, Any] = {
        "code": refusal.code,
        "message": refusal.message(context.language),
        "path": path_names(refusal.path),
    }
    make = None if _is_of_elsewhere(refusal, context) else ERROR_TYPES.get(refusal.code)
    return [make(refusal.details, **said) if make else Refused(**said)]


def _is_of_elsewhere(refusal: Rejected, context: Context) -> bool:
    """Whether it names an appointment at a hospital that is none of the actor's business."""
    seen, appointment = context.hospitals_seen, refusal.details.get("appointment")
    return seen is not None and appointment is not None and hospital_of(appointment) not in seen


def refuse(info: Info, path: str, hint: Hint) -> NoReturn:
    """Raise the GraphQLError for an argument of a query that is not of the right form."""
    raise as_graphql_error(InvalidInput(path=path, hint=hint), info.context.language)
