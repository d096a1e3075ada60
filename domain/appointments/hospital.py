"""A hospital: it must be registered before it publishes agendas. Its address, phone and location are optional."""

from datetime import datetime
from typing import Annotated

from domain.decider import Command, Decided, Event, State, Value, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Hint, InvalidInput, Rejected
from domain.identifiers import ADDRESS, HOSPITAL_CODE, NAME, PHONE, HospitalId

LATITUDE_MAX = 90_000_000  # microdegrees
LONGITUDE_MAX = 180_000_000


class Location(Value):
    """A place by WGS 84, in whole millionths of a degree; north and east are positive."""

    latitude_microdegrees: int
    longitude_microdegrees: int


class HospitalRegistered(Event, name="hospital_registered.v1"):
    """All that is registered of a hospital; it replaces what was registered before. Old events have only a name."""

    hospital: HospitalId
    name: str
    address: str | None = None
    district: str | None = None
    phone: str | None = None
    location: Location | None = None


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
    es="Ya hay un hospital registrado con ese código y otros datos: {name}.",
    en="A hospital is already registered under that code with other details: {name}.",
):
    name: str


class HospitalUnknown(Rejected, es="No existe el hospital {hospital}.", en="There is no hospital {hospital}."):
    hospital: HospitalId


class LatitudeHint(
    Hint,
    es="la latitud va de -90 a 90 grados; la de La Paz es cerca de -16.5",
    en="a latitude goes from -90 to 90 degrees; that of La Paz is about -16.5",
): ...


class LongitudeHint(
    Hint,
    es="la longitud va de -180 a 180 grados; la de La Paz es cerca de -68.1",
    en="a longitude goes from -180 to 180 degrees; that of La Paz is about -68.1",
): ...


class RegisterHospital(Command):
    """`replace`: register it anew if it is registered with other details. Fields without a value are then removed."""

    hospital: Annotated[HospitalId, HOSPITAL_CODE]
    name: Annotated[str, NAME]
    address: Annotated[str, ADDRESS] | None = None
    district: Annotated[str, NAME] | None = None
    phone: Annotated[str, PHONE] | None = None
    location: Location | None = None
    replace: bool = False


@decides(RegisterHospital, reads=lambda c: (stream(c.hospital),))
def register_hospital(command: RegisterHospital, hospital: Hospital, *, now: datetime) -> Decided:
    if command.location:
        if abs(command.location.latitude_microdegrees) > LATITUDE_MAX:
            raise InvalidInput(path="location.latitude", hint=LatitudeHint())
        if abs(command.location.longitude_microdegrees) > LONGITUDE_MAX:
            raise InvalidInput(path="location.longitude", hint=LongitudeHint())
    registered = HospitalRegistered(
        hospital=command.hospital,
        name=command.name,
        address=command.address,
        district=command.district,
        phone=command.phone,
        location=command.location,
    )
    if hospital.registered == registered:
        return
    if hospital.registered and not command.replace:
        raise HospitalExists(path="hospital", name=hospital.registered.name)
    yield stream(command.hospital), registered
