"""Practitioners and rooms, and their names. An agenda is that of one of them, so a code names one or the other.

Agendas need not wait for the names to be registered. A practitioner is a person, but the name on the door is public:
it is a plain field, and erasing persons does not concern it.
"""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from domain.appointments import hospital as hospitals
from domain.appointments.hospital import Hospital, HospitalUnknown
from domain.decider import Command, Decided, Event, State, Stream, evolves, names_stream_of
from domain.decision import decides
from domain.errors import InvalidInput, OnceHint, Rejected
from domain.identifiers import NAME, SLUG, HospitalId, PractitionerId, RoomId, SpecialtyId

SPECIALTIES_MAX = 20  # of a practitioner


class PractitionerRegistered(Event, name="practitioner_registered.v1"):
    """All that is registered of a practitioner; it replaces what was registered before.

    `hospital` is None if it is not known, or if they work at several.
    """

    practitioner: PractitionerId
    name: str
    specialties: list[SpecialtyId] = []
    hospital: HospitalId | None = None


class Practitioner(State):
    registered: PractitionerRegistered | None = None


@names_stream_of(Practitioner)
def stream(practitioner: PractitionerId) -> str:
    return f"practitioner/{practitioner}"


@evolves("practitioner", Practitioner)
def evolve(practitioner: Practitioner, event: Event) -> Practitioner:
    match event:
        case PractitionerRegistered():
            practitioner.registered = event
    return practitioner


class RoomRegistered(Event, name="room_registered.v1"):
    """All that is registered of a room; it replaces what was registered before."""

    room: RoomId
    hospital: HospitalId
    name: str


class Room(State):
    registered: RoomRegistered | None = None


@names_stream_of(Room)
def room_stream(room: RoomId) -> str:
    return f"room/{room}"


@evolves("room", Room)
def evolve_room(room: Room, event: Event) -> Room:
    match event:
        case RoomRegistered():
            room.registered = event
    return room


class PractitionerExists(
    Rejected,
    es="Ya hay un profesional registrado con ese código y otros datos: {name}.",
    en="A practitioner is already registered under that code with other details: {name}.",
):
    name: str


class RoomExists(
    Rejected,
    es="Ya hay un consultorio registrado con ese código y otros datos: {name}.",
    en="A room is already registered under that code with other details: {name}.",
):
    name: str


class RegisterPractitioner(Command):
    """`replace`: register them anew if they are registered with other details."""

    practitioner: Annotated[PractitionerId, SLUG]
    name: Annotated[str, NAME]
    specialties: Annotated[list[Annotated[SpecialtyId, SLUG]], Meta(max_length=SPECIALTIES_MAX)] = []
    hospital: Annotated[HospitalId, SLUG] | None = None
    replace: bool = False


def _hospital_stream(
    command: RegisterPractitioner, practitioner: Practitioner, room: Room
) -> tuple[Stream[Hospital] | None]:
    return (hospitals.stream(command.hospital) if command.hospital is not None else None,)


@decides(
    RegisterPractitioner,
    reads=lambda c: (stream(c.practitioner), room_stream(c.practitioner)),
    then=_hospital_stream,
)
def register_practitioner(
    command: RegisterPractitioner,
    practitioner: Practitioner,
    room: Room,
    hospital: Hospital | None = None,
    *,
    now: datetime,
) -> Decided:
    if len(set(command.specialties)) < len(command.specialties):
        raise InvalidInput(path="specialties", hint=OnceHint())
    if command.hospital is not None and not (hospital and hospital.registered):
        raise HospitalUnknown(path="hospital", hospital=command.hospital)
    registered = PractitionerRegistered(
        practitioner=command.practitioner,
        name=command.name,
        specialties=command.specialties,
        hospital=command.hospital,
    )
    if practitioner.registered == registered:
        return
    if room.registered:
        raise RoomExists(path="practitioner", name=room.registered.name)
    if practitioner.registered and not command.replace:
        raise PractitionerExists(path="practitioner", name=practitioner.registered.name)
    yield stream(command.practitioner), registered


class RegisterRoom(Command):
    """`replace`: register it anew if it is registered with other details."""

    room: Annotated[RoomId, SLUG]
    hospital: Annotated[HospitalId, SLUG]
    name: Annotated[str, NAME]
    replace: bool = False


@decides(RegisterRoom, reads=lambda c: (room_stream(c.room), stream(c.room), hospitals.stream(c.hospital)))
def register_room(
    command: RegisterRoom, room: Room, practitioner: Practitioner, hospital: Hospital, *, now: datetime
) -> Decided:
    if not hospital.registered:
        raise HospitalUnknown(path="hospital", hospital=command.hospital)
    registered = RoomRegistered(room=command.room, hospital=command.hospital, name=command.name)
    if room.registered == registered:
        return
    if practitioner.registered:
        raise PractitionerExists(path="room", name=practitioner.registered.name)
    if room.registered and not command.replace:
        raise RoomExists(path="room", name=room.registered.name)
    yield room_stream(command.room), registered
