"""A service point: an office or a ward. It must be registered before a line is opened at it."""

from datetime import datetime
from typing import Annotated

from domain.decider import Command, Decided, Event, State, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Rejected
from domain.identifiers import NAME, SLUG, HospitalId, ServicePointId


class ServicePointRegistered(Event, name="service_point_registered.v1"):
    """`hospital` is the one whose ward it is: whoever has a ficha there has a class of their own in its lines."""

    service_point: ServicePointId
    name: str
    hospital: HospitalId | None = None


class ServicePoint(State):
    registered: ServicePointRegistered | None = None


@names_stream_of(ServicePoint)
def stream(service_point: ServicePointId) -> str:
    return f"service_point/{service_point}"


@evolves("service_point", ServicePoint)
def evolve(point: ServicePoint, event: Event) -> ServicePoint:
    match event:
        case ServicePointRegistered():
            point.registered = event
    return point


class ServicePointExists(
    Rejected,
    es="Ya hay un punto de atención registrado con ese código: {name}.",
    en="A service point is registered under that code already: {name}.",
):
    name: str


class ServicePointUnknown(
    Rejected,
    es="No existe el punto de atención {service_point}.",
    en="There is no service point {service_point}.",
):
    service_point: ServicePointId


class RegisterServicePoint(Command):
    service_point: Annotated[ServicePointId, SLUG]
    name: Annotated[str, NAME]
    hospital: Annotated[HospitalId, SLUG] | None = None


@decides(RegisterServicePoint, reads=lambda c: (stream(c.service_point),))
def register_service_point(command: RegisterServicePoint, point: ServicePoint, *, now: datetime) -> Decided:
    registered = ServicePointRegistered(
        service_point=command.service_point, name=command.name, hospital=command.hospital
    )
    if point.registered == registered:
        return
    if point.registered:
        raise ServicePointExists(path="service_point", name=point.registered.name)
    yield stream(command.service_point), registered
