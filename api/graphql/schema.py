"""The schema as a whole."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import strawberry
from graphql import GraphQLObjectType, GraphQLSchema
from strawberry.schema.config import StrawberryConfig

from api.access import guard
from api.graphql.appointments import (
    AppointmentsMutation,
    AppointmentsQuery,
    HoldLimitReached,
    NotReleasedYet,
    SlotTaken,
    VisitConflict,
)
from api.graphql.attendance import AttendanceMutation
from api.graphql.live import Subscription
from api.graphql.nodes import NodeQuery
from api.graphql.people import PeopleMutation, PeopleQuery
from api.graphql.shared import SCALARS, InvalidInput, Refused, TryAgainLater
from api.graphql.views import ViewsQuery


@strawberry.type(description="What is known.")
class Query(AppointmentsQuery, PeopleQuery, ViewsQuery, NodeQuery):
    pass


@strawberry.type(description="What may be done. Repeating a request with its idempotency key never does it twice.")
class Mutation(AppointmentsMutation, AttendanceMutation, PeopleMutation):
    pass


schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[Refused, InvalidInput, TryAgainLater, SlotTaken, NotReleasedYet, HoldLimitReached, VisitConflict],
    config=StrawberryConfig(scalar_map=SCALARS),
)


def _read_plainly(schema: GraphQLSchema) -> None:
    """Leave out what Strawberry does for each item of each list and nothing here needs.

    A field without a resolver is an attribute, which it gets by a longer way. Of what implements an interface it asks
    whether it is of its type; an interface knows the type of ours without (see its `resolve_type`).
    """
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLObjectType):
            kind.is_type_of = None
            for field in kind.fields.values():
                said = field.extensions.get("strawberry-definition")
                if said is not None and said.is_basic_field:
                    field.resolve = _attribute(said.python_name)


def _attribute(name: str) -> Callable[..., Any]:
    get = attrgetter(name)
    return lambda source, _: get(source)


_read_plainly(schema._schema)
guard(schema._schema)
