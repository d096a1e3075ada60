"""Registering a hospital: once, under one name, and anew only when asked."""

from typing import Any

import msgspec
import pytest

from domain.appointments.hospital import HospitalRegistered, Location, RegisterHospital, stream
from domain.decider import build
from domain.errors import Rejected
from infra.log.codec import Codec
from tests.office import LA_MERCED, given

REGISTER = RegisterHospital(hospital=LA_MERCED, name="Hospital La Merced")
REGISTERED = HospitalRegistered(hospital=LA_MERCED, name="Hospital La Merced")


def test_a_hospital_is_registered() -> None:
    given().when(REGISTER).then((stream(LA_MERCED), REGISTERED))


def test_registering_the_same_hospital_again_changes_nothing() -> None:
    given(REGISTERED).when(REGISTER).nothing()


def test_another_hospital_under_the_same_id_is_refused() -> None:
    other = RegisterHospital(hospital=LA_MERCED, name="Hospital de la Mujer")
    given(REGISTERED).when(other).rejected("hospital_exists", path="hospital", name="Hospital La Merced")


PLACE = Location(latitude_microdegrees=-16_495_546, longitude_microdegrees=-68_133_623)
DETAILS: dict[str, Any] = {
    "address": "Av. Los Sargentos 25",
    "district": "Periférica",
    "phone": "+59122231800",
    "location": PLACE,
}


def test_a_hospital_has_an_address_a_district_a_phone_and_a_location() -> None:
    command = msgspec.structs.replace(REGISTER, **DETAILS)
    given().when(command).then((stream(LA_MERCED), msgspec.structs.replace(REGISTERED, **DETAILS)))


@pytest.mark.parametrize("field", DETAILS)
def test_another_detail_is_refused_unless_it_replaces(field: str) -> None:
    changed = msgspec.structs.replace(REGISTER, **{field: DETAILS[field]})
    given(REGISTERED).when(changed).rejected("hospital_exists", path="hospital", name="Hospital La Merced")
    replaced = msgspec.structs.replace(REGISTERED, **{field: DETAILS[field]})
    office = given(REGISTERED)
    office.when(msgspec.structs.replace(changed, replace=True)).then((stream(LA_MERCED), replaced))
    given(REGISTERED, replaced).when(changed).nothing()


def test_replacing_removes_what_is_not_given() -> None:
    registered = msgspec.structs.replace(REGISTERED, **DETAILS)
    given(registered).when(msgspec.structs.replace(REGISTER, replace=True)).then((stream(LA_MERCED), REGISTERED))


@pytest.mark.parametrize(
    ("latitude", "longitude", "path", "hint"),
    [
        (90_000_001, 0, "location.latitude", "latitude"),
        (-(2**70), 0, "location.latitude", "latitude"),
        (0, 180_000_001, "location.longitude", "longitude"),
        (0, -180_000_001, "location.longitude", "longitude"),
    ],
)
def test_a_location_is_on_the_globe(latitude: int, longitude: int, path: str, hint: str) -> None:
    place = Location(latitude_microdegrees=latitude, longitude_microdegrees=longitude)
    given().when(msgspec.structs.replace(REGISTER, location=place)).rejected("invalid_input", path=path, hint=hint)


def test_the_poles_and_the_date_line_are_on_the_globe() -> None:
    place = Location(latitude_microdegrees=-90_000_000, longitude_microdegrees=180_000_000)
    given().when(msgspec.structs.replace(REGISTER, location=place)).accepted()


def test_a_hospital_that_was_stored_with_a_name_alone_is_read_and_stored_the_same() -> None:
    """As version 0.1.0 wrote it."""
    stored = b'{"hospital":"la-merced","name":"Hospital La Merced"}'
    assert Codec().decode("hospital_registered.v1", stored, {}) == REGISTERED
    assert Codec().encode(REGISTERED) == stored


@pytest.mark.parametrize("code", ["a" * 26, "hospitalmunicipalboliviano", "234567" * 4 + "ab"])
def test_a_code_that_could_be_a_person_s_id_is_refused(code: str) -> None:
    with pytest.raises(Rejected) as refused:
        build(RegisterHospital, hospital=code, name="x")
    assert (refused.value.code, refused.value.path) == ("invalid_input", "hospital")
    assert refused.value.details == {"hint": "hospital_code"}


@pytest.mark.parametrize("code", ["a" * 25, "a" * 27, "a" * 25 + "0", "hospital-municipal-bolivia"])
def test_a_code_unlike_a_person_s_id_is_accepted(code: str) -> None:
    given().when(RegisterHospital(hospital=code, name="x")).then(
        (stream(code), HospitalRegistered(hospital=code, name="x"))
    )
    assert build(RegisterHospital, hospital=code, name="x").hospital == code
