"""Registering a service point. It may be at a hospital, so this module knows two contexts."""

from datetime import datetime
from typing import Annotated

from domain.appointments import hospital as hospitals
from domain.appointments.hospital import Hospital, HospitalUnknown
from domain.decider import Command, Decided, Stream
from domain.decision import decides
from domain.errors import Rejected
from domain.identifiers import NAME, SLUG, HospitalId, ServicePointId
from domain.queues.service_point import ServicePoint, ServicePointRegistered, stream


class ServicePointExists(
    Rejected,
    es="Ya hay un punto de atención registrado con ese código: {name}.",
    en="A service point is already registered under that code: {name}.",
):
    name: str


class RegisterServicePoint(Command):
    service_point: Annotated[ServicePointId, SLUG]
    name: Annotated[str, NAME]
    hospital: Annotated[HospitalId, SLUG] | None = None


def _hospital_stream(command: RegisterServicePoint, point: ServicePoint) -> tuple[Stream[Hospital] | None]:
    return (hospitals.stream(command.hospital) if command.hospital is not None else None,)


@decides(RegisterServicePoint, reads=lambda c: (stream(c.service_point),), then=_hospital_stream)
def register_service_point(
    command: RegisterServicePoint, point: ServicePoint, hospital: Hospital | None = None, *, now: datetime
) -> Decided:
    if command.hospital is not None and not (hospital and hospital.registered):
        raise HospitalUnknown(path="hospital", hospital=command.hospital)
    registered = ServicePointRegistered(
        service_point=command.service_point, name=command.name, hospital=command.hospital
    )
    if point.registered == registered:
        return
    if point.registered:
        raise ServicePointExists(path="service_point", name=point.registered.name)
    yield stream(command.service_point), registered
