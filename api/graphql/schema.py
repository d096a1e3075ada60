"""The schema as a whole, with its limits."""

from collections.abc import Iterator
from typing import Any

import strawberry
from graphql import FieldNode, GraphQLError, ValuesOfCorrectTypeRule
from strawberry.extensions import AddValidationRules, MaskErrors, MaxTokensLimiter, SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.graphql import OperationType

from api.graphql.appointments import (
    AppointmentsMutation,
    AppointmentsQuery,
    HoldLimitReached,
    NotReleasedYet,
    SlotTaken,
    VisitConflict,
)
from api.graphql.attendance import AttendanceMutation
from api.graphql.documents import KnownDocuments
from api.graphql.live import Subscription
from api.graphql.people import PeopleMutation, PeopleQuery
from api.graphql.shared import SCALARS, InvalidInput, Refused, TryAgainLater, as_graphql_error, freshness_shown
from api.graphql.values import WrongValuesRule, translate_wrong_values
from api.graphql.views import ViewsQuery
from api.limits import COST_MAX, ExpandedSizeRule, cost
from domain.errors import Rejected
from infra.logging import log_failure
from infra.views import Freshness

TOKENS_MAX = 2_000
THE_CLIENTS = (GraphQLError, InvalidOperationTypeError, CannotGetOperationTypeError)  # faults that are not ours


@strawberry.type(description="What is known.")
class Query(AppointmentsQuery, PeopleQuery, ViewsQuery):
    pass


@strawberry.type(description="What may be done. Repeating a request with its idempotency key never does it twice.")
class Mutation(AppointmentsMutation, AttendanceMutation, PeopleMutation):
    pass


class OwnWords(SchemaExtension):
    """Has wrong values found by our rule instead of the library's, so that they can be said in our words."""

    def on_operation(self) -> Iterator[None]:
        rules = self.execution_context.validation_rules
        self.execution_context.validation_rules = tuple(
            WrongValuesRule if rule is ValuesOfCorrectTypeRule else rule for rule in rules
        )
        yield


class SubscriptionsLive(SchemaExtension):
    """Refuses subscriptions that come over HTTP: there is nothing to bound them there."""

    def on_execute(self) -> Iterator[None]:
        asked = self.execution_context
        if asked.operation_type is OperationType.SUBSCRIPTION and not asked.context.is_live:
            raise GraphQLError("Subscriptions are served over WebSockets alone, by the protocol graphql-transport-ws.")
        yield


class CostLimit(SchemaExtension):
    """Refuses what would take a worker for long, before it begins: only now are variables known."""

    def on_execute(self) -> Iterator[None]:
        asked = self.execution_context
        if asked.graphql_document:
            values = cost(asked.graphql_document, asked.operation_name, asked.variables or {})
            if values > COST_MAX:
                raise as_graphql_error(Rejected("query_too_large", limit=COST_MAX), asked.context.language)
        yield


class TellFreshness(SchemaExtension):
    """Says in the answer's extensions how fresh the read models were that it rests on."""

    def get_results(self) -> dict[str, Any]:
        found: dict[str, Freshness] = self.execution_context.context.freshness
        if not found:
            return {}
        return {"freshness": {name: freshness_shown(freshness) for name, freshness in found.items()}}


class Schema(strawberry.Schema):
    """Writes what went wrong to the log of the program, never to the client."""

    def process_errors(self, errors: list[GraphQLError], execution_context: Any = None) -> None:
        asked = execution_context
        translate_wrong_values(errors, self._schema, asked.variables or {}, asked.context.language)
        for error in errors:
            if error.original_error is not None and _is_ours(error):
                # Not error.path: it holds aliases, which are what the client says.
                field = error.nodes[0] if error.nodes else None
                name = field.name.value if isinstance(field, FieldNode) else None
                log_failure("a resolver failed", error.original_error, field=name)


def _is_ours(error: GraphQLError) -> bool:
    """Whether the fault is in the program, not in the request."""
    return error.original_error is not None and not isinstance(error.original_error, THE_CLIENTS)


schema = Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[Refused, InvalidInput, TryAgainLater, SlotTaken, NotReleasedYet, HoldLimitReached, VisitConflict],
    config=StrawberryConfig(scalar_map=SCALARS),
    extensions=[
        KnownDocuments,
        lambda: MaxTokensLimiter(max_token_count=TOKENS_MAX),
        lambda: AddValidationRules([ExpandedSizeRule]),
        OwnWords,
        SubscriptionsLive,
        CostLimit,
        TellFreshness,
        lambda: MaskErrors(should_mask_error=_is_ours, error_message="Something went wrong on our side."),
    ],
)
