"""Service points in the schema."""

import strawberry

from api.access.grant import Grant
from api.graphql.access import ALL, DOERS_OF_ALL, EVERYBODY
from api.graphql.fields import AtLeast, Info, Input, KeyedInput, Payload, mutation, query, refuse
from api.graphql.paging import After, Connection, CursorHint, First, page, page_size
from api.graphql.read_models import BEHIND
from api.graphql.scalars import Position, optional_id
from domain.decider import build
from domain.identifiers import SLUG, fits
from domain.service_points import RegisterServicePoint
from projections.queues.service_points import service_points_after


@strawberry.type(description="An office or a ward where people wait.")
class ServicePoint:
    code: strawberry.ID = strawberry.field(description="Its code: sopocachi.")
    name: str = strawberry.field(description="Its name.")
    hospital: strawberry.ID | None = strawberry.field(description="The hospital to which it belongs; null if none.")


@query("The service points, by code." + BEHIND, who=EVERYBODY)
async def service_points(
    info: Info, first: First, after: After = None, at_least: AtLeast = None
) -> Connection[ServicePoint]:
    first = page_size(first, info)
    if after is not None and not fits(SLUG, after):
        refuse(info, "after", CursorHint())
    rows = await info.context.ask(service_points_after(after or "", first=first + 1), at_least=at_least)
    nodes = [
        ServicePoint(code=strawberry.ID(row.service_point), name=row.name, hospital=optional_id(row.hospital))
        for row in rows
    ]
    return page(nodes, first, lambda point: point.code)


@strawberry.input(description="A service point to register.")
class RegisterServicePointInput(KeyedInput):
    service_point: strawberry.ID = strawberry.field(description="Its code: sopocachi.")
    name: str = strawberry.field(description="Its name.")
    hospital: strawberry.ID | None = strawberry.field(
        default=None,
        description="The hospital to which it belongs: appointments there have their own class in its lines.",
    )


@strawberry.type(description="The result of registering a service point.")
class RegisterServicePointPayload(Payload):
    service_point: strawberry.ID | None = strawberry.field(default=None, description="Its code.")


@mutation(
    RegisterServicePoint,
    description="Register a service point. Repeating it changes nothing.",
    who={"administrator": ALL, **DOERS_OF_ALL},
)
async def register_service_point(
    info: Info, grant: Grant, input: Input[RegisterServicePointInput]
) -> RegisterServicePointPayload:
    fields = {"service_point": input.service_point, "name": input.name.strip(), "hospital": input.hospital}
    kind = RegisterServicePoint
    command, outcome = await info.context.perform(
        grant, input.idempotency_key, fields, kind, lambda _: build(kind, **fields)
    )
    return RegisterServicePointPayload(
        service_point=strawberry.ID(command.service_point), position=Position(outcome.position)
    )
