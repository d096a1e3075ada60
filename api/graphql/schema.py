"""The schema as a whole, with its limits."""

from typing import Any

import strawberry
from graphql import FieldNode, GraphQLError
from strawberry.extensions import AddValidationRules, MaskErrors, MaxTokensLimiter
from strawberry.schema.config import StrawberryConfig

from api.graphql.appointments import (
    AppointmentsMutation,
    AppointmentsQuery,
    HoldLimitReached,
    NotReleasedYet,
    SlotTaken,
    VisitConflict,
)
from api.graphql.people import PeopleMutation, PeopleQuery
from api.graphql.shared import SCALARS, InvalidInput, Refused, TryAgainLater
from api.limits import ExpandedSizeRule
from infra.logging import log_failure

TOKENS_MAX = 2_000


@strawberry.type(description="What is known.")
class Query(AppointmentsQuery, PeopleQuery):
    pass


@strawberry.type(description="What may be done. Repeating a request with its idempotency key never does it twice.")
class Mutation(AppointmentsMutation, PeopleMutation):
    pass


class Schema(strawberry.Schema):
    """Writes what went wrong to the log of the program, never to the client."""

    def process_errors(self, errors: list[GraphQLError], execution_context: Any = None) -> None:
        for error in errors:
            if error.original_error is not None and _is_ours(error):
                # Not error.path: it holds aliases, which are what the client says.
                field = error.nodes[0] if error.nodes else None
                name = field.name.value if isinstance(field, FieldNode) else None
                log_failure("a resolver failed", error.original_error, field=name)


def _is_ours(error: GraphQLError) -> bool:
    """Whether the fault is in the program, not in the request."""
    return error.original_error is not None and not isinstance(error.original_error, GraphQLError)


schema = Schema(
    query=Query,
    mutation=Mutation,
    types=[Refused, InvalidInput, TryAgainLater, SlotTaken, NotReleasedYet, HoldLimitReached, VisitConflict],
    config=StrawberryConfig(scalar_map=SCALARS),
    extensions=[
        lambda: MaxTokensLimiter(max_token_count=TOKENS_MAX),
        lambda: AddValidationRules([ExpandedSizeRule]),
        lambda: MaskErrors(should_mask_error=_is_ours, error_message="Something went wrong on our side."),
    ],
)
