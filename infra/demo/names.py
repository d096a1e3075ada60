"""Names in the demo cities: hospitals and where they are, specialties, practitioners and rooms.

Districts and their places are those of La Paz. People and street numbers are invented, and no telephone in Bolivia has
a number that begins like these.
"""

import random
from collections.abc import Iterator
from typing import NamedTuple

from domain.appointments.hospital import RegisterHospital
from domain.appointments.practitioner import RegisterPractitioner, RegisterRoom
from domain.appointments.specialty import RegisterSpecialty
from domain.decider import build
from domain.identifiers import HospitalId, PractitionerId, SpecialtyId, parse_ci

PHONE_PREFIX = "+5912000"

SPECIALTIES = {
    "general-medicine": "Medicina general",
    "pediatrics": "Pediatría",
    "gynecology": "Ginecología",
    "internal-medicine": "Medicina interna",
    "cardiology": "Cardiología",
    "dermatology": "Dermatología",
    "ophthalmology": "Oftalmología",
    "traumatology": "Traumatología",
    "neurology": "Neurología",
    "dentistry": "Odontología",
    "psychology": "Psicología",
    "nutrition": "Nutrición",
}
ROOMS = {"dentistry": "Consultorio dental"}  # specialties with a room whose agendas are published, whoever is in it
GIVEN_NAMES = {
    "F": ("Wara", "Nayra", "Lucía", "Carmen", "Rosario", "Elena", "Sami", "Beatriz"),
    "M": ("Inti", "Amaru", "Luis", "Mario", "Ramiro", "Tomás", "Illa", "Edwin"),
}
FAMILY_NAMES = ("Mamani", "Quispe", "Choque", "Condori", "Flores", "Vargas", "Apaza", "Rojas", "Limachi", "Aruquipa")


class Place(NamedTuple):
    """Where a hospital is; degrees as they are written on maps."""

    name: str
    district: str
    address: str
    latitude: float
    longitude: float


HOSPITALS = {
    "la-merced": Place("La Merced", "Periférica", "Av. 15 de Abril 120, zona La Merced", -16.479300, -68.118900),
    "la-paz": Place("La Paz", "Max Paredes", "Plaza Garita de Lima 35, zona 14 de Septiembre", -16.494800, -68.149600),
    "la-portada": Place(
        "La Portada", "Max Paredes", "Av. Naciones Unidas 810, zona La Portada", -16.487900, -68.160300
    ),
    "los-pinos": Place("Los Pinos", "Sur", "Calle 25 de Los Pinos 14, zona Los Pinos", -16.541700, -68.069500),
    "cotahuma": Place("Cotahuma", "Cotahuma", "Av. Max Fernández 600, zona Cotahuma", -16.514600, -68.143200),
}
ZONES = {
    "villa-fatima": Place("Villa Fátima", "Periférica", "Av. de las Américas", -16.484200, -68.117600),
    "miraflores": Place("Miraflores", "Centro", "Av. Busch", -16.500400, -68.120700),
    "sopocachi": Place("Sopocachi", "Cotahuma", "Av. 6 de Agosto", -16.511200, -68.126400),
    "san-pedro": Place("San Pedro", "Cotahuma", "Calle Cañada Strongest", -16.503100, -68.136800),
    "achumani": Place("Achumani", "Sur", "Av. García Lanza", -16.530600, -68.072100),
    "obrajes": Place("Obrajes", "Sur", "Av. Hernando Siles", -16.525400, -68.105300),
    "el-tejar": Place("El Tejar", "Max Paredes", "Av. Baptista", -16.491200, -68.153600),
    "pampahasi": Place("Pampahasi", "San Antonio", "Av. Circunvalación", -16.495900, -68.101400),
    "chasquipampa": Place("Chasquipampa", "Sur", "Av. Muñoz Reyes", -16.540800, -68.045600),
    "villa-copacabana": Place("Villa Copacabana", "San Antonio", "Av. República", -16.489100, -68.112300),
    "alto-obrajes": Place("Alto Obrajes", "Sur", "Av. del Maestro", -16.519300, -68.108900),
    "munaypata": Place("Munaypata", "Max Paredes", "Av. Naciones Unidas", -16.489600, -68.158200),
}


def identity_number(seed: int, person: int) -> str:
    """That of a city's nth person, unlike any real one: of full length, beginning with 99, with the seed at its end."""
    hundreds, rest = divmod(seed, 260)
    return parse_ci(f"99{person:06d}{hundreds:02d}-{rest // 26}{chr(ord('A') + rest % 26)} LP")


def hospital(code: HospitalId, place: Place, number: int) -> RegisterHospital:
    """The nth hospital of a city, from 0."""
    return build(
        RegisterHospital,
        hospital=code,
        name=f"Hospital Municipal {place.name}",
        address=place.address,
        district=place.district,
        phone=f"{PHONE_PREFIX}{number:04d}",
        location={
            "latitude_microdegrees": round(place.latitude * 1_000_000),
            "longitude_microdegrees": round(place.longitude * 1_000_000),
        },
    )


def specialties() -> Iterator[RegisterSpecialty]:
    for code, name in SPECIALTIES.items():
        yield build(RegisterSpecialty, specialty=code, name=name)


def practitioner(
    code: PractitionerId, specialty: SpecialtyId, hospital: HospitalId, dice: random.Random
) -> RegisterPractitioner:
    """A practitioner with an invented name."""
    sex = dice.choice(("F", "M"))
    title = "Lic." if specialty in {"psychology", "nutrition"} else "Dra." if sex == "F" else "Dr."
    name = f"{dice.choice(GIVEN_NAMES[sex])} {dice.choice(FAMILY_NAMES)} {dice.choice(FAMILY_NAMES)}"
    return build(
        RegisterPractitioner, practitioner=code, name=f"{title} {name}", specialties=[specialty], hospital=hospital
    )


def room_code(hospital: HospitalId, specialty: SpecialtyId) -> str:
    """The code of the room of a specialty at a hospital."""
    return f"{hospital}-{specialty}"


def room(specialty: SpecialtyId, hospital: HospitalId) -> RegisterRoom:
    return build(RegisterRoom, room=room_code(hospital, specialty), hospital=hospital, name=ROOMS[specialty])
