"""A service point: an office or a ward. It must be registered before a line is opened at it."""

from domain.decider import Event, State, evolves, names_stream_of
from domain.errors import Rejected
from domain.identifiers import HospitalId, ServicePointId


class ServicePointRegistered(Event, name="service_point_registered.v1"):
    """`hospital` is set for a ward: appointments (fichas) of that hospital have their own class in its lines."""

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


class ServicePointUnknown(
    Rejected,
    es="No existe el punto de atención {service_point}.",
    en="There is no service point {service_point}.",
):
    service_point: ServicePointId
