"""Money: exact, in whole centavos; no centavo is lost."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.money import CurrencyMismatch, Money, parse_amount, rounded

AMOUNTS = st.integers(-(10**15), 10**15).map(lambda centavos: Money(centavos=centavos))


@pytest.mark.parametrize(
    ("text", "centavos"), [("0", 0), ("1015.62", 101_562), ("1015", 101_500), ("-0.01", -1), ("0.10", 10)]
)
def test_an_amount_is_read_exactly(text: str, centavos: int) -> None:
    assert parse_amount(text) == Money(centavos=centavos)


@pytest.mark.parametrize(
    "text", ["", "1.5", "1.555", "1,50", "1.000,00", "1e3", " 1", "+1", "NaN", "1.", ".5", "1_000", "١"]
)
def test_a_malformed_amount_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_amount(text)
    assert refused.value.path == "amount"


def test_tenths_add_up_where_floats_do_not() -> None:
    parts = [parse_amount(text) for text in ("0.10", "0.20", "1234.70")]
    assert parts[0] + parts[1] + parts[2] == parse_amount("1235.00")


@pytest.mark.parametrize(
    ("exact", "shown"),
    [("0.005", "0.01"), ("0.004999", "0.00"), ("1.015", "1.02"), ("-0.005", "-0.01"), ("2.675", "2.68")],
)
def test_half_a_centavo_is_rounded_up(exact: str, shown: str) -> None:
    assert str(rounded(Decimal(exact))) == shown
    assert str(rounded(Fraction(exact))) == shown


def test_a_thousand_in_three_parts_gives_the_centavo_to_the_first() -> None:
    assert [str(part) for part in parse_amount("1000.00").split(3)] == ["333.34", "333.33", "333.33"]


@given(AMOUNTS, st.integers(1, 60))
def test_parts_add_up_and_differ_by_a_centavo_at_most(amount: Money, parts: int) -> None:
    shares = [share.centavos for share in amount.split(parts)]
    assert sum(shares) == amount.centavos
    assert max(shares) - min(shares) <= 1


@given(AMOUNTS)
def test_an_amount_is_shown_as_it_is_read(amount: Money) -> None:
    if abs(amount.centavos) < 10**15:
        assert parse_amount(str(amount)) == amount


def test_currencies_are_not_mixed() -> None:
    with pytest.raises(CurrencyMismatch):
        Money(centavos=1) + Money(centavos=1, currency="USD")
