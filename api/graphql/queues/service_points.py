"""Service points in the schema."""

import strawberry

from api.access.grant import Grant
from api.graphql.access import ALL, DOERS_OF_ALL, EVERYBODY
from api.graphql.fields import (
    AtLeast,
    Info,
    Input,
    KeyedInput,
    Node,
    Payload,
    coded_id,
    mutation,
    node_query,
    query,
)
from api.graphql.links import link
from api.graphql.paging import Connection, Listing, PageArguments, paged
from api.graphql.queues.arguments import ServicePointCode
from api.graphql.read_models import BEHIND
from api.graphql.scalars import Position
from domain.decider import build
from domain.queues.service_point import stream
from domain.service_points import RegisterServicePoint
from projections.queues import service_points as views


@strawberry.type(description="An office or a ward where people wait.")
class ServicePoint(Node):
    code: str = strawberry.field(description="Its code: sopocachi.")
    name: str = strawberry.field(description="Its name.")
    hospital = link("hospital", "The hospital to which it belongs; null if none.", key="hospital_code")
    hospital_code: strawberry.Private[str | None]


def _service_point(code: str, name: str, hospital: str | None) -> ServicePoint:
    return ServicePoint(id=coded_id("service-point", code), code=code, name=name, hospital_code=hospital)


_SERVICE_POINTS = Listing("servicePoints", views.BY_CODE)


@query("The service points, by code." + BEHIND, who=EVERYBODY)
@paged
async def service_points(info: Info, page: PageArguments, at_least: AtLeast = None) -> Connection[ServicePoint]:
    wanted = page.of(info, _SERVICE_POINTS)
    found = wanted.found(await info.context.ask(views.all_service_points(wanted.part), at_least=at_least))
    return found.connection([_service_point(row.service_point, row.name, row.hospital) for row in found.items])


@node_query("service-point", "A service point by its code; null if there is none.", who=EVERYBODY)
async def service_point(info: Info, code: ServicePointCode) -> ServicePoint | None:
    registered = (await info.context.state(stream(code))).registered
    return _service_point(code, registered.name, registered.hospital) if registered else None


@strawberry.input(description="A service point to register.")
class RegisterServicePointInput(KeyedInput):
    service_point: str = strawberry.field(description="Its code: sopocachi.")
    name: str = strawberry.field(description="Its name.")
    hospital: str | None = strawberry.field(
        default=None,
        description="The code of the hospital to which it belongs: appointments there have their own class in its"
        " lines.",
    )


@strawberry.type(description="The result of registering a service point.")
class RegisterServicePointPayload(Payload):
    service_point: ServicePoint | None = strawberry.field(default=None, description="The service point.")


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
    point = _service_point(command.service_point, command.name, command.hospital)
    return RegisterServicePointPayload(service_point=point, position=Position(outcome.position))
