"""A specialty and its name. Agendas name specialties by code, and need not wait for the name to be registered."""

from datetime import datetime
from typing import Annotated

from domain.decider import Command, Decided, Event, State, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Rejected
from domain.identifiers import NAME, SLUG, SpecialtyId


class SpecialtyRegistered(Event, name="specialty_registered.v1"):
    """The name of a specialty; it replaces the name registered before."""

    specialty: SpecialtyId
    name: str


class Specialty(State):
    registered: SpecialtyRegistered | None = None


@names_stream_of(Specialty)
def stream(specialty: SpecialtyId) -> str:
    return f"specialty/{specialty}"


@evolves("specialty", Specialty)
def evolve(specialty: Specialty, event: Event) -> Specialty:
    match event:
        case SpecialtyRegistered():
            specialty.registered = event
    return specialty


class SpecialtyExists(
    Rejected,
    es="Ya hay una especialidad registrada con ese código y otro nombre: {name}.",
    en="A specialty is already registered under that code with another name: {name}.",
):
    name: str


class RegisterSpecialty(Command):
    """`replace`: give it this name if it is registered with another one."""

    specialty: Annotated[SpecialtyId, SLUG]
    name: Annotated[str, NAME]
    replace: bool = False


@decides(RegisterSpecialty, reads=lambda c: (stream(c.specialty),))
def register_specialty(command: RegisterSpecialty, specialty: Specialty, *, now: datetime) -> Decided:
    registered = SpecialtyRegistered(specialty=command.specialty, name=command.name)
    if specialty.registered == registered:
        return
    if specialty.registered and not command.replace:
        raise SpecialtyExists(path="specialty", name=specialty.registered.name)
    yield stream(command.specialty), registered
