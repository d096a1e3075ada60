"""Taxable objects: registered once, under one spelling of their number, and owned by one after another."""

from datetime import date

import pytest

from domain.decider import Recorded, build, fold
from domain.errors import InvalidInput
from domain.identifiers import ObjectKind, parse_cadastral_code, parse_number
from domain.obligations.taxable_object import (
    CadastralCodeTaken,
    OwnershipTransferred,
    RegisterTaxableObject,
    TaxableObject,
    TaxableObjectRegistered,
    TransferOwnership,
    cadastral_stream,
    stream,
    taxpayer,
)
from tests.debts import HOUSE
from tests.office import ANA, DAY, EVA, LUIS, given

BOUGHT = date(2015, 3, 1)
CODE = "032012300040000"
REGISTER = RegisterTaxableObject(
    kind="PROPERTY", number="214.775", owner=ANA, since=BOUGHT, cadastral_code="032-0123-0004-0000"
)
REGISTERED = TaxableObjectRegistered(
    object=HOUSE, kind="PROPERTY", number="214775", owner=ANA, since=BOUGHT, cadastral_code=CODE
)
TAKEN = CadastralCodeTaken(object=HOUSE)
HAPPENED: list[Recorded] = [(stream(HOUSE), REGISTERED), (cadastral_stream(CODE), TAKEN)]
SELL = TransferOwnership(object=HOUSE, owner=LUIS, since=date(2020, 6, 1), deed="Testimonio 14/2020")
SOLD = OwnershipTransferred(object=HOUSE, owner=LUIS, since=date(2020, 6, 1), deed="Testimonio 14/2020")


@pytest.mark.parametrize(
    ("kind", "written", "number"),
    [
        ("VEHICLE", "1234ABC", "1234ABC"),
        ("VEHICLE", " 1234-abc ", "1234ABC"),
        ("VEHICLE", "123 ábc", "123ABC"),
        ("PROPERTY", "00214.775", "214775"),
        ("PROPERTY", "0", "0"),
        ("ACTIVITY", "1310-24689/a", "131024689A"),
    ],
)
def test_a_number_has_one_spelling(kind: ObjectKind, written: str, number: str) -> None:
    assert parse_number(kind, written) == number


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("VEHICLE", "12ABC"), ("VEHICLE", "1234ABCD"), ("VEHICLE", "1234AB"), ("VEHICLE", ""),
        ("PROPERTY", "A1"), ("PROPERTY", "1" * 13), ("PROPERTY", "١٢"), ("ACTIVITY", "…"), ("ACTIVITY", "-"),
    ],
)  # fmt: skip
def test_a_malformed_number_is_refused(kind: ObjectKind, written: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_number(kind, written)
    assert refused.value.path == "number"


def test_a_command_with_a_malformed_number_can_not_be_made() -> None:
    """What a command reads depends on the number, so it is refused before anything is read."""
    for wrong in ({"number": "x"}, {"cadastral_code": "1"}):
        with pytest.raises(InvalidInput) as refused:
            build(RegisterTaxableObject, **{"kind": "PROPERTY", "number": "1", "owner": ANA, "since": BOUGHT} | wrong)
        assert refused.value.path == next(iter(wrong))


def test_a_cadastral_code_has_one_spelling() -> None:
    assert parse_cadastral_code("032-0123 0004.0000") == parse_cadastral_code(CODE) == CODE


def test_an_object_is_registered_once() -> None:
    given().when(REGISTER).then(*HAPPENED)
    given(*HAPPENED).when(REGISTER).nothing()


def test_other_details_under_the_same_number_are_refused() -> None:
    other = RegisterTaxableObject(kind="PROPERTY", number="214775", owner=EVA, since=BOUGHT)
    given(*HAPPENED).when(other).rejected("taxable_object_exists", path="number", object=HOUSE)


def test_a_cadastral_code_belongs_to_one_property() -> None:
    other = RegisterTaxableObject(kind="PROPERTY", number="9", owner=EVA, since=BOUGHT, cadastral_code=CODE)
    given(*HAPPENED).when(other).rejected("cadastral_code_in_use", path="cadastral_code", object=HOUSE)
    car = RegisterTaxableObject(kind="VEHICLE", number="1234ABC", owner=EVA, since=BOUGHT, cadastral_code="9" * 10)
    given().when(car).rejected("only_properties", path="cadastral_code")


def test_an_owner_follows_another() -> None:
    given(*HAPPENED).when(SELL).then((stream(HOUSE), SOLD))
    given(*HAPPENED, (stream(HOUSE), SOLD)).when(SELL).nothing()
    back = TransferOwnership(object=HOUSE, owner=ANA, since=date(2020, 6, 1), deed="x")
    given(*HAPPENED, (stream(HOUSE), SOLD)).when(back).rejected(
        "transfer_too_early", path="since", since=date(2020, 6, 1)
    )
    given().when(SELL).rejected("taxable_object_unknown", path="object", object=HOUSE)


def test_nobody_owns_an_object_before_its_time() -> None:
    tomorrow = date(DAY.year, DAY.month, DAY.day + 1)
    late = RegisterTaxableObject(kind="VEHICLE", number="1234ABC", owner=EVA, since=tomorrow)
    given().when(late).rejected("in_the_future", path="since", day=tomorrow)


@pytest.mark.parametrize(("year", "owes"), [(2014, ANA), (2015, ANA), (2019, ANA), (2020, LUIS), (2026, LUIS)])
def test_the_tax_of_a_year_falls_on_the_owner_of_its_last_day(year: int, owes: str) -> None:
    state: TaxableObject = fold(stream(HOUSE), [REGISTERED, SOLD])
    assert taxpayer(state, year) == owes
