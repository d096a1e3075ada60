"""Registering a hospital: once, under one name."""

from domain.appointments.hospital import HospitalRegistered, RegisterHospital, stream
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
