"""Registering a hospital: once, under one name."""

import pytest

from domain.appointments.hospital import HospitalRegistered, RegisterHospital, stream
from domain.decider import build
from domain.errors import Rejected
from tests.office import LA_MERCED, given

REGISTER = RegisterHospital(hospital=LA_MERCED, name="Hospital La Merced")
REGISTERED = HospitalRegistered(hospital=LA_MERCED, name="Hospital La Merced")


def test_a_hospital_is_registered() -> None:
    given().when(REGISTER).then((stream(LA_MERCED), REGISTERED))


def test_registering_the_same_hospital_again_is_nothing() -> None:
    given(REGISTERED).when(REGISTER).nothing()


def test_another_hospital_under_the_same_id_is_refused() -> None:
    other = RegisterHospital(hospital=LA_MERCED, name="Hospital de la Mujer")
    given(REGISTERED).when(other).rejected("hospital_exists", path="hospital", name="Hospital La Merced")


@pytest.mark.parametrize("code", ["a" * 26, "hospitalmunicipalboliviano", "234567" * 4 + "ab"])
def test_a_code_that_could_be_a_person_s_id_is_refused(code: str) -> None:
    with pytest.raises(Rejected) as refused:
        build(RegisterHospital, hospital=code, name="x")
    assert (refused.value.code, refused.value.path) == ("invalid_input", "hospital")
    assert refused.value.details == {"hint": "hospital_code"}


@pytest.mark.parametrize("code", ["a" * 25, "a" * 27, "a" * 25 + "0", "hospital-municipal-bolivia"])
def test_a_code_that_is_nearly_one_is_a_code(code: str) -> None:
    given().when(RegisterHospital(hospital=code, name="x")).then(
        (stream(code), HospitalRegistered(hospital=code, name="x"))
    )
    assert build(RegisterHospital, hospital=code, name="x").hospital == code
