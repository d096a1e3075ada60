"""A service point is registered once, and a hospital that it names must be registered."""

import pytest

from domain.decider import build
from domain.errors import Rejected
from domain.queues.service_point import ServicePointRegistered, stream
from domain.service_points import RegisterServicePoint
from tests.office import LA_MERCED, given, hospital_registered
from tests.waiting import SOPOCACHI

REGISTER = RegisterServicePoint(service_point=SOPOCACHI, name="Subalcaldía Cotahuma", hospital=LA_MERCED)
REGISTERED = ServicePointRegistered(service_point=SOPOCACHI, name="Subalcaldía Cotahuma", hospital=LA_MERCED)


def test_a_service_point_is_registered() -> None:
    given(hospital_registered()).when(REGISTER).then((stream(SOPOCACHI), REGISTERED))


def test_an_office_needs_no_hospital() -> None:
    office = RegisterServicePoint(service_point=SOPOCACHI, name="Subalcaldía Cotahuma")
    given().when(office).accepted()


def test_its_hospital_must_be_registered() -> None:
    given().when(REGISTER).rejected("hospital_unknown", path="hospital", hospital=LA_MERCED)


def test_registering_it_again_changes_nothing() -> None:
    given(hospital_registered(), REGISTERED).when(REGISTER).nothing()


@pytest.mark.parametrize(
    "other",
    [
        RegisterServicePoint(service_point=SOPOCACHI, name="Otra", hospital=LA_MERCED),
        RegisterServicePoint(service_point=SOPOCACHI, name="Subalcaldía Cotahuma", hospital="cotahuma"),
        RegisterServicePoint(service_point=SOPOCACHI, name="Subalcaldía Cotahuma"),
    ],
)
def test_a_different_registration_is_refused(other: RegisterServicePoint) -> None:
    answer = given(hospital_registered(), REGISTERED).when(other)
    answer.rejected("service_point_exists", path="service_point", name="Subalcaldía Cotahuma")


@pytest.mark.parametrize(
    ("field", "value", "hint"),
    [("service_point", "Sopocachi", "slug"), ("name", " ", "text"), ("hospital", "la merced", "slug")],
)
def test_its_fields_have_a_form(field: str, value: str, hint: str) -> None:
    fields = {"service_point": SOPOCACHI, "name": "Subalcaldía", "hospital": LA_MERCED}
    with pytest.raises(Rejected) as refusal:
        build(RegisterServicePoint, **fields | {field: value})
    assert (refusal.value.code, refusal.value.path, refusal.value.details["hint"]) == ("invalid_input", field, hint)
