"""The schema as a whole."""

import strawberry
from strawberry.schema.config import StrawberryConfig

from api.access.rules import guard
from api.graphql.appointments import (
    AppointmentsMutation,
    AppointmentsQuery,
    HoldLimitReached,
    NotReleasedYet,
    SlotTaken,
    VisitConflict,
)
from api.graphql.attendance import AttendanceMutation
from api.graphql.engine.resolvers import ask_plainly
from api.graphql.errors import InvalidInput, Refused, TryAgainLater
from api.graphql.line_views import LineViewsQuery
from api.graphql.live import Subscription
from api.graphql.nodes import NodeQuery
from api.graphql.people import PeopleMutation, PeopleQuery
from api.graphql.queues import HasATurn, NotBefore, NotNext, QueuesMutation, QueuesQuery
from api.graphql.scalars import SCALARS
from api.graphql.views import ViewsQuery
from api.graphql.webhooks import WebhooksMutation, WebhooksQuery


@strawberry.type(description="What is known.")
class Query(AppointmentsQuery, PeopleQuery, QueuesQuery, ViewsQuery, LineViewsQuery, WebhooksQuery, NodeQuery):
    pass


@strawberry.type(description="What may be done. Repeating a request with its idempotency key never does it twice.")
class Mutation(AppointmentsMutation, AttendanceMutation, PeopleMutation, QueuesMutation, WebhooksMutation):
    pass


schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[
        Refused,
        InvalidInput,
        TryAgainLater,
        SlotTaken,
        NotReleasedYet,
        HoldLimitReached,
        VisitConflict,
        HasATurn,
        NotBefore,
        NotNext,
    ],
    config=StrawberryConfig(scalar_map=SCALARS),
)

ask_plainly(schema._schema)
guard(schema._schema)
