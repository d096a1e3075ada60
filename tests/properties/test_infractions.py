"""Laws of what is owed for infractions, and a second evaluator that shares no code with the first."""

import itertools
from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.decider import Event, fold
from domain.infractions.debt import InfractionDebt, days_counted, debt, factor_on, is_covered, last_day
from domain.infractions.infraction import (
    Account,
    Fine,
    InfractionContested,
    InfractionContestResolved,
    InfractionSettled,
    fine_in_day_fines,
    stream,
)
from domain.infractions.terms import Discount, PaymentTerms
from domain.money import Money
from tests.examples import examples
from tests.infractions import INFRACTION, OFFICER, TODAY, issued

LAWS = settings(deadline=None, max_examples=examples(150))
NUMBERS = st.integers(0, 150)  # days after the notice
CENTAVOS = st.integers(1, 500_000)


def day(number: int) -> date:
    return TODAY + timedelta(days=number)


@st.composite
def fines(draw: st.DrawFn) -> Fine:
    if draw(st.booleans()):
        return Fine(norm="n", amount=Money(centavos=draw(CENTAVOS)))
    return fine_in_day_fines(
        norm="n",
        day_fines=draw(st.integers(1, 40)),
        wage=Money(centavos=draw(CENTAVOS)),
        wage_norm="DS",
        day_fine_hundredths=draw(st.sampled_from([500, 333, 1_000])),
        day_fine_norm="R",
    )


@st.composite
def terms(draw: st.DrawFn) -> PaymentTerms:
    within = sorted(draw(st.sets(st.integers(0, 40), max_size=3)))
    parts = sorted(draw(st.sets(st.integers(1, 9_999), min_size=len(within), max_size=len(within))), reverse=True)
    return PaymentTerms(
        norm="R",
        day_fine_hundredths=500,
        discounts=[Discount(within_days=days, hundredths=part) for days, part in zip(within, parts, strict=True)],
        term_days=max(within, default=0) + draw(st.integers(0, 30)),
        penalty_hundredths=draw(st.integers(0, 20_000)),
        contest_days=draw(st.integers(0, 40)),
    )


class Case(NamedTuple):
    """An infraction of TODAY with its contest, if any, by the numbers of their days."""

    fine: Fine
    terms: PaymentTerms
    contest: int | None
    resolution: int | None

    @property
    def events(self) -> list[Event]:
        found: list[Event] = [issued(fine=self.fine, terms=self.terms)]
        if self.contest is not None:
            found.append(InfractionContested(infraction=INFRACTION, statement="m", contested_on=day(self.contest)))
        if self.resolution is not None:
            found.append(
                InfractionContestResolved(
                    infraction=INFRACTION,
                    outcome="UPHELD",
                    resolution="r",
                    norm="n",
                    resolved_on=day(self.resolution),
                    resolved_by=OFFICER,
                )
            )
        return found


@st.composite
def cases(draw: st.DrawFn) -> Case:
    contest = draw(st.none() | st.integers(0, 40))
    resolution = None if contest is None else draw(st.none() | st.integers(contest, contest + 60))
    return Case(draw(fines()), draw(terms()), contest, resolution)


Payments = list[tuple[int, int]]  # the number of the day, and centavos
PAYMENTS = st.lists(st.tuples(NUMBERS, CENTAVOS), max_size=4)


def settled(number: int, centavos: int, name: str) -> InfractionSettled:
    return InfractionSettled(
        infraction=INFRACTION, amount=Money(centavos=centavos), paid_on=day(number), reference=name
    )


def account(case: Case, payments: Sequence[tuple[int, int]] = ()) -> Account:
    receipts = [settled(number, centavos, str(place)) for place, (number, centavos) in enumerate(payments)]
    found = fold(stream(INFRACTION), [*case.events, *receipts]).account
    assert found
    return found


def owed(case: Case, payments: Sequence[tuple[int, int]], number: int) -> InfractionDebt:
    return debt(account(case, payments), day(number))


# The second evaluator counts days one by one and works in centavos.


def expected(case: Case, payments: Sequence[tuple[int, int]], number: int) -> tuple[int, int]:
    """The centavos owed on a day, and those paid too much."""
    fine, rules = case.fine, case.terms
    rest = Fraction(fine.amount.centavos)
    if fine.wage is not None:
        assert fine.day_fines
        assert fine.day_fine_hundredths
        rest = Fraction(fine.wage.centavos * fine.day_fine_hundredths * fine.day_fines, 10_000)

    def asked(of: int) -> Fraction:
        counted = 0
        for one in range(1, of + 1):
            stands_still = case.contest is not None and one > case.contest
            if stands_still and (case.resolution is None or one <= case.resolution):
                continue
            counted += 1
        found = [one.hundredths for one in rules.discounts if counted <= one.within_days]
        if found:
            return Fraction(10_000 - max(found), 10_000)
        return Fraction(10_000 + (rules.penalty_hundredths if counted > rules.term_days else 0), 10_000)

    too_much = 0
    for of, group in itertools.groupby(sorted(payments), key=lambda one: one[0]):
        if of > number:
            break
        amount = sum(centavos for _, centavos in group)
        whole = (rest * asked(of) * 2 + 1) // 2
        if amount >= whole:
            too_much += amount - whole
            rest = Fraction(0)
        else:
            rest -= amount / asked(of)
    return (rest * asked(number) * 2 + 1) // 2, too_much


@settings(deadline=None, max_examples=examples(400))
@given(cases(), PAYMENTS, NUMBERS)
def test_a_second_evaluator_agrees_to_the_centavo(case: Case, payments: Payments, number: int) -> None:
    found = owed(case, payments, number)
    assert (found.amount.centavos, found.overpaid.centavos) == expected(case, payments, number)


@LAWS
@given(cases(), PAYMENTS, NUMBERS)
def test_a_debt_is_never_negative_and_the_order_of_payments_does_not_matter(
    case: Case, payments: Payments, number: int
) -> None:
    found = owed(case, payments, number)
    assert found.amount.centavos >= 0
    assert found.overpaid.centavos >= 0
    shuffled = payments[::-1]
    again = owed(case, shuffled, number)
    assert (found.amount, found.overpaid) == (again.amount, again.overpaid)
    assert is_covered(account(case, payments)) == is_covered(account(case, shuffled))


@LAWS
@given(cases(), PAYMENTS, NUMBERS, NUMBERS)
def test_what_is_owed_never_falls_by_waiting(case: Case, payments: Payments, first: int, last: int) -> None:
    """Of what was paid by the first day: discounts end, and the penalty stays."""
    first, last = sorted((first, last))
    known = [one for one in payments if one[0] <= first]
    assert owed(case, known, first).amount <= owed(case, known, last).amount


@LAWS
@given(cases(), PAYMENTS, NUMBERS, st.integers(0, 99), st.integers(0, 1_000))
def test_part_today_and_the_rest_today_is_the_whole_and_settles_for_ever(
    case: Case, payments: Payments, number: int, percent: int, more: int
) -> None:
    known = [one for one in payments if one[0] <= number]
    whole = owed(case, known, number).amount.centavos
    part = whole * percent // 100
    rest = owed(case, [*known, (number, part)] if part else known, number).amount.centavos
    assert part + rest == whole
    both = [*known, *((number, one) for one in (part, rest) if one)]
    if whole:  # who owes less than half a centavo today has nothing to pay, and may owe one later
        later = owed(case, both, number + more)
        assert later.amount.centavos == 0
        assert later.overpaid == owed(case, known, number).overpaid
    assert is_covered(account(case, both)) == bool(both)


@LAWS
@given(cases(), PAYMENTS, NUMBERS)
def test_nothing_is_left_just_when_the_payments_cover_the_debt(case: Case, payments: Payments, number: int) -> None:
    """So the status PAID, which a payment fixes, and the amount of any later day never disagree."""
    known = [one for one in payments if one[0] <= number]
    assert (owed(case, known, number).rest == 0) == is_covered(account(case, known))


@LAWS
@given(cases(), PAYMENTS, st.tuples(NUMBERS, CENTAVOS))
def test_one_more_payment_never_uncovers_a_debt(case: Case, payments: Payments, more: tuple[int, int]) -> None:
    """Of any day, before or after the others. So the status does not depend on which payment became known last."""
    assert is_covered(account(case, payments)) <= is_covered(account(case, [*payments, more]))


@LAWS
@given(cases(), PAYMENTS, NUMBERS)
def test_the_explanation_alone_gives_the_amount(case: Case, payments: Payments, number: int) -> None:
    found = owed(case, payments, number)
    rest = found.fine
    for one in found.reductions:
        assert one.reduces_by == (rest if one.settles else Fraction(one.amount.amount) / one.factor.value)
        rest -= one.reduces_by
    assert (rest, rest * found.factor.value) == (found.rest, found.exact)
    assert abs(Fraction(found.amount.centavos) - found.exact * 100) <= Fraction(1, 2)


@LAWS
@given(cases(), NUMBERS, st.integers(0, 60))
def test_a_last_day_is_the_last_with_so_many_days(case: Case, number: int, days: int) -> None:
    of = account(case)
    last = last_day(of, days)
    if last is None:
        assert case.contest is not None
        assert case.resolution is None
        assert days_counted(of, day(10_000)) <= days
    else:
        assert days_counted(of, last) <= days < days_counted(of, last + timedelta(days=1))
    factor = factor_on(of, day(number))
    if factor.until and factor.until < date.max:
        assert factor_on(of, factor.until).hundredths == factor.hundredths
        following = factor_on(of, factor.until + timedelta(days=1))
        assert following.value > factor.value or case.terms.penalty_hundredths == 0


@LAWS
@given(cases(), NUMBERS)
def test_a_contest_never_makes_a_fine_dearer(case: Case, number: int) -> None:
    without = case._replace(contest=None, resolution=None)
    assert owed(case, [], number).amount <= owed(without, [], number).amount
