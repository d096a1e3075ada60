"""A hospital: it must be registered before it publishes agendas."""

from datetime import datetime
from typing import Annotated

from domain.decider import Command, Decided, Event, State, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Rejected
from domain.identifiers import HOSPITAL_CODE, NAME, HospitalId


class HospitalRegistered(Event, name="hospital_registered.v1"):
    hospital: HospitalId
    name: str


class Hospital(State):
    registered: HospitalRegistered | None = None


@names_stream_of(Hospital)
def stream(hospital: HospitalId) -> str:
    return f"hospital/{hospital}"


@evolves("hospital", Hospital)
def evolve(hospital: Hospital, event: Event) -> Hospital:
    match event:
        case HospitalRegistered():
            hospital.registered = event
    return hospital


class HospitalExists(
    Rejected,
    es="Ya hay un hospital registrado con ese código: {name}.",
    en="A hospital is already registered under that code: {name}.",
):
    name: str


class HospitalUnknown(Rejected, es="No existe el hospital {hospital}.", en="There is no hospital {hospital}."):
    hospital: HospitalId


class RegisterHospital(Command):
    hospital: Annotated[HospitalId, HOSPITAL_CODE]
    name: Annotated[str, NAME]


@decides(RegisterHospital, reads=lambda c: (stream(c.hospital),))
def register_hospital(command: RegisterHospital, hospital: Hospital, *, now: datetime) -> Decided:
    registered = HospitalRegistered(hospital=command.hospital, name=command.name)
    if hospital.registered == registered:
        return
    if hospital.registered:
        raise HospitalExists(path="hospital", name=hospital.registered.name)
    yield stream(command.hospital), registered
