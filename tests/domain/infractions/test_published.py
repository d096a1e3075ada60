"""What norms publish about infractions: the wage, the catalogue, the terms, the places of payment."""

from datetime import date
from typing import Any

import pytest

from domain.decider import build, fold
from domain.infractions import catalogue, places, terms, wage
from domain.infractions.catalogue import InfractionCodePublished, PublishInfractionCode, code_on
from domain.infractions.places import (
    InfractionPaymentPlacesPublished,
    PaymentPlace,
    PublishInfractionPaymentPlaces,
)
from domain.infractions.terms import InfractionTermsPublished, PublishInfractionTerms, terms_on
from domain.infractions.wage import MinimumWagePublished, PublishMinimumWage, wage_on
from domain.money import Money
from tests.infractions import PARKING, TERMS, WAGE
from tests.office import given

FIRST = date(2026, 1, 1)
TERMS_PUBLISHED = InfractionTermsPublished(effective_from=FIRST, terms=TERMS)


def publish_wage(**changed: Any) -> PublishMinimumWage:
    return build(PublishMinimumWage, **{"effective_from": FIRST, "amount": 275_010, "norm": "DS 5500"} | changed)


def publish_code(**changed: Any) -> PublishInfractionCode:
    fields: dict[str, Any] = {
        "code": "t-12",
        "effective_from": FIRST,
        "description": PARKING.description,
        "norm": PARKING.norm,
        "day_fines": 3,
    }
    return build(PublishInfractionCode, **fields | changed)


def publish_terms(**changed: Any) -> PublishInfractionTerms:
    fields: dict[str, Any] = {
        "effective_from": FIRST,
        "norm": TERMS.norm,
        "day_fine_hundredths": 500,
        "discounts": [{"within_days": 5, "hundredths": 5_000}, {"within_days": 10, "hundredths": 2_000}],
        "term_days": 30,
        "penalty_hundredths": 1_000,
        "contest_days": 15,
    }
    return build(PublishInfractionTerms, **fields | changed)


def test_a_wage_is_published_once_and_corrected_by_another_event() -> None:
    given().when(publish_wage()).then((wage.stream(), WAGE))
    given(WAGE).when(publish_wage()).nothing()
    corrected = MinimumWagePublished(effective_from=FIRST, amount=Money(centavos=275_000), norm="DS 5500")
    given(WAGE).when(publish_wage(amount=275_000)).then((wage.stream(), corrected))


def test_the_wage_of_a_day_is_the_last_one_before() -> None:
    later = MinimumWagePublished(effective_from=date(2027, 5, 1), amount=Money(centavos=300_000), norm="DS 5600")
    state = fold(wage.stream(), [later, WAGE])
    assert [wage_on(state, day) for day in (date(2025, 12, 31), FIRST, date(2027, 4, 30), date(2027, 5, 1))] == [
        None, WAGE, WAGE, later,
    ]  # fmt: skip


def test_a_code_has_day_fines_or_an_amount() -> None:
    given().when(publish_code()).then((catalogue.stream("t-12"), PARKING))
    given(PARKING).when(publish_code()).nothing()
    fixed = InfractionCodePublished(
        code="t-12",
        effective_from=FIRST,
        description=PARKING.description,
        norm=PARKING.norm,
        amount=Money(centavos=30_000),
    )
    given(PARKING).when(publish_code(day_fines=None, amount=30_000)).then((catalogue.stream("t-12"), fixed))
    given().when(publish_code(day_fines=None)).rejected("invalid_input", path="day_fines", hint="fine")
    given().when(publish_code(amount=30_000)).rejected("invalid_input", path="day_fines", hint="fine")


def test_a_code_may_mean_something_else_from_a_day_on() -> None:
    later = InfractionCodePublished(
        code="t-12", effective_from=date(2027, 1, 1), description="Otra", norm="LM 500", day_fines=5
    )
    state = fold(catalogue.stream("t-12"), [PARKING, later])
    assert [code_on(state, day) for day in (date(2025, 12, 31), date(2026, 12, 31), date(2027, 1, 1))] == [
        None, PARKING, later,
    ]  # fmt: skip


def test_terms_are_published_once() -> None:
    given().when(publish_terms()).then((terms.stream(), TERMS_PUBLISHED))
    given(TERMS_PUBLISHED).when(publish_terms()).nothing()
    state = fold(terms.stream(), [TERMS_PUBLISHED])
    assert (terms_on(state, date(2025, 12, 31)), terms_on(state, FIRST)) == (None, TERMS)


@pytest.mark.parametrize(
    ("discounts", "term_days"),
    [
        ([(5, 5_000), (5, 2_000)], 30),
        ([(10, 5_000), (5, 2_000)], 30),
        ([(5, 2_000), (10, 2_000)], 30),
        ([(5, 2_000), (10, 5_000)], 30),
        ([(5, 5_000), (10, 2_000)], 9),
    ],
)
def test_discounts_fall_with_the_days_and_end_within_the_term(discounts: list[tuple[int, int]], term_days: int) -> None:
    wanted = publish_terms(
        discounts=[{"within_days": days, "hundredths": part} for days, part in discounts], term_days=term_days
    )
    given().when(wanted).rejected("invalid_input", path="discounts", hint="discounts")


def test_the_last_discount_may_last_as_long_as_the_term() -> None:
    given().when(publish_terms(term_days=10)).accepted()


def test_places_of_payment_replace_those_of_before() -> None:
    wanted = build(PublishInfractionPaymentPlaces, places=[{"name": "Banco Unión", "address": "Calle Loayza 1"}])
    published = InfractionPaymentPlacesPublished(places=[PaymentPlace(name="Banco Unión", address="Calle Loayza 1")])
    given().when(wanted).then((places.stream(), published))
    given(published).when(wanted).nothing()
    none = InfractionPaymentPlacesPublished(places=[])
    given(published).when(build(PublishInfractionPaymentPlaces, places=[])).then((places.stream(), none))
