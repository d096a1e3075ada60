"""What is owed for an infraction on a day: examples to the centavo, and each edge of each term."""

from datetime import date, timedelta
from fractions import Fraction

import pytest

from domain.decider import Event
from domain.infractions.debt import debt, is_covered, last_day
from domain.infractions.infraction import (
    Fine,
    InfractionContested,
    InfractionContestResolved,
    InfractionSettlementReversed,
    exact_fine,
    fine_in_day_fines,
)
from domain.infractions.terms import PaymentTerms
from domain.money import parse_amount
from tests.infractions import FINE, INFRACTION, OFFICER, TODAY, account_of, issued, paid


def day(number: int) -> date:
    """The day with this number, counted from the notice."""
    return TODAY + timedelta(days=number)


def contested(number: int) -> InfractionContested:
    return InfractionContested(infraction=INFRACTION, statement="memorial 7", contested_on=day(number))


def resolved(number: int, outcome: str = "UPHELD") -> InfractionContestResolved:
    return InfractionContestResolved(
        infraction=INFRACTION,
        outcome=outcome,
        resolution="RA 9/2027",
        norm="LM 015/2012 art. 50",
        resolved_on=day(number),
        resolved_by=OFFICER,
    )


def owed(number: int, *events: Event) -> str:
    return str(debt(account_of(issued(), *events), day(number)).amount)


def test_a_day_fine_is_a_share_of_the_wage_and_the_fine_is_rounded_once() -> None:
    """Three times 137.51, the rounded day-fine, would be 412.53."""
    assert exact_fine(FINE) == Fraction("412.515")
    assert str(FINE.amount) == "412.52"


@pytest.mark.parametrize(
    ("wage", "day_fines", "amount"),
    [
        ("1000.00", 1, "50.00"),
        ("2750.00", 3, "412.50"),
        ("2362.00", 1, "118.10"),
        ("2750.10", 1, "137.51"),
        ("0.10", 1, "0.01"),
    ],
)
def test_fines_of_several_wages(wage: str, day_fines: int, amount: str) -> None:
    fine = fine_in_day_fines(
        norm="n",
        day_fines=day_fines,
        wage=parse_amount(wage),
        wage_norm="DS",
        day_fine_hundredths=500,
        day_fine_norm="R",
    )
    assert str(fine.amount) == amount


@pytest.mark.parametrize(
    ("number", "amount"),
    [
        (0, "206.26"),  # 412.515 / 2 = 206.2575: of the rounded fine it would be 206.26 too
        (5, "206.26"),
        (6, "330.01"),
        (10, "330.01"),
        (11, "412.52"),
        (30, "412.52"),
        (31, "453.77"),  # 453.7665
        (4_000, "453.77"),
    ],
)
def test_each_term_ends_with_its_last_day(number: int, amount: str) -> None:
    assert owed(number) == amount


def test_the_discount_is_of_the_exact_fine_and_not_of_the_rounded_one() -> None:
    """The fine is 137.505, shown as 137.51; half of that would be 68.76."""
    fine = fine_in_day_fines(
        norm="n",
        day_fines=1,
        wage=parse_amount("2750.10"),
        wage_norm="DS",
        day_fine_hundredths=500,
        day_fine_norm="R",
    )
    found = debt(account_of(issued(fine=fine)), TODAY)
    assert (str(fine.amount), found.exact, str(found.amount)) == ("137.51", Fraction("68.7525"), "68.75")


def test_a_fixed_fine_has_the_same_terms() -> None:
    account = account_of(issued(fine=Fine(norm="art. 41", amount=parse_amount("300"))))
    assert [str(debt(account, day(number)).amount) for number in (5, 10, 30, 31)] == [
        "150.00", "240.00", "300.00", "330.00",
    ]  # fmt: skip


def test_the_count_begins_on_the_day_after_the_notice_and_not_after_the_infraction() -> None:
    account = account_of(issued(notified_on=day(4)))
    assert [str(debt(account, day(number)).amount) for number in (0, 9, 10)] == ["206.26", "206.26", "330.01"]


def test_no_day_counts_from_the_day_after_the_contest_to_the_resolution() -> None:
    """Contested on day 3 and resolved on day 20: day 21 is the fourth, so the first discount lasts until day 22."""
    events = contested(3), resolved(20)
    assert [owed(number, *events) for number in (3, 10, 20, 22, 23, 27, 28, 47, 48)] == [
        "206.26", "206.26", "206.26", "206.26", "330.01", "330.01", "412.52", "412.52", "453.77",
    ]  # fmt: skip


def test_while_the_contest_goes_on_the_count_stands_still() -> None:
    assert [owed(number, contested(10)) for number in (9, 10, 11, 4_000)] == ["330.01"] * 4
    found = debt(account_of(issued(), contested(10)), day(100))
    assert (found.factor.days, found.suspended_days, found.factor.until) == (10, 90, None)


def test_a_contest_resolved_on_its_day_suspends_nothing() -> None:
    assert [owed(number, contested(5), resolved(5)) for number in (5, 6)] == ["206.26", "330.01"]


def test_a_discount_that_ended_before_the_contest_stays_over() -> None:
    account = account_of(issued(), contested(8), resolved(20))
    assert (last_day(account, 5), last_day(account, 10)) == (day(5), day(22))


def test_nothing_was_ever_owed_for_an_annulled_infraction() -> None:
    events = contested(3), paid("100", day(4)), resolved(20, "ANNULLED")
    account = account_of(issued(), *events)
    assert [str(debt(account, day(number)).amount) for number in (0, 40)] == ["0.00", "0.00"]
    assert [str(debt(account, day(number)).overpaid) for number in (3, 40)] == ["0.00", "100.00"]


def test_a_part_payment_takes_off_the_fine_what_it_is_worth_on_its_day() -> None:
    """100 on a day of half the fine pays 200 of it: 212.515 are left, which after the term are 233.77."""
    part = paid("100", day(2))
    assert [owed(number, part) for number in (1, 2, 10, 30, 31)] == [
        "206.26", "106.26", "170.01", "212.52", "233.77",
    ]  # fmt: skip


def test_the_whole_rounded_amount_of_its_day_settles_for_ever() -> None:
    account = account_of(issued(), paid("206.26", day(5)))
    assert is_covered(account)
    assert str(debt(account, day(4_000)).amount) == "0.00"


def test_one_centavo_less_does_not_settle() -> None:
    account = account_of(issued(), paid("206.25", day(5)))
    assert not is_covered(account)
    assert [str(debt(account, day(number)).amount) for number in (5, 31)] == ["0.01", "0.02"]


def test_what_is_paid_beyond_the_debt_is_shown() -> None:
    found = debt(account_of(issued(), paid("206.26", day(5)), paid("10", day(6))), day(6))
    assert (str(found.amount), str(found.overpaid)) == ("0.00", "10.00")
    assert [one.settles for one in found.reductions] == [True, True]


def test_payments_of_a_day_count_together() -> None:
    account = account_of(issued(), paid("200", day(5), "a"), paid("6.26", day(5), "b"))
    (reduction,) = debt(account, day(5)).reductions
    assert (reduction.receipts, reduction.settles) == (["a", "b"], True)


def test_a_reversed_payment_is_as_if_it_had_never_been_made() -> None:
    reversed_ = InfractionSettlementReversed(infraction=INFRACTION, reference="a", reason="cheque", reopens=True)
    account = account_of(issued(), paid("206.26", day(5), "a", settles=True), reversed_)
    assert (account.status, str(debt(account, day(31)).amount)) == ("ISSUED", "453.77")


def test_terms_without_discount_and_penalty_leave_the_fine_as_it_is() -> None:
    plain = PaymentTerms(
        norm="R", day_fine_hundredths=500, discounts=[], term_days=0, penalty_hundredths=0, contest_days=0
    )
    account = account_of(issued(terms=plain))
    assert {str(debt(account, day(number)).amount) for number in (0, 1, 400)} == {"412.52"}


def test_the_explanation_names_the_factor_and_its_last_day() -> None:
    account = account_of(issued())
    shown = [debt(account, day(number)).factor for number in (3, 7, 20, 31)]
    assert [(one.adjustment, one.hundredths, one.days, one.until) for one in shown] == [
        ("DISCOUNT", 5_000, 3, day(5)),
        ("DISCOUNT", 2_000, 7, day(10)),
        ("NONE", 0, 20, day(30)),
        ("PENALTY", 1_000, 31, None),
    ]
