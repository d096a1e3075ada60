"""What is owed on a day: the examples of the law, to the centavo."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from domain.errors import Rejected
from domain.money import Money
from domain.obligations.amnesty import AmnestyDeclared
from domain.obligations.debt import anniversary, days_needed, debt
from domain.obligations.interest import InterestRatesPublished, Rate
from domain.obligations.obligation import AmendmentApproved, AmendmentProposed, SettlementReversed
from domain.obligations.ufv import UfvUnknown
from tests.debts import OBLIGATION, assessed, facts, paid, window

UFV = {
    date(2019, 12, 31): 233_187,
    date(2020, 12, 31): 235_851,
    date(2021, 1, 1): 235_844,
    date(2021, 1, 10): 235_781,
    date(2021, 1, 11): 235_785,
    date(2021, 2, 10): 235_915,
    date(2021, 3, 10): 236_129,
    date(2021, 4, 10): 236_408,
    date(2021, 4, 24): 236_520,
    date(2021, 4, 25): 236_528,
}
DUE = date(2020, 12, 31)
LATER = date(2021, 4, 24)


@pytest.mark.parametrize(
    ("day", "amount", "days"),
    [
        (date(2021, 1, 1), "1000.08", [1]),
        (date(2021, 1, 10), "1000.81", [10]),  # the UFV fell in these days, and the debt with it
        (date(2021, 1, 11), "1000.94", [11]),
        (date(2021, 2, 10), "1004.84", [41]),
        (date(2021, 3, 10), "1008.88", [69]),
        (date(2021, 4, 10), "1013.56", [100]),
        (date(2021, 4, 24), "1015.62", [114]),
        (date(2021, 4, 25), "1015.77", [115]),
    ],
)
def test_a_debt_of_some_days(day: date, amount: str, days: list[int]) -> None:
    found = debt(facts(assessed("1000", DUE), ufv=UFV), day)
    assert (str(found.amount), [period.days for period in found.periods]) == (amount, days)


@pytest.mark.parametrize(
    ("due", "day", "days", "amount"),
    [
        (date(2016, 12, 30), date(2020, 12, 30), [1461], "1176.24"),
        (date(2016, 12, 30), date(2020, 12, 31), [1461, 1], "1176.41"),
        (date(2013, 6, 28), date(2020, 6, 28), [1461, 1096], "1376.64"),
        (date(2012, 12, 31), date(2021, 1, 10), [1461, 1095, 376], "1486.52"),
        (date(2010, 12, 31), date(2021, 4, 24), [1461, 1096, 1210], "1776.07"),
    ],
)
def test_each_day_has_the_rate_of_its_year(due: date, day: date, days: list[int], amount: str) -> None:
    """One rate for all days once a boundary is crossed would be wrong, as would compounding over the periods."""
    found = debt(facts(assessed("1000", due), ufv={due: 100_000, day: 100_000}), day)
    assert ([period.days for period in found.periods], str(found.amount)) == (days, amount)


def test_interest_starts_on_the_day_after_the_due_date() -> None:
    level = dict.fromkeys((DUE, DUE + timedelta(days=1)), 100_000)
    assert str(debt(facts(assessed("100000", DUE)), DUE).amount) == "100000.00"
    found = debt(facts(assessed("100000", DUE), ufv=level), DUE + timedelta(days=1))
    assert ([one.days for one in found.periods], str(found.amount)) == ([1], "100011.11")


def test_a_part_payment_reduces_the_tax_in_ufv() -> None:
    due, day = date(2019, 12, 31), date(2021, 1, 10)
    tax, part = assessed("5000", due), paid("2000", day)
    assert str(debt(facts(tax, ufv=UFV), day).amount) == "5271.30"
    found = debt(facts(tax, part, ufv=UFV), day)
    assert str(found.amount) == "3271.30"
    assert round(found.reductions[0].reduces_by, 5) == Decimal("813.53893")
    assert round(found.rest, 5) == Decimal("1330.66293")
    assert str(debt(facts(tax, part, ufv=UFV), LATER).amount) == "3319.69"


@pytest.mark.parametrize("day", [date(2019, 3, 1), date(2019, 12, 31)])
def test_there_is_no_interest_up_to_the_due_date(day: date) -> None:
    found = debt(facts(assessed("5000", date(2019, 12, 31)), paid("0.01", date(2019, 2, 1)), rates=()), day)
    assert str(found.amount) == "4999.99"
    assert not found.periods
    assert found.factor == 1
    assert found.quote_due is None


def test_what_was_paid_in_time_bears_no_interest() -> None:
    in_time = debt(facts(assessed("2000", DUE), paid("1000", DUE), ufv=UFV), LATER)
    assert in_time.amount == debt(facts(assessed("1000", DUE), ufv=UFV), LATER).amount


@pytest.mark.parametrize(("amount", "day", "over"), [("1000.01", DUE, 1), ("1100", date(2021, 1, 10), 99_19)])
def test_more_than_the_debt_is_overpaid_and_never_negative(amount: str, day: date, over: int) -> None:
    found = debt(facts(assessed("1000", DUE), paid(amount, day), ufv=UFV), LATER)
    assert (found.amount, found.overpaid) == (Money(centavos=0), Money(centavos=over))


def test_a_payment_of_the_whole_rounded_amount_settles_the_debt() -> None:
    """The exact debt is 1,015.6179…; what is left of a centavo must not bear interest for years."""
    whole = facts(assessed("1000", DUE), paid("1015.62", LATER), ufv=UFV)
    assert debt(whole, LATER).overpaid == Money(centavos=0)
    assert debt(whole, LATER).reductions[0].settles
    assert str(debt(whole, date(2060, 1, 1)).amount) == "0.00"  # and no UFV of that day is needed
    short = facts(assessed("1000", DUE), paid("1015.61", LATER), ufv=UFV)
    assert str(debt(short, LATER).amount) == "0.01"


def test_a_later_payment_does_not_count_before_its_day() -> None:
    later = paid("500", date(2021, 4, 25))
    assert str(debt(facts(assessed("1000", DUE), later, ufv=UFV), LATER).amount) == "1015.62"


def test_a_reversed_payment_does_not_count_and_the_debt_is_back_with_its_interest() -> None:
    reversal = SettlementReversed(obligation=OBLIGATION, reference="R-1", reason="cheque sin fondos")
    happened = facts(assessed("1000", DUE), paid("1000", DUE, "R-1"), reversal, ufv=UFV)
    assert str(debt(happened, LATER).amount) == "1015.62"


def test_an_amended_tax_counts_from_the_beginning() -> None:
    proposed = AmendmentProposed(
        obligation=OBLIGATION, amendment="a", amount=Money(centavos=900_00), norm="ARIT 7", reason="fallo",
        proposed_by="o",
    )  # fmt: skip
    approved = AmendmentApproved(
        obligation=OBLIGATION, amendment="a", amount=Money(centavos=900_00), norm="ARIT 7", approved_by="p"
    )
    before = facts(assessed("1000", DUE), proposed, ufv=UFV)
    assert str(debt(before, LATER).amount) == "1015.62"
    after = debt(facts(assessed("1000", DUE), paid("1000", DUE), proposed, approved, ufv=UFV), LATER)
    assert (after.amount, after.overpaid) == (Money(centavos=0), Money(centavos=100_00))


def test_a_missing_ufv_is_named() -> None:
    assert days_needed(facts(assessed("1000", DUE)), LATER) == {DUE, LATER}
    for missing in (DUE, LATER):
        with pytest.raises(UfvUnknown) as refused:
            debt(facts(assessed("1000", DUE), ufv={one: UFV[one] for one in (DUE, LATER) if one != missing}), LATER)
        assert refused.value.day == missing


def test_missing_rates_are_named() -> None:
    with pytest.raises(Rejected) as refused:
        debt(facts(assessed("1000", DUE), ufv=UFV, rates=()), LATER)
    assert refused.value.code == "rates_unknown"


def test_payments_follow_the_rates_of_their_day() -> None:
    from_2021 = InterestRatesPublished(norm="Ley X", effective_from=date(2021, 4, 25), rates=[Rate(hundredths=0)])
    both = facts(assessed("1000", DUE), ufv=UFV).rates
    both.tables |= facts(rates=[from_2021]).rates.tables
    happened = msgspec.structs.replace(facts(assessed("1000", DUE), paid("500", LATER), ufv=UFV), rates=both)
    found = debt(happened, date(2021, 4, 25))
    assert found.reductions[0].factor > 1
    assert found.factor == 1


def test_the_example_that_the_page_checks_by_hand_is_what_the_program_says() -> None:
    page = (Path(__file__).parents[3] / "docs" / "obligations.md").read_text(encoding="utf-8")
    happened = facts(assessed("5000", date(2019, 12, 31)), paid("2000", date(2021, 1, 10)), ufv=UFV)
    found = debt(happened, LATER)
    (part,) = found.reductions
    assert found.quote_due
    shown = [f"taken off | 2000 / 2.35781 / {part.factor:.15f} = {part.reduces_by:.15f}"]
    shown += [
        f"= {found.unpaid_at_due / found.quote_due.bolivianos:.15f} | `taxInUfv`",
        f"= {found.rest:.15f} | `rest`",
    ]
    shown += [f"n = {found.periods[0].days}, ", f"^480 = {found.factor:.15f}", f"= {found.exact:.15f} | `exact`"]
    shown += [f"**Bs {found.amount.amount:,.2f}**"]
    assert [one for one in shown if one not in page] == []


WINDOWS = [
    window(date(2020, 7, 21), date(2020, 8, 19), 15),
    window(date(2020, 8, 20), date(2020, 10, 18), 10),  # a Sunday: windows are literal
    window(date(2020, 10, 19), date(2020, 12, 17), 5),
]


@pytest.mark.parametrize(
    ("day", "amount"),
    [
        (date(2020, 7, 20), "1000.00"),
        (date(2020, 7, 21), "850.00"),
        (date(2020, 8, 19), "850.00"),
        (date(2020, 8, 20), "900.00"),
        (date(2020, 10, 18), "900.00"),
        (date(2020, 10, 19), "950.00"),
        (date(2020, 12, 17), "950.00"),
        (date(2020, 12, 18), "1000.00"),
        (DUE, "1000.00"),
    ],
)
def test_the_window_of_the_day_applies(day: date, amount: str) -> None:
    assert str(debt(facts(assessed("1000", DUE), windows=WINDOWS), day).amount) == amount


def test_a_part_payment_in_a_window_has_its_discount() -> None:
    happened = facts(assessed("1000", DUE), paid("425", date(2020, 8, 1)), windows=WINDOWS, ufv=UFV)
    assert str(debt(happened, date(2020, 8, 1)).amount) == "425.00"  # as much as the whole less what was paid
    assert str(debt(happened, date(2020, 9, 1)).amount) == "450.00"
    assert debt(happened, LATER).unpaid_at_due == 500


def test_no_window_reduces_a_debt_after_the_due_date() -> None:
    late = [window(LATER, LATER, 50)]
    assert str(debt(facts(assessed("1000", DUE), windows=late, ufv=UFV), LATER).amount) == "1015.62"


def test_a_due_date_on_a_day_that_is_not_worked_moves_to_the_next_working_day() -> None:
    saturday = date(2021, 1, 2)
    happened = facts(assessed("1000", saturday), holidays=[date(2021, 1, 4)], ufv=UFV)
    assert happened.due == date(2021, 1, 5)
    assert str(debt(happened, date(2021, 1, 5)).amount) == "1000.00"
    assert happened.due == debt(happened, date(2021, 1, 5)).due


def test_a_general_extension_leaves_no_interest_for_the_extended_time_whoever_pays_when() -> None:
    extended = facts(assessed("1000", date(2020, 6, 30)), extended_until=DUE, ufv=UFV)
    assert str(debt(extended, date(2020, 12, 1)).amount) == "1000.00"
    assert str(debt(extended, LATER).amount) == "1015.62"  # as if it had been due on the last day of the extension


LAM_460 = AmnestyDeclared(
    tax="IPBI",
    norm="LAM 460/2021",
    first_year=2012,
    last_year=2019,
    waives_interest=True,
    waives_indexation=False,
    windows=[
        window(date(2021, 8, 11), date(2021, 9, 24), 10),
        window(date(2021, 9, 25), date(2021, 11, 8), 5),
        window(date(2021, 11, 9), date(2021, 12, 31), 0),
    ],
)
DURING = {DUE: 235_851, **dict.fromkeys((date(2021, 8, 10), date(2021, 8, 11), date(2021, 10, 1), date(2021, 12, 31),
                                         date(2022, 1, 1)), 236_000)}  # fmt: skip


@pytest.mark.parametrize(
    ("day", "amount"),
    [
        (date(2021, 8, 10), "1025.62"),  # the day before: with interest
        (date(2021, 8, 11), "900.57"),
        (date(2021, 10, 1), "950.60"),
        (date(2021, 12, 31), "1000.63"),
        (date(2022, 1, 1), "1042.16"),
    ],
)
def test_an_amnesty_waives_interest_and_has_windows(day: date, amount: str) -> None:
    found = debt(facts(assessed("1000", DUE), amnesties=[LAM_460], ufv=DURING), day)
    assert str(found.amount) == amount
    assert (found.amnesty is not None) == (date(2021, 8, 11) <= day <= date(2021, 12, 31))


def test_an_amnesty_may_waive_indexation_too() -> None:
    both = msgspec.structs.replace(LAM_460, waives_indexation=True)
    day = date(2021, 12, 31)
    assert str(debt(facts(assessed("1000", DUE), amnesties=[both], ufv=DURING), day).amount) == "1000.00"


def test_an_amnesty_is_only_for_its_years() -> None:
    others = msgspec.structs.replace(LAM_460, first_year=2012, last_year=2018)
    found = debt(facts(assessed("1000", DUE), amnesties=[others], ufv=DURING), date(2021, 12, 31))
    assert (str(found.amount), found.amnesty) == ("1042.04", None)


def test_a_part_payment_within_an_amnesty_has_its_terms() -> None:
    """Half of the whole of that day settles half of the tax, for ever."""
    day = date(2021, 8, 11)
    half = facts(assessed("1000", DUE), paid("450.29", day), amnesties=[LAM_460], ufv=DURING)
    assert str(debt(half, day).amount) == "450.28"
    assert str(debt(half, date(2022, 1, 1)).amount) == "521.07"


def test_half_a_centavo_goes_up_though_the_tax_went_through_ufv() -> None:
    """23.50 less 5 % is 22.325: dividing by the UFV and multiplying again gives 22.32499…, which is no less."""
    pardon = msgspec.structs.replace(
        LAM_460, waives_indexation=True, windows=[window(date(2021, 1, 1), date(2021, 12, 31), 5)]
    )
    found = debt(facts(assessed("23.50", DUE), amnesties=[pardon], ufv={DUE: 233_187}), date(2021, 6, 1))
    assert str(found.amount) == "22.33"


def test_half_a_centavo_goes_up_after_a_part_payment() -> None:
    """15.90 less 15 % is 13.515, so 13.52; after 5.00 of them 8.515, so 8.52."""
    day = date(2020, 7, 21)
    assert str(debt(facts(assessed("15.90", DUE), windows=WINDOWS), day).amount) == "13.52"
    assert str(debt(facts(assessed("15.90", DUE), paid("5", day), windows=WINDOWS), day).amount) == "8.52"


def test_an_amnesty_is_explained_even_if_its_terms_come_to_one_boliviano_for_a_ufv() -> None:
    both = msgspec.structs.replace(
        LAM_460, waives_indexation=True, windows=[window(date(2021, 1, 1), date(2021, 12, 31), 20)]
    )
    day = date(2021, 6, 1)
    found = debt(facts(assessed("1000", DUE), paid("100", day), amnesties=[both], ufv={DUE: 125_000}), day)
    (part,) = found.reductions
    assert part.amnesty
    assert (part.discount_hundredths, part.quote) == (2_000, found.quote_due)


def test_a_debt_beyond_reason_is_refused() -> None:
    high = InterestRatesPublished(norm="x", effective_from=date(2000, 1, 1), rates=[Rate(hundredths=10_000)])
    day = date(2099, 1, 1)
    for rates in ([high], [msgspec.structs.replace(high, rates=[Rate(hundredths=1_000_000)])]):
        with pytest.raises(Rejected) as refused:
            debt(facts(assessed("1000", DUE), ufv={DUE: 100_000, day: 100_000}, rates=rates), day)
        assert refused.value.code == "debt_too_large"


@pytest.mark.parametrize(
    ("due", "years", "end"),
    [
        (date(2016, 2, 29), 4, date(2020, 2, 29)),
        (date(2016, 2, 29), 7, date(2023, 2, 28)),
        (date(2015, 2, 28), 4, date(2019, 2, 28)),
    ],
)
def test_years_are_anniversaries_of_the_due_date(due: date, years: int, end: date) -> None:
    assert anniversary(due, years) == end


@pytest.mark.parametrize("due", [date(2016, 2, 29), date(2014, 2, 28)])
def test_four_years_have_1461_days(due: date) -> None:
    day = anniversary(due, 4)
    found = debt(facts(assessed("1000", due), ufv={due: 100_000, day: 100_000}), day)
    assert [period.days for period in found.periods] == [1461]
